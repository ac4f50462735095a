//! Which quality to fetch: as good as the line carries and the listener allows, and not another one every moment.
//!
//! Pure: what was measured goes in, a choice comes out. The line is known by what it carried lately; a choice has to leave
//! some of that over, more where little sound is ahead. Going up takes more than staying, so that it does not go
//! to and fro (the buffer and the throughput together, as in Huang et al., "A Buffer-Based Approach to Rate Adaptation", SIGCOMM
//! 2014, and in hls.js).

use super::local::rank;

/// What a listener allows at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Quality {
    /// About 24 kbit/s: speech, and music on the poorest lines.
    Low,
    /// About 96 kbit/s.
    Normal,
    /// About 160 kbit/s.
    High,
    /// About 320 kbit/s.
    VeryHigh,
    /// The file as it was added.
    #[default]
    Original,
}

impl Quality {
    /// As a rendition's number.
    fn kbps(self) -> u32 {
        match self {
            Self::Low => 24,
            Self::Normal => 96,
            Self::High => 160,
            Self::VeryHigh => 320,
            Self::Original => 0,
        }
    }

    /// Of these renditions, those that are allowed. If none is, the smallest: sound comes first.
    pub fn allowed(self, offers: &[Offer]) -> Vec<Offer> {
        let max = rank(self.kbps());
        let mut allowed: Vec<Offer> =
            offers.iter().filter(|offer| rank(offer.kbps) <= max).copied().collect();
        if allowed.is_empty() {
            allowed.extend(offers.iter().min_by_key(|offer| rank(offer.kbps)));
        }
        allowed.sort_by_key(|offer| rank(offer.kbps));
        allowed
    }
}

/// A rendition that a song has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// About so many thousand bits a second; 0: the original.
    pub kbps: u32,
    /// Bytes a second, on average.
    pub bytes_per_s: u64,
}

/// Chooses.
#[derive(Clone, Debug, Default)]
pub struct Chooser {
    /// Bytes a second that the line carried, lately and over a longer time.
    fast: Option<f64>,
    slow: Option<f64>,
    chosen: Option<u32>,
}

/// Weights of the newest measurement.
const FAST_WEIGHT: f64 = 0.5;
const SLOW_WEIGHT: f64 = 0.15;
/// A quick measurement of fewer bytes is mostly one of the round trip.
pub const MEASURED_BYTES_MIN: u64 = 16 << 10;
/// Of what the line carries, the share that a quality may take: to stay with it, and to go up to it.
const STAY_SHARE: f64 = 0.9;
const UP_SHARE: f64 = 0.6;
/// While less is ahead than this, only half of these: seconds.
const THIN_S: f64 = 8.0;
/// While less is ahead than this, nothing better is begun: seconds.
const UP_FROM_S: f64 = 12.0;
/// A line that one segment after the other fills: bytes a second.
const POOR_BYTES_PER_S: f64 = 100e3;
/// While nothing is ahead, and after something had to be waited for.
const THIN_SHARE: f64 = 0.5;

impl Chooser {
    /// The line carried so many bytes within so many seconds.
    pub fn measured(&mut self, bytes: u64, seconds: f64) {
        let rate = bytes as f64 / seconds.max(1e-6);
        let mix = |old: Option<f64>, weight: f64| {
            Some(old.map_or(rate, |old| old + (rate - old) * weight))
        };
        (self.fast, self.slow) = (mix(self.fast, FAST_WEIGHT), mix(self.slow, SLOW_WEIGHT));
    }

    /// So few bytes came that it took no longer than a round trip: the line carries as much as that, or more.
    pub fn at_least(&mut self, bytes: u64, seconds: f64) {
        let rate = bytes as f64 / seconds.max(1e-6);
        if self.bytes_per_s().is_none_or(|line| rate > line) {
            self.measured(bytes, seconds);
        }
    }

    /// Nothing comes, though something should.
    pub fn stalled(&mut self) {
        self.fast = Some(self.fast.unwrap_or(0.0) / 4.0);
        self.slow = self.slow.or(self.fast);
    }

    /// Bytes a second that may be counted on.
    pub fn bytes_per_s(&self) -> Option<f64> {
        Some(self.fast?.min(self.slow?))
    }

