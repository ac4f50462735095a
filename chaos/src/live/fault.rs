//! What can be broken in a real cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::links::Way;
use super::machine::rot;
use crate::attack::Attack;
use crate::clock_file::Harm;

/// Which nodes. Who leads is looked up when the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// The one that leads; any one while nobody does.
    Leader,
    /// One that doesn't.
    Follower,
    /// Just as many as are more than half.
    Majority,
    /// Every one.
    All,
    /// The node of this place.
    Node(u64),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "leader" => Self::Leader,
            "follower" => Self::Follower,
            "majority" => Self::Majority,
            "all" => Self::All,
            place => match place.parse() {
                Ok(place) if place > 0 => Self::Node(place),
                _ => {
                    return Err(format!(
                        "'{text}' names no nodes; say leader, follower, majority, all, or a number"
                    ));
                }
            },
        })
    }
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Who> for String {
    fn from(who: Who) -> Self {
        match who {
            Who::Node(place) => place.to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => out.write_str("leader"),
            Self::Follower => out.write_str("follower"),
            Self::Majority => out.write_str("majority"),
            Self::All => out.write_str("all"),
            Self::Node(place) => write!(out, "node {place}"),
        }
    }
}

/// Which bytes of a node are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What it sends and what it is sent.
    Both,
    /// What it is sent.
    In,
    /// What it sends.
    Out,
}

/// Who is cut off from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// The other nodes.
    Nodes,
    /// Everybody who is no node.
    Clients,
    /// Everybody.
    All,
}

/// Something that breaks, and heals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// SIGKILL; started again when it heals.
    Kill {
        /// Whom.
        who: Who,
    },
    /// SIGSTOP, SIGCONT.
    Stop {
        /// Whom.
        who: Who,
    },
    /// No power: what was not synced is lost. Started again when it heals. Takes disks of the nodes' own.
    Power {
        /// Whose.
        who: Who,
    },
    /// Bytes are lost between a node and others.
    Cut {
        /// Whose.
        who: Who,
        /// Which ones.
        direction: Direction,
        /// Between it and whom.
        from: Others,
    },
    /// Two nodes don't reach each other; others reach both.
    Bridge,
    /// Each node reaches its neighbours in a ring only: of five each sees a majority, and no two see the same one.
    Ring,
    /// All links of a node are so, both ways.
    Links {
        /// Whose.
        who: Who,
        /// How each direction is.
        way: Way,
    },
    /// All connections of a node are reset, once.
    Reset {
        /// Whose.
        who: Who,
    },
    /// A node's connections vanish; those who had them don't hear of it.
    HalfOpen {
        /// Whose.
        who: Who,
    },
    /// No space is left. Takes disks of the nodes' own.
    DiskFull {
        /// On whose disk.
        who: Who,
    },
    /// Syncs fail with EIO. The process is killed when it heals.
    DiskError {
        /// Whose.
        who: Who,
    },
    /// Syncs take longer.
    SlowDisk {
        /// Whose.
        who: Who,
        /// By so much, ms.
        by_ms: u64,
    },
    /// A node is killed, and a file of it is damaged before it is started again. One that says that its disk lost data is
    /// replaced, as its operator would.
    Rot {
        /// Whose.
        who: Who,
        /// Which file.
        what: rot::Kind,
        /// How.
        how: rot::How,
    },
    /// A node is killed, and its saved clock is harmed before it is started again.
    ClockFile {
        /// Whose.
        who: Who,
        /// How.
        harm: Harm,
    },
    /// The time of day jumps, and back again when it heals.
    WallClock {
        /// Whose.
        who: Who,
        /// By so much, s.
        by_s: f64,
        /// To and fro so many times before.
        #[serde(default)]
        strobes: u32,
    },
    /// One node after the other is stopped, as an operator does, and started.
    RollingRestart,
    /// A node's disk is lost; it gets another one and is replaced.
    Wipe {
        /// Whose.
        who: Who,
    },
    /// A node's data folder is copied while it runs, and a second process is started on the copy.
    CopiedFolder {
        /// Whose.
        who: Who,
        /// The second one does not reach the first one, so that only the other nodes can tell it.
        #[serde(default)]
        hidden: bool,
    },
    /// A node's disk goes away and the node is replaced; then a process is started on the old disk.
    Zombie {
        /// Whose.
        who: Who,
    },
    /// A listener is killed, and joins again when it heals.
    ListenerCrash,
    /// A file in the song cache of a listener that plays is damaged.
    CacheRot {
        /// How.
        how: rot::How,
    },
    /// Somebody watches a room and takes nothing of what comes.
    StuckWatcher,
    /// A client attacks, in a process that goes behind all others.
    Attack {
        /// How.
        attack: Attack,
    },
}

