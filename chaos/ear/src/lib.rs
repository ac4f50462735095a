//! An ear, and what is judged from what it hears.
//!
//! The ear hears which song, and which part of it, sounds at which instant of a recording ([`listen`]). It knows the songs and
//! has the sound; it asks neither player nor cluster. From what it heard is judged, each in a file of its own, and put
//! together by [`mod@report`]:
//!
//! | promise | file |
//! | --- | --- |
//! | the music does not stop: no gap, repeat, jump or wrong sound | [`mod@sound`] |
//! | everyone hears the same instant | [`mod@skew`] |
//! | … through a change of the leader too | [`mod@phase`] |
//! | a trace says what was heard | [`mod@trace`] |
//!
//! It is a crate of its own so that `scripts/demo` can judge what was heard without the rest of `jam-chaos`.

pub mod command;
mod explain;
mod heard;
mod interpolate;
pub mod phase;
mod recording;
mod reference;
pub mod report;
mod resample;
mod short;
pub mod skew;
mod songs;
pub mod sound;
pub mod trace;
mod untold;
mod walk;

pub use heard::{Damage, Gap, Heard, Jump, Place, listen};
pub use recording::{Recording, RecordingError, Unreadable};
pub use reference::{Reference, Song};
pub use songs::{SongError, read_song};

/// The value below which a share of `sorted` lies; nearest rank.
fn quantile(sorted: &[i64], share: f64) -> i64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
