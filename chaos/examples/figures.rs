//! The first figures of a cluster on this machine: three nodes and their listeners on one loopback, with real disks
//! and the default timings. `scripts/bench` runs it, optimised; it prints a table.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jam_chaos::cluster::{Cluster, Listener, monotonic_ns, wait_until};
use jam_chaos::ear::{Heard, Recording, Reference, Song, listen, read_song};
use jam_chaos::promises::skew::{common_span, skew};
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{
    Command, Enqueue, OpenSessionRequest, RemoveEntry, SubmitReply, SubmitRequest, command,
};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

const COMMANDS_FOR: Duration = Duration::from_secs(5);
const FAILOVERS: usize = 5;
const JOINS: usize = 5;
const LISTEN_SECS: f64 = 30.0;

fn main() -> anyhow::Result<()> {
    let tunes: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    anyhow::ensure!(!tunes.is_empty(), "name the songs to play");
    let dir = tempfile::tempdir()?;
    let mut bench = Bench::new(dir.path(), &tunes)?;
    println!("| what | measured |\n| --- | --- |");
    let commands = bench.commands_per_second()?;
    println!("| commands/s, one client, one at a time | {commands:.0} |");
    let (middle, most) = bench.failover_ms()?;
    println!(
        "| kill -9 of the leader to the next acknowledged command, {FAILOVERS} times | median {middle:.0} ms, longest {most:.0} ms |"
    );
    bench.listening()
}

struct Bench {
    dir: PathBuf,
    cluster: Cluster,
    room: String,
    songs: Vec<Song>,
    track: Vec<u8>,
    runtime: Runtime,
}

