//! The player: in turns, keeps the renderer ahead of the device, and tells what sounds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jam_world::{Pacer, World};

use super::clocks::ClockPair;
use super::device::Device;
use super::library::Library;
use super::render::Renderer;
use super::report::Report;
use super::trace::{Context, Trace};
use super::{
    AudioError, OutputSpec, PlayerConfig, PlayerInputs, PlayerState, PlayerStatus, Trims, turns,
};

/// Plays a room on one output. Stops when dropped.
pub struct Player {
    shared: Arc<Shared>,
    turns: Box<dyn Pacer>,
}

struct Shared {
    /// f32 bits.
    volume: AtomicU32,
    muted: AtomicBool,
    /// For all devices, if it was set.
    trim_ns: Mutex<Option<i64>>,
    status: Mutex<PlayerStatus>,
}

/// A turn costs as much as decoding for a tenth of it does, so they are few: well within what is
/// rendered ahead, and within what the trace may be late by.
const TURN_EVERY: Duration = Duration::from_millis(80);
/// While sound is waited for.
const EAGER_TURN_EVERY: Duration = Duration::from_millis(10);
/// The contract says 100 ms; this leaves a busy machine some.
const TRACE_EVERY_NS: i64 = 70_000_000;
const LATE_NS: i64 = 95_000_000;
/// What the renderer remembers of what sounded.
const REMEMBERED_NS: i64 = 500_000_000;
const CLOCKS_EVERY_NS: i64 = 50_000_000;
/// A device that has not asked for sound for so long hangs.
const HANGS_AFTER_NS: i64 = 2_000_000_000;
const STOOD_STILL_NS: i64 = 500_000_000;
const REOPEN_EVERY_NS: i64 = 1_000_000_000;

impl Player {
    /// Opens the output and starts to play.
    pub fn start(
        world: &World,
        config: PlayerConfig,
        inputs: PlayerInputs,
    ) -> Result<Self, AudioError> {
        let shared = Arc::new(Shared {
            volume: AtomicU32::new(config.volume.to_bits()),
            muted: AtomicBool::new(false),
            trim_ns: Mutex::new(config.trim_ns),
            status: Mutex::default(),
        });
        let urgent = config.urgent;
        let start = || Playing::start(world.clone(), config, inputs, shared.clone());
        // A sound system may break in many ways, and not all of them are errors.
        let started = catch_unwind(AssertUnwindSafe(start));
        let mut playing = started.unwrap_or(Err(AudioError::Broke))?;
        let told = shared.clone();
        let broke = move || {
            tracing::error!(
                "the player broke: there is no more sound; join again, and report this as a bug"
            );
            told.status().trouble = Some("the player broke; join again".into());
        };
        let turns = turns::begin(world, "jam-player", urgent, move || playing.turn(), broke)?;
        Ok(Self { shared, turns })
    }

    /// Changes this listener's volume, 0.0 to 1.0.
    pub fn set_volume(&self, volume: f32) {
        self.shared.volume.store(volume.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        self.wake();
    }

    /// Silences this listener, or ends that.
    pub fn set_muted(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::Relaxed);
        self.wake();
    }

    /// By how much the device sounds later than it says from now on, ns, whatever was known of it.
    pub fn set_trim(&self, trim_ns: i64) {
        *self.shared.trim_ns.lock().unwrap_or_else(PoisonError::into_inner) = Some(trim_ns);
        self.wake();
    }

    /// Has the player look at its inputs now, not at its next turn: they are new.
    pub fn wake(&self) {
        self.turns.wake();
    }

    /// What sounds now.
    pub fn status(&self) -> PlayerStatus {
        self.shared.status().clone()
    }

    /// Stops, and waits for what is still to be written.
    pub fn stop(self) {
        drop(self);
    }
}

impl Shared {
    fn status(&self) -> std::sync::MutexGuard<'_, PlayerStatus> {
        // It is replaced as a whole: a panic elsewhere leaves it whole.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trim_ns(&self, known: &Trims, device: &str) -> i64 {
        let set = *self.trim_ns.lock().unwrap_or_else(PoisonError::into_inner);
        set.or_else(|| known.ns(device)).unwrap_or(0)
    }

    fn gain(&self) -> f32 {
        let volume = f32::from_bits(self.volume.load(Ordering::Relaxed));
        // Loudness is heard about as the cube of a slider's way.
        if self.muted.load(Ordering::Relaxed) { 0.0 } else { volume.powi(3) }
    }
}

struct Playing {
    world: World,
    config: PlayerConfig,
    inputs: PlayerInputs,
    shared: Arc<Shared>,
    device: Option<Device>,
    trouble: Option<String>,
    renderer: Renderer,
    clocks: ClockPair,
    trace: Option<Trace>,
    turned_ns: i64,
    stamped_ns: i64,
    clocks_read_ns: i64,
    opened_ns: i64,
    traced_ns: i64,
    traced: Report,
}

