//! Hears what leaves a listener's device, frame by frame.

use crate::history::{Hex, Sound, Stretch};
use crate::tellsong::{Told, read};

/// Two frames belong to one stretch if the song is as far on as time is, to this: less than one frame.
const EVEN_NS: f64 = 12_000.0;
/// A song that goes on for less than this was none: a seam, a fade.
const SONG_NS_MIN: i64 = 2_000_000;
/// Stretches are told at least so often, so that the rate within one is even.
const TOLD_EVERY_NS: i64 = 100_000_000;

/// A song that can be heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) track: [u8; 32],
    pub(super) length_ns: f64,
}

/// One ear, on one device for as long as it runs.
pub(super) struct Ear {
    listener: String,
    life: u32,
    songs: Vec<Known>,
    run: Option<Run>,
    heard: Vec<Stretch>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Silence,
    Song(usize),
    Other,
}

struct Run {
    kind: Kind,
    from_ns: f64,
    until_ns: f64,
    position_from_ns: f64,
    /// Of the frame that comes next, if the song goes on evenly.
    position_ns: f64,
    /// When the last stretch was told; it goes on the one before.
    continues: bool,
}

impl Ear {
    /// `songs` by their number.
    pub(super) fn new(listener: &str, life: u32, songs: Vec<Known>) -> Self {
        Self { listener: listener.to_owned(), life, songs, run: None, heard: Vec::new() }
    }

    /// Hears interleaved stereo, the first frame of which begins at `at_ns` of true time and lasts `frame_ns`.
    pub(super) fn hear(&mut self, at_ns: f64, frame_ns: f64, sound: &[f32]) {
        for (number, frame) in sound.chunks_exact(2).enumerate() {
            let at_ns = at_ns + number as f64 * frame_ns;
            let (kind, position_ns) = match read(frame[0], frame[1]) {
                Told::Silence => (Kind::Silence, 0.0),
                Told::Other => (Kind::Other, 0.0),
                Told::Song(number, share) => match self.songs.get(number) {
                    Some(song) => (Kind::Song(number), share * song.length_ns),
                    None => (Kind::Other, 0.0),
                },
            };
            self.take(kind, position_ns, at_ns, frame_ns);
        }
    }

    /// What was heard since this was asked for last.
    pub(super) fn heard(&mut self) -> Vec<Stretch> {
        std::mem::take(&mut self.heard)
    }

    /// Nothing comes any more: what is left is told.
    pub(super) fn end(&mut self) {
        self.tell();
    }

    fn take(&mut self, kind: Kind, position_ns: f64, at_ns: f64, frame_ns: f64) {
        if let Some(run) = &mut self.run {
            let even =
                !matches!(kind, Kind::Song(_)) || (position_ns - run.position_ns).abs() < EVEN_NS;
            if run.kind == kind && even {
                run.until_ns = at_ns + frame_ns;
                run.position_ns = position_ns + frame_ns;
                if run.until_ns - run.from_ns >= TOLD_EVERY_NS as f64 {
                    self.cut();
                }
                return;
            }
        }
        self.tell();
        self.run = Some(Run {
            kind,
            from_ns: at_ns,
            until_ns: at_ns + frame_ns,
            position_from_ns: position_ns,
            position_ns: position_ns + frame_ns,
            continues: false,
        });
    }

    /// Tells what the run was so far, and goes on with it.
    fn cut(&mut self) {
        let Some(run) = &self.run else { return };
        let rest = Run {
            from_ns: run.until_ns,
            position_from_ns: run.position_ns,
            continues: true,
            ..*run
        };
        self.tell();
        self.run = Some(rest);
    }

    fn tell(&mut self) {
        let Some(run) = self.run.take() else { return };
        let (from_ns, until_ns) = (run.from_ns.round() as i64, run.until_ns.round() as i64);
        if from_ns == until_ns {
            return;
        }
        let is_song = run.continues || until_ns - from_ns >= SONG_NS_MIN;
        let sound = match run.kind {
            Kind::Silence => Sound::Silence,
            Kind::Song(number) if is_song => Sound::Song {
                track: Hex(self.songs[number].track.to_vec()),
                from_ns: run.position_from_ns.round() as i64,
                until_ns: run.position_ns.round() as i64,
            },
            Kind::Song(_) | Kind::Other => Sound::Other,
        };
        // Pieces of noise are one noise.
        if sound == Sound::Other
            && let Some(last) = self.heard.last_mut()
            && last.sound == Sound::Other
            && last.until_ns == from_ns
        {
            last.until_ns = until_ns;
            return;
        }
        let (listener, life) = (self.listener.clone(), self.life);
        self.heard.push(Stretch { listener, life, from_ns, until_ns, sound });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tellsong::song;

    const FRAME_NS: f64 = 1e9 / 48_000.0;

    fn ear() -> Ear {
        let known = |number| Known { track: [number; 32], length_ns: 1e9 };
        Ear::new("l1", 1, vec![known(0), known(1)])
    }

    fn kinds(heard: &[Stretch]) -> Vec<&'static str> {
        let kind = |stretch: &Stretch| match stretch.sound {
            Sound::Silence => "silence",
            Sound::Song { .. } => "song",
            Sound::Other => "other",
        };
        let mut kinds: Vec<_> = heard.iter().map(kind).collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn a_song_is_heard_as_it_is() {
        let (mut ear, sound) = (ear(), song(1, 48_000));
        ear.hear(7e9, FRAME_NS, &sound);
        ear.end();
        let heard = ear.heard();
        assert!(heard.len() >= 10);
        assert!(heard.windows(2).all(|pair| pair[0].until_ns == pair[1].from_ns));
        for stretch in &heard {
            let Sound::Song { track, from_ns, until_ns } = &stretch.sound else {
                panic!("{stretch:?}")
            };
            assert_eq!(track.0, [1; 32]);
            assert!((stretch.from_ns - 7_000_000_000 - from_ns).abs() < 2_000);
            assert!((stretch.until_ns - 7_000_000_000 - until_ns).abs() < 2_000);
        }
    }

    #[test]
    fn one_frame_too_many_too_few_or_silent_is_heard() {
        let sound = song(0, 48_000);
        for (from, to, again) in [(0, 48_000, 24_000), (24_001, 48_000, 24_000)] {
            let mut ear = ear();
            ear.hear(0.0, FRAME_NS, &sound[..2 * again]);
            ear.hear(again as f64 * FRAME_NS, FRAME_NS, &sound[2 * from.max(again - 1)..2 * to]);
            ear.end();
            let heard = ear.heard();
            let broken = heard.windows(2).filter(|pair| match (&pair[0].sound, &pair[1].sound) {
                (Sound::Song { until_ns, .. }, Sound::Song { from_ns, .. }) => {
                    (until_ns - from_ns).abs() > 15_000
                }
                _ => true,
            });
            assert_eq!(broken.count(), 1, "{heard:?}");
        }
        let (mut ear, mut silent) = (ear(), sound.clone());
        silent[40_000..40_002].fill(0.0);
        ear.hear(0.0, FRAME_NS, &silent);
        ear.end();
        assert_eq!(kinds(&ear.heard()), ["song", "silence", "song"]);
    }
}
