//! What is promised, each judged by a file of its own.
//!
//! From what listeners heard: see [`jam_ear`].
//!
//! From a [`crate::history::History`], whether it was simulated or recorded; [`mod@all`] asks them all:
//!
//! | promise | file |
//! | --- | --- |
//! | the nodes agree on log, rooms and leaders, and lose nothing | [`mod@agreement`] |
//! | acknowledged means kept, once; refused means never | [`mod@acknowledged`] |
//! | each room is linearizable, in the order of its log | [`mod@order`] |
//! | … and by a search that does not know the log's order | [`mod@linearizable`] |
//! | watchers get each event once and in order | [`mod@streams`] |
//! | shared time is one clock | [`mod@shared_time`] |
//! | listeners hear what their room plays, whole and in place | [`mod@hearing`] |
//! | a listener with live time is never far behind | [`mod@freshness`] |
//! | a healthy majority gets on, and in the end all are equal | [`mod@progress`] |
//! | nodes come back | [`mod@standing`] |
//! | every place votes again | [`mod@voting`] |
//! | songs that are kept can be fetched | [`mod@songs`] |
//! | who runs as a node without a right to ends by itself | [`mod@impostors`] |
//! | a batch of runs reached what it is for | [`mod@sometimes`] |
//!
//! They rest on [`mod@replay`], the committed log and what it makes of the rooms, and answer with a
//! [`verdict::Verdict`].

pub mod acknowledged;
pub mod agreement;
pub mod all;
pub mod freshness;
pub mod hearing;
pub mod impostors;
pub mod linearizable;
mod operations;
pub mod order;
pub mod progress;
pub mod replay;
pub mod shared_time;
pub mod sometimes;
pub mod songs;
pub mod stalls;
pub mod standing;
#[cfg(test)]
pub(crate) mod story;
pub mod streams;
pub mod verdict;
pub mod voting;

pub use jam_ear::{phase, report, skew, sound, trace};