impl Bench {
    fn new(dir: &Path, tunes: &[PathBuf]) -> anyhow::Result<Self> {
        let cluster = Cluster::start(dir, 3)?;
        let room = cluster.jam(&["create", "Bench"])?["room"]
            .as_str()
            .context("a room's code")?
            .to_owned();
        for tune in tunes {
            cluster.jam(&["add", &room, &tune.display().to_string()])?;
        }
        let songs = tunes.iter().map(|tune| read_song(tune)).collect::<Result<Vec<_>, _>>()?;
        let track = blake3::hash(&std::fs::read(&tunes[0])?).as_bytes().to_vec();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { dir: dir.to_owned(), cluster, room, songs, track, runtime })
    }

    /// Adds and removes a song again and again.
    fn commands_per_second(&mut self) -> anyhow::Result<f64> {
        let leader = self.cluster.wait_for_leader()?;
        let mut client = Client::open(&self.runtime, self.cluster.address(leader), 1)?;
        let begun = Instant::now();
        let mut done = 0;
        while begun.elapsed() < COMMANDS_FOR {
            let add = command::Kind::Enqueue(Enqueue { track: self.track.clone(), next: false });
            let entry = client.submit(&self.runtime, &self.room, add)?.entry;
            client.submit(
                &self.runtime,
                &self.room,
                command::Kind::Remove(RemoveEntry { entry }),
            )?;
            done += 2;
        }
        Ok(f64::from(done) / begun.elapsed().as_secs_f64())
    }

    /// Median and longest time from a leader's death to the next acknowledged command.
    fn failover_ms(&mut self) -> anyhow::Result<(f64, f64)> {
        let mut found = Vec::new();
        for round in 0..FAILOVERS {
            let leader = self.cluster.wait_for_leader()?;
            let asked = leader % 3 + 1;
            let mut client =
                Client::open(&self.runtime, self.cluster.address(asked), 10 + round as u8)?;
            self.cluster.kill(leader)?;
            let begun = Instant::now();
            let add = command::Kind::Enqueue(Enqueue { track: self.track.clone(), next: false });
            let entry = wait_until("a command after the leader's death", || {
                Ok(client
                    .submit(&self.runtime, &self.room, add.clone())
                    .ok()
                    .map(|reply| reply.entry))
            })?;
            found.push(begun.elapsed().as_secs_f64() * 1e3);
            client.submit(
                &self.runtime,
                &self.room,
                command::Kind::Remove(RemoveEntry { entry }),
            )?;
            self.cluster.start_node(leader)?;
            self.cluster.wait_for_all()?;
        }
        found.sort_by(f64::total_cmp);
        Ok((found[found.len() / 2], found[found.len() - 1]))
    }

    /// What takes listeners: skew, memory, and the time to the first sound.
    fn listening(&mut self) -> anyhow::Result<()> {
        self.cluster.jam(&["play", &self.room])?;
        let mut ann = self.cluster.listen("ann", &self.room, 80)?;
        let mut bob = self.cluster.listen("bob", &self.room, -60)?;
        ann.play_on(LISTEN_SECS)?;
        bob.play_on(0.0)?;
        let leader = self.cluster.wait_for_leader()?;
        let node = self.cluster.pid(leader).context("the leader runs")?;
        println!("| memory of the node that leads (VmRSS) | {:.0} MB |", resident_mb(node)?);
        println!("| memory of a listener (VmRSS) | {:.0} MB |", resident_mb(ann.pid())?);
        let (ann, bob) = (self.hear(ann)?, self.hear(bob)?);
        let (from, to) = common_span(&[&ann, &bob]).context("both listened")?;
        let skew = skew(&ann, &bob, from, to).context("both listened")?;
        let ms = |nanos: i64| nanos as f64 * 1e-6;
        println!(
            "| skew of two listeners, cards +80 and -60 ppm, {LISTEN_SECS:.0} s | p50 {:.3} ms, p99 {:.3} ms, most {:.3} ms |",
            ms(skew.p50_ns),
            ms(skew.p99_ns),
            ms(skew.max_ns)
        );
        let mut found = Vec::new();
        for round in 0..JOINS {
            let begun_ns = monotonic_ns();
            let mut listener = self.cluster.listen(&format!("join{round}"), &self.room, 0)?;
            listener.play_on(1.0)?;
            let (first_ns, _) = self.hear(listener)?.span_ns().context("something was heard")?;
            found.push((first_ns - begun_ns) as f64 * 1e-6);
        }
        found.sort_by(f64::total_cmp);
        println!(
            "| `jam join` to the first sound, nothing cached, {JOINS} times | median {:.0} ms, longest {:.0} ms |",
            found[found.len() / 2],
            found[found.len() - 1]
        );
        Ok(())
    }

    fn hear(&self, listener: Listener) -> anyhow::Result<Heard> {
        let wav = self.dir.join(format!("{}.wav", listener.user));
        listener.leave()?;
        let recording = Recording::open(&wav)?;
        let heard = listen(&Reference::new(self.songs.clone(), recording.sample_rate), recording);
        if !heard.gaps.is_empty() || !heard.jumps.is_empty() {
            eprintln!("{}: {} gaps, {} jumps", wav.display(), heard.gaps.len(), heard.jumps.len());
        }
        Ok(heard)
    }
}

/// A session on one node, over one connection.
struct Client {
    rooms: RoomsClient<Channel>,
    session: Vec<u8>,
    number: u64,
    /// Whether the last number's outcome is known.
    settled: bool,
}

impl Client {
    fn open(runtime: &Runtime, address: String, seed: u8) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let mut rooms = RoomsClient::new(runtime.block_on(endpoint.connect())?);
        // Nobody else uses this cluster, so the session need not be random.
        let session = vec![seed; 16];
        let request =
            OpenSessionRequest { session: session.clone(), user: "bench".into(), deadline_ms: 0 };
        runtime.block_on(rooms.open_session(request))?;
        Ok(Self { rooms, session, number: 0, settled: true })
    }

    /// The same command after a failure is the same attempt.
    fn submit(
        &mut self,
        runtime: &Runtime,
        room: &str,
        kind: command::Kind,
    ) -> anyhow::Result<SubmitReply> {
        self.number += u64::from(self.settled);
        self.settled = false;
        let request = SubmitRequest {
            session: self.session.clone(),
            number: self.number,
            room: room.to_owned(),
            command: Some(Command { kind: Some(kind) }),
            deadline_ms: 0,
        };
        let reply = runtime.block_on(self.rooms.submit(request))?.into_inner();
        self.settled = true;
        if let Some(rejection) = &reply.rejection {
            bail!("rejected: {}", rejection.message);
        }
        Ok(reply)
    }
}

fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a running process")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
