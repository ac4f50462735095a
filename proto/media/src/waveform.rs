//! What a song looks like: how loud it is from moment to moment, for a strip of a few hundred pixels.

/// Points of a waveform at most.
const POINTS_MAX: usize = 1000;
/// Full scale.
const FULL: f32 = 255.0;

/// Listens to a song from its first frame to its last. Keeps at most 1,000 numbers, however long it is: when they are
/// full, each two become one, and each then stands for twice as many frames.
pub(crate) struct Waveform {
    /// Frames before the song's first one.
    delay: u64,
    /// Frames that a point stands for, a power of two.
    bucket: u64,
    peaks: Vec<f32>,
}

impl Waveform {
    /// For a song that begins at frame `delay` of the raw line.
    pub(crate) fn new(delay: u64) -> Self {
        Self { delay, bucket: 1, peaks: Vec::with_capacity(POINTS_MAX) }
    }

    /// Hears stereo samples that begin at frame `start` of the raw line. What is left out is silence.
    pub(crate) fn hear(&mut self, start: u64, samples: &[f32]) {
        let mut frames = samples.as_chunks::<2>().0;
        let early = usize::try_from(self.delay.saturating_sub(start)).unwrap_or(usize::MAX);
        frames = &frames[early.min(frames.len())..];
        let mut at = start.saturating_sub(self.delay);
        while !frames.is_empty() {
            let point = self.point_of(at);
            let left = usize::try_from(self.bucket - at % self.bucket).unwrap_or(usize::MAX);
            let (now, later) = frames.split_at(left.min(frames.len()));
            // A sample that is no number is passed over.
            let peak = now.as_flattened().iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
            self.peaks[point] = self.peaks[point].max(peak);
            at += now.len() as u64;
            frames = later;
        }
    }

    /// The points of a song of so many frames.
    pub(crate) fn points(mut self, frames: u64) -> Vec<u8> {
        if let Some(last) = frames.checked_sub(1) {
            let last = self.point_of(last);
            self.peaks.truncate(last + 1);
        }
        // Rounded up, so that 0 is silence and nothing else. Above full scale is full scale.
        self.peaks.iter().map(|peak| (peak * FULL).ceil().min(FULL) as u8).collect()
    }

    /// Makes room for a frame of the song, and gives its point.
    fn point_of(&mut self, frame: u64) -> usize {
        while frame / self.bucket >= POINTS_MAX as u64 {
            let merged = self.peaks.chunks(2).map(|two| two.iter().copied().fold(0.0, f32::max));
            self.peaks = merged.collect();
            self.bucket *= 2;
        }
        let point = usize::try_from(frame / self.bucket).expect("it is less than 1,000");
        self.peaks.resize(self.peaks.len().max(point + 1), 0.0);
        point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slope up to full scale, on the right only and below zero.
    fn slope(frames: u64) -> Vec<f32> {
        (1..=frames).flat_map(|n| [0.0, -(n as f32 / frames as f32)]).collect()
    }

    /// The same by looking at each bucket of each size in turn.
    fn expected(samples: &[f32], frames: u64) -> Vec<u8> {
        let sizes = std::iter::successors(Some(1u64), |size| Some(size * 2));
        let mut fitting = sizes.filter(|size| frames.div_ceil(*size) <= 1000);
        let size = fitting.next().expect("some size fits") as usize;
        let peak = |bucket: &[f32]| bucket.iter().map(|sample| sample.abs()).fold(0.0, f32::max);
        samples.chunks(size * 2).map(|bucket| (peak(bucket) * 255.0).ceil() as u8).collect()
    }

    #[test]
    fn any_length_has_at_most_1000_points() {
        for frames in [1, 2, 999, 1000, 1001, 2000, 2001, 48_000, 300_007] {
            let samples = slope(frames);
            let mut waveform = Waveform::new(100);
            waveform.hear(0, &[1.0; 200]);
            let mut start = 100;
            for part in samples.chunks(2 * 1009) {
                waveform.hear(start, part);
                start += part.len() as u64 / 2;
            }
            let points = waveform.points(frames);
            assert_eq!(points, expected(&samples, frames), "{frames} frames");
            assert!(points.len() <= 1000 && (frames < 1000 || points.len() >= 500));
        }
    }

    #[test]
    fn what_is_no_sound_is_silence() {
        let mut waveform = Waveform::new(0);
        waveform.hear(0, &[0.5; 2]);
        waveform.hear(3, &[f32::NAN, 2.0, f32::INFINITY, 0.0, -0.0001, 0.0]);
        assert_eq!(waveform.points(8), [128, 0, 0, 255, 255, 1, 0, 0]);
        assert_eq!(Waveform::new(0).points(0), []);
    }

    #[test]
    fn what_was_cut_off_is_not_shown() {
        let mut waveform = Waveform::new(0);
        waveform.hear(0, &[0.5; 8]);
        assert_eq!(waveform.points(3), [128, 128, 128]);
    }
}
