//! Draws from a seed: the same ones every time.

/// SplitMix64's increment (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of draws for one purpose.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The stream of a purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GAMMA)) ^ purpose.wrapping_mul(GAMMA)))
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Above 0 and at most 1.
    pub fn unit(&mut self) -> f64 {
        ((self.draw() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// Uniform.
    pub fn within(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Each order of magnitude as likely as any other.
    pub fn magnitude(&mut self, from: f64, to: f64) -> f64 {
        from * (to / from).powf(self.unit())
    }

    /// A number of this many milliseconds, in ns.
    pub fn millis(&mut self, from: i64, to: i64) -> i64 {
        (self.within(from as f64, to as f64) * 1e6) as i64
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// True once in `n` draws.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// With this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    /// With median 1.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        let (radius, turn) = ((-2.0 * self.unit().ln()).sqrt(), self.unit());
        (sigma * radius * (turn * std::f64::consts::TAU).cos()).exp()
    }

    /// Above 0: Pareto's second kind, of scale 1.
    pub fn pareto(&mut self, alpha: f64) -> f64 {
        self.unit().powf(-1.0 / alpha) - 1.0
    }
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
