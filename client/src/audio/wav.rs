//! The recording of a virtual device: every frame of its clock as 16-bit WAV, and an index of when
//! frames sounded.
//!
//! A thread of its own writes, so that a slow disk does not make the device late. The header is
//! put right after each write: a killed player leaves a readable file. The index never speaks of
//! frames that are not in the file yet.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::AudioError;
use super::link::CHANNELS;
use super::virtual_device::{DeviceTime, Sink};

/// Frames that may wait for the disk: 10 s.
const WAITING_SECS: usize = 10;
const GAPS_WAITING: usize = 1024;
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Entries of the index a second.
const INDEX_PER_SECOND: u64 = 20;
const HEADER_BYTES: u64 = 44;
const FRAME_BYTES: u64 = 2 * CHANNELS as u64;

/// Where the device puts its frames. Never waits.
pub struct Recorder {
    frames: Producer<[i16; CHANNELS]>,
    gaps: Producer<Gap>,
    next: u64,
    done: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

/// Frames that got nothing.
#[derive(Clone, Copy)]
struct Gap {
    at: u64,
    frames: u64,
}

impl Recorder {
    /// Begins the file at `path` and its index anew.
    pub fn create(path: &Path, time: DeviceTime) -> Result<Self, AudioError> {
        let files = Files::create(path, time)?;
        let (frames, from_frames) = RingBuffer::new(WAITING_SECS * time.rate as usize);
        let (gaps, from_gaps) = RingBuffer::new(GAPS_WAITING);
        let done = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&done);
        let path = path.to_owned();
        let writer = std::thread::Builder::new()
            .name("jam-wav".into())
            .spawn(move || write_on(files, from_frames, from_gaps, &ended, &path))
            .map_err(AudioError::Thread)?;
        Ok(Self { frames, gaps, next: 0, done, writer: Some(writer) })
    }
}

impl Sink for Recorder {
    fn take(&mut self, first_frame: u64, _at_mono_ns: i64, sound: &[f32]) {
        let frames = (sound.len() / CHANNELS) as u64;
        if (self.frames.slots() as u64) < frames {
            // The disk has stood still for many seconds. The recording keeps its time, with
            // silence.
            return self.silence(first_frame, frames);
        }
        for frame in sound.chunks_exact(CHANNELS) {
            // There is room: it was asked for.
            let _ = self.frames.push([sample(frame[0]), sample(frame[1])]);
        }
        self.next += frames;
    }

    fn silence(&mut self, _first_frame: u64, frames: u64) {
        if self.gaps.push(Gap { at: self.next, frames }).is_ok() {
            self.next += frames;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // It ends when it has written what waits.
            let _ = writer.join();
        }
    }
}