    /// Whether the line is so poor that one fetch at a time fills it.
    pub fn is_poor(&self) -> bool {
        self.bytes_per_s().is_none_or(|line| line < POOR_BYTES_PER_S)
    }

    /// Chooses from what is allowed (sorted from low to high), with so many seconds of sound ahead, and stays with it.
    pub fn choose(&mut self, allowed: &[Offer], ahead_s: f64) -> Option<u32> {
        let fitting = self.fitting(allowed, ahead_s)?;
        if self.bytes_per_s().is_some() {
            self.chosen = Some(fitting);
        }
        Some(fitting)
    }

    /// What it would choose.
    pub fn fitting(&self, allowed: &[Offer], ahead_s: f64) -> Option<u32> {
        let best = allowed.last()?;
        let Some(line) = self.bytes_per_s() else {
            // Nothing is known: the best there is, until that takes too long.
            return Some(best.kbps);
        };
        let thin = if ahead_s < THIN_S { THIN_SHARE } else { 1.0 };
        let now = self.chosen.map(rank);
        let fits = |offer: &&Offer| {
            let share = match now {
                Some(now) if rank(offer.kbps) > now && ahead_s < UP_FROM_S => return false,
                Some(now) if rank(offer.kbps) > now => UP_SHARE,
                _ => STAY_SHARE,
            };
            offer.bytes_per_s as f64 <= line * share * thin
        };
        allowed.iter().rev().find(fits).or(allowed.first()).map(|offer| offer.kbps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Vec<Offer> {
        [24, 96, 160, 320, 0]
            .map(|kbps| Offer {
                kbps,
                bytes_per_s: if kbps == 0 { 125_000 } else { u64::from(kbps) * 125 },
            })
            .to_vec()
    }

    fn after(line: f64) -> Chooser {
        let mut chooser = Chooser::default();
        (0..40).for_each(|_| chooser.measured(100_000, 100_000.0 / line));
        chooser
    }

    #[test]
    fn a_cap_is_kept_and_sound_comes_first() {
        let of = |quality: Quality| -> Vec<u32> {
            quality.allowed(&ladder()).iter().map(|offer| offer.kbps).collect()
        };
        assert_eq!(of(Quality::Low), [24]);
        assert_eq!(of(Quality::High), [24, 96, 160]);
        assert_eq!(of(Quality::Original), [24, 96, 160, 320, 0]);
        let only = [Offer { kbps: 0, bytes_per_s: 1 }];
        assert_eq!(Quality::Low.allowed(&only), only);
    }

    #[test]
    fn the_best_that_the_line_carries() {
        let of = |line: f64, ahead: f64| after(line).choose(&ladder(), ahead);
        assert_eq!(Chooser::default().choose(&ladder(), 0.0), Some(0));
        assert_eq!(of(10e6, 0.0), Some(0));
        assert_eq!(of(50e3, 30.0), Some(320));
        assert_eq!(of(50e3, 0.0), Some(160));
        assert_eq!(of(15e3, 30.0), Some(96));
        assert_eq!(of(100.0, 0.0), Some(24));
    }

    #[test]
    fn it_goes_up_late_and_down_early_and_never_to_and_fro() {
        let mut chooser = after(15e3);
        assert_eq!(chooser.choose(&ladder(), 30.0), Some(96));
        // The line gets better, but there is little ahead.
        (0..60).for_each(|_| chooser.measured(100_000, 0.01));
        assert_eq!(chooser.choose(&ladder(), 5.0), Some(96));
        assert_eq!(chooser.choose(&ladder(), 20.0), Some(0));
        // Just enough to stay, and not enough to go up to.
        let mut chooser = after(50e3);
        assert_eq!(chooser.choose(&ladder(), 30.0), Some(320));
        for _ in 0..10 {
            assert_eq!(chooser.choose(&ladder(), 30.0), Some(320));
        }
        (0..3).for_each(|_| chooser.stalled());
        assert_eq!(chooser.choose(&ladder(), 30.0), Some(24));
        (0..60).for_each(|_| chooser.measured(100_000, 100_000.0 / 60e3));
        assert_eq!(chooser.choose(&ladder(), 30.0), Some(160));
    }
}
