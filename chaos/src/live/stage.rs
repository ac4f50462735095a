//! Who takes part in a run: nodes, clients, watchers, hosts, those who listen.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jam_client::audio::clocks::ClockPair;
use jam_proto::ids::RoomCode;
use jam_world::{Detours, World};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::attackers::{Aim, Attackers};
use super::director::Director;
use super::impostor::Impostors;
use super::joiner::Joiner;
use super::lookout::{Standing, look_out};
use super::machine::journal::Journal;
use super::schedule::Schedule;
use super::seat::{Furniture, Seat};
use super::wiring::{Dialler, Wiring};
use crate::book::{Book, TrueTime};
use crate::cluster::{binaries, monotonic_ns};
use crate::crowd::{Client, Guest, Host, Orders, Scene, Song, TrueClock, Watcher, operate};
use crate::ear;
use crate::seed::Stream;
use crate::tellsong;
use crate::testsong::{position_coded, wav};

/// Clients rest for so long at the end: what they asked for last is answered, ns.
const REST_NS: i64 = 3_500_000_000;
const SMALL_RATE: u32 = 8000;
const RATE: u32 = 48_000;
/// Lengths of the songs that listeners hear, s.
const CONCERT_SECS: [f64; 4] = [7.0, 9.5, 12.0, 15.5];
/// Off what they say, parts per million.
const DRIFT_PPM_MAX: i64 = 100;

/// True time of a real run.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// CLOCK_MONOTONIC at its begin, ns.
    pub begun_ns: i64,
}

impl TrueTime for Since {
    fn now_ns(&self) -> i64 {
        monotonic_ns() - self.begun_ns
    }
}

impl TrueClock for Since {
    fn true_at_raw(&self, raw_ns: i64) -> f64 {
        // The two run apart by what NTP steers: nothing, over the moment since the stamp.
        let pair = ClockPair::new(World::real().clock.as_ref(), || World::real().clock.raw_ns());
        (pair.mono(raw_ns) - self.begun_ns) as f64
    }

    fn true_at_mono(&self, mono_ns: i64) -> f64 {
        (mono_ns - self.begun_ns) as f64
    }

    fn mono_rate(&self) -> f64 {
        1.0
    }
}

/// All that runs.
pub struct Stage {
    /// Who breaks it.
    pub director: Director,
    /// The songs that listeners hear.
    pub songs: Vec<ear::Song>,
    /// Clients and all others within this process.
    pub crowd: JoinSet<()>,
    /// All who listen in processes of their own join this.
    pub scene: Scene,
}

/// Starts nodes and crowd. Listeners join later: a room must be there.
pub async fn populate(
    schedule: &Schedule,
    dir: &Path,
    book: &Book,
    since: Since,
    journal: &Arc<Journal>,
) -> anyhow::Result<Stage> {
    let scenario = &schedule.scenario;
    let bin = binaries()?;
    let nodes = scenario.cluster.nodes as usize;
    let mut ports = free_ports(if scenario.cluster.peer_door { 2 * nodes } else { nodes })?;
    let peer_ports = scenario.cluster.peer_door.then(|| ports.split_off(nodes));
    let mut wiring = Wiring::new(schedule.seed, ports, peer_ports);
    let furniture = Furniture {
        dir,
        bin: &bin,
        volumes: scenario.needs_volumes(),
        planted: schedule.planted.as_deref(),
        clocks: schedule.faults.iter().any(|fault| fault.what.needs_faketime()),
        journal,
    };
    let mut seats = BTreeMap::new();
    for place in 1..=scenario.cluster.nodes {
        let detours = wiring.connect(&Dialler::Node(place)).await?;
        let flags = node_flags(schedule, place, &wiring, detours);
        let mut seat = Seat::new(place, flags, &furniture)?;
        seat.start()?;
        seats.insert(place, seat);
    }
    let (tell, standing) = watch::channel(Standing::default());
    let mut crowd = JoinSet::new();
    crowd.spawn(look_out(wiring.addresses(), tell));

    let (scene, gallery, files) = scenes(schedule, dir, book, &wiring)?;
    let orders = Orders::default();
    let load = &scenario.load;
    for number in 1..=load.clients {
        let name = format!("c{number}");
        let world = here(wiring.connect_here(&name).await?);
        crowd.spawn(Client::new(&name, 1, &world, scene.clone()).run());
    }
    let world = here(wiring.connect_here("watch").await?);
    for number in 1..=load.watchers {
        crowd.spawn(Watcher::new(number, 1, &world, scene.clone()).run());
    }
    let world = here(wiring.connect_here("office").await?);
    let (addresses, told) = (scene.addresses.clone(), orders.clone());
    crowd.spawn(async move { operate(&world, &addresses, told).await });
    if load.listeners > 0 {
        let world = here(wiring.connect_here("host").await?);
        let host = Host::new("host", &world, scene.clone());
        on_a_thread("host", move || host.run())?;
    }
    if load.gallery > 0 {
        let world = here(wiring.connect_here("gallery").await?);
        let host = Host::new("curator", &world, gallery.clone());
        on_a_thread("curator", move || host.run())?;
        for number in 1..=load.gallery {
            let name = format!("g{number}");
            let guest = Guest::new(&name, Arc::new(since), &gallery);
            crowd.spawn(guest.listen(world.clone()));
        }
    }
    let mut draws = Stream::new(schedule.seed, "joiners");
    let mut joiners = Vec::new();
    for number in 1..=load.listeners {
        let name = format!("l{number}");
        let detours = wiring.connect(&Dialler::Client(name.clone())).await?;
        let servers = wiring.addresses().join(",");
        let flags = ["--servers", &servers, "--connect-to", &detours].map(str::to_owned);
        let drift_ppm = draws.within(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX);
        let room = scene.rooms.last().context("there is a room")?;
        joiners.push(Joiner::new(
            &name,
            room.as_str(),
            drift_ppm,
            flags.into(),
            (dir, &bin),
            (journal, schedule.planted.as_deref()),
        )?);
    }
    let song = scene.songs.first().context("there is a song")?;
    let aim = Aim {
        servers: wiring.addresses().join(","),
        room: scene.rooms.last().context("there is a room")?.as_str().to_owned(),
        track: blake3::Hash::from_bytes(song.track).to_hex().to_string(),
    };
    let director = Director {
        book: book.clone(),
        seed: schedule.seed,
        dir: dir.to_owned(),
        seats,
        joiners,
        wiring,
        standing,
        orders,
        journal: journal.clone(),
        spoilt: None,
        begun: BTreeMap::new(),
        stuck: BTreeMap::new(),
        impostors: Impostors::default(),
        attackers: Attackers::default(),
        aim,
        rejoins: BTreeMap::new(),
        restarts: BTreeMap::new(),
    };
    let songs = files.iter().map(|file| ear::read_song(file)).collect::<Result<_, _>>()?;
    Ok(Stage { director, songs, crowd, scene })
}

