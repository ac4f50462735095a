//! `--trace FILE`: one JSON line at every change and at least every 100 ms, written by a thread of
//! its own so that a slow disk never holds up the sound.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use jam_proto::sync::DeviceClock;

use super::report::Report;
use super::{AudioError, ClockView, Silence, quality_name};

/// Lines that may wait for the disk: about 20 s of them.
const WAITING_MAX: usize = 256;

/// Writes the trace.
pub struct Trace {
    lines: Option<SyncSender<Line>>,
    writer: Option<JoinHandle<()>>,
    lost: u64,
}

/// A line, with the names of the contract.
#[derive(serde::Serialize)]
struct Line {
    mono_ns: i64,
    shared_ns: Option<i64>,
    room: Option<String>,
    revision: Option<u64>,
    entry: Option<u64>,
    track: Option<String>,
    frame: u64,
    sample_rate: u32,
    rate_ppm: f64,
    error_ns: i64,
    bound_ns: Option<i64>,
    state: &'static str,
    leader: Option<u64>,
    term: Option<u64>,
    epoch: Option<u64>,
    buffer_ms: u32,
    underruns: u64,
    jumps: u64,
    /// How often the sound stopped while a song was due, and for how long in all.
    silences: u64,
    silent_ns: i64,
    quality: Option<String>,
    /// How long ago a leader's clock was heard.
    unheard_ns: Option<i64>,
    sigma_ns: Option<i64>,
    rtt_ns: Option<i64>,
    drift_ppm: Option<f64>,
    left_ns: Option<i64>,
    device_ppm: f64,
    stamp_sigma_ns: i64,
    coarse_stamps: bool,
}

/// What a line says besides the report.
pub struct Context<'a> {
    /// The room's code.
    pub room: Option<&'a str>,
    /// Up to where the room is known.
    pub revision: Option<u64>,
    /// The clock in use.
    pub view: Option<&'a ClockView>,
    /// The device's clock.
    pub device: &'a DeviceClock,
    /// Playable sound ahead.
    pub buffer_ms: u32,
    /// So far.
    pub silence: Silence,
    /// So far.
    pub underruns: u64,
    /// So far.
    pub jumps: u64,
}

impl Trace {
    /// Begins the file anew.
    pub fn create(path: &Path) -> Result<Self, AudioError> {
        let file = File::create(path)
            .map_err(|source| AudioError::File { path: path.to_owned(), source })?;
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let writer = std::thread::Builder::new()
            .name("jam-trace".into())
            .spawn(move || write_lines(BufWriter::new(file), &waiting))
            .map_err(AudioError::Thread)?;
        Ok(Self { lines: Some(lines), writer: Some(writer), lost: 0 })
    }

    /// Adds a line.
    pub fn write(&mut self, report: &Report, context: &Context<'_>) {
        let standing = context.view.map(|view| view.standing);
        let line = Line {
            mono_ns: report.mono_ns,
            shared_ns: report.shared_ns,
            room: context.room.map(str::to_owned),
            revision: context.revision,
            entry: report.song.map(|song| song.entry.0),
            track: report.song.map(|song| song.track.to_string()),
            frame: report.frame,
            sample_rate: report.song.map_or(0, |song| song.rate),
            rate_ppm: round_ppm(report.rate_ppm),
            error_ns: report.error_ns,
            bound_ns: context.view.map(|view| view.bound_ns),
            state: report.state.as_str(),
            leader: context.view.map(|view| view.leader),
            term: context.view.map(|view| view.term),
            epoch: context.view.map(|view| view.epoch),
            buffer_ms: context.buffer_ms,
            underruns: context.underruns,
            jumps: context.jumps,
            silences: context.silence.times,
            silent_ns: context.silence.total_ns,
            quality: report.kbps.map(quality_name),
            unheard_ns: standing.map(|standing| report.raw_ns - standing.heard_raw_ns),
            sigma_ns: standing.map(|standing| standing.sigma_ns),
            rtt_ns: standing.map(|standing| standing.rtt_ns),
            drift_ppm: context.view.map(|view| round_ppm(view.map.drift * 1e6)),
            left_ns: standing.map(|standing| standing.left_ns),
            device_ppm: round_ppm(context.device.fast_ppm()),
            stamp_sigma_ns: context.device.stamp_sigma_ns() as i64,
            coarse_stamps: context.device.is_coarse(),
        };
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_)) = lines.try_send(line) {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!("the trace's disk is too slow: {} lines are lost", self.lost);
            }
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // It ends when it has written what waits.
            let _ = writer.join();
        }
    }
}

/// To a thousandth of a ppm.
fn round_ppm(ppm: f64) -> f64 {
    (ppm * 1e3).round() / 1e3
}

fn write_lines(mut file: BufWriter<File>, lines: &Receiver<Line>) {
    for line in lines {
        let written = serde_json::to_writer(&mut file, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            // Readers follow the file while it grows.
            .and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::warn!("the trace ends here: {error}");
            return;
        }
    }
}
