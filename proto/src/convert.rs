//! Between wire messages and the types of this crate.
//!
//! What comes from outside is parsed here, once: the types that result can't be wrong. Each type
//! has a `from_wire` and a `to_wire`, and `from_wire(to_wire(x))` is `x`.

mod command;
mod event;

use crate::ids::InvalidName;
use crate::limits;
use crate::time::{Flicks, SharedTime};
use crate::wire;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A name or an id that can't be.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A number out of its range.
    #[error("{what} must be {range}, not {got}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it may be.
        range: String,
        /// What it was.
        got: i128,
    },
    /// Parts that can't both be true.
    #[error("the message contradicts itself: {0}")]
    Contradiction(&'static str),
    /// Bytes that are no message.
    #[error("{what} can't be decoded")]
    Undecodable {
        /// Which message.
        what: &'static str,
        /// Why.
        source: prost::DecodeError,
    },
}

/// No instant is further from the clock's origin, so that sums of instants and spans stay far from overflow: 103 years.
pub(crate) const INSTANT_MAX: i64 = i64::MAX / 4;

/// What is proposed lies within half of that: stamps are counted up from there, and songs end behind it, and all of
/// it must be an instant that can be read again.
const PROPOSED_MAX: i64 = INSTANT_MAX / 2;

/// The nearest instant that may be proposed.
pub(crate) fn within_range(flicks: i64) -> SharedTime {
    SharedTime(flicks.clamp(-PROPOSED_MAX, PROPOSED_MAX))
}

/// An instant from outside.
pub fn instant(what: &'static str, flicks: i64) -> Result<SharedTime, Malformed> {
    if flicks.unsigned_abs() > INSTANT_MAX.unsigned_abs() {
        let range = format!("within ±{INSTANT_MAX} flicks");
        return Err(Malformed::OutOfRange { what, range, got: flicks.into() });
    }
    Ok(SharedTime(flicks))
}

pub(crate) fn position(flicks: i64) -> Result<Flicks, Malformed> {
    if flicks < 0 {
        return Err(Malformed::OutOfRange {
            what: "a position",
            range: "0 or more".into(),
            got: flicks.into(),
        });
    }
    Ok(Flicks(flicks))
}

/// Checks what makes a song playable: an exact length that is more than nothing, within the limit.
pub fn check_length(frames: u64, sample_rate: u32) -> Result<(), Malformed> {
    let limit = u64::from(sample_rate).saturating_mul(limits::SONG_SECS_MAX);
    if sample_rate == 0 {
        return Err(Malformed::OutOfRange {
            what: "a sample rate",
            range: "1 or more".into(),
            got: 0,
        });
    }
    if frames == 0 || frames > limit || Flicks::from_frames(frames, sample_rate) <= Flicks::ZERO {
        let range = format!("1 to {limit} frames ({} hours)", limits::SONG_SECS_MAX / 3600);
        return Err(Malformed::OutOfRange { what: "a song's length", range, got: frames.into() });
    }
    Ok(())
}

/// Checks a track as it is registered: its id, and its length.
pub fn check_track(track: &wire::v1::Track) -> Result<crate::ids::TrackId, Malformed> {
    check_length(track.frames, track.sample_rate)?;
    check_derived(&track.derived)?;
    Ok(crate::ids::TrackId::from_wire(&track.id)?)
}

/// Checks the texts of a track as it is registered: the node that took the song in cut them.
pub fn check_tags(track: &wire::v1::Track) -> Result<(), Malformed> {
    for tag in [&track.title, &track.artist, &track.album] {
        check_count("the length of a tag", tag.len(), limits::TAG_BYTES_MAX)?;
    }
    check_count("the length of a codec's name", track.codec.len(), limits::CODEC_BYTES_MAX)
}

fn check_count(what: &'static str, got: usize, max: usize) -> Result<(), Malformed> {
    if got <= max {
        return Ok(());
    }
    Err(Malformed::OutOfRange { what, range: format!("at most {max}"), got: got as i128 })
}

/// What was made of a track, as it is committed.
pub fn check_derived(derived: &[wire::v1::Derived]) -> Result<(), Malformed> {
    check_count("the number of things made of a track", derived.len(), limits::DERIVED_MAX)?;
    derived.iter().try_for_each(|one| {
        crate::ids::TrackId::from_wire(&one.id)?;
        check_count("the length of its name", one.name.len(), limits::DERIVED_NAME_BYTES_MAX)
    })
}
