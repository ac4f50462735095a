//! Short fades where sound is not continuous: what sounded dies away while what follows comes up.

use super::link::CHANNELS;

/// The end of what sounded, fading out, and how far what follows has come up.
pub struct Fade {
    tail: Vec<f32>,
    tail_at: usize,
    frames: usize,
    up_at: usize,
}

/// Too short to be heard as a fade, long enough not to click.
const FADE_MS: usize = 5;

impl Fade {
    /// For a device of `rate` frames a second.
    pub fn new(rate: u32) -> Self {
        let frames = rate as usize * FADE_MS / 1000;
        Self { tail: vec![0.0; frames * CHANNELS], tail_at: frames, frames, up_at: frames }
    }

    /// Nothing fades.
    pub fn clear(&mut self) {
        self.tail_at = self.frames;
        self.up_at = self.frames;
    }

    /// What sounded ends here: `render` gives how it would go on, and that fades out.
    pub fn out(&mut self, render: impl FnOnce(&mut [f32])) {
        let mut rest = std::mem::take(&mut self.tail);
        // What was still fading is cut short: an equal fade of the sum needs no memory of it.
        let fading = self.frames - self.tail_at;
        rest.copy_within(self.tail_at * CHANNELS.., 0);
        let (old, _) = rest.split_at(fading * CHANNELS);
        let old: Vec<f32> = old.to_vec();
        render(&mut rest);
        for (n, frame) in rest.chunks_exact_mut(CHANNELS).enumerate() {
            let gain = 1.0 - (n as f32 + 0.5) / self.frames as f32;
            frame.iter_mut().for_each(|sample| *sample *= gain);
        }
        rest.iter_mut().zip(&old).for_each(|(sample, old)| *sample += old);
        self.tail = rest;
        self.tail_at = 0;
    }

    /// What follows starts in mid-sound: it comes up from silence.
    pub fn up(&mut self) {
        self.up_at = 0;
    }

    /// What follows starts at full level.
    pub fn at_once(&mut self) {
        self.up_at = self.frames;
    }

    /// Brings up what is in `out`, if it is coming up, and adds what dies away.
    pub fn apply(&mut self, out: &mut [f32]) {
        let frames = out.len() / CHANNELS;
        if self.up_at < self.frames {
            for frame in out.chunks_exact_mut(CHANNELS).take(self.frames - self.up_at) {
                let gain = (self.up_at as f32 + 0.5) / self.frames as f32;
                frame.iter_mut().for_each(|sample| *sample *= gain);
                self.up_at += 1;
            }
        }
        let dying = frames.min(self.frames - self.tail_at);
        let tail = &self.tail[self.tail_at * CHANNELS..(self.tail_at + dying) * CHANNELS];
        out.iter_mut().zip(tail).for_each(|(sample, tail)| *sample += tail);
        self.tail_at += dying;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossfade_of_the_same_sound_is_that_sound() {
        let mut fade = Fade::new(48_000);
        fade.out(|tail| tail.fill(0.5));
        fade.up();
        let mut heard = Vec::new();
        for frames in [7, 128, 64, 128] {
            let mut out = vec![0.5; frames * CHANNELS];
            fade.apply(&mut out);
            heard.extend(out);
        }
        assert!(heard.iter().all(|sample| (sample - 0.5).abs() < 1e-6));
    }

    #[test]
    fn a_second_end_keeps_what_still_fades() {
        let mut fade = Fade::new(48_000);
        fade.out(|tail| tail.fill(1.0));
        let mut out = vec![0.0; 120 * CHANNELS];
        fade.apply(&mut out);
        fade.out(|tail| tail.fill(0.0));
        let mut after = vec![0.0; 240 * CHANNELS];
        fade.apply(&mut after);
        assert!((after[0] - out[out.len() - 1]).abs() < 0.01);
        assert_eq!(after[after.len() - 1], 0.0);
    }
}
