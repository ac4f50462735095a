//! What is promised to a listener, each judged from what was heard.
//!
//! | promise | file |
//! | --- | --- |
//! | the music does not stop: no gap, repeat, jump or wrong sound | [`mod@sound`] |
//! | everyone hears the same instant | [`mod@skew`] |
//! | … through a change of the leader too | [`mod@phase`] |
//! | a trace says what was heard | [`mod@trace`] |
//!
//! [`mod@report`] puts them together for people and for scripts.

pub mod phase;
pub mod report;
pub mod skew;
pub mod sound;
pub mod trace;

/// The value below which a share of `sorted` lies; nearest rank.
fn quantile(sorted: &[i64], share: f64) -> i64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
