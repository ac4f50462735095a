//! From the room and the clock to device frames: the heart of the player, without threads or devices.
//!
//! The renderer keeps a *playhead*: a place on the room's time line (shared time) for the device frame that it renders next. What
//! sounds is what the room says at the playhead, so every change comes at its exact frame. Each device frame moves the
//! playhead by one *step*, which the controller steers so that the playhead meets the shared time at which the frame sounds.
//! Clock corrections therefore only bend the step; only the room (or a hole, or a jump) makes the sound discontinuous.
//!
//! Sound is rendered [`LEAD_MS`] ahead of the device. When the room changes in what was already rendered, that part is taken
//! back and rendered anew.

use std::sync::Arc;

use jam_proto::room::Room;
use jam_proto::sync::{Controller, DeviceClock, Steering};
use jam_proto::time::{FLICKS_PER_SECOND, SharedTime};

use super::fade::Fade;
use super::history::{History, Piece};
use super::library::Library;
use super::link::{BLOCK_FRAMES, Block, CHANNELS, Line, Stamp};
use super::plan::{Due, Playhead, Song};
use super::resample::Resampler;
use super::voice::{Part, Voice};
use super::{ClockView, PlayerState};

/// How far ahead of the device sound is rendered. With a device's own buffer it stays below the 400 ms by which commands are
/// announced; it is what a busy machine may keep the player waiting.
const LEAD_MS: u64 = 160;
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
    pub(super) history: History,
    pub(super) library: Library,
    pub(super) trim_ns: i64,
    pub(super) underruns: u64,
    pub(super) jumps: u64,
    line: Line,
    controller: Controller,
    fade: Fade,
    voice: Option<Voice>,
    /// When the song that the voice plays ends by itself.
    voice_ends: SharedTime,
    spare: Vec<Resampler>,
    /// The next device frame to render.
    written: u64,
    playhead: Playhead,
    /// Whether the playhead goes on from the last piece; else it is set to when the next frame sounds.
    aligned: bool,
    last_dt_s: f64,
    last_ppm: f64,
    /// The first frame that the device has not asked for yet, and how many it asks for at a time.
    device_next: u64,
    period: u64,
    /// Whether rendering goes on from `written`.
    started: bool,
    /// The first frame since the start that was rendered.
    first: u64,
    /// From where on something was taken back last.
    cut_at: u64,
    room_changed: bool,
    new_epoch: bool,
    xruns: u64,
    missing: u64,
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
            history: History::default(),
            library,
            trim_ns,
            underruns: 0,
            jumps: 0,
            line,
            controller: Controller::default(),
            fade: Fade::new(rate),
            voice: None,
            voice_ends: SharedTime(0),
            spare: Vec::new(),
            written: 0,
            playhead: Playhead::new(SharedTime(0)),
            aligned: false,
            last_dt_s: 0.0,
            last_ppm: 0.0,
            device_next: 0,
            period: 0,
            started: false,
            first: 0,
            cut_at: 0,
            room_changed: false,
            new_epoch: false,
            xruns: 0,
            missing: 0,
            since_hole: WHOLE_AFTER,
            sounded: false,
            prepared_ns: i64::MIN / 2,
        }
    }

    /// The device is another one now: everything about it begins anew.
    pub fn attach(&mut self, line: Line, rate: u32, settle: u32) {
        self.end_voice();
        if self.history.last().is_some_and(|piece| piece.state == PlayerState::Playing) {
            self.underruns += 1;
        }
        self.spare.clear();
        self.history.clear();
        self.fade = Fade::new(rate);
        self.clock = DeviceClock::new(rate, settle);
        (self.line, self.rate) = (line, rate);
        (self.device_next, self.period, self.cut_at, self.xruns, self.missing) = (0, 0, 0, 0, 0);
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

    /// Takes a stamp, whose instant is `raw_ns` by the raw clock.
    pub fn observe(&mut self, stamp: Stamp, raw_ns: i64) {
        let missing = self.line.missing();
        let ran_out = stamp.xruns != self.xruns;
        let whole = missing == self.missing && !ran_out;
        (self.missing, self.xruns) = (missing, stamp.xruns);
        self.device_next = stamp.frame + u64::from(stamp.frames);
        self.period = self.period.max(u64::from(stamp.frames));
        if ran_out {
            self.clock.restart();
        }
        let moved = !self.clock.observe(stamp.frame, raw_ns);
        self.note_hole(whole && !moved);
        if ran_out || moved {
            self.stop();
        }
        if self.started && self.device_next > self.first {
            self.line.set_feeding(true);
        }
    }

    /// Renders as far ahead as it should be, from what is known now.
    pub fn advance(&mut self, room: Option<Arc<Room>>, view: Option<Arc<ClockView>>, now_ns: i64) {
        self.room_changed |=
            matches!((&self.room, &room), (Some(old), Some(new)) if !Arc::ptr_eq(old, new));
        self.new_epoch |=
            matches!((&self.view, &view), (Some(old), Some(new)) if old.epoch != new.epoch);
        // What was known once stays known.
        self.room = room.or(self.room.take());
        self.view = view.or(self.view.take());
        let (Some(room), Some(view)) = (self.room.clone(), self.view.clone()) else { return };
        if !self.clock.ready() || self.period == 0 {
            return;
        }
        self.start_or_catch_up();
        let cut = self.revise(&room, now_ns);
        let goal = self.device_next + self.frames_in(LEAD_MS);
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
            self.prepare(&room, now_ns);
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

    fn frames_in(&self, ms: u64) -> u64 {
        u64::from(self.rate) * ms / 1000
    }

    /// The first frame that the device can't have asked for before we are done.
    fn reachable(&self) -> u64 {
        self.device_next + self.period + self.frames_in(GUARD_MS)
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

    /// Sound no longer reaches the output where it should: silence until frames can be placed again.
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
        if self.started && self.written >= self.device_next {
            return;
        }
        self.end_voice();
        self.history.clear();
        self.fade.clear();
        self.aligned = false;
        self.written = self.reachable();
        self.first = self.written;
        self.line.set_feeding(false);
        self.started = true;
    }

    /// Takes back what was rendered but is no longer due, or can be better now. Returns from where on, for the device.
    fn revise(&mut self, room: &Room, now_ns: i64) -> Option<u64> {
        // A second cut before the device has passed the first would bring back what the first took away.
        if self.device_next < self.cut_at {
            return None;
        }
        let (revise, realign) =
            (std::mem::take(&mut self.room_changed), std::mem::take(&mut self.new_epoch));
        let reachable = self.reachable();
        let came_in = self
            .history
            .last()
            .is_some_and(|piece| wants_song(piece) && self.song_is_here(piece, now_ns));
        let wrong = |piece: &&Piece| {
            realign || (revise && !fits(piece, room)) || (came_in && wants_song(piece))
        };
        let frame = self.history.from(reachable).find(wrong)?.block.start.max(reachable);
        let before = self.history.at(frame - 1).filter(|piece| piece.state == PlayerState::Playing);
        let playhead = before.map(|piece| piece.playhead_at(frame));
        let sounded = before.is_some();
        self.end_voice();
        let history = &mut self.history;
        self.fade.out(|tail| history.take_back(frame, tail));
        self.line.take_back();
        self.written = frame;
        // In one epoch the time line goes on; a new one has to be found on the clock.
        self.aligned = !realign && sounded;
        self.playhead = playhead.unwrap_or(self.playhead);
        self.jumps += u64::from(realign && sounded);
        Some(frame)
    }

    fn song_is_here(&self, piece: &Piece, now_ns: i64) -> bool {
        piece.due.sounding().is_some_and(|song| self.library.has(&song.track, now_ns))
    }

    fn render_piece(&mut self, room: &Room, view: &ClockView, now_ns: i64) {
        let sounds = self.shared_at(view, self.written);
        let estimated_ppm = self.estimated_ppm(view, sounds);
        let (due, until, voiced, ppm) = loop {
            if !self.aligned {
                self.playhead = Playhead::new(sounds);
                self.controller.realigned();
                self.aligned = true;
            }
            let (due, until) = Due::at(room, self.playhead.time());
            if !self.tune(room, &due, now_ns) {
                break (due, until, false, estimated_ppm);
            }
            match self.controller.steer(self.error_ns(sounds), estimated_ppm, self.last_dt_s) {
                Steering::Rate(ppm) => break (due, until, true, ppm),
                Steering::Jump => {
                    self.jumps += 1;
                    self.fade_voice_out();
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
        let out = &mut block.audio[..frames * CHANNELS];
        if let (true, Some(voice), Some(song)) = (voiced, &mut self.voice, due.sounding()) {
            voice.render(out, due.frame_at(self.playhead), step * song.frames_per_flick());
        }
        self.fade.apply(out);
        let state = match due.state {
            PlayerState::Playing if voiced => PlayerState::Playing,
            PlayerState::Playing if self.sounded => PlayerState::Starved,
            PlayerState::Playing => PlayerState::Joining,
            state => state,
        };
        self.line.push(&block);
        self.history.push(Piece { block, playhead: self.playhead, step, due, state });
        self.written += frames as u64;
        self.playhead = self.playhead.after(frames as f64 * step);
        self.last_dt_s = frames as f64 / f64::from(self.rate);
        self.last_ppm = ppm;
        // In silence there is nothing that could be heard to move.
        self.aligned = voiced;
        self.sounded |= voiced;
    }

    /// By how much faster than nominal the device's frames have to be played by what is known of its clock and of shared time.
    fn estimated_ppm(&self, view: &ClockView, sounds: SharedTime) -> f64 {
        let second = self.shared_at(view, self.written + u64::from(self.rate)).since(sounds);
        (second.0 as f64 / FLICKS_PER_SECOND as f64 - 1.0) * 1e6
    }

    /// How much later the next frame sounds than it is due.
    fn error_ns(&self, sounds: SharedTime) -> f64 {
        -self.playhead.since(sounds) * 1e9 / FLICKS_PER_SECOND as f64
    }

    /// Makes the voice play what is due. Returns whether it does.
    fn tune(&mut self, room: &Room, due: &Due, now_ns: i64) -> bool {
        let (Some(song), Some(entry)) = (due.sounding(), room.at(self.playhead.time()).entry)
        else {
            self.fade_voice_out();
            return false;
        };
        let ends = due.origin + song.length();
        let follows = self.voice_ends == due.origin;
        if let Some(voice) = &mut self.voice {
            if voice.entry() == song.entry && self.voice_ends == ends {
                self.splice(room, now_ns);
                return true;
            }
            if follows && voice.next_entry() == Some(song.entry) {
                // The one that ended won't be needed soon.
                drop(voice.promote());
                self.voice_ends = ends;
                return true;
            }
        }
        let seamless = follows && self.voice.is_some();
        self.fade_voice_out();
        let Some(sound) = self.library.take(entry, now_ns) else { return false };
        let Some(resampler) = self.resampler(song, now_ns) else { return false };
        let at = due.frame_at(self.playhead);
        let step = self.nominal_step() * (1.0 + self.last_ppm * 1e-6) * song.frames_per_flick();
        let part = Part { entry: song.entry, frames: song.frames, sound };
        self.voice = Some(Voice::begin(resampler, part, at, step));
        self.voice_ends = ends;
        // A song's own beginning is not softened.
        if seamless || at < 1.0 {
            self.fade.at_once()
        } else {
            self.fade.up()
        }
        true
    }

    /// Puts what follows by itself onto the voice's tape, if it can.
    fn splice(&mut self, room: &Room, now_ns: i64) {
        let Some(voice) = self.voice.as_mut().filter(|voice| voice.wants_next()) else { return };
        let (next, _) = Due::at(room, self.voice_ends);
        let Some(song) = next
            .sounding()
            .filter(|song| song.rate == voice.rate() && next.origin == self.voice_ends)
        else {
            return;
        };
        if let Some(entry) = room.at(self.voice_ends).entry
            && let Some(sound) = self.library.take(entry, now_ns)
        {
            voice.chain(Part { entry: song.entry, frames: song.frames, sound });
        }
    }

    fn resampler(&mut self, song: Song, now_ns: i64) -> Option<Resampler> {
        if let Some(index) = self.spare.iter().position(|spare| spare.in_rate() == song.rate) {
            return Some(self.spare.swap_remove(index));
        }
        match Resampler::new(song.rate, self.rate) {
            Ok(resampler) => Some(resampler),
            Err(error) => {
                tracing::warn!(
                    "can't play {} Hz on a device of {} Hz: {error}",
                    song.rate,
                    self.rate
                );
                self.library.refuse(song.track, now_ns);
                None
            }
        }
    }

    /// The voice ends; what it would have gone on with fades out.
    fn fade_voice_out(&mut self) {
        if let Some(voice) = &mut self.voice {
            let step = f64::from(voice.rate()) / f64::from(self.rate);
            self.fade.out(|tail| voice.render_on(tail, step));
        }
        self.end_voice();
    }

    fn end_voice(&mut self) {
        let Some(voice) = self.voice.take() else { return };
        let (resampler, parts) = voice.end_it();
        self.spare.truncate(1);
        self.spare.push(resampler);
        for part in parts {
            self.library.give_back(part.entry, part.sound);
        }
    }

    /// Opens what is current and what follows, since that may take a while.
    fn prepare(&mut self, room: &Room, now_ns: i64) {
        let playing = self.voice.as_ref().map(|voice| (voice.entry(), voice.next_entry()));
        let current = room.at(self.playhead.time()).entry;
        let following = room.next_after(self.playhead.time(), 1);
        for entry in current.into_iter().chain(following.into_iter().map(|(_, entry)| entry)) {
            if playing.is_none_or(|(current, next)| entry.id != current && Some(entry.id) != next) {
                self.library.prepare(entry, now_ns);
            }
        }
    }
}

/// Whether a piece is silent for want of a song.
fn wants_song(piece: &Piece) -> bool {
    piece.due.sounding().is_some() && piece.state != PlayerState::Playing
}

/// Whether a piece is what the room says now.
fn fits(piece: &Piece, room: &Room) -> bool {
    let (due, until) = Due::at(room, piece.playhead.time());
    let last = piece.playhead_at(piece.block.end() - 1);
    due == piece.due && until.is_none_or(|until| last.since(until) < 0.0)
}

#[cfg(test)]
mod tests;
