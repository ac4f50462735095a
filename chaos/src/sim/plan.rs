//! What is going to happen in a run, drawn from its seed before it begins, so that it can be printed, kept, and made
//! smaller.

mod added;
mod clock_files;
mod wipes;

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::clock_file::Harm;
use crate::seed::Stream;

/// Nodes of the cluster.
pub const NODES: u64 = 3;
/// No machine is suspended and woken in less, ms. Clocks are too far apart to tell a sleep of a few.
const SLEEP_MS_MIN: u64 = 50;
/// Before the first fault: the cluster forms.
const QUIET_MS: u64 = 4_000;
/// When faults of all kinds end, of the whole run.
const SAFETY_SHARE: f64 = 0.45;
/// When the last node is healed.
const LIVENESS_SHARE: f64 = 0.62;

/// How rough it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A data centre on a good day: short links, a crash or a cut now and then.
    Calm,
    /// A bad day: power cuts, sleeping machines, lost disks, links with long tails.
    Rough,
    /// All of it at once, all the time.
    Hell,
}

/// Everything of a run that was drawn before it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of all draws.
    pub seed: u64,
    /// What it was drawn by.
    pub profile: Profile,
    /// Length of the run, ms of simulated time.
    pub for_ms: u64,
    /// The shortest way of a message, ms.
    pub latency_ms_min: u64,
    /// The longest, ms; most take far less.
    pub latency_ms_max: u64,
    /// Raft's heartbeat, ms.
    pub heartbeat_ms: u64,
    /// Raft's election timeout, ms.
    pub election_ms: (u64, u64),
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind one.
    pub keep_entries: u64,
    /// When faults of all kinds end, but for what the last one left broken, ms.
    pub liveness_ms: u64,
    /// When nothing is broken any more, ms.
    pub healed_ms: u64,
    /// What breaks, by the time at which it does.
    pub faults: Vec<Fault>,
    /// A bug that is there on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
}

/// Something that breaks, and heals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it breaks, ms.
    pub at_ms: u64,
    /// When it heals, ms.
    pub until_ms: u64,
    /// What.
    pub kind: Kind,
}

/// What can break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processes are killed.
    Kill {
        /// Whose.
        nodes: BTreeSet<u64>,
    },
    /// Machines lose their power.
    Power {
        /// Which.
        nodes: BTreeSet<u64>,
    },
    /// A machine loses its power in the middle of its so many-th write from now.
    Fuse {
        /// Which.
        node: u64,
        /// Writes and syncs, from 1.
        writes: u64,
    },
    /// A node's disk is lost, and it gets a new one, and its place a new node.
    Wipe {
        /// Its place.
        node: u64,
    },
    /// Processes stand still, and their machines go on.
    Stop {
        /// The machines.
        hosts: BTreeSet<String>,
    },
    /// A machine sleeps.
    Sleep {
        /// Which.
        host: String,
    },
    /// Nothing gets from one host to another.
    Cut {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// And back.
        both: bool,
    },
    /// Nothing gets from a node to the other nodes or back, and all else reaches it as ever.
    CutFromPeers {
        /// Which.
        node: u64,
    },
    /// What two hosts send to each other comes late, all at once.
    Hold {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// Somebody sets a machine's time of day.
    Wall {
        /// Which.
        host: String,
        /// By how much, s.
        by_secs: i64,
    },
    /// A disk is slow.
    Slow {
        /// Whose.
        node: u64,
    },
    /// A disk fails from its so many-th write on, until the node is started again.
    DiskError {
        /// Whose.
        node: u64,
        /// Writes and syncs, from 1.
        writes: u64,
    },
    /// A disk is nearly full.
    Full {
        /// Whose.
        node: u64,
        /// What still fits.
        bytes: u64,
    },
    /// A byte goes bad in what a node keeps of songs: originals, or packs of segments.
    Rot {
        /// Whose.
        node: u64,
        /// Which file, of those that are there by then.
        pick: u64,
    },
    /// A node's saved clock is harmed, and the node, or every node, is killed and started with it.
    ClockFile {
        /// Whose.
        node: u64,
        /// How; none: what it held when the fault began is put back.
        harm: Option<Harm>,
        /// Every node is killed and started.
        all: bool,
    },
    /// The clients on a machine are killed, and others begin in their place.
    Churn {
        /// The name of the machine.
        client: String,
    },
}

