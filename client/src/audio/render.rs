//! From the room and the clock to device frames: the heart of the player, without threads or
//! devices.
//!
//! The renderer keeps a *playhead*: a place on the room's time line (shared time) for the device
//! frame that it renders next. What sounds is what the room says at the playhead, so every change
//! comes at its exact frame. Each device frame moves the playhead by one *step*, which the
//! controller steers so that the playhead meets the shared time at which the frame sounds. Clock
//! corrections therefore only bend the step; only the room (or a hole, or a jump) makes the sound
//! discontinuous.
//!
//! Sound is rendered [`LEAD_MS`] ahead of the device. When the room changes in what was already
//! rendered, that part is taken back and rendered anew.

use std::sync::Arc;

use jam_proto::room::Room;
use jam_proto::sync::{Controller, DeviceClock, SharedMap, Steering};
use jam_proto::time::{FLICKS_PER_SECOND, SharedTime};

use super::deck::Deck;
use super::history::{History, Piece};
use super::library::Library;
use super::link::{BLOCK_FRAMES, Block, CHANNELS, Line, Stamp};
use super::plan::{Due, Playhead};
use super::silence::SilenceMeter;
use super::{ClockView, PlayerState};

/// How far ahead of the device sound is rendered. With a device's own buffer it stays below the
/// 400 ms by which commands are announced; but for a turn of the player, it is what a busy machine
/// may keep that waiting.
const LEAD_MS: u64 = 320;
/// What is taken back begins this much after what the device may be fetching just now.
const GUARD_MS: u64 = 3;
/// Pieces are remembered until they have surely sounded.
const REMEMBER_MS: u64 = 600;
/// Stamps without anything missing after which a hole is over.
const WHOLE_AFTER: u32 = 3;
/// How often songs that are near are opened.
const PREPARE_EVERY_NS: i64 = 200_000_000;

/// What the renderer works from. Owned by the player thread.
pub struct Renderer {
    pub(super) rate: u32,
    pub(super) clock: DeviceClock,
    pub(super) room: Option<Arc<Room>>,
    pub(super) view: Option<Arc<ClockView>>,
    /// Shared time as it was known last.
    pub(super) known_map: Option<SharedMap>,
    pub(super) history: History,
    pub(super) deck: Deck,
    pub(super) trim_ns: i64,
    pub(super) underruns: u64,
    pub(super) jumps: u64,
    line: Line,
    controller: Controller,
    /// The next device frame to render.
    written: u64,
    playhead: Playhead,
    /// Whether the playhead goes on from the last piece; else it is set to when the next frame
    /// sounds.
    aligned: bool,
    last_dt_s: f64,
    last_ppm: f64,
    /// The first frame that the device has not asked for yet, and how many it asks for at a time.
    device_next: u64,
    period: u64,
    /// The frame that sounds now; the device may not have said yet that it took it.
    sounding: u64,
    /// Whether rendering goes on from `written`.
    started: bool,
    /// The first frame since the start that was rendered.
    first: u64,
    /// From where on something was taken back last.
    cut_at: u64,
    room_changed: bool,
    new_epoch: bool,
    xruns: u64,
    moves: u64,
    missing: u64,
    /// Missing frames of devices that were there before.
    missing_before: u64,
    pub(super) silence: SilenceMeter,
    /// Stamps since the last hole.
    since_hole: u32,
    /// Whether a song ever sounded.
    sounded: bool,
    prepared_ns: i64,
}

impl Renderer {
    /// For a device behind `line` that runs at `rate` and whose first `settle` stamps are wrong.
    pub fn new(line: Line, rate: u32, settle: u32, library: Library, trim_ns: i64) -> Self {
        Self {
            rate,
            clock: DeviceClock::new(rate, settle),
            room: None,
            view: None,
            known_map: None,
            history: History::default(),
            deck: Deck::new(library, rate),
            trim_ns,
            underruns: 0,
            jumps: 0,
            line,
            controller: Controller::default(),
            written: 0,
            playhead: Playhead::new(SharedTime(0)),
            aligned: false,
            last_dt_s: 0.0,
            last_ppm: 0.0,
            device_next: 0,
            period: 0,
            sounding: 0,
            started: false,
            first: 0,
            cut_at: 0,
            room_changed: false,
            new_epoch: false,
            xruns: 0,
            moves: 0,
            missing: 0,
            missing_before: 0,
            silence: SilenceMeter::default(),
            since_hole: WHOLE_AFTER,
            sounded: false,
            prepared_ns: i64::MIN / 2,
        }
    }

    /// The device is another one now: everything about it begins anew.
    pub fn attach(&mut self, line: Line, rate: u32, settle: u32) {
        if self.history.last().is_some_and(|piece| piece.state == PlayerState::Playing) {
            self.underruns += 1;
        }
        self.silence.detach();
        self.deck.set_rate(rate);
        self.history.clear();
        self.clock = DeviceClock::new(rate, settle);
        (self.line, self.rate) = (line, rate);
        (self.device_next, self.sounding, self.period) = (0, 0, 0);
        self.controller = Controller::default();
        self.missing_before += self.missing;
        (self.cut_at, self.xruns, self.moves, self.missing) = (0, 0, 0, 0);
        (self.started, self.aligned, self.since_hole) = (false, false, WHOLE_AFTER);
    }

