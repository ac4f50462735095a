//! Position-coded songs: noise in which no two places are alike.
//!
//! Any few milliseconds of one say where in the song they are. The noise is shaped a little (most
//! of its power below 5 kHz, as in music), so that lossy codecs keep it, and its level breathes, so
//! that it is not one grey mass to look at.

/// A song of `secs` seconds, mono, -1 to 1. The same seed gives the same song.
pub fn position_coded(seed: u64, sample_rate: u32, secs: f64) -> Vec<f32> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let frames = (secs * f64::from(sample_rate)).round() as usize;
    // Two poles, at 700 Hz and at 5 kHz.
    let pole = |hertz: f64| (-std::f64::consts::TAU * hertz / f64::from(sample_rate)).exp() as f32;
    let (slow, fast) = (pole(700.0), pole(5000.0));
    let (mut low, mut mid) = (0.0f32, 0.0f32);
    (0..frames)
        .map(|n| {
            let white = noise.next();
            low = slow * low + (1.0 - slow) * white;
            mid = fast * mid + (1.0 - fast) * white;
            let breath = 0.8 + 0.2 * (n as f32 / sample_rate as f32 * 2.1).sin();
            breath * (1.2 * low + 0.55 * mid)
        })
        .collect()
}

/// A WAV file of floats.
pub fn wav(samples: &[f32], channels: u16, sample_rate: u32) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels,
        sample_rate,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let written = hound::WavWriter::new(&mut bytes, spec).and_then(|mut writer| {
        for sample in samples {
            writer.write_sample(*sample)?;
        }
        writer.finalize()
    });
    written.expect("memory takes everything");
    bytes.into_inner()
}

/// Xorshift (Marsaglia 2003, "Xorshift RNGs"): any seed but 0 never repeats within a song.
pub struct Noise(pub u64);

impl Noise {
    /// The next value, evenly spread over -1 to 1.
    #[expect(clippy::should_implement_trait, reason = "an endless source, not a collection")]
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
