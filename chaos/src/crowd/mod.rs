//! Everybody who uses a cluster in a run, simulated or real: clients who edit, watchers, hosts, listeners, an operator. They
//! write down what they ask and what they are told.

mod client;
mod ear;
mod guest;
mod host;
mod operator;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::RoomCode;
use jam_world::World;
use tonic::transport::{Channel, Endpoint};

use crate::book::Book;
use crate::seed::Stream;

pub use client::Client;
pub use guest::{Guest, TrueClock};
pub use host::Host;
pub use operator::{Orders, run as operate};
pub use watcher::Watcher;

/// Before a connection counts as refused.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// A silent connection is given up within the sum of these.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// What all clients of a run share.
#[derive(Clone)]
pub struct Scene {
    /// The rooms: those that everybody edits all the time, and last the one where listeners are, which has a host.
    pub rooms: Arc<[RoomCode]>,
    /// The songs that everybody queues.
    pub songs: Arc<[Song]>,
    /// The songs that the host queues: each frame tells its place ([`crate::tellsong`]).
    pub concert: Arc<[Song]>,
    /// Where the nodes are, by place.
    pub addresses: Arc<[String]>,
    /// Where sessions and songs are kept, on the disk of whoever keeps them.
    pub home: PathBuf,
    /// Where all is written down.
    pub book: Book,
    /// Of all draws.
    pub seed: u64,
    /// True time from which on nothing is broken, and watchers stay where they are, ns.
    pub healed_ns: i64,
    /// True time from which on clients rest, ns.
    pub until_ns: i64,
}

/// A song: a short file of PCM.
pub struct Song {
    /// Its hash.
    pub track: [u8; 32],
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its length, ns.
    pub length_ns: f64,
}

impl Song {
    /// Of a file of so many seconds.
    pub fn new(bytes: Vec<u8>, secs: f64) -> Self {
        Self { track: *blake3::hash(&bytes).as_bytes(), bytes, length_ns: secs * 1e9 }
    }
}

/// Connections to all the nodes.
pub struct Nodes {
    channels: Vec<Channel>,
    at: usize,
}

impl Nodes {
    /// From a process, beginning at a node that is drawn.
    pub fn of(world: &World, scene: &Scene, draws: &mut Stream) -> Self {
        Self::new(world, &scene.addresses, draws.below(scene.addresses.len() as u64) as usize)
    }

    /// From a process, beginning at one of them.
    pub fn new(world: &World, addresses: &[String], at: usize) -> Self {
        let channels = addresses.iter().map(|address| {
            let uri = format!("http://{address}");
            let endpoint = Endpoint::from_shared(uri).expect("our own addresses are good");
            let endpoint = endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true);
            world.channel(endpoint)
        });
        Self { channels: channels.collect(), at }
    }

    /// The one in use.
    pub fn current(&self) -> Channel {
        self.channels[self.at % self.channels.len()].clone()
    }

    /// Its place.
    pub fn place(&self) -> u64 {
        (self.at % self.channels.len()) as u64 + 1
    }

    /// Another one from now on.
    pub fn go_on(&mut self) {
        self.at += 1;
    }
}