fn sample(value: f32) -> i16 {
    (value.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16
}

fn write_on(
    mut files: Files,
    mut frames: Consumer<[i16; CHANNELS]>,
    mut gaps: Consumer<Gap>,
    done: &AtomicBool,
    path: &Path,
) {
    loop {
        let last = done.load(Ordering::Acquire);
        if let Err(error) = files.drain(&mut frames, &mut gaps) {
            tracing::error!("the recording {} ends here: {error}", path.display());
            return;
        }
        if last {
            return;
        }
        std::thread::park_timeout(WRITE_EVERY);
    }
}

struct Files {
    wav: File,
    index: File,
    time: DeviceTime,
    frame: u64,
    indexed: u64,
    bytes: Vec<u8>,
}

impl Files {
    fn create(path: &Path, time: DeviceTime) -> Result<Self, AudioError> {
        let mut index_path = path.as_os_str().to_owned();
        index_path.push(".idx");
        let index_path = PathBuf::from(index_path);
        let create = |path: &Path| {
            File::create(path).map_err(|source| AudioError::File { path: path.to_owned(), source })
        };
        let mut files = Self {
            wav: create(path)?,
            index: create(&index_path)?,
            time,
            frame: 0,
            indexed: 0,
            bytes: Vec::new(),
        };
        files
            .wav
            .write_all(&header(time.rate, 0))
            .map_err(|source| AudioError::File { path: path.to_owned(), source })?;
        Ok(files)
    }

    /// Writes what waits.
    fn drain(
        &mut self,
        frames: &mut Consumer<[i16; CHANNELS]>,
        gaps: &mut Consumer<Gap>,
    ) -> io::Result<()> {
        loop {
            // In this order: a gap before these frames was announced before them.
            let waiting = frames.slots();
            let gap = gaps.peek().ok().copied();
            if let Some(gap) = gap.filter(|gap| gap.at == self.frame) {
                let _ = gaps.pop();
                self.write_silence(gap.frames)?;
                continue;
            }
            let until_gap = gap.map_or(usize::MAX, |gap| (gap.at - self.frame) as usize);
            let count = waiting.min(until_gap);
            if count == 0 {
                return Ok(());
            }
            self.bytes.clear();
            let Ok(chunk) = frames.read_chunk(count) else { return Ok(()) };
            self.bytes.extend(chunk.into_iter().flatten().flat_map(i16::to_le_bytes));
            let bytes = std::mem::take(&mut self.bytes);
            let written = self.write(&bytes);
            self.bytes = bytes;
            written?;
        }
    }

    fn write_silence(&mut self, mut frames: u64) -> io::Result<()> {
        let zeros = vec![0; (u64::from(self.time.rate) * FRAME_BYTES) as usize];
        while frames > 0 {
            let now = frames.min(u64::from(self.time.rate));
            self.write(&zeros[..(now * FRAME_BYTES) as usize])?;
            frames -= now;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wav.write_all(bytes)?;
        self.frame += bytes.len() as u64 / FRAME_BYTES;
        self.wav.seek(SeekFrom::Start(0))?;
        self.wav.write_all(&header(self.time.rate, self.frame * FRAME_BYTES))?;
        self.wav.seek(SeekFrom::End(0))?;
        let mut index = Vec::new();
        while self.indexed < self.frame {
            index.extend(self.indexed.to_le_bytes());
            index.extend((self.time.ns_at(self.indexed) as u64).to_le_bytes());
            self.indexed += u64::from(self.time.rate) / INDEX_PER_SECOND;
        }
        self.index.write_all(&index)
    }
}

/// A WAV header; past 4 GiB it says 4 GiB, and readers go on to the file's end.
fn header(rate: u32, data_bytes: u64) -> [u8; HEADER_BYTES as usize] {
    let clamp = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = [0; HEADER_BYTES as usize];
    let fields: [(usize, &[u8]); 13] = [
        (0, b"RIFF"),
        (4, &clamp(data_bytes + HEADER_BYTES - 8)),
        (8, b"WAVE"),
        (12, b"fmt "),
        (16, &16u32.to_le_bytes()),
        (20, &1u16.to_le_bytes()),
        (22, &(CHANNELS as u16).to_le_bytes()),
        (24, &rate.to_le_bytes()),
        (28, &(rate * FRAME_BYTES as u32).to_le_bytes()),
        (32, &(FRAME_BYTES as u16).to_le_bytes()),
        (34, &16u16.to_le_bytes()),
        (36, b"data"),
        (40, &clamp(data_bytes)),
    ];
    for (at, bytes) in fields {
        header[at..at + bytes.len()].copy_from_slice(bytes);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_there_with_silence_for_the_gaps() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.wav");
        let time = DeviceTime { start_ns: 5_000, rate: 48_000, drift_ppm: 0.0 };
        let mut recorder = Recorder::create(&path, time).expect("a new file");
        recorder.take(0, 0, &[0.5; 4800 * CHANNELS]);
        recorder.silence(4800, 100_000);
        recorder.take(104_800, 0, &[-1.0; 10 * CHANNELS]);
        drop(recorder);

        let mut reader = hound::WavReader::open(&path).expect("a readable file");
        assert_eq!(reader.spec().sample_rate, 48_000);
        let samples: Vec<i16> =
            reader.samples().map(|sample| sample.expect("whole samples")).collect();
        assert_eq!(samples.len(), (4800 + 100_000 + 10) * CHANNELS);
        assert!(samples[..9600].iter().all(|sample| *sample == 16_384));
        assert!(samples[9600..209_600].iter().all(|sample| *sample == 0));
        assert!(samples[209_600..].iter().all(|sample| *sample == -32_767));

        let index = std::fs::read(folder.path().join("x.wav.idx")).expect("an index");
        let word =
            |n: usize| u64::from_le_bytes(index[n * 8..n * 8 + 8].try_into().expect("8 bytes"));
        assert_eq!((word(0), word(1)), (0, 5_000));
        assert_eq!((word(2), word(3)), (2400, 50_005_000));
        assert!(index.len() / 16 >= 104_810 / 4800);
    }
}
