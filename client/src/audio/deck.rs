//! The deck: the songs, the one voice that plays them, and the fades between what does not follow
//! by itself.

use jam_proto::event::Entry;
use jam_proto::room::Room;
use jam_proto::time::SharedTime;

use super::fade::Fade;
use super::library::Library;
use super::plan::{Due, Playhead};
use super::resample::Resampler;
use super::voice::{Part, Voice};

/// Plays what is due.
pub struct Deck {
    /// The songs on this machine.
    pub library: Library,
    rate: u32,
    fade: Fade,
    voice: Option<Voice>,
    /// A song of another rate that follows without a seam.
    next: Option<Part>,
    /// When the song that the voice plays ends by itself.
    ends: SharedTime,
    spare: Vec<Resampler>,
}

/// Resamplers kept for the next song of their rate.
const SPARE_MAX: usize = 2;

impl Deck {
    /// For a device of `rate` frames a second.
    pub fn new(library: Library, rate: u32) -> Self {
        Self {
            library,
            rate,
            fade: Fade::new(rate),
            voice: None,
            next: None,
            ends: SharedTime(0),
            spare: Vec::new(),
        }
    }

    /// The device is another one.
    pub fn set_rate(&mut self, rate: u32) {
        self.stop();
        self.spare.clear();
        self.fade = Fade::new(rate);
        self.rate = rate;
    }

    /// Makes the voice play what is due at the playhead, at about `step` flicks for each device
    /// frame. Returns whether it does.
    pub fn tune(
        &mut self,
        room: &Room,
        due: &Due,
        playhead: Playhead,
        step: f64,
        now_ns: i64,
    ) -> bool {
        let (Some(song), Some(entry)) = (due.sounding(), room.at(playhead.time()).entry) else {
            self.fade_out();
            return false;
        };
        if !self.library.has(&song, due.frame_at(playhead).max(0.0) as u64, now_ns) {
            self.fade_out();
            return false;
        }
        let ends = due.origin + song.length();
        let follows = self.ends == due.origin;
        if let Some(voice) = &mut self.voice {
            if voice.entry() == song.entry && self.ends == ends {
                self.splice(room, now_ns);
                return true;
            }
            if follows && voice.next_entry() == Some(song.entry) {
                // The one that ended won't be needed soon.
                drop(voice.promote());
                self.ends = ends;
                return true;
            }
        }
        let seamless = follows && self.voice.is_some();
        let resampler = self.resampler(song.rate);
        let foreseen = self.next.take_if(|next| seamless && next.entry == song.entry);
        // What comes before its beginning is only known of the song that was foreseen.
        let voice = self.voice.as_ref().filter(|_| foreseen.is_some());
        let lead_in = voice.and_then(|voice| voice.lead_in(&resampler));
        match lead_in {
            // It has sounded across the seam already.
            Some(_) => self.end_voice(),
            None => self.fade_out(),
        }
        let part = match foreseen {
            Some(part) => part,
            None => {
                let Some(sound) = self.library.take(&entry, now_ns) else { return false };
                let gain = self.library.gain(&entry);
                Part { entry: song.entry, frames: song.frames, sound, gain }
            }
        };
        let (at, step) = (due.frame_at(playhead), step * song.frames_per_flick());
        self.voice = Some(Voice::begin(resampler, part, at, step, lead_in.unwrap_or_default()));
        self.ends = ends;
        // A song's own beginning is not softened.
        if seamless || at < 1.0 {
            self.fade.at_once();
        } else {
            self.fade.up();
        }
        true
    }

    /// Renders what is due at the playhead, at `step` flicks for each device frame, or silence,
    /// and the fades.
    pub fn render(&mut self, out: &mut [f32], due: &Due, playhead: Playhead, step: f64) {
        match (&mut self.voice, due.sounding()) {
            (Some(voice), Some(song)) if self.library.audible() => {
                voice.render(out, due.frame_at(playhead), step * song.frames_per_flick())
            }
            _ => out.fill(0.0),
        }
        self.fade.apply(out);
    }

    /// The quality of the song that the voice plays, if that is known.
    pub fn kbps(&self) -> Option<u32> {
        self.voice.as_ref().and_then(Voice::kbps)
    }

    /// The voice ends; what it would have gone on with fades out.
    pub fn fade_out(&mut self) {
        if let Some(voice) = &mut self.voice {
            let step = f64::from(voice.rate()) / f64::from(self.rate);
            self.fade.out(|tail| voice.render_on(tail, step));
        }
        self.end_voice();
    }

    /// The voice ends; what sounded instead of it fades out: `tail` fills in how that went on.
    pub fn replace(&mut self, tail: impl FnOnce(&mut [f32])) {
        self.end_voice();
        self.fade.out(tail);
    }

    /// Silence at once.
    pub fn stop(&mut self) {
        self.end_voice();
        self.fade.clear();
    }

    /// Opens what is current and what follows, since that may take a while.
    pub fn prepare(&mut self, room: &Room, playhead: Playhead, now_ns: i64) {
        let current = room.at(playhead.time()).entry;
        let following = room.next_after(playhead.time(), 1).into_iter().map(|(_, entry)| entry);
        for entry in current.into_iter().chain(following) {
            if !self.plays(&entry) {
                self.library.prepare(&entry, now_ns);
            }
        }
    }

    fn plays(&self, entry: &Entry) -> bool {
        let is_next = self.next.as_ref().is_some_and(|next| next.entry == entry.id);
        let voice = self.voice.as_ref();
        let is_on =
            |voice: &Voice| voice.entry() == entry.id || voice.next_entry() == Some(entry.id);
        is_next || voice.is_some_and(is_on)
    }

    /// Puts what follows by itself onto the voice's tape, or its beginning, if its rate is another one.
    fn splice(&mut self, room: &Room, now_ns: i64) {
        let Some(voice) = self.voice.as_mut().filter(|voice| voice.wants_next()) else { return };
        let (next, _) = Due::at(room, self.ends);
        let Some(song) = next.sounding().filter(|_| next.origin == self.ends) else { return };
        if let Some(entry) = room.at(self.ends).entry
            && self.library.has(&song, 0, now_ns)
            && let Some(sound) = self.library.take(&entry, now_ns)
        {
            let gain = self.library.gain(&entry);
            let mut part = Part { entry: song.entry, frames: song.frames, sound, gain };
            if song.rate == voice.rate() {
                voice.chain(part);
            } else {
                voice.foresee(&mut part, song.rate);
                self.next = Some(part);
            }
        }
    }

    fn resampler(&mut self, rate: u32) -> Resampler {
        match self.spare.iter().position(|spare| spare.in_rate() == rate) {
            Some(index) => self.spare.remove(index),
            None => Resampler::new(rate, self.rate),
        }
    }

    fn end_voice(&mut self) {
        if let Some(part) = self.next.take() {
            self.library.give_back(part.entry, part.sound);
        }
        let Some(voice) = self.voice.take() else { return };
        let (resampler, parts) = voice.end_it();
        if self.spare.len() >= SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(resampler);
        for part in parts {
            self.library.give_back(part.entry, part.sound);
        }
    }
}
