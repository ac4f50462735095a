//! Songs to test with, made on the spot by ffmpeg and lame.
#![allow(missing_docs, dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use jam_media::{Decoder, Limits, Refusal, SongInfo, file, inspect};
use tempfile::TempDir;

/// Frames of the original at 44.1 kHz: no multiple of any codec's packet.
pub const FRAMES: u64 = 132_301;
pub const LIMITS: Limits = Limits { secs_max: 6 * 3600 };

pub struct Songs {
    dir: TempDir,
}

impl Songs {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder for temporary files") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes bytes to a file of that name.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).expect("the folder is writable");
        self.path(name)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("the file was made before")
    }

    /// A wide-band original, different on both sides: a glide over all of the spectrum, and noise.
    pub fn original(&self, name: &str, rate: u32) -> PathBuf {
        self.original_of(name, rate, FRAMES)
    }

    /// The same of another length.
    pub fn original_of(&self, name: &str, rate: u32, frames: u64) -> PathBuf {
        let path = self.path(name);

        let mut noise = 1u32;
        let mut bytes = Vec::new();
        for n in 0..frames {
            let t = n as f64 / f64::from(rate);
            let glide = (std::f64::consts::TAU * (200.0 * t + 900.0 * t * t)).sin() * 0.3;
            for side in [1.0, -0.7] {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let hiss = f64::from((noise >> 16) as i16) / 32768.0 * 0.1;
                bytes.extend_from_slice(&(((glide * side + hiss) * 32767.0) as i16).to_le_bytes());
            }
        }
        let mut wav = wav_head(rate);
        wav[4..8].copy_from_slice(&(36 + bytes.len() as u32).to_le_bytes());
        wav.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        wav.extend_from_slice(&bytes);
        std::fs::write(&path, wav).expect("the folder is writable");
        path
    }

    /// Runs ffmpeg from one file in the folder to another.
    pub fn ffmpeg(&self, from: &str, options: &[&str], to: &str) -> PathBuf {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-y", "-i", from]).args(options).arg(to);
        self.run(command, "ffmpeg");
        self.path(to)
    }

    pub fn lame(&self, options: &[&str], from: &str, to: &str) -> PathBuf {
        let mut command = Command::new("lame");
        command.arg("--quiet").args(options).args([from, to]);
        self.run(command, "lame");
        self.path(to)
    }

    fn run(&self, mut command: Command, name: &str) {
        let done = command.current_dir(self.dir.path()).output();
        let done = done.unwrap_or_else(|error| {
            panic!("{name} is needed for this test ({error}); scripts/test installs it")
        });
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub fn inspect(&self, name: &str) -> Result<SongInfo, Refusal> {
        inspect(file(&self.path(name)).expect("the file was made before"), LIMITS)
    }

    pub fn info(&self, name: &str) -> SongInfo {
        self.inspect(name).unwrap_or_else(|refusal| panic!("{name}: {refusal}"))
    }

    pub fn open(&self, name: &str, info: &SongInfo) -> Decoder {
        open(&self.path(name), info)
    }
}

pub fn open(path: &Path, info: &SongInfo) -> Decoder {
    let source = file(path).expect("the file was made before");
    Decoder::open(source, info.frames, info.sample_rate)
        .unwrap_or_else(|refusal| panic!("{path:?}: {refusal}"))
}

/// All of a song's samples, in reads of uneven sizes.
pub fn all(decoder: &mut Decoder) -> Vec<f32> {
    let mut samples = Vec::new();
    let mut chunk = [0.0; 2 * 1009];
    loop {
        match decoder.read(&mut chunk) {
            0 => return samples,
            frames => samples.extend_from_slice(&chunk[..frames * 2]),
        }
    }
}

fn wav_head(rate: u32) -> Vec<u8> {
    let mut head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
    head.extend_from_slice(&rate.to_le_bytes());
    head.extend_from_slice(&(rate * 4).to_le_bytes());
    head.extend_from_slice(b"\x04\0\x10\0data");
    head
}