impl Playing {
    fn start(
        world: World,
        mut config: PlayerConfig,
        inputs: PlayerInputs,
        shared: Arc<Shared>,
    ) -> Result<Self, AudioError> {
        let trace = config.trace.as_deref().map(Trace::create).transpose()?;
        let (device, line) = Device::open(&world, &mut config, shared.gain())?;
        let is_audible = config.output != OutputSpec::None;
        let library = Library::new(inputs.songs.clone(), is_audible, config.normalizes);
        #[cfg(feature = "planted")]
        if jam_proto::planted::Bug::WrongPhase.is_planted() {
            config.trim_ns = Some(config.trim_ns.unwrap_or(0) - 3_000_000);
        }
        let trim_ns = shared.trim_ns(&config.trims, &device.id);
        let renderer = Renderer::new(line, device.rate, device.settle, library, trim_ns);
        let now = world.clock.mono_ns();
        Ok(Self {
            clocks: ClockPair::new(world.clock.as_ref(), || world.clock.raw_ns()),
            world,
            config,
            inputs,
            shared,
            device: Some(device),
            trouble: None,
            renderer,
            trace,
            turned_ns: now,
            stamped_ns: now,
            clocks_read_ns: now,
            opened_ns: now,
            traced_ns: i64::MIN / 2,
            traced: Report::default(),
        })
    }

    /// Renders what fits, and tells what sounds; how long that lasts.
    fn turn(&mut self) -> Duration {
        let now = self.world.clock.mono_ns();
        if now - self.clocks_read_ns >= CLOCKS_EVERY_NS {
            let machine = self.world.clock.as_ref();
            self.clocks.update(machine, || machine.raw_ns());
            self.clocks_read_ns = now;
        }
        if now - self.turned_ns > STOOD_STILL_NS {
            // It was us who hung: the device gets its time anew.
            self.stamped_ns = now;
        }
        self.turned_ns = now;
        self.mind_device(now);
        self.renderer.set_gain(self.shared.gain());
        if let Some(device) = &self.device {
            self.renderer.set_trim(self.shared.trim_ns(&self.config.trims, &device.id));
        }
        let (room, view) = (self.inputs.room.load_full(), self.inputs.clock.load_full());
        // After a sleep, silence until the time is known again is better than the wrong place.
        let view = view.filter(|view| view.holds(self.world.clock.as_ref()));
        self.renderer.advance(room, view, now, self.clocks.other(now));
        self.tell();
        let waiting = matches!(self.traced.state, PlayerState::Joining | PlayerState::Starved);
        if waiting { EAGER_TURN_EVERY } else { TURN_EVERY }
    }

    /// Takes the device's stamps, and opens it anew if it is gone.
    fn mind_device(&mut self, now: i64) {
        let Some(device) = &mut self.device else {
            if now - self.opened_ns >= REOPEN_EVERY_NS {
                self.reopen(now);
            }
            return;
        };
        device.update();
        while let Some(stamp) = self.renderer.next_stamp() {
            self.renderer.observe(stamp, device.raw_ns(stamp.at_ns, &self.clocks));
            self.stamped_ns = now;
        }
        let hangs = device.may_hang() && now - self.stamped_ns > HANGS_AFTER_NS;
        let lost = device.lost().or(hangs.then_some("the device takes no more sound"));
        if let Some(why) = lost {
            tracing::warn!("{}: {why}; trying again", device.name);
            self.trouble = Some(why.to_owned());
            self.device = None;
            self.opened_ns = now;
        }
    }

    fn reopen(&mut self, now: i64) {
        self.opened_ns = now;
        match Device::open(&self.world, &mut self.config, self.shared.gain()) {
            Ok((device, line)) => {
                tracing::info!("{}: playing again", device.name);
                self.renderer.attach(line, device.rate, device.settle);
                self.device = Some(device);
                self.trouble = None;
                self.stamped_ns = now;
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    /// Publishes what sounds now, and traces it if it is time or has changed.
    fn tell(&mut self) {
        let now = self.world.clock.mono_ns();
        // On a machine that stood still, what sounded meanwhile is told belatedly.
        while (LATE_NS..REMEMBERED_NS).contains(&(now - self.traced_ns)) {
            let then = self.traced_ns + TRACE_EVERY_NS;
            self.tell_of(self.renderer.report(then, &self.clocks), then);
        }
        let due = now - self.traced_ns >= TRACE_EVERY_NS;
        let report = self.renderer.report(now, &self.clocks);
        let last = &self.traced;
        if due
            || (report.state, report.song, report.origin, report.kbps)
                != (last.state, last.song, last.origin, last.kbps)
        {
            self.tell_of(report, now);
        }
    }

    fn tell_of(&mut self, report: Report, at: i64) {
        let buffer_ms = self.renderer.buffer_ms(&report);
        if let Some(trace) = &mut self.trace {
            let context = Context {
                room: self.renderer.room.as_ref().map(|room| room.code().as_str()),
                revision: self.renderer.room.as_ref().map(|room| room.revision().0),
                view: self.renderer.view.as_deref(),
                buffer_ms,
                device: &self.renderer.clock,
                silence: self.renderer.silence(),
                underruns: self.renderer.underruns,
                jumps: self.renderer.jumps,
            };
            trace.write(&report, &context);
        }
        *self.shared.status() = PlayerStatus {
            state: report.state,
            entry: report.song.map(|song| song.entry),
            frame: report.frame,
            sample_rate: report.song.map_or(0, |song| song.rate),
            kbps: report.kbps,
            error_ns: report.error_ns,
            rate_ppm: report.rate_ppm,
            device_ppm: self.renderer.clock.fast_ppm(),
            stamp_sigma_ns: self.renderer.clock.stamp_sigma_ns() as i64,
            coarse_stamps: self.renderer.clock.is_coarse(),
            buffer_ms,
            lost_frames: self.renderer.lost_frames(),
            silence: self.renderer.silence(),
            underruns: self.renderer.underruns,
            jumps: self.renderer.jumps,
            device: self.device.as_ref().map_or_else(String::new, |device| device.name.clone()),
            trouble: self.trouble.clone(),
        };
        self.traced = report;
        self.traced_ns = at;
    }
}
