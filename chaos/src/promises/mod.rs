//! What is promised, each judged by a file of its own.
//!
//! From what listeners heard; [`mod@report`] puts it together for people and for scripts:
//!
//! | promise | file |
//! | --- | --- |
//! | the music does not stop: no gap, repeat, jump or wrong sound | [`mod@sound`] |
//! | everyone hears the same instant | [`mod@skew`] |
//! | … through a change of the leader too | [`mod@phase`] |
//! | a trace says what was heard | [`mod@trace`] |
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
pub mod phase;
pub mod progress;
pub mod replay;
pub mod report;
pub mod shared_time;
pub mod skew;
pub mod sometimes;
pub mod songs;
pub mod sound;
pub mod stalls;
pub mod standing;
#[cfg(test)]
pub(crate) mod story;
pub mod streams;
pub mod trace;
mod untold;
pub mod verdict;
pub mod voting;

/// The value below which a share of `sorted` lies; nearest rank.
fn quantile(sorted: &[i64], share: f64) -> i64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
