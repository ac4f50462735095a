//! Plays songs without a cluster: a room that began at a given reading of this machine's raw
//! clock.
//!
//! To measure the audio half alone. Processes that are given the same start play the same room:
//!
//! ```text
//! cargo run --release --example alone -- START_NS SECONDS OUTPUT TRACE|- SONG…
//! ```
//! START_NS is a CLOCK_MONOTONIC_RAW reading, OUTPUT as for `jam join`. Songs are queued in order,
//! again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwapOption;
use jam_client::audio::clocks::slept_ns;
use jam_client::audio::{
    ClockStanding, ClockView, OutputSpec, Player, PlayerConfig, PlayerInputs, SongFiles, Trims,
};
use jam_proto::event::{Entry, Event, EventKind, Song};
use jam_proto::ids::{EntryId, Revision, RoomCode, TrackId};
use jam_proto::limits;
use jam_proto::loudness::Gain;
use jam_proto::room::Room;
use jam_proto::sync::SharedMap;
use jam_proto::time::SharedTime;
use jam_world::World;

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [start_ns, seconds, output, trace, songs @ ..] = arguments.as_slice() else {
        bail!("usage: alone START_NS SECONDS OUTPUT TRACE|- SONG…");
    };
    let seconds: u64 = seconds.parse().context("SECONDS")?;
    let map = SharedMap { raw_ns: 0, shared: SharedTime(0), drift: 0.0 };
    let start = map.at(start_ns.parse().context("START_NS")?);
    let (room, files) = room_of(songs, start, seconds)?;
    let slept_ns = slept_ns(World::real().clock.as_ref());
    let view = ClockView {
        map,
        bound_ns: 0,
        leader: 0,
        term: 0,
        epoch: 0,
        slept_ns,
        standing: ClockStanding::default(),
    };
    let inputs = PlayerInputs {
        room: Arc::new(ArcSwapOption::from_pointee(room)),
        clock: Arc::new(ArcSwapOption::from_pointee(view)),
        songs: Arc::new(files),
    };
    let config = PlayerConfig {
        normalizes: true,
        output: OutputSpec::parse(output)?,
        host: None,
        volume: 1.0,
        trim_ns: None,
        trims: Trims::default(),
        trace: Some(PathBuf::from(trace)).filter(|path| path != Path::new("-")),
        sink: None,
        urgent: true,
    };
    let player = Player::start(&World::real(), config, inputs)?;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        println!("{:?}", player.status());
    }
    player.stop();
    Ok(())
}

/// A room that plays the songs from `start` on, often enough for `seconds` and a few minutes more.
fn room_of(songs: &[String], start: SharedTime, seconds: u64) -> Result<(Room, SongFiles)> {
    let mut revision = 0;
    let mut next = |kind| {
        revision += 1;
        Event {
            revision: Revision(revision),
            stamp: start,
            effective_at: start,
            by: "alone".into(),
            kind,
        }
    };
    let created = EventKind::Created { code: RoomCode::from_random(0), name: "alone".into() };
    let mut room = Room::begin(&next(created)).context("a room begins with its creation")?;
    let files = SongFiles::default();
    let mut entries = Vec::new();
    for (n, song) in songs.iter().enumerate() {
        let path = PathBuf::from(song);
        let limit = jam_media::Limits { secs_max: limits::SONG_SECS_MAX };
        let info =
            jam_media::inspect(jam_media::file(&path)?, limit).with_context(|| song.clone())?;
        let track = TrackId([n as u8; 32]);
        files.add(track, path);
        entries.push(Entry {
            id: EntryId(0),
            song: Arc::new(Song {
                track,
                title: song.clone(),
                artist: String::new(),
                album: String::new(),
                frames: info.frames,
                sample_rate: info.sample_rate,
                own_gain: None,
            }),
            added_by: "alone".into(),
            gain: Gain(0),
        });
    }
    let lap: f64 = entries.iter().map(|entry| entry.length().as_secs_f64()).sum();
    let laps = ((seconds as f64 + 300.0) / lap).ceil() as usize;
    for (n, entry) in entries.iter().cycle().take(laps * entries.len()).enumerate() {
        let entry = Entry { id: EntryId(n as u64 + 1), ..entry.clone() };
        room.fold(&next(EventKind::Enqueued { entry, before: None }))?;
    }
    room.fold(&next(EventKind::Played))?;
    Ok((room, files))
}
