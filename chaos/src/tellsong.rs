//! Songs of which every single frame tells which song it is and where in it.
//!
//! The right channel is constant, the left one rises, and their ratio tells: whatever the volume, and through a fade. They
//! make cheap what [`crate::testsong`] needs correlation for, and can be heard out of nothing else: lossy codecs and
//! real devices would spoil them, so they are for simulations.

/// So many different ones can be told apart.
pub const SONGS: usize = 4;
/// The right channel.
const LEVEL: f32 = 0.4;
/// A ratio of a song runs over so much of its range.
const USED: f64 = 0.8;
/// Each song's range of ratios, of -1 to 1.
const RANGE: f64 = 2.0 / SONGS as f64;
/// Below this share of the level there is silence.
const SILENT: f32 = 0.01;

/// The `number`th song, from 0: interleaved stereo.
pub fn song(number: usize, frames: usize) -> Vec<f32> {
    let ratio = |frame: usize| -> f64 {
        let share = frame as f64 / frames as f64;
        -1.0 + RANGE * (number as f64 + (1.0 - USED) / 2.0 + USED * share)
    };
    (0..frames).flat_map(|frame| [LEVEL * ratio(frame) as f32, LEVEL]).collect()
}

/// What a frame tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    /// Nothing is there.
    Silence,
    /// It is of this song, which is over by this share.
    Song(usize, f64),
    /// It is of no song, or of several.
    Other,
}

/// Reads a frame.
pub fn read(left: f32, right: f32) -> Told {
    if left.abs().max(right.abs()) < LEVEL * SILENT {
        return Told::Silence;
    }
    let place = (f64::from(left) / f64::from(right) + 1.0) / RANGE;
    let number = place.floor();
    let share = (place - number - (1.0 - USED) / 2.0) / USED;
    let is_one = right > 0.0 && (0.0..SONGS as f64).contains(&number);
    if is_one && (-0.001..1.001).contains(&share) {
        Told::Song(number as usize, share.clamp(0.0, 1.0))
    } else {
        Told::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_tells_at_any_volume() {
        let frames = 192_000;
        for number in 0..SONGS {
            let song = song(number, frames);
            for gain in [1.0, 0.3, 0.02] {
                for (place, frame) in song.chunks_exact(2).enumerate() {
                    let Told::Song(found, share) = read(frame[0] * gain, frame[1] * gain) else {
                        panic!("frame {place} of {number} at {gain}");
                    };
                    assert_eq!(found, number);
                    let off = share * frames as f64 - place as f64;
                    assert!(off.abs() < 0.2, "{off} frames off");
                }
            }
        }
    }

    #[test]
    fn silence_and_mixtures() {
        assert_eq!(read(0.0, 0.0), Told::Silence);
        assert_eq!(read(0.001, 0.002), Told::Silence);
        assert_eq!(read(0.3, -0.3), Told::Other);
        assert_eq!(read(0.3, 0.0), Told::Other);
    }
}
