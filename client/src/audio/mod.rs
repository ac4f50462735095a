//! Playing: from a room, a clock and songs on disk to sound, at the right instant.
//!
//! A player ([`Player`]) renders ahead into a lock-free ring, in turns on a thread of its own, and a
//! device takes from it: a real one through cpal, or the virtual one, which is a sound card in
//! software. The device's callback copies, applies the volume and publishes when its frames sound;
//! it never locks, allocates, logs or decodes.
//!
//! Clocks, song files and turns come from the [`World`](jam_world::World). Threads and files of
//! their own have only the recording and the trace, where they are asked for, and cpal.
//!
//! What is rendered comes from [`PlayerInputs`], which others keep up to date. They may stop doing
//! that at any time: the player plays on from the room and the clock that it last saw, across
//! songs, for as long as files are there.
//!
//! ```text
//!  room ──┐                      ┌─ stamps: frame n sounds at … ─┐
//!  clock ─┼─▶ render ─▶ blocks ─▶│ link (lock-free) ─▶ device     │
//!  songs ─┘     ▲                └────────────────────────────────┘
//!               └── jam_proto::sync::playout: device clock, controller
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, TrackId};
use jam_proto::room::Room;
use jam_proto::sync::SharedMap;
use jam_world::Clock;

mod alsa;
pub mod clocks;
pub(crate) mod cpal_device;
mod deck;
mod device;
mod fade;
mod files;
mod history;
mod library;
mod link;
mod plan;
mod player;
mod priority;
mod render;
mod report;
pub(crate) mod resample;
mod seam;
mod silence;
mod spec;
mod trace;
mod trims;
mod turns;
mod virtual_device;
mod voice;
mod wav;

pub use cpal_device::{OutputInfo, list_outputs};
pub use files::SongFiles;
pub(crate) use link::CHANNELS;
pub use player::Player;
pub use silence::Silence;
pub use spec::{InvalidOutput, OutputSpec, VirtualSpec};
pub use trims::{TRIM_MS_MAX, Trims};
pub use virtual_device::{Sink, VIRTUAL_RATE};

/// What a player plays from. The owner stores newer values as they come; the player only reads.
#[derive(Clone)]
pub struct PlayerInputs {
    /// The room as folded so far.
    pub room: Arc<ArcSwapOption<Room>>,
    /// What is known of shared time.
    pub clock: Arc<ArcSwapOption<ClockView>>,
    /// Songs on this machine.
    pub songs: Arc<dyn SongSource>,
}

/// What is known of shared time, and from whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockView {
    /// From CLOCK_MONOTONIC_RAW nanoseconds to shared time. In one epoch it never steps.
    pub map: SharedMap,
    /// Bound on the map's error, ns.
    pub bound_ns: i64,
    /// The leader whose time this is, and that the bound is about, for the trace.
    pub leader: u64,
    /// Its term, for the trace.
    pub term: u64,
    /// The clock epoch. When it changes, shared time was not continued: the player realigns at
    /// once.
    pub epoch: u64,
    /// [`clocks::slept_ns`] when this was published.
    pub slept_ns: i64,
    /// How it is known.
    pub standing: ClockStanding,
}

/// How well shared time is known, and since when it is not heard any more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockStanding {
    /// When an exchange with a leader was last made, by the raw clock: ns.
    pub heard_raw_ns: i64,
    /// One standard deviation, by the filter's own account: ns.
    pub sigma_ns: i64,
    /// The smallest round trip to the leader lately. Half of it is what an unequal path may hide: ns.
    pub rtt_ns: i64,
    /// What is still to be let in of the last correction: ns.
    pub left_ns: i64,
}

impl ClockView {
    /// Whether the machine has not slept since: raw time stands still in a sleep, and then this is wrong by as much.
    pub fn holds(&self, machine: &dyn Clock) -> bool {
        !clocks::differ(clocks::slept_ns(machine), self.slept_ns)
    }
}

/// Where songs are. All of it is called often: it must be quick.
pub trait SongSource: Send + Sync {
    /// Opens a song; `None`: nothing is known of it here (yet). The error says why it can't be played.
    fn open(&self, entry: &Entry) -> Option<Result<Box<dyn Sound>, String>>;
    /// Whether all of it from one frame to another is here, or to its end if that comes first.
    fn has(&self, track: &TrackId, from: u64, to: u64) -> bool;
    /// Up to which frame it is here without a hole from `frame` on; `frame`: not at all.
    fn here_until(&self, track: &TrackId, frame: u64) -> u64;
}

/// A song as samples.
pub trait Sound: Send {
    /// Goes to a frame.
    fn seek(&mut self, frame: u64);
    /// Fills `out` with the next frames, interleaved stereo, and says how many; fewer only at the
    /// end.
    fn read(&mut self, out: &mut [f32]) -> usize;
    /// Why some of it is silence, if so.
    fn failure(&self) -> Option<&str>;
    /// What is read now: about so many thousand bits a second; 0: the original; `None`: that is not known.
    fn kbps(&self) -> Option<u32> {
        None
    }
}

