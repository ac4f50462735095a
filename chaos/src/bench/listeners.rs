//! What a listener hears and takes: how soon and how exactly it comes in, how far two are apart, what a
//! lost leader does to it, and what it costs.
//!
//! All of it is heard by the ear in recordings of real players, on sound cards in software. One listener
//! who has settled, on a card that is not off, is what the others are compared with. What all of them
//! have in common is not seen here: how far the cluster's clock is from anybody else's, and the
//! delay behind a real card's own stamps.

mod cost;
mod joining;
mod together;

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::row;
use crate::cluster::{Cluster, Listener};
use crate::ear::{Heard, Recording, Reference, Song, listen, read_song};

/// Songs are queued this often, so that none of it comes to the end of the queue.
const LAPS: usize = 3;
/// Seconds after which a listener is in its place.
const SETTLED_SECS: f64 = 6.0;

/// What is listened to, and how often.
#[derive(clap::Args)]
pub struct Listen {
    /// The songs that listeners play.
    #[arg(long = "song", value_name = "FILE", num_args = 1.., required = true)]
    songs: Vec<PathBuf>,
    /// Listeners that join one after the other; a third as many leaders are lost.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
}

impl Listen {
    /// Starts a cluster of three, listens for some three minutes, and prints a Markdown table.
    ///
    /// # Errors
    /// If a process can't be started, or what is waited for does not come about.
    pub fn run(&self) -> anyhow::Result<()> {
        let dir = tempfile::tempdir().context("can't make a temporary folder")?;
        let mut cluster = Cluster::start(dir.path(), 3)?;
        println!("| what | median | lowest | highest |\n| --- | --- | --- | --- |");
        measure(&mut cluster, &self.songs, self.trials as usize)
    }
}

fn measure(cluster: &mut Cluster, songs: &[PathBuf], trials: usize) -> anyhow::Result<()> {
    let room = cluster.jam(&["create", "Bench"])?;
    let room = room["room"].as_str().unwrap_or_default().to_owned();
    for song in std::iter::repeat_n(songs, LAPS).flatten() {
        cluster.jam(&["add", &room, &song.display().to_string()])?;
    }
    cluster.jam(&["play", &room])?;
    let songs: Vec<Song> = songs.iter().map(|path| read_song(path)).collect::<Result<_, _>>()?;
    cost::measure(cluster, &room)?;
    let mut settled = cluster.listen("settled", &room, 0)?;
    settled.play_on(SETTLED_SECS)?;
    let joins = joining::record(cluster, &room, trials)?;
    let recorded = together::record(cluster, &room, trials.div_ceil(3))?;
    let settled = hear_out(settled, &songs)?;
    joining::judge(&joins, &settled, &songs)?;
    recorded.judge(&settled, &songs)
}

/// Has a listener leave, and hears what it played.
fn hear_out(listener: Listener, songs: &[Song]) -> anyhow::Result<Heard> {
    let wav = listener.wav.clone();
    listener.leave()?;
    hear(&wav, songs)
}

fn hear(wav: &Path, songs: &[Song]) -> anyhow::Result<Heard> {
    let recording = Recording::open(wav)?;
    Ok(listen(&Reference::new(songs.to_vec(), recording.sample_rate), recording))
}

/// One line of the table, in microseconds.
fn row_us(what: &str, values_ns: &[i64]) {
    row(what, &values_ns.iter().map(|ns| *ns as f64 / 1e3).collect::<Vec<_>>());
}
