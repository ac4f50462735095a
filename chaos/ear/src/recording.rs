//! What a listener's virtual device wrote: the sound, and when each frame of it sounded.

use std::fs;
use std::path::{Path, PathBuf};

/// A listener's sound on its own device's clock, and that clock on this machine's.
pub struct Recording {
    /// Frames per second, by the device's own claim.
    pub sample_rate: u32,
    /// Mono mix, in steps of the 16-bit output.
    pub samples: Vec<f32>,
    pub(super) index: Index,
}

/// Why a recording can't be judged.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not the kind of WAV that the virtual device writes.
    #[error("{path} is not a 16-bit WAV recording: {what}")]
    NotWav {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The index says when frames sounded; without two entries there is no clock.
    #[error("{path} is not a recording's index: {what}")]
    NotIndex {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What is wrong with the bytes of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// With the sound.
    Wav(&'static str),
    /// With the index.
    Index(&'static str),
}

impl Recording {
    /// Reads `wav` and the index beside it (`wav` with `.idx` appended).
    pub fn open(wav: &Path) -> Result<Self, RecordingError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| RecordingError::Read { path: path.to_owned(), source })
        };
        let bytes = read(wav)?;
        let mut idx = wav.as_os_str().to_owned();
        idx.push(".idx");
        let idx = PathBuf::from(idx);
        let index = read(&idx)?;
        Self::parse(&bytes, &index).map_err(|error| match error {
            Unreadable::Wav(what) => RecordingError::NotWav { path: wav.to_owned(), what },
            Unreadable::Index(what) => RecordingError::NotIndex { path: idx, what },
        })
    }

    /// From what the two files hold.
    pub fn parse(wav: &[u8], index: &[u8]) -> Result<Self, Unreadable> {
        let (sample_rate, samples) = parse_wav(wav).map_err(Unreadable::Wav)?;
        let index = Index::parse(index).map_err(Unreadable::Index)?;
        Ok(Self { sample_rate, samples, index })
    }

    /// The CLOCK_MONOTONIC nanosecond at which the first frame that is not silent sounded, if any is.
    pub fn first_sound_ns(&self) -> Option<i64> {
        let first = self.samples.iter().position(|sample| *sample != 0.0)?;
        Some(self.index.instant_ns(first as f64) as i64)
    }

    /// From sound at hand; `index` holds pairs of frame and CLOCK_MONOTONIC nanosecond.
    ///
    /// # Panics
    /// If `index` has fewer than two pairs or does not rise.
    pub fn from_parts(sample_rate: u32, samples: Vec<f32>, index: Vec<(u64, u64)>) -> Self {
        let index = Index::new(index).expect("the caller's index is a rising clock");
        Self { sample_rate, samples, index }
    }
}

/// Reads everything after the header of the `data` chunk, whatever length that header claims: a
/// listener that was killed never came to correct it.
fn parse_wav(bytes: &[u8]) -> Result<(u32, Vec<f32>), &'static str> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err("it does not begin with a RIFF header");
    }
    let mut rest = &bytes[12..];
    let mut format = None;
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let (id, len) = header.split_at(4);
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        match id {
            b"fmt " => {
                let fmt = body.get(..16).ok_or("its format chunk is cut off")?;
                let channels = usize::from(u16::from_le_bytes([fmt[2], fmt[3]]));
                let rate = u32::from_le_bytes([fmt[4], fmt[5], fmt[6], fmt[7]]);
                if u16::from_le_bytes([fmt[14], fmt[15]]) != 16 || channels == 0 || rate == 0 {
                    return Err("it is not 16-bit sound");
                }
                format = Some((rate, channels));
            }
            b"data" => {
                let (rate, channels) = format.ok_or("its sound comes before its format")?;
                let frames = body.chunks_exact(2 * channels).map(|frame| {
                    let sum: i32 = frame
                        .chunks_exact(2)
                        .map(|s| i32::from(i16::from_le_bytes([s[0], s[1]])))
                        .sum();
                    sum as f32 / channels as f32
                });
                return Ok((rate, frames.collect()));
            }
            _ => {}
        }
        rest = body.get(len + len % 2..).ok_or("it has no sound")?;
    }
    Err("it has no sound")
}

/// The device's clock: which frame sounded when, straight lines between.
pub(super) struct Index(Vec<(f64, f64)>);

impl Index {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        // A kill may leave half a pair at the end; what is whole is good.
        let pairs = bytes.chunks_exact(16).map(|pair| {
            let (frame, instant) = pair.split_at(8);
            let number =
                |b: &[u8]| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            (number(frame), number(instant))
        });
        Self::new(pairs.collect())
    }

    fn new(mut pairs: Vec<(u64, u64)>) -> Result<Self, &'static str> {
        pairs.dedup();
        if pairs.len() < 2 {
            return Err("it needs two entries at least");
        }
        if pairs.windows(2).any(|pair| pair[1].0 <= pair[0].0 || pair[1].1 <= pair[0].1) {
            return Err("its frames and instants must rise");
        }
        Ok(Self(pairs.into_iter().map(|(frame, instant)| (frame as f64, instant as f64)).collect()))
    }

    /// The CLOCK_MONOTONIC nanosecond at which `frame` began to sound.
    pub fn instant_ns(&self, frame: f64) -> f64 {
        let at = self.0.partition_point(|pair| pair.0 <= frame).clamp(1, self.0.len() - 1);
        let ((f0, t0), (f1, t1)) = (self.0[at - 1], self.0[at]);
        t0 + (frame - f0) * (t1 - t0) / (f1 - f0)
    }

    /// The frame that began to sound at a CLOCK_MONOTONIC nanosecond.
    pub fn frame_at(&self, instant_ns: f64) -> f64 {
        let at = self.0.partition_point(|pair| pair.1 <= instant_ns).clamp(1, self.0.len() - 1);
        let ((f0, t0), (f1, t1)) = (self.0[at - 1], self.0[at]);
        f0 + (instant_ns - t0) * (f1 - f0) / (t1 - t0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_cut_off_by_a_kill_is_still_read() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.wav");
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
        bytes.extend(48_000u32.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 4, 0, 16, 0]);
        bytes.extend(b"data\0\0\0\0");
        for sample in [100i16, 300, -5, -7, 9] {
            bytes.extend(sample.to_le_bytes());
        }
        std::fs::write(&path, bytes).expect("written");
        let mut idx = Vec::new();
        for number in [0u64, 1_000, 48_000, 1_000_001_000, 96_000] {
            idx.extend(number.to_le_bytes());
        }
        std::fs::write(dir.path().join("a.wav.idx"), idx).expect("written");
        let recording = Recording::open(&path).expect("readable");
        assert_eq!(recording.sample_rate, 48_000);
        assert_eq!(recording.samples, [200.0, -6.0]);
        assert_eq!(recording.index.instant_ns(24_000.0), 500_001_000.0);
        assert_eq!(recording.index.frame_at(2_000_001_000.0), 96_000.0);
    }

    #[test]
    fn rubbish_is_refused() {
        for bytes in [
            &b""[..],
            b"RIFF",
            b"RIFF\0\0\0\0WAVE",
            b"RIFF\0\0\0\0WAVEdata\0\0\0\0ab",
            b"hello, this is text",
        ] {
            assert!(parse_wav(bytes).is_err());
        }
        assert!(Index::parse(&[0; 40]).is_err());
    }
}