    /// The next stamp of the device, if there is one.
    pub fn next_stamp(&mut self) -> Option<Stamp> {
        self.line.stamp()
    }

    /// The volume, at once.
    pub fn set_gain(&self, gain: f32) {
        self.line.set_gain(gain);
    }

    /// By how much the device sounds later than it says. If that is new, what is due is played at once.
    pub fn set_trim(&mut self, trim_ns: i64) {
        self.new_epoch |= self.trim_ns != trim_ns;
        self.trim_ns = trim_ns;
    }

    /// Takes a stamp, whose instant is `raw_ns` by the raw clock.
    pub fn observe(&mut self, stamp: Stamp, raw_ns: i64) {
        self.meter_silence(stamp, raw_ns);
        let missing = self.line.missing();
        let ran_out = stamp.xruns != self.xruns;
        let goes_elsewhere = stamp.moves != self.moves;
        let whole = missing == self.missing && !ran_out;
        (self.missing, self.xruns, self.moves) = (missing, stamp.xruns, stamp.moves);
        self.device_next = stamp.frame + u64::from(stamp.frames);
        self.period = self.period.max(u64::from(stamp.frames));
        if ran_out || goes_elsewhere {
            self.clock.restart();
        }
        let moved = !self.clock.observe(stamp.frame, raw_ns);
        self.note_hole(whole && !moved);
        if ran_out || moved || goes_elsewhere {
            self.stop();
        }
        if self.started && self.device_next > self.first {
            self.line.set_feeding(true);
        }
    }

    /// Renders as far ahead as it should be, from what is known now: without a `view`, nothing.
    /// `now_ns` and `raw_ns` are CLOCK_MONOTONIC and the raw clock.
    pub fn advance(
        &mut self,
        room: Option<Arc<Room>>,
        view: Option<Arc<ClockView>>,
        now_ns: i64,
        raw_ns: i64,
    ) {
        self.room_changed |=
            matches!((&self.room, &room), (Some(old), Some(new)) if !Arc::ptr_eq(old, new));
        self.new_epoch |=
            matches!((&self.view, &view), (Some(old), Some(new)) if old.epoch != new.epoch);
        if view.is_none() && self.view.is_some() {
            // Nobody knows what is due now: silence is better than the wrong place.
            self.stop();
        }
        self.room = room.or(self.room.take());
        self.known_map = view.as_ref().map(|view| view.map).or(self.known_map);
        self.view = view;
        let (Some(room), Some(view)) = (self.room.clone(), self.view.clone()) else { return };
        if !self.clock.ready() || self.period == 0 {
            return;
        }
        self.sounding = u64::try_from(self.clock.frame_at(raw_ns)).unwrap_or(0);
        self.start_or_catch_up();
        let cut = self.revise(&room, now_ns);
        let goal = self.taken() + self.frames_in(LEAD_MS);
        while self.written < goal && self.line.has_room() {
            self.render_piece(&room, &view, now_ns);
        }
        if let Some(frame) = cut {
            // Only now, so that what replaces it is there.
            self.line.cut(frame);
            self.cut_at = frame;
        }
        self.history.forget_before(self.device_next.saturating_sub(self.frames_in(REMEMBER_MS)));
        if now_ns - self.prepared_ns > PREPARE_EVERY_NS {
            self.prepared_ns = now_ns;
            self.deck.prepare(&room, self.playhead, now_ns);
        }
    }

    /// When a device frame sounds: shared time.
    pub(super) fn shared_at(&self, view: &ClockView, frame: u64) -> SharedTime {
        view.map.at(self.clock.raw_at(frame) + self.trim_ns)
    }

    /// Flicks that a frame of the device nominally lasts.
    pub(super) fn nominal_step(&self) -> f64 {
        FLICKS_PER_SECOND as f64 / f64::from(self.rate)
    }

    /// Whether a song ever sounded.
    pub(super) fn has_sounded(&self) -> bool {
        self.sounded
    }

    /// Frames that sound was due for and none was there.
    pub(super) fn lost_frames(&self) -> u64 {
        self.missing_before + self.missing
    }

    fn frames_in(&self, ms: u64) -> u64 {
        u64::from(self.rate) * ms / 1000
    }

    /// The first frame that the device may still take.
    fn taken(&self) -> u64 {
        self.device_next.max(self.sounding)
    }

    /// The first frame that it can't have taken before we are done.
    fn reachable(&self) -> u64 {
        self.taken() + self.period + self.frames_in(GUARD_MS)
    }

    fn note_hole(&mut self, whole: bool) {
        if whole {
            self.since_hole = self.since_hole.saturating_add(1);
            return;
        }
        // What is missing in a row of callbacks is one underrun.
        self.underruns += u64::from(self.since_hole >= WHOLE_AFTER);
        self.since_hole = 0;
    }

