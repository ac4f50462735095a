//! Songs at an even loudness, in whole hundredths of a decibel: replicated state holds no floating point.

use crate::wire::v1::Loudness;

/// Where songs are brought to, hundredths of a LUFS.
const TARGET: i32 = -1800;
/// No sample between the samples may come above this, hundredths of a dBTP.
const PEAK_MAX: i32 = -100;
/// Nothing is made louder or softer by more, hundredths of a dB.
const RANGE: i32 = 3000;

/// By how much a song is made louder (above 0) or softer, hundredths of a dB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gain(pub i32);

impl Gain {
    /// What brings a song of this loudness to -18 LUFS, or as near as its true peak lets it.
    pub fn of(loudness: &Loudness) -> Self {
        let wanted = TARGET.saturating_sub(loudness.integrated);
        let room = PEAK_MAX.saturating_sub(loudness.true_peak);
        Self(wanted.min(room).clamp(-RANGE, RANGE))
    }

    /// What samples are multiplied with.
    pub fn factor(self) -> f32 {
        10_f32.powf(self.0 as f32 / 2000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn songs_come_to_one_loudness_and_their_peaks_stay_below_full_scale() {
        let gain = |integrated, true_peak| Gain::of(&Loudness { integrated, true_peak }).0;
        assert_eq!(gain(-800, 50), -1000);
        assert_eq!(gain(-2300, -900), 500);
        assert_eq!(gain(-2300, -250), 150, "as near as its peak lets it");
        assert_eq!(gain(i32::MIN, i32::MIN), 3000);
        assert_eq!(gain(i32::MAX, i32::MAX), -3000);
        assert!((Gain(-602).factor() - 0.5).abs() < 1e-4);
    }
}
