//! The ear of [`jam_ear`], and what it heard as histories tell it.

mod stretches;

pub use jam_ear::{
    Damage, Gap, Heard, Jump, Place, Recording, RecordingError, Reference, Song, SongError,
    Unreadable, listen, read_song,
};
pub use stretches::stretches;
