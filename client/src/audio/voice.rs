//! A voice: one song after another on one tape, through one resampler that is never reset between
//! them. Where a song of another rate follows, the tape goes on over the seam as far as the filter reaches.

use std::collections::VecDeque;

use jam_proto::ids::EntryId;

use super::Sound;
use super::link::CHANNELS;
use super::resample::{Input, Resampler};
use super::seam::{Frame, Seam};

/// What plays: songs of one rate, spliced to the frame.
pub struct Voice {
    resampler: Resampler,
    tape: Tape,
}

/// A song on the tape.
pub struct Part {
    /// Its entry.
    pub entry: EntryId,
    /// Its exact length.
    pub frames: u64,
    /// What decodes it.
    pub sound: Box<dyn Sound>,
    /// What its samples are multiplied with.
    pub gain: f32,
}

/// The resampler's input: coordinates count from its first frame.
struct Tape {
    rate: u32,
    /// Parts with the coordinate of their frame 0, by that.
    parts: VecDeque<(i64, Part)>,
    fed: i64,
    /// What comes right before the first part.
    lead_in: Vec<Frame>,
    /// What was fed last of the parts.
    recent: VecDeque<Frame>,
    /// How a song of another rate begins that follows the last part: its rate, and its first frames.
    follower: Option<(u32, Vec<Frame>)>,
    /// Made when the last part was fed.
    seam: Option<Seam>,
}

/// Frames that are kept of what was fed, so that a song of 8 kHz may follow one of 192 kHz.
const RECENT: usize = 1024;
/// Frames by which a seam's interpolation reaches further than a filter.
const MARGIN: usize = 4;
/// The steps that the resampler takes are within this of nominal.
const STEP_RANGE: f64 = 0.01;

impl Voice {
    /// Begins with `part`, so that the next output frame is its frame `at` (a fraction) at the
    /// speed of `step` song frames for each output frame. Right before its first frame comes `lead_in`, and silence before that.
    pub fn begin(
        mut resampler: Resampler,
        mut part: Part,
        at: f64,
        step: f64,
        lead_in: Vec<Frame>,
    ) -> Self {
        let preroll = resampler.preroll() as i64;
        let first = at.floor() as i64 - preroll;
        part.sound.seek(first.max(0) as u64);
        let tape = Tape {
            rate: resampler.in_rate(),
            parts: VecDeque::from([(-first, part)]),
            fed: 0,
            lead_in,
            recent: VecDeque::with_capacity(RECENT),
            follower: None,
            seam: None,
        };
        resampler.begin(at - first as f64, step);
        Self { resampler, tape }
    }

    /// The song that plays.
    pub fn entry(&self) -> EntryId {
        self.tape.parts[0].1.entry
    }

    /// Its quality, if that is known.
    pub fn kbps(&self) -> Option<u32> {
        self.tape.parts[0].1.sound.kbps()
    }

    /// The song that follows without a seam, if it is spliced in already.
    pub fn next_entry(&self) -> Option<EntryId> {
        self.tape.parts.get(1).map(|(_, part)| part.entry)
    }

    /// Input's rate.
    pub fn rate(&self) -> u32 {
        self.resampler.in_rate()
    }

    /// Whether the song's end is so near that what follows has to be spliced in now. Once the end
    /// is on its way through the resampler, it is too late.
    pub fn wants_next(&self) -> bool {
        let (_, end) = self.end();
        let left = end - self.tape.fed;
        let has_none = self.tape.parts.len() == 1 && self.tape.follower.is_none();
        has_none && (0..i64::from(self.rate()) / 10).contains(&left)
    }

    /// Splices in what follows, from its first frame.
    pub fn chain(&mut self, mut part: Part) {
        let (_, end) = self.end();
        part.sound.seek(0);
        self.tape.parts.push_back((end, part));
    }

    /// A song of another rate follows, as soon as this voice is over. Another voice will play it.
    pub fn foresee(&mut self, part: &mut Part, rate: u32) {
        let reach = self.resampler.preroll() as f64 / f64::from(self.rate());
        let frames = (reach * f64::from(rate)).ceil() as usize + MARGIN;
        let mut begins = vec![0.0; frames * CHANNELS];
        part.sound.seek(0);
        let read = part.sound.read(&mut begins);
        let begins = begins.chunks_exact(CHANNELS).take(read);
        let begins = begins.map(|frame| [frame[0] * part.gain, frame[1] * part.gain]).collect();
        self.tape.follower = Some((rate, begins));
    }