    /// Sound no longer reaches the output where it should: silence until frames can be placed
    /// again.
    fn stop(&mut self) {
        if self.started {
            self.line.set_feeding(false);
            self.line.take_back();
            self.line.cut(self.device_next);
            self.cut_at = self.device_next;
        }
        self.started = false;
    }

    /// At the start, and when the device has overtaken us, rendering goes on a little ahead of it.
    fn start_or_catch_up(&mut self) {
        if self.started && self.written >= self.taken() {
            return;
        }
        self.deck.stop();
        self.history.clear();
        self.aligned = false;
        self.written = self.reachable();
        self.first = self.written;
        self.line.set_feeding(false);
        self.started = true;
    }

    /// Takes back what was rendered but is no longer due, or can be better now. Returns from where
    /// on, for the device.
    fn revise(&mut self, room: &Room, now_ns: i64) -> Option<u64> {
        // A second cut before the device has passed the first would bring back what the first took
        // away.
        if self.device_next < self.cut_at {
            return None;
        }
        let (revise, realign) =
            (std::mem::take(&mut self.room_changed), std::mem::take(&mut self.new_epoch));
        let reachable = self.reachable();
        let wrong = |piece: &&Piece| {
            let came_in = piece.wants_song() && self.song_is_here(piece, now_ns);
            realign || (revise && !piece.fits(room)) || came_in
        };
        let Some(piece) = self.history.from(reachable).find(wrong) else {
            self.aligned &= !realign;
            return None;
        };
        let frame = piece.block.start.max(reachable);
        let before = self.history.at(frame - 1).filter(|piece| piece.state == PlayerState::Playing);
        let playhead = before.map(|piece| piece.playhead_at(frame));
        let sounded = before.is_some();
        self.deck.replace(|tail| self.history.take_back(frame, tail));
        self.line.take_back();
        self.written = frame;
        // In one epoch the time line goes on; a new one has to be found on the clock.
        self.aligned = !realign && sounded;
        self.playhead = playhead.unwrap_or(self.playhead);
        self.jumps += u64::from(realign && sounded);
        Some(frame)
    }

    fn song_is_here(&self, piece: &Piece, now_ns: i64) -> bool {
        let frame = piece.due.frame_at(piece.playhead).max(0.0) as u64;
        piece.due.sounding().is_some_and(|song| self.deck.library.has(&song, frame, now_ns))
    }

    fn render_piece(&mut self, room: &Room, view: &ClockView, now_ns: i64) {
        let sounds = self.shared_at(view, self.written);
        let estimated_ppm = self.estimated_ppm(view, sounds);
        let last_step = self.nominal_step() * (1.0 + self.last_ppm * 1e-6);
        let (due, until, voiced, ppm) = loop {
            if !self.aligned {
                self.playhead = Playhead::new(sounds);
                self.controller.realigned();
                self.aligned = true;
            }
            let (due, until) = Due::at(room, self.playhead.time());
            if !self.deck.tune(room, &due, self.playhead, last_step, now_ns) {
                break (due, until, false, estimated_ppm);
            }
            match self.controller.steer(self.error_ns(sounds), estimated_ppm, self.last_dt_s) {
                Steering::Rate(ppm) => break (due, until, true, ppm),
                Steering::Jump => {
                    self.jumps += 1;
                    self.deck.fade_out();
                    self.aligned = false;
                }
            }
        };
        let step = self.nominal_step() * (1.0 + ppm * 1e-6);
        let until_change =
            until.map_or(f64::INFINITY, |until| (-self.playhead.since(until) / step).ceil());
        let frames = until_change.clamp(1.0, BLOCK_FRAMES as f64) as usize;

        let mut block = Block::empty(self.written);
        block.frames = frames as u16;
        self.deck.render(&mut block.audio[..frames * CHANNELS], &due, self.playhead, step);
        let state = match due.state {
            PlayerState::Playing if voiced => PlayerState::Playing,
            PlayerState::Playing if self.sounded => PlayerState::Starved,
            PlayerState::Playing => PlayerState::Joining,
            state => state,
        };
        self.line.push(&block);
        let kbps = self.deck.kbps().filter(|_| voiced);
        self.history.push(Piece { block, playhead: self.playhead, step, due, state, kbps });
        self.written += frames as u64;
        self.playhead = self.playhead.after(frames as f64 * step);
        self.last_dt_s = frames as f64 / f64::from(self.rate);
        self.last_ppm = ppm;
        // In silence there is nothing that could be heard to move.
        self.aligned = voiced;
        self.sounded |= voiced;
    }

    /// By how much faster than nominal the device's frames have to be played by what is known of
    /// its clock and of shared time.
    fn estimated_ppm(&self, view: &ClockView, sounds: SharedTime) -> f64 {
        let second = self.shared_at(view, self.written + u64::from(self.rate)).since(sounds);
        (second.0 as f64 / FLICKS_PER_SECOND as f64 - 1.0) * 1e6
    }

    /// How much later the next frame sounds than it is due.
    fn error_ns(&self, sounds: SharedTime) -> f64 {
        -self.playhead.since(sounds) * 1e9 / FLICKS_PER_SECOND as f64
    }
}

#[cfg(test)]
mod tests;
