//! A room around the instruments: eight delay lines that feed one another (Jot and Chaigne 1991).

/// Delays in seconds, without a common measure, so that no echo falls on another.
const DELAYS: [f32; 8] = [0.0297, 0.0371, 0.0411, 0.0437, 0.0533, 0.0617, 0.0719, 0.0793];
/// Seconds in which the sound falls by 60 dB.
const DECAY_SECS: f32 = 2.1;
/// How much of its treble an echo keeps.
const TREBLE: f32 = 0.55;

/// `dry` with the echo of `wet` added.
pub fn reverberate(dry: &[[f32; 2]], wet: &[[f32; 2]], rate: u32) -> Vec<[f32; 2]> {
    let mut lines: Vec<Line> = DELAYS.iter().map(|secs| Line::new(*secs, rate)).collect();
    dry.iter()
        .zip(wet)
        .map(|(dry, wet)| {
            let heard: [f32; 8] = std::array::from_fn(|n| lines[n].read());
            // Householder's mirror: nothing is lost, everything is mixed.
            let mirror = heard.iter().sum::<f32>() / 4.0;
            for (n, line) in lines.iter_mut().enumerate() {
                line.write(heard[n] - mirror + wet[n % 2]);
            }
            let side = |first: usize| heard.iter().skip(first).step_by(2).sum::<f32>() * 0.25;
            [dry[0] + side(0), dry[1] + side(1)]
        })
        .collect()
}

struct Line {
    ring: Vec<f32>,
    at: usize,
    keep: f32,
    soft: f32,
}

impl Line {
    fn new(secs: f32, rate: u32) -> Self {
        let len = (secs * rate as f32) as usize;
        Self { ring: vec![0.0; len], at: 0, keep: 10f32.powf(-3.0 * secs / DECAY_SECS), soft: 0.0 }
    }

    fn read(&mut self) -> f32 {
        self.soft += TREBLE * (self.ring[self.at] - self.soft);
        self.keep * self.soft
    }

    fn write(&mut self, value: f32) {
        self.ring[self.at] = value;
        self.at = (self.at + 1) % self.ring.len();
    }
}
