//! What happens while someone listens, on its way from the parts that notice it to the line that shows it.

use std::fmt;

use jam_proto::event::Event;
use jam_proto::ids::{RoomCode, TrackId};
use tokio::sync::mpsc;

use crate::connection::NoAnswer;
use crate::error::each_once;
use crate::follow::Outdated;

/// So many wait to be shown at most: a terminal that hangs must not hold up the music.
const WAITING_MAX: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum News {
    /// The room is known, up to a revision.
    Snapshot {
        /// Which room.
        room: RoomCode,
        /// Its name.
        name: String,
        /// Up to where.
        revision: u64,
    },
    /// An event of the room.
    Happened(Event),
    /// A node sends the room's events.
    Following {
        /// Which node.
        node: u64,
        /// After they had been missing.
        again: bool,
    },
    /// No node sends them any more.
    Lost(String),
    /// Another node sends them from now on, since the one before was not up to date.
    Changed {
        /// Which node sent them.
        from: u64,
        /// Which node does now.
        to: u64,
        /// What was wrong.
        why: Outdated,
    },
    /// The node that sends them is not up to date, and no other one is: it is followed on.
    Outdated {
        /// Which node.
        node: u64,
        /// What is wrong.
        why: Outdated,
    },
    /// It is up to date again.
    UpToDate {
        /// Which node.
        node: u64,
    },
    /// A song can be played from this machine.
    SongReady(TrackId),
    /// The leader's clock answers.
    Leader {
        /// Which node.
        node: u64,
        /// In which term.
        term: u64,
        /// The clock epoch.
        epoch: u64,
    },
    /// The leader's clock no longer answers; ours runs on.
    LeaderLost {
        /// Which node led.
        node: u64,
    },
    /// No leader's clock was heard for a while.
    Unheard {
        /// Why.
        why: Unheard,
        /// What is played goes on by the time that was heard before; otherwise there is none, and no sound.
        has_time: bool,
    },
    /// The time of another leader is used from now on.
    Failover {
        /// Who led before.
        from: u64,
        /// Who leads now.
        to: u64,
        /// From the last answer of the one to the first one of the other, ns.
        silent_ns: i64,
        /// By how much shared time moved; none: it began a new epoch.
        moved: Option<Moved>,
    },
    /// Something that a person should know.
    Trouble(String),
}

/// Why no leader's clock is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// A node leads, and does not answer.
    Leader {
        /// Which one.
        node: u64,
        /// Where, and what happened there.
        at: NoAnswer,
    },
    /// Nodes answer, and none of them knows a leader.
    NoLeader {
        /// What happened at the other addresses.
        silent: Vec<NoAnswer>,
    },
    /// No node answers.
    Nobody {
        /// What happened at each address.
        silent: Vec<NoAnswer>,
    },
}

impl fmt::Display for Unheard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader { node, at } => {
                write!(out, "node {node} leads and does not answer at {at}")
            }
            Self::NoLeader { silent } if silent.is_empty() => {
                out.write_str("no node leads, though all of them answer")
            }
            Self::NoLeader { silent } => {
                write!(out, "no node leads: a majority has to run ({})", each_once(silent))
            }
            Self::Nobody { silent } => write!(out, "no node answers ({})", each_once(silent)),
        }
    }
}

/// A change of shared time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// By how much it is ahead of what it was held over to, ns.
    pub phase_ns: i64,
    /// How well that is known, ns.
    pub bound_ns: i64,
}

/// Where parts tell their news.
#[derive(Clone, Debug)]
pub struct Reporter(mpsc::Sender<News>);

impl Reporter {
    /// A place to tell news, and one to hear them.
    pub fn new() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Tells, and never waits. If nobody has listened for a thousand news, one more is lost.
    pub fn tell(&self, news: News) {
        let _ = self.0.try_send(news);
    }
}