    /// What the voice that plays the foreseen song has to begin with, through its own resampler. None: it was not foreseen, or this
    /// voice is not over.
    pub fn lead_in(&self, resampler: &Resampler) -> Option<Vec<Frame>> {
        let seam = self.tape.seam.as_ref()?;
        Some(seam.ahead(resampler.preroll() as usize).collect())
    }

    /// The next song is the one that plays; returns the one that ended.
    pub fn promote(&mut self) -> Option<Part> {
        debug_assert!(self.tape.parts.len() > 1);
        self.tape.parts.pop_front().map(|(_, part)| part)
    }

    /// Renders the block whose first frame is the song's frame `at`, at `step` song frames for
    /// each of its own.
    pub fn render(&mut self, out: &mut [f32], at: f64, step: f64) {
        let frames = (out.len() / CHANNELS) as f64;
        let target = self.tape.parts[0].0 as f64 + at + (frames - 1.0) * step;
        // What earlier blocks were off by rounding is made good here.
        let exact = (target - self.resampler.next_position(0.0)) / frames;
        let exact = exact.clamp(step * (1.0 - STEP_RANGE), step * (1.0 + STEP_RANGE));
        self.resampler.run(out, exact, &mut self.tape);
    }

    /// Renders on at the same speed, wherever that leads: for a fade.
    pub fn render_on(&mut self, out: &mut [f32], step: f64) {
        for block in out.chunks_mut(super::link::BLOCK_FRAMES * CHANNELS) {
            self.resampler.run(block, step, &mut self.tape);
        }
    }

    /// Takes it apart: the resampler, and the songs.
    pub fn end_it(self) -> (Resampler, impl Iterator<Item = Part>) {
        (self.resampler, self.tape.parts.into_iter().map(|(_, part)| part))
    }

    /// Begin and end of the last part.
    fn end(&self) -> (i64, i64) {
        let (start, part) = self.tape.parts.back().expect("a voice has a song");
        (*start, *start + part.frames as i64)
    }
}

impl Input for Tape {
    fn feed(&mut self, out: &mut [f32]) {
        let frames = (out.len() / CHANNELS) as i64;
        let mut done = 0;
        while done < frames {
            let at = self.fed + done;
            let left = frames - done;
            let samples = |from: i64, count: i64| {
                from as usize * CHANNELS..(from + count) as usize * CHANNELS
            };
            let playing =
                self.parts.iter_mut().find(|(start, part)| at < start + part.frames as i64);
            let Some((start, part)) = playing else {
                self.go_beyond(&mut out[samples(done, left)], at);
                break;
            };
            if at < *start {
                let silent = left.min(*start - at);
                let lead_in = &self.lead_in;
                let missing = *start - at - lead_in.len() as i64;
                for (n, frame) in out[samples(done, silent)].chunks_exact_mut(CHANNELS).enumerate()
                {
                    let place = usize::try_from(n as i64 - missing).ok();
                    let sound = place.and_then(|place| lead_in.get(place).copied());
                    frame.copy_from_slice(&sound.unwrap_or_default());
                }
                done += silent;
                continue;
            }
            let wanted = left.min(*start + part.frames as i64 - at);
            let read = part.sound.read(&mut out[samples(done, wanted)]) as i64;
            out[samples(done, read)].iter_mut().for_each(|sample| *sample *= part.gain);
            // A song that ends early is silent to its committed end.
            out[samples(done + read, wanted - read)].fill(0.0);
            let fed = &out[samples(done, wanted)];
            let fed = &fed[fed.len().saturating_sub(RECENT * CHANNELS)..];
            let over = (self.recent.len() + fed.len() / CHANNELS).saturating_sub(RECENT);
            self.recent.drain(..over);
            self.recent.extend(fed.chunks_exact(CHANNELS).map(|frame| [frame[0], frame[1]]));
            done += wanted;
        }
        self.fed += frames;
    }
}

impl Tape {
    /// What comes behind the last part, from coordinate `at` on.
    fn go_beyond(&mut self, out: &mut [f32], at: i64) {
        if let Some((rate, begins)) = &self.follower {
            let recent = &self.recent;
            self.seam.get_or_insert_with(|| Seam::new(recent, self.rate, begins, *rate));
        }
        let end = self.parts.back().map_or(0, |(start, part)| start + part.frames as i64);
        let first = (at - end).max(0) as usize;
        for (n, frame) in out.chunks_exact_mut(CHANNELS).enumerate() {
            let beyond = self.seam.as_ref().map(|seam| seam.beyond(first + n));
            frame.copy_from_slice(&beyond.unwrap_or_default());
        }
    }
}
