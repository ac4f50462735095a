//! A listener's start, memory and CPU, and how far two of them are apart.

use std::path::PathBuf;

use anyhow::Context;

use super::{proc_field, resident_kib, row};
use crate::cluster::{Cluster, monotonic_ns};
use crate::ear::{Recording, Reference, Song, listen, read_song};
use crate::promises::skew::{common_span, skew};

/// Seconds that two listeners are heard together.
const TOGETHER_SECS: f64 = 20.0;
/// Seconds that they are given to steer to their places first.
const SETTLED_SECS: f64 = 4.0;

/// What is listened to, and how often.
#[derive(clap::Args)]
pub struct Listen {
    /// The songs that listeners play.
    #[arg(long = "song", value_name = "FILE", num_args = 1.., required = true)]
    songs: Vec<PathBuf>,
    /// Listeners that join one after the other.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
}

impl Listen {
    /// Starts a cluster of three, listens, and prints a Markdown table.
    ///
    /// # Errors
    /// If a process can't be started, or what is waited for does not come about.
    pub fn run(&self) -> anyhow::Result<()> {
        let dir = tempfile::tempdir().context("can't make a temporary folder")?;
        let cluster = Cluster::start(dir.path(), 3)?;
        let room = cluster.jam(&["create", "Bench"])?;
        let room = room["room"].as_str().unwrap_or_default().to_owned();
        for song in &self.songs {
            cluster.jam(&["add", &room, &song.display().to_string()])?;
        }
        cluster.jam(&["play", &room])?;
        println!("| what | median | lowest | highest |\n| --- | --- | --- | --- |");
        one_by_one(&cluster, &room, self.trials)?;
        together(&cluster, &room, &self.songs)
    }
}

/// Joins the playing room again and again.
fn one_by_one(cluster: &Cluster, room: &str, trials: u64) -> anyhow::Result<()> {
    let mut first_sounds = Vec::new();
    for trial in 0..trials {
        let begun_ns = monotonic_ns();
        let mut listener = cluster.listen(&format!("join{trial}"), room, 0)?;
        listener.play_on(0.5)?;
        let wav = listener.wav.clone();
        listener.leave()?;
        let first_ns = Recording::open(&wav)?.first_sound_ns().context("nothing sounded")?;
        first_sounds.push((first_ns - begun_ns) as f64 / 1e6);
    }
    row("`jam join`, process start to the first sound, ms", &first_sounds);
    Ok(())
}

fn together(cluster: &Cluster, room: &str, songs: &[PathBuf]) -> anyhow::Result<()> {
    let songs: Vec<Song> = songs.iter().map(|path| read_song(path)).collect::<Result<_, _>>()?;
    let mut ann = cluster.listen("ann", room, 80)?;
    let mut bob = cluster.listen("bob", room, -60)?;
    ann.play_on(SETTLED_SECS)?;
    bob.play_on(0.0)?;
    let from_ns = monotonic_ns();
    let cpu = (cpu_ticks(ann.pid())?, from_ns);
    ann.play_on(TOGETHER_SECS)?;
    // A tick is 10 ms: ticks per second are per cent.
    let spent = (cpu_ticks(ann.pid())? - cpu.0) / ((monotonic_ns() - cpu.1) as f64 / 1e9);
    row("one listener's CPU, % of a core", &[spent]);
    row(
        "one listener's memory, MB",
        &[resident_kib(ann.pid())? / 1024.0, resident_kib(bob.pid())? / 1024.0],
    );
    let mut heard = Vec::new();
    for listener in [ann, bob] {
        let wav = listener.wav.clone();
        listener.leave()?;
        let recording = Recording::open(&wav)?;
        heard.push(listen(&Reference::new(songs.clone(), recording.sample_rate), recording));
    }
    let to_ns = common_span(&[&heard[0], &heard[1]]).map_or(from_ns, |span| span.1);
    if let Some(skew) = skew(&heard[0], &heard[1], from_ns, to_ns) {
        let micros = |ns: i64| ns as f64 / 1e3;
        row("skew of two listeners, cards at +80 and -60 ppm, p50, µs", &[micros(skew.p50_ns)]);
        row("the same, p99, µs", &[micros(skew.p99_ns)]);
        row("the same, highest, µs", &[micros(skew.max_ns)]);
    }
    Ok(())
}

/// CPU time of a process in clock ticks of 10 ms.
fn cpu_ticks(pid: u32) -> anyhow::Result<f64> {
    proc_field(pid, "stat", |line| {
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    })
}