/// Clients that edit, on each of their machines.
pub const CLIENTS: u64 = 2;
/// Machines of clients that edit.
pub const DESKS: u64 = 2;
/// Clients that watch, all on one machine: each machine costs time, whatever it does.
pub const WATCHERS: u64 = 3;
/// The machine of the clients that watch.
pub const WATCH: &str = "watch";
/// Clients that listen, each on a machine of its own.
pub const LISTENERS: u64 = 2;
/// The machine of those who are never broken: the host of the listeners' room, and the operator.
pub const OFFICE: &str = "office";

/// The name of a node's machine.
pub fn node_name(place: u64) -> String {
    format!("n{place}")
}

/// The name of a machine of clients that edit.
pub fn desk_name(number: u64) -> String {
    format!("desk{number}")
}

/// The name of a listener's machine.
pub fn listener_name(number: u64) -> String {
    format!("l{number}")
}

/// All machines of clients that can be broken.
fn clients() -> Vec<String> {
    let desks = (1..=DESKS).map(desk_name);
    desks.chain([WATCH.to_owned()]).chain((1..=LISTENERS).map(listener_name)).collect()
}

impl Plan {
    /// Draws a plan.
    pub fn new(seed: u64, profile: Profile, for_ms: u64) -> Self {
        let mut draws = Stream::new(seed, "plan");
        let tail_ms = match profile {
            Profile::Calm => 4,
            Profile::Rough => draws.within(6..=30) as u64,
            Profile::Hell => draws.within(6..=120) as u64,
        };
        let (heartbeat_ms, election_ms) = match profile {
            Profile::Calm => (30, (60, 95)),
            Profile::Rough => (60, (200, 320)),
            Profile::Hell => (100, (400, 700)),
        };
        let share = |share: f64| (for_ms as f64 * share) as u64;
        let mut plan = Self {
            seed,
            profile,
            for_ms,
            latency_ms_min: 1,
            latency_ms_max: tail_ms,
            heartbeat_ms,
            election_ms,
            snapshot_every: draws.within(20..=200) as u64,
            keep_entries: draws.within(0..=40) as u64,
            liveness_ms: share(SAFETY_SHARE),
            healed_ms: share(LIVENESS_SHARE),
            faults: Vec::new(),
            planted: None,
        };
        let every_ms = match profile {
            Profile::Calm => 7_000,
            Profile::Rough => 2_500,
            Profile::Hell => 900,
        };
        let pause = |draws: &mut Stream| draws.within(every_ms / 4..=every_ms * 7 / 4) as u64;
        let mut at_ms = QUIET_MS + pause(&mut draws);
        while at_ms < plan.liveness_ms {
            let lasts_ms = draws.within(50..=every_ms * 2) as u64;
            let kind = Kind::draw(profile, &mut draws);
            let until_ms = (at_ms + lasts_ms).min(plan.liveness_ms);
            let can_be = match kind {
                // Who loses a second disk before the first one's node is replaced has lost what only those two had.
                Kind::Wipe { .. } => plan.wiped().is_none(),
                Kind::Sleep { .. } => until_ms - at_ms >= SLEEP_MS_MIN,
                _ => true,
            };
            if can_be {
                plan.faults.push(Fault { at_ms, until_ms, kind });
            }
            at_ms += pause(&mut draws);
        }
        plan.rot_songs();
        plan.cut_from_peers();
        plan.harm_clock_files();
        plan.wipe_again();
        // One node stays broken while the rest must go on.
        let drawn = draws.below(NODES) + 1;
        let left = BTreeSet::from([plan.wiped().unwrap_or(drawn)]);
        let kind = match draws.below(2) {
            0 => Kind::Power { nodes: left },
            _ => Kind::Kill { nodes: left },
        };
        plan.faults.push(Fault { at_ms: plan.liveness_ms, until_ms: plan.healed_ms, kind });
        plan
    }
}

