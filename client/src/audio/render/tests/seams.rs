//! Seams of real files: a sweep is cut in two and comes out whole.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// Where it is cut: at a whole frame of each rate, and at no codec's packet's end.
const CUT_S: f64 = 301.0 / 150.0;
const LENGTH_S: f64 = 4.5;
/// The room plays from this shared second on.
const BEGIN_S: f64 = 1.0;

/// From 300 Hz on, an octave a second.
fn sweep(seconds: f64) -> f64 {
    let turns = 300.0 * seconds.exp2() / std::f64::consts::LN_2;
    0.5 * (std::f64::consts::TAU * turns).sin()
}

/// How a half is made.
#[derive(Clone, Copy)]
struct Format {
    name: &'static str,
    rate: u32,
    encoder: &'static [&'static str],
    /// How far it may be off at most beside the seam, and as a root of mean squares.
    edge: f64,
    rms: f64,
}

const fn format(
    name: &'static str,
    rate: u32,
    encoder: &'static [&'static str],
    edge: f64,
    rms: f64,
) -> Format {
    Format { name, rate, encoder, edge, rms }
}

impl Format {
    /// Encodes the sweep from one second to another.
    fn encode(self, folder: &Path, from_s: f64, to_s: f64) -> (PathBuf, u64) {
        let raw = folder.join(format!("{from_s}.raw.wav"));
        let frames = ((to_s - from_s) * f64::from(self.rate)).round() as u64;
        write_wav(&raw, self.rate, frames, |seconds| sweep(from_s + seconds));
        let path = folder.join(format!("{from_s}-{}", self.name));
        let mut command = match self.name.ends_with(".mp3") {
            true => Command::new("lame"),
            false => Command::new("ffmpeg"),
        };
        match self.name.ends_with(".mp3") {
            true => command.arg("--quiet").args(self.encoder).arg(&raw),
            false => {
                command.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(&raw).args(self.encoder)
            }
        };
        let done = command.arg(&path).output().expect("scripts/test installs ffmpeg and lame");
        assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
        (path, frames)
    }
}

const WAV: Format = format("a.wav", 44_100, &[], 0.002, 0.001);
const WAV_22: Format = format("b.wav", 22_050, &[], 0.02, 0.002);
const AIFF: Format = format("a.aiff", 44_100, &[], 0.002, 0.001);
const FLAC: Format = format("a.flac", 44_100, &[], 0.002, 0.001);
const FLAC_96: Format = format("b.flac", 96_000, &[], 0.002, 0.001);
const ALAC: Format = format("alac.m4a", 44_100, &["-c:a", "alac"], 0.002, 0.001);
const MP3: Format = format("a.mp3", 44_100, &["-b", "256"], 0.1, 0.01);
/// The encoder begins a tone so: what ffmpeg decodes of the second half alone is off by 0.116 at its start.
const AAC: Format = format("aac.m4a", 44_100, &["-c:a", "aac", "-b:a", "192k"], 0.15, 0.01);
const VORBIS: Format = format("a.ogg", 44_100, &["-c:a", "libvorbis", "-q:a", "8"], 0.1, 0.01);
const OPUS: Format = format("a.opus", 48_000, &["-c:a", "libopus", "-b:a", "160k"], 0.1, 0.01);

/// Plays two halves, one after the other.
fn played(first: Format, second: Format) -> Sim {
    let mut sim = Sim::empty(0.0);
    for (format, from_s, to_s) in [(first, 0.0, CUT_S), (second, CUT_S, LENGTH_S)] {
        let (path, frames) = format.encode(sim.folder.path(), from_s, to_s);
        let limits = jam_media::Limits { secs_max: 60 };
        let info = jam_media::inspect(jam_media::file(&path).expect("it was made"), limits);
        let info = info.unwrap_or_else(|refusal| panic!("{}: {refusal}", format.name));
        assert_eq!((info.frames, info.sample_rate), (frames, format.rate), "{}", format.name);
        let entry = sim.add(frames, format.rate);
        sim.songs.add(entry.track, path);
    }
    sim.event(BEGIN_S, EventKind::Played);
    sim.publish();
    sim.run_until(BEGIN_S + LENGTH_S + 0.5);
    sim
}

/// What a listener hears, less the sweep, within `from..to` seconds of it: the highest, and the root of mean squares.
fn error(sim: &Sim, from: f64, to: f64) -> (f64, f64) {
    let part = sim.heard.iter().filter(|(at, _)| (from..to).contains(&(at - BEGIN_S)));
    let errors = part.map(|(at, heard)| (f64::from(*heard) - sweep(at - BEGIN_S)).abs());
    let (most, squares, count) = errors.fold((0.0f64, 0.0, 0u32), |(most, sum, count), error| {
        (most.max(error), sum + error * error, count + 1)
    });
    (most, (squares / f64::from(count)).sqrt())
}

#[test]
fn a_sweep_that_was_cut_in_two_comes_out_whole() {
    let same = [WAV, AIFF, FLAC, ALAC, MP3, AAC, VORBIS, OPUS].map(|format| (format, format));
    let across = [
        (WAV, FLAC_96),
        (FLAC_96, MP3),
        (MP3, OPUS),
        (OPUS, VORBIS),
        (AAC, WAV_22),
        (WAV_22, FLAC),
    ];
    for (first, second) in same.into_iter().chain(across) {
        let sim = played(first, second);
        let name = format!("{} at {}, {} at {}", first.name, first.rate, second.name, second.rate);
        // A frame too many or too few is off by 0.1 at the seam, and by ever more up to the end.
        let (_, before) = error(&sim, 0.5, CUT_S - 0.02);
        let (_, after) = error(&sim, CUT_S + 0.02, LENGTH_S - 0.02);
        let (seam, _) = error(&sim, CUT_S - 0.02, CUT_S + 0.02);
        assert!(before < first.rms, "{name}: {before} before the seam");
        assert!(after < second.rms, "{name}: {after} after the seam");
        assert!(seam < first.edge.max(second.edge), "{name}: {seam} at the seam");
        // And it ends where it should.
        let beyond = sim.heard.iter().filter(|(at, _)| *at > BEGIN_S + LENGTH_S + 0.02);
        assert!(beyond.clone().all(|(_, heard)| *heard == 0.0), "{name}");
        assert!(beyond.count() > 10_000);
        assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0), "{name}");
    }
}
