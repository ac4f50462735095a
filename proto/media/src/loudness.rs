//! How loud a song is, by EBU R128, measured on the stereo that is played.

use ebur128::{EbuR128, Mode};

use crate::true_peak::TruePeak;

/// How loud a song is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loudness {
    /// Integrated loudness, hundredths of a LUFS.
    pub integrated: i32,
    /// The highest true peak of either channel, hundredths of a dBTP.
    pub true_peak: i32,
}

/// Listens to a song from its first frame to its last. Keeps 8 bytes for each tenth of a second.
pub(crate) struct Meter {
    /// None: at no such rate.
    ebur: Option<EbuR128>,
    true_peak: TruePeak,
    /// Samples of the encoder's delay that are still to come.
    skip: u64,
}

/// Left and right.
const CHANNELS: u32 = 2;

impl Meter {
    /// For sound of this rate whose first `skip` frames are not the song's.
    pub(crate) fn new(sample_rate: u32, skip: u64) -> Self {
        let ebur = EbuR128::new(CHANNELS, sample_rate, Mode::I).ok();
        let true_peak = TruePeak::new(sample_rate);
        Self { ebur, true_peak, skip: skip * u64::from(CHANNELS) }
    }

    /// Hears stereo samples.
    pub(crate) fn hear(&mut self, samples: &[f32]) {
        let skipped = usize::try_from(self.skip).map_or(samples.len(), |n| n.min(samples.len()));
        self.skip -= skipped as u64;
        let samples = &samples[skipped..];
        self.true_peak.hear(samples);
        if let Some(ebur) = &mut self.ebur
            && ebur.add_frames_f32(samples).is_err()
        {
            self.ebur = None;
        }
    }

    /// What it was like; none if it is silent, or shorter than the 0.4 s that a loudness takes.
    pub(crate) fn loudness(self) -> Option<Loudness> {
        let integrated = self.ebur?.loudness_global().ok()?;
        let peak = f64::from(self.true_peak.peak());
        Some(Loudness {
            integrated: hundredths(integrated)?,
            true_peak: hundredths(20.0 * peak.log10())?,
        })
    }
}

fn hundredths(decibels: f64) -> Option<i32> {
    decibels.is_finite().then(|| (decibels * 100.0).round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second and a half of 997 Hz at this level of full scale, in both channels.
    fn tone(level: f32) -> Vec<f32> {
        let at = |frame: u32| (frame as f32 * 997.0 / 48_000.0 * std::f32::consts::TAU).sin();
        (0..72_000).flat_map(|frame| [at(frame) * level; 2]).collect()
    }

    #[test]
    fn a_tone_is_as_loud_as_the_standard_says() {
        // ITU-R BS.1770: 0 dBFS of 997 Hz in one channel is -3.01 LKFS, so in both 0.
        for (level, decibels) in [(1.0, 0), (0.1, -2000)] {
            let mut meter = Meter::new(48_000, 0);
            tone(level).chunks(1000).for_each(|samples| meter.hear(samples));
            let heard = meter.loudness().expect("it sounds");
            assert!((heard.integrated - decibels).abs() <= 3, "{heard:?}");
            assert!((heard.true_peak - decibels).abs() <= 10, "{heard:?}");
        }
    }

    #[test]
    fn silence_and_what_is_skipped_count_for_nothing() {
        let heard = |then: &[f32]| {
            let mut meter = Meter::new(48_000, 72_000);
            meter.hear(&tone(1.0));
            meter.hear(&vec![0.0; 96_000]);
            meter.hear(then);
            meter.loudness()
        };
        assert_eq!(heard(&[]), None);
        let heard = heard(&tone(0.1)).expect("it sounds");
        assert!((heard.integrated + 2000).abs() <= 60, "{heard:?}");
    }
}