impl Kind {
    fn draw(profile: Profile, draws: &mut Stream) -> Self {
        let node = draws.below(NODES) + 1;
        let other = (node + draws.below(NODES - 1)) % NODES + 1;
        let some = |draws: &mut Stream| match draws.below(6) {
            0 => (1..=NODES).collect(),
            1 => BTreeSet::from([node, other]),
            _ => BTreeSet::from([node]),
        };
        let client = |draws: &mut Stream| {
            let mut clients = clients();
            clients.swap_remove(draws.below(clients.len() as u64) as usize)
        };
        // Most links that break are between nodes.
        let peer = |draws: &mut Stream| {
            if draws.one_in(3) { client(draws) } else { node_name(other) }
        };
        let any = |draws: &mut Stream| {
            if draws.one_in(3) { client(draws) } else { node_name(node) }
        };
        let kinds = match profile {
            Profile::Calm => 4,
            Profile::Rough => 13,
            Profile::Hell => 15,
        };
        match draws.below(kinds) {
            0 => Self::Kill { nodes: some(draws) },
            1 | 2 => {
                let (one, other, both) = (node_name(node), peer(draws), !draws.one_in(3));
                let (from, to) = if draws.one_in(2) { (one, other) } else { (other, one) };
                Self::Cut { from, to, both }
            }
            3 => Self::Hold { one: node_name(node), other: peer(draws) },
            4 => Self::Power { nodes: some(draws) },
            5 => Self::Fuse { node, writes: draws.within(1..=60) as u64 },
            6 => Self::Wall { host: any(draws), by_secs: draws.within(-90_000..=90_000) },
            7 => Self::Slow { node },
            8 => Self::Wipe { node },
            9 if draws.one_in(3) => Self::Stop { hosts: BTreeSet::from([client(draws)]) },
            9 => Self::Stop { hosts: some(draws).into_iter().map(node_name).collect() },
            10 => Self::Sleep { host: any(draws) },
            11 => Self::Full { node, bytes: draws.below(200_000) },
            12 => Self::Churn { client: client(draws) },
            13 => Self::DiskError { node, writes: draws.within(1..=60) as u64 },
            _ => Self::Fuse { node, writes: draws.within(1..=8) as u64 },
        }
    }

    /// The hosts that it affects.
    pub fn affects(&self) -> Vec<String> {
        match self {
            Self::Stop { hosts } => hosts.iter().cloned().collect(),
            Self::Kill { nodes } | Self::Power { nodes } => {
                nodes.iter().map(|node| node_name(*node)).collect()
            }
            Self::Cut { from: one, to: other, .. } | Self::Hold { one, other } => {
                vec![one.clone(), other.clone()]
            }
            Self::Fuse { node, .. }
            | Self::CutFromPeers { node }
            | Self::Wipe { node }
            | Self::Slow { node }
            | Self::Full { node, .. }
            | Self::Rot { node, .. }
            | Self::ClockFile { node, all: false, .. }
            | Self::DiskError { node, .. } => vec![node_name(*node)],
            Self::ClockFile { all: true, .. } => (1..=NODES).map(node_name).collect(),
            Self::Sleep { host } | Self::Wall { host, .. } | Self::Churn { client: host } => {
                vec![host.clone()]
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.affects().join(", ");
        match self {
            Self::Kill { .. } => write!(out, "{names}: killed"),
            Self::Power { .. } => write!(out, "{names}: no power"),
            Self::Fuse { writes, .. } => write!(out, "{names}: no power from write {writes} on"),
            Self::Wipe { .. } => write!(out, "{names}: the disk is lost"),
            Self::Cut { from, to, both: true } => {
                write!(out, "{from} and {to}: cut off from each other")
            }
            Self::Cut { from, to, both: false } => write!(out, "{from} to {to}: cut off"),
            Self::CutFromPeers { .. } => write!(out, "{names}: cut off from its peers"),
            Self::Hold { one, other } => write!(out, "{one} and {other}: messages held"),
            Self::Wall { by_secs, .. } => write!(out, "{names}: time of day set by {by_secs} s"),
            Self::Slow { .. } => write!(out, "{names}: the disk is slow"),
            Self::DiskError { writes, .. } => {
                write!(out, "{names}: the disk fails from write {writes} on")
            }
            Self::Stop { .. } => write!(out, "{names}: stopped"),
            Self::Sleep { .. } => write!(out, "{names}: asleep"),
            Self::Full { bytes, .. } => {
                write!(out, "{names}: the disk is full but for {bytes} bytes")
            }
            Self::Churn { .. } => write!(out, "{names}: killed and replaced"),
            Self::Rot { .. } => write!(out, "{names}: a song goes bad on the disk"),
            Self::ClockFile { node, harm, .. } => {
                let what = match harm {
                    Some(harm) => format!("{harm:?}").to_lowercase(),
                    None => "put back".to_owned(),
                };
                write!(out, "{names}: started anew, with the clock file of n{node} {what}")
            }
        }
    }
}
