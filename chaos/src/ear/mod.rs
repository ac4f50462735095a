//! An ear: hears which song, and which part of it, sounds at which instant of a recording.
//!
//! It knows the songs and has the sound; it asks neither player nor cluster. Every promise about
//! what a listener hears is judged from what it reports (see [`crate::promises`]).

mod explain;
mod heard;
mod interpolate;
mod recording;
mod reference;
mod resample;
mod short;
mod songs;
mod stretches;
mod walk;

pub use heard::{Damage, Gap, Heard, Jump, Place, listen};
pub use recording::{Recording, RecordingError, Unreadable};
pub use reference::{Reference, Song};
pub use songs::{SongError, read_song};