impl Kind {
    /// What it is called in lists.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Stop { .. } => "stop",
            Self::Power { .. } => "power",
            Self::Cut { .. } => "cut",
            Self::Bridge => "bridge",
            Self::Ring => "ring",
            Self::Links { .. } => "links",
            Self::Reset { .. } => "reset",
            Self::HalfOpen { .. } => "half-open",
            Self::DiskFull { .. } => "disk-full",
            Self::DiskError { .. } => "disk-error",
            Self::SlowDisk { .. } => "slow-disk",
            Self::Rot { .. } => "rot",
            Self::ClockFile { .. } => "clock-file",
            Self::WallClock { .. } => "wall-clock",
            Self::RollingRestart => "rolling-restart",
            Self::Wipe { .. } => "wipe",
            Self::CopiedFolder { .. } => "copied-folder",
            Self::Zombie { .. } => "zombie",
            Self::ListenerCrash => "listener-crash",
            Self::CacheRot { .. } => "cache-rot",
            Self::StuckWatcher => "stuck-watcher",
            Self::Attack { .. } => "attack",
        }
    }

    /// Whom it is about, if it is about nodes.
    pub fn who(&self) -> Option<Who> {
        match self {
            Self::Kill { who }
            | Self::Stop { who }
            | Self::Power { who }
            | Self::Cut { who, .. }
            | Self::Links { who, .. }
            | Self::Reset { who }
            | Self::HalfOpen { who }
            | Self::DiskFull { who }
            | Self::DiskError { who }
            | Self::SlowDisk { who, .. }
            | Self::Rot { who, .. }
            | Self::ClockFile { who, .. }
            | Self::WallClock { who, .. }
            | Self::Wipe { who }
            | Self::CopiedFolder { who, .. }
            | Self::Zombie { who } => Some(*who),
            Self::Bridge => Some(Who::Follower),
            Self::Ring
            | Self::RollingRestart
            | Self::ListenerCrash
            | Self::CacheRot { .. }
            | Self::StuckWatcher
            | Self::Attack { .. } => None,
        }
    }

    /// It takes disks of the nodes' own, which take root.
    pub fn needs_volumes(&self) -> bool {
        matches!(self, Self::Power { .. } | Self::DiskFull { .. })
    }

    /// It takes strace.
    pub fn needs_strace(&self) -> bool {
        matches!(self, Self::DiskError { .. } | Self::SlowDisk { .. })
    }

    /// It takes libfaketime.
    pub fn needs_faketime(&self) -> bool {
        matches!(self, Self::WallClock { .. })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { who } => write!(out, "kill {who}"),
            Self::Stop { who } => write!(out, "stop {who}"),
            Self::Power { who } => write!(out, "no power for {who}"),
            Self::Cut { who, direction, from } => {
                let from = match from {
                    Others::Nodes => "the other nodes",
                    Others::Clients => "the clients",
                    Others::All => "everybody",
                };
                match direction {
                    Direction::Both => write!(out, "cut {who} off from {from}"),
                    Direction::In => write!(out, "{who} hears nothing of {from}"),
                    Direction::Out => write!(out, "{from} hear nothing of {who}"),
                }
            }
            Self::Bridge => out.write_str("two nodes don't reach each other"),
            Self::Ring => out.write_str("nodes reach their neighbours in a ring only"),
            Self::Links { who, way } => write!(out, "links of {who}: {}", way_text(way)),
            Self::Reset { who } => write!(out, "reset the connections of {who}"),
            Self::HalfOpen { who } => write!(out, "half-open connections of {who}"),
            Self::DiskFull { who } => write!(out, "disk of {who} full"),
            Self::DiskError { who } => write!(out, "syncs of {who} fail"),
            Self::SlowDisk { who, by_ms } => write!(out, "syncs of {who} take {by_ms} ms longer"),
            Self::Rot { who, what, how } => {
                write!(out, "damage of {who}: {what:?} {how:?}")
            }
            Self::ClockFile { who, harm } => write!(out, "clock file of {who}: {harm:?}"),
            Self::WallClock { who, by_s, strobes } => {
                write!(out, "wall clock of {who} set by {by_s} s")?;
                if *strobes > 0 { write!(out, ", {strobes} times to and fro") } else { Ok(()) }
            }
            Self::RollingRestart => out.write_str("rolling restart"),
            Self::Wipe { who } => write!(out, "disk of {who} lost"),
            Self::CopiedFolder { who, hidden: false } => write!(out, "data folder of {who} copied"),
            Self::CopiedFolder { who, hidden: true } => {
                write!(out, "data folder of {who} copied to where it is not reached")
            }
            Self::Zombie { who } => write!(out, "{who} replaced, and started on its old disk"),
            Self::ListenerCrash => out.write_str("a listener is killed"),
            Self::CacheRot { how } => write!(out, "damage of a listener's cache: {how:?}"),
            Self::StuckWatcher => out.write_str("a watcher takes nothing"),
            Self::Attack { attack } => write!(out, "attack: {attack:?}"),
        }
    }
}

fn way_text(way: &Way) -> String {
    let healthy = Way::default();
    let mut parts = Vec::new();
    if way.gate != healthy.gate {
        parts.push(format!("{:?}", way.gate).to_lowercase());
    }
    if (way.delay_ms, way.jitter_ms) != (0, 0) {
        parts.push(format!("{} to {} ms late", way.delay_ms, way.delay_ms + way.jitter_ms));
    }
    if way.stall_ms > 0 {
        parts.push(format!("{} ms of every {} ms nothing", way.stall_ms, way.stall_every_ms));
    }
    if way.bytes_per_sec > 0 {
        parts.push(format!("{} kB/s", way.bytes_per_sec / 1000));
    }
    if way.slice_bytes > 0 {
        parts.push(format!("in pieces of {} bytes", way.slice_bytes));
    }
    if parts.is_empty() { "healthy".to_owned() } else { parts.join(", ") }
}
