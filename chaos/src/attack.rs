//! One client that attacks: what `jam-chaos run hostile` lets loose on a cluster, in a process of its own.
//!
//! Each attack is bounded in connections and requests in flight, and ends when its time is over or it is killed.

mod calls;
mod raw;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

/// How the sessions of attackers begin, so that no judge takes them for somebody's whose commands were made up.
pub const SESSION_MARK: &[u8] = b"attacker";
/// Between two lines that say what was done so far.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// What this process has done so far: connections, batches of frames, requests.
static DEEDS: AtomicU64 = AtomicU64::new(0);

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Burns processor time and attacks nobody: what the others are measured against.
    Burn,
    /// Thousands of connections that send the HTTP/2 preface and nothing more.
    Preface,
    /// Connections that answer pings and ask for nothing.
    Pings,
    /// Connections that hold the body of a POST.
    Posts,
    /// Cheap frames on one connection for each node, and transfers of the leader.
    Frames,
    /// Many enqueues of one album at one time.
    Enqueues,
    /// Watches of a room with a very long queue, of which nothing is taken.
    Watchers,
    /// Status requests for such a room, a hundred at a time.
    Statuses,
    /// Lists of all rooms, two hundred at a time.
    Lists,
    /// Uploads that promise much and bring little.
    Uploads,
    /// Listeners that say that they are far away.
    Liars,
    /// Fetches of a song of which nothing is taken.
    Fetches,
}

/// `jam-chaos attack`.
#[derive(Args, Debug)]
pub struct Attacker {
    /// What to do.
    attack: Attack,
    /// The nodes.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…", required = true)]
    servers: Vec<String>,
    /// The room where people listen.
    #[arg(long)]
    room: String,
    /// A song that the cluster has: its BLAKE3 hash.
    #[arg(long)]
    track: String,
    /// How long, seconds.
    #[arg(long, default_value = "10", value_name = "SECONDS")]
    secs: u64,
}

impl Attacker {
    /// Attacks until the time is over.
    ///
    /// # Errors
    /// If the arguments make no sense; what the nodes do to an attacker is no error.
    pub fn run(&self) -> anyhow::Result<()> {
        let track = blake3::Hash::from_hex(&self.track).context("--track is no hash")?;
        let until = Instant::now() + Duration::from_secs(self.secs);
        let target = calls::Target {
            servers: self.servers.clone(),
            room: self.room.clone(),
            track: track.as_bytes().to_vec(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let _ = runtime.block_on(async {
            timeout_at(until, async { tokio::join!(attack(self.attack, &target), tell()) }).await
        });
        runtime.shutdown_background();
        Ok(())
    }
}

/// Without an end.
async fn attack(attack: Attack, target: &calls::Target) {
    match attack {
        Attack::Burn => burn().await,
        Attack::Preface => raw::hold(&target.servers, raw::Hold::Preface).await,
        Attack::Pings => raw::hold(&target.servers, raw::Hold::Pings).await,
        Attack::Posts => raw::hold(&target.servers, raw::Hold::Posts).await,
        Attack::Frames => {
            tokio::join!(raw::flood(&target.servers), calls::transfers(target));
        }
        Attack::Enqueues => calls::enqueues(target).await,
        Attack::Watchers => calls::watchers(target).await,
        Attack::Statuses => calls::statuses(target).await,
        Attack::Lists => calls::lists(target).await,
        Attack::Uploads => calls::uploads(target).await,
        Attack::Liars => calls::liars(target).await,
        Attack::Fetches => calls::fetches(target).await,
    }
}

/// Something was done to a node.
fn did() {
    DEEDS.fetch_add(1, Ordering::Relaxed);
}

/// Says how much, for whoever judges: an attacker that does nothing proves nothing.
async fn tell() {
    loop {
        sleep(TELL_EVERY).await;
        println!("{}", DEEDS.load(Ordering::Relaxed));
    }
}

/// Both cores of a small machine.
async fn burn() {
    did();
    let spin = || tokio::task::spawn_blocking(|| while std::hint::black_box(true) {});
    let _ = tokio::join!(spin(), spin());
}
