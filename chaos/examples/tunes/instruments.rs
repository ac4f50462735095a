//! A few instruments. Each adds one note to a sound.

use std::f32::consts::{PI, TAU};

use jam_chaos::testsong::Noise;

/// Stereo, at one sample rate.
pub struct Sound {
    pub frames: Vec<[f32; 2]>,
    pub rate: f32,
}

/// One note: when (seconds), how long, how high (MIDI number), how strong, and where (-1 left, 1 right).
#[derive(Clone, Copy)]
pub struct Note {
    pub at: f32,
    pub secs: f32,
    pub key: f32,
    pub force: f32,
    pub pan: f32,
}

impl Note {
    fn hertz(&self) -> f32 {
        440.0 * ((self.key - 69.0) / 12.0).exp2()
    }
}

impl Sound {
    pub fn new(secs: f32, rate: u32) -> Self {
        Self { frames: vec![[0.0; 2]; (secs * rate as f32) as usize], rate: rate as f32 }
    }

    fn add(&mut self, note: Note, secs: f32, mut wave: impl FnMut(f32) -> f32) {
        let angle = (note.pan + 1.0) * PI / 4.0;
        let (left, right) = (angle.cos() * note.force, angle.sin() * note.force);
        let first = (note.at.max(0.0) * self.rate) as usize;
        let count = (secs * self.rate) as usize;
        for (n, frame) in self.frames.iter_mut().skip(first).take(count).enumerate() {
            let value = wave(n as f32 / self.rate);
            frame[0] += left * value;
            frame[1] += right * value;
        }
    }

    /// An electric piano: a sine bent by another, with the tine's short ping on top.
    pub fn piano(&mut self, note: Note) {
        let (hertz, bright) = (note.hertz(), 0.4 + 1.4 * note.force);
        let decay = 1.1 + 220.0 / hertz;
        self.add(note, note.secs + 0.6, |t| {
            let ping = 0.25 * (-t * 14.0).exp() * (TAU * 14.0 * hertz * t).sin();
            let bend = bright * (-t * 2.2).exp() * (TAU * hertz * t + ping).sin();
            let tremble = 1.0 - 0.06 * (TAU * 4.3 * t).sin();
            0.5 * tremble
                * swell(t, 0.004, note.secs, 0.25)
                * (-t / decay).exp()
                * (TAU * hertz * t + bend).sin()
        });
    }

    /// A plucked string (Karplus and Strong 1983): noise going round in a loop that takes off its edge.
    pub fn string(&mut self, note: Note, noise: &mut Noise) {
        let period = self.rate / note.hertz() - 0.5;
        let len = period.floor() as usize;
        let fraction = period - len as f32;
        // An all-pass makes up for the part of a sample that the loop is too short by.
        let tune = (1.0 - fraction) / (1.0 + fraction);
        let mut soft = 0.0;
        let mut ring: Vec<f32> = (0..len)
            .map(|_| {
                soft += (0.35 + 0.4 * note.force) * (noise.next() - soft);
                soft
            })
            .collect();
        let hold = 0.5 * (0.996f32).powf(note.hertz() / 330.0);
        let (mut at, mut last, mut before, mut out) = (0, 0.0, 0.0, 0.0);
        self.add(note, note.secs + 1.2, |t| {
            let now = ring[at];
            let mean = hold * (now + last);
            last = now;
            out = tune * (mean - out) + before;
            before = mean;
            ring[at] = out;
            at = (at + 1) % len;
            1.6 * now * swell(t, 0.001, note.secs + 0.5, 0.5)
        });
    }

    /// A bell: partials that are no multiples of one another.
    pub fn bell(&mut self, note: Note) {
        let hertz = note.hertz();
        self.add(note, note.secs + 2.5, |t| {
            let bend = (0.9 + note.force) * (-t * 3.5).exp() * (TAU * 3.51 * hertz * t).sin();
            0.35 * swell(t, 0.003, note.secs + 2.0, 0.5)
                * (-t * 1.4).exp()
                * (TAU * hertz * t + bend).sin()
        });
    }

    /// Bowed strings from far: seven harmonics, three players who don't quite agree.
    pub fn pad(&mut self, note: Note, noise: &mut Noise) {
        for (detune, pan) in [(-0.07, -0.6), (0.0, 0.0), (0.06, 0.6)] {
            let player = Note { key: note.key + detune + 0.02 * noise.next(), pan, ..note };
            let hertz = player.hertz();
            let start = noise.next() * PI;
            self.add(player, note.secs + 1.4, |t| {
                let sway = 0.35 * (TAU * 5.1 * t + start).sin();
                let tone: f32 = (1..=7)
                    .map(|n| {
                        let n = n as f32;
                        (n * (TAU * hertz * t + start + 0.1 * sway)).sin() / n.powf(1.7)
                    })
                    .sum();
                0.12 * tone * swell(t, 0.9, note.secs, 1.2)
            });
        }
    }

    /// A round bass.
    pub fn bass(&mut self, note: Note) {
        let hertz = note.hertz();
        self.add(note, note.secs + 0.2, |t| {
            let tone =
                (TAU * hertz * t).sin() + 0.35 * (-t * 3.0).exp() * (2.0 * TAU * hertz * t).sin();
            0.7 * (1.3 * tone).tanh() * swell(t, 0.008, note.secs, 0.12) * (-t * 0.7).exp()
        });
    }

    /// A felt kick drum.
    pub fn kick(&mut self, note: Note) {
        self.add(note, 0.4, |t| {
            let phase = TAU * (46.0 * t + 60.0 * (1.0 - (-t * 30.0).exp()) / 30.0);
            0.9 * phase.sin() * (-t * 9.0).exp() * swell(t, 0.002, 0.35, 0.05)
        });
    }

    /// A brush or shaker: noise between two low-passes, `key` tells how bright (0 to 1).
    pub fn brush(&mut self, note: Note, noise: &mut Noise) {
        let (mut bright, mut dull) = (0.0, 0.0);
        let rate = self.rate;
        let pole = |hertz: f32| 1.0 - (-TAU * hertz / rate).exp();
        let (upper, lower) = (pole(4000.0 + 7000.0 * note.key), pole(900.0 + 3500.0 * note.key));
        self.add(note, note.secs * 4.0, |t| {
            bright += upper * (noise.next() - bright);
            dull += lower * (bright - dull);
            0.8 * (bright - dull)
                * swell(t, 0.012, note.secs * 3.0, note.secs)
                * (-t / note.secs).exp()
        });
    }

    /// The air in the room: noise, hardly heard.
    pub fn air(&mut self, force: f32, noise: &mut Noise) {
        let mut low = [0.0f32; 2];
        for frame in &mut self.frames {
            for (low, sample) in low.iter_mut().zip(frame) {
                let white = noise.next();
                *low += 0.12 * (white - *low);
                *sample += force * (*low + 0.15 * white);
            }
        }
    }
}

/// Up in `attack` seconds, and down in `release` from `until` on.
fn swell(t: f32, attack: f32, until: f32, release: f32) -> f32 {
    let up = (t / attack).min(1.0);
    let down = (1.0 - (t - until) / release).clamp(0.0, 1.0);
    up * up * (3.0 - 2.0 * up) * down * down
}