/// How to play.
pub struct PlayerConfig {
    /// Where to.
    pub output: OutputSpec,
    /// cpal's backend by name (`alsa`, `jack`, …); `None`: ALSA where there is one, else the
    /// system's default.
    pub host: Option<String>,
    /// 0.0 to 1.0.
    pub volume: f32,
    /// Whether songs are brought to an even loudness.
    pub normalizes: bool,
    /// By how much the device sounds later than it says, ns; negative: earlier. For Bluetooth and
    /// the like. `None`: by what is known of it.
    pub trim_ns: Option<i64>,
    /// What is known of devices.
    pub trims: Trims,
    /// Where to write the trace.
    pub trace: Option<PathBuf>,
    /// Who else listens to the output, if that is a virtual device.
    pub sink: Option<Box<dyn Sink>>,
    /// Whether the threads that play ask to go before others. Only where they are threads, not in a
    /// simulation.
    pub urgent: bool,
}

/// What a player does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlayerState {
    /// Not there yet: no room, no clock, no stamps from the device, or the first song is still on
    /// its way.
    #[default]
    Joining,
    /// A song sounds.
    Playing,
    /// The room is paused.
    Paused,
    /// A song should sound, but its file is not here.
    Starved,
    /// The room plays, but its queue is dry.
    Ended,
}

impl PlayerState {
    /// As in the trace and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Playing => "playing",
            Self::Paused => "paused",
            Self::Starved => "starved",
            Self::Ended => "ended",
        }
    }
}

/// How playing goes: what sounds at the output right now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayerStatus {
    /// What the player does.
    pub state: PlayerState,
    /// The song, if one is current.
    pub entry: Option<EntryId>,
    /// Which of its frames sounds.
    pub frame: u64,
    /// Its sample rate; 0: no song.
    pub sample_rate: u32,
    /// Its quality: about so many thousand bits a second; 0: the original; `None`: nothing sounds.
    pub kbps: Option<u32>,
    /// How much later it sounds than it is due by our clock, ns.
    pub error_ns: i64,
    /// By how much the device's frames are played faster than nominal, ppm.
    pub rate_ppm: f64,
    /// By how much the device runs faster than the raw clock, by its own time stamps, ppm.
    pub device_ppm: f64,
    /// How far its stamps lie off that line, as a rule: ns.
    pub stamp_sigma_ns: i64,
    /// Its stamps come in steps of milliseconds: it is known to no better than a fraction of those when a frame sounds.
    pub coarse_stamps: bool,
    /// Playable sound ahead without a hole, across songs.
    pub buffer_ms: u32,
    /// Frames of the output that sound was due for and none was there.
    pub lost_frames: u64,
    /// What was silent while a song was due, whatever the cause.
    pub silence: Silence,
    /// Times that the output ran out of sound that was due.
    pub underruns: u64,
    /// Times that the position was corrected by a jump.
    pub jumps: u64,
    /// The device, for people.
    pub device: String,
    /// Why there is no sound from the device, if so. The player keeps trying.
    pub trouble: Option<String>,
}

/// A quality's name: `original`, or `opus-96` for a rendition at about 96 kbit/s.
pub fn quality_name(kbps: u32) -> String {
    match kbps {
        0 => "original".to_owned(),
        kbps => format!("opus-{kbps}"),
    }
}

/// Why there is no player.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// There is no such backend.
    #[error("there is no sound backend '{name}' here; there is: {there}")]
    NoHost {
        /// As asked for.
        name: String,
        /// What there is.
        there: String,
    },
    /// There is no sound card.
    #[error("there is no sound card; `--output virtual` plays without one")]
    NoDevice,
    /// There is no such output.
    #[error(
        "there is no output '{0}'; `jam outputs` lists them, and `--output virtual` needs none"
    )]
    UnknownDevice(String),
    /// The backend does not list its devices.
    #[error("the sound system does not answer: {0}; `--output virtual` plays without it")]
    Devices(#[source] cpal::Error),
    /// The device does not start.
    #[error(
        "{device} can't be opened: {source}; close what else uses it, or choose another of `jam outputs`"
    )]
    Open {
        /// Its name.
        device: String,
        /// Why.
        source: cpal::Error,
    },
    /// The device takes no format of ours.
    #[error(
        "{0} takes neither floats nor 16-, 24- or 32-bit integers; choose another of `jam outputs`"
    )]
    NoFormat(String),
    /// A recording or trace can't be written.
    #[error("can't write {}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("can't start a thread: {0}")]
    Thread(#[source] io::Error),
    /// A bug.
    #[error("the player broke while it started; report this as a bug")]
    Broke,
}
