//! Draws.

use std::ops::RangeInclusive;

/// SplitMix64's increment, 2^64 over the golden ratio (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of draws for one purpose. It depends on the seed and the name of the purpose only: a draw more elsewhere
/// changes nothing here. Its numbers will never change, since a seed must mean the same history for ever; that is why
/// it is no generator of a library.
#[derive(Clone, Debug)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
        let mut state = [0; 8];
        hasher.finalize_xof().fill(&mut state);
        Self { state: u64::from_le_bytes(state) }
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias, 2^-64 of the bound, is nothing to a simulation.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of a range that does not span all 64 bits.
    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let span = range.end().wrapping_sub(*range.start()) as u64;
        range.start().wrapping_add(self.below(span.wrapping_add(1)) as i64)
    }

    /// True once in `n` draws.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// SplitMix64's output function.
pub fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `count`th number of the plain sequence from `seed`, from 1.
pub fn nth(seed: u64, count: u64) -> u64 {
    mix(seed.wrapping_add(count.wrapping_mul(GAMMA)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_purpose_only() {
        let first = |seed, purpose| Stream::new(seed, purpose).draw();
        assert_eq!(first(1, "disk of n1"), first(1, "disk of n1"));
        assert_ne!(first(1, "disk of n1"), first(2, "disk of n1"));
        assert_ne!(first(1, "disk of n1"), first(1, "disk of n2"));
    }

    /// A seed means the same history for ever.
    #[test]
    fn the_numbers_never_change() {
        // The reference implementation's first outputs for seed 1234567.
        assert_eq!(nth(1_234_567, 1), 6_457_827_717_110_365_317);
        assert_eq!(nth(1_234_567, 2), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut stream = Stream::new(7, "bounds");
        let drawn: Vec<i64> = (0..200).map(|_| stream.within(-2..=2)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-2), Some(&2)));
        assert_eq!(stream.below(0), 0);
        assert_eq!((0..1000).filter(|_| stream.below(3) > 2).count(), 0);
        assert!((100..400).contains(&(0..1000).filter(|_| stream.one_in(4)).count()));
    }
}