/// Whoever can't change threads gets one; it ends with its future, when it is time to rest.
fn on_a_thread<F: Future<Output = ()>>(
    name: &str,
    begin: impl FnOnce() -> F + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(async { begin().await })).map(drop)?;
    Ok(())
}

fn here(detours: Detours) -> World {
    World::real().by(detours)
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // Held until all are known, so that no two get the same.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<std::io::Result<_>>()?)
}

fn node_flags(schedule: &Schedule, place: u64, wiring: &Wiring, detours: String) -> Vec<String> {
    let cluster = &schedule.scenario.cluster;
    let peers: Vec<String> = (1..)
        .zip(wiring.peer_addresses())
        .map(|(place, address): (u64, _)| format!("{place}={address}"))
        .collect();
    let own_door = cluster.peer_door.then(|| ("--peer-listen", wiring.peer_address(place)));
    [
        ("--id", place.to_string()),
        ("--listen", wiring.address(place)),
        ("--peers", peers.join(",")),
        // The judge of sound knows the originals to the frame: what a listener falls back to on a poor line it would not.
        ("--renditions", "none".to_owned()),
        ("--connect-to", detours),
        ("--snapshot-every", cluster.snapshot_every.to_string()),
        ("--keep-entries", cluster.keep_entries.to_string()),
        ("--heartbeat-ms", cluster.heartbeat_ms.to_string()),
        ("--election-ms", cluster.election_ms.clone()),
    ]
    .into_iter()
    .chain(own_door)
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// The scene of the listeners in processes of their own, that of those within this one, and the files of the former's songs.
fn scenes(
    schedule: &Schedule,
    dir: &Path,
    book: &Book,
    wiring: &Wiring,
) -> anyhow::Result<(Scene, Scene, Vec<std::path::PathBuf>)> {
    let mut draws = Stream::new(schedule.seed, "scene");
    let mut rooms: Vec<RoomCode> = (0..4).map(|_| RoomCode::from_random(draws.draw())).collect();
    let small = [2.0, 3.5].map(|secs| {
        Song::new(wav(&position_coded(draws.draw(), SMALL_RATE, secs), 1, SMALL_RATE), secs)
    });
    let folder = dir.join("songs");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    let mut concert = Vec::new();
    let mut files = Vec::new();
    for (number, secs) in CONCERT_SECS.into_iter().enumerate() {
        let samples = position_coded(draws.draw(), RATE, secs);
        let bytes = wav(&samples.iter().map(|one| one * 0.7).collect::<Vec<_>>(), 1, RATE);
        let file = folder.join(format!("{}.wav", number + 1));
        std::fs::write(&file, &bytes).with_context(|| format!("can't write {}", file.display()))?;
        files.push(file);
        concert.push(Song::new(bytes, secs));
    }
    let told = (0..).zip([3.0, 4.3, 5.9]).map(|(number, secs): (usize, f64)| {
        let frames = (secs * f64::from(RATE)) as usize;
        Song::new(wav(&tellsong::song(number, frames), 2, RATE), secs)
    });
    let told = told.collect();
    let gallery_room = rooms.pop().context("there are four")?;
    let shared: Vec<RoomCode> = rooms[..2].to_vec();
    let scene = Scene {
        rooms: rooms.into(),
        songs: small.into(),
        concert: concert.into(),
        addresses: wiring.addresses().into(),
        home: dir.join("host"),
        book: book.clone(),
        seed: schedule.seed,
        healed_ns: schedule.healed_ms as i64 * 1_000_000,
        until_ns: schedule.for_ms as i64 * 1_000_000 - REST_NS,
    };
    let gallery = Scene {
        rooms: shared.into_iter().chain([gallery_room]).collect(),
        concert: told,
        home: dir.join("gallery"),
        ..scene.clone()
    };
    Ok((scene, gallery, files))
}
