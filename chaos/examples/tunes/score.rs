//! The pieces, written down.

use jam_chaos::testsong::Noise;

use crate::instruments::{Note, Sound};

/// A piece as played, before the room is added.
pub struct Piece {
    pub title: &'static str,
    pub number: &'static str,
    pub sample_rate: u32,
    /// What is heard directly.
    pub dry: Vec<[f32; 2]>,
    /// What the room hears.
    pub wet: Vec<[f32; 2]>,
}

/// Beat within its bar, key, length in beats.
type Tone = (f32, f32, f32);

/// People at their instruments: nobody is ever exactly on the beat.
struct Band {
    near: Sound,
    far: Sound,
    noise: Noise,
    bar_secs: f32,
    beat_secs: f32,
}

impl Band {
    fn new(secs: f32, rate: u32, beats_per_minute: f32, beats_per_bar: f32, seed: u64) -> Self {
        let beat_secs = 60.0 / beats_per_minute;
        Self {
            near: Sound::new(secs, rate),
            far: Sound::new(secs, rate),
            noise: Noise(seed),
            bar_secs: beat_secs * beats_per_bar,
            beat_secs,
        }
    }

    fn note(&mut self, bar: usize, tone: Tone, force: f32, pan: f32) -> Note {
        let (beat, key, beats) = tone;
        let late = 0.009 * self.noise.next();
        Note {
            at: 0.3 + bar as f32 * self.bar_secs + beat * self.beat_secs + late,
            secs: beats * self.beat_secs,
            key,
            force: force * (1.0 + 0.18 * self.noise.next()),
            pan,
        }
    }

    /// `play` on the near sound, and `echo` of it into the room.
    fn both(&mut self, note: Note, echo: f32, play: impl Fn(&mut Sound, Note, &mut Noise)) {
        // Both must hear the same string, so the noise is the same too.
        let mut again = Noise(self.noise.0);
        play(&mut self.near, note, &mut self.noise);
        play(&mut self.far, Note { force: note.force * echo, ..note }, &mut again);
    }

    fn piece(self, title: &'static str, number: &'static str) -> Piece {
        Piece {
            title,
            number,
            sample_rate: self.near.rate as u32,
            dry: self.near.frames,
            wet: self.far.frames,
        }
    }
}

/// A walk home late, in no hurry: electric piano, a guitar that knows the way, brushes.
pub fn lantern_street(rate: u32) -> Piece {
    // Bass, then the chord above it.
    const VERSE: [[f32; 5]; 4] = [
        [38.0, 54.0, 57.0, 61.0, 64.0],
        [35.0, 57.0, 61.0, 62.0, 66.0],
        [43.0, 57.0, 59.0, 62.0, 66.0],
        [33.0, 55.0, 59.0, 62.0, 66.0],
    ];
    const BRIDGE: [[f32; 5]; 4] = [
        [40.0, 55.0, 59.0, 62.0, 66.0],
        [33.0, 55.0, 59.0, 61.0, 66.0],
        [42.0, 57.0, 61.0, 64.0, 68.0],
        [35.0, 57.0, 61.0, 62.0, 66.0],
    ];
    let tune: [&[Tone]; 8] = [
        &[(0.0, 78.0, 1.4), (1.5, 76.0, 0.5), (2.0, 74.0, 1.0), (3.0, 69.0, 1.0)],
        &[(0.5, 71.0, 0.5), (1.0, 74.0, 2.4)],
        &[(0.0, 76.0, 1.4), (1.5, 78.0, 0.5), (2.0, 81.0, 1.5), (3.5, 78.0, 0.5)],
        &[(0.0, 76.0, 1.6), (2.0, 73.0, 1.8)],
        &[(0.0, 78.0, 1.0), (1.0, 81.0, 0.5), (1.5, 78.0, 0.5), (2.0, 74.0, 1.0), (3.5, 71.0, 0.5)],
        &[(0.0, 69.0, 1.0), (1.0, 71.0, 0.5), (1.5, 74.0, 2.2)],
        &[(0.0, 83.0, 1.0), (1.0, 81.0, 0.5), (1.5, 78.0, 1.2), (3.0, 76.0, 0.5), (3.5, 74.0, 0.5)],
        &[(0.0, 76.0, 0.6), (0.75, 74.0, 3.0)],
    ];
    let answer: [&[Tone]; 8] = [
        &[(0.5, 83.0, 0.5), (1.0, 86.0, 1.4), (3.0, 83.0, 1.0)],
        &[(0.0, 85.0, 1.0), (1.5, 81.0, 2.0)],
        &[(0.5, 80.0, 0.5), (1.0, 81.0, 0.5), (1.5, 85.0, 1.6)],
        &[(0.0, 86.0, 1.0), (1.0, 85.0, 0.5), (1.5, 83.0, 2.2)],
        &[(0.5, 79.0, 0.5), (1.0, 83.0, 1.4), (3.0, 86.0, 1.0)],
        &[(0.0, 88.0, 1.5), (2.0, 85.0, 1.5)],
        &[(0.0, 85.0, 0.5), (0.5, 83.0, 0.5), (1.0, 81.0, 1.0), (2.5, 80.0, 1.5)],
        &[(0.0, 78.0, 3.6)],
    ];
    let bars = 24;
    let mut band = Band::new(75.0, rate, 84.0, 4.0, 0x1a_57);
    for bar in 0..bars {
        let (section, of_section) = (bar / 4, bar % 4);
        let chord = if matches!(section, 3 | 4) { &BRIDGE[of_section] } else { &VERSE[of_section] };
        let strikes: &[(f32, f32, f32)] = if bar % 2 == 0 {
            &[(0.0, 1.6, 0.3), (2.5, 1.2, 0.22)]
        } else {
            &[(0.0, 0.9, 0.28), (1.5, 1.9, 0.24)]
        };
        for (beat, beats, force) in strikes {
            for (voice, key) in chord[1..].iter().enumerate() {
                // Chords are rolled a little, from below.
                let roll = 0.03 * voice as f32;
                let note = band.note(bar, (beat + roll, *key, *beats), *force, -0.35);
                band.both(note, 0.25, |sound, note, _| sound.piano(note));
            }
        }
        if bar >= 2 {
            for (beat, key, beats) in
                [(0.0, chord[0], 1.4), (1.5, chord[0] + 12.0, 0.4), (2.5, chord[0], 1.2)]
            {
                let note = band.note(bar, (beat, key, beats), 0.34, 0.0);
                band.near.bass(note);
            }
        }
        if (4..bars - 1).contains(&bar) {
            for beat in [0.0, 2.75] {
                let note = band.note(bar, (beat, 0.0, 0.3), 0.42, 0.0);
                band.near.kick(note);
            }
        }
        let shuffle = 0.16;
        for eighth in 0..8 {
            let late = if eighth % 2 == 1 { shuffle } else { 0.0 };
            let (force, bright, beats) =
                if eighth % 4 == 2 { (0.24, 0.25, 0.16) } else { (0.09, 0.9, 0.05) };
            let note = band.note(bar, (eighth as f32 / 2.0 + late, bright, beats), force, 0.3);
            band.both(note, 0.3, |sound, note, noise| sound.brush(note, noise));
        }
        let (phrase, bell): (&[Tone], bool) = match section {
            1 | 2 => (tune[bar - 4], false),
            3 | 4 => (answer[bar - 12], true),
            5 => (tune[[0, 1, 6, 7][of_section]], false),
            _ => (&[], false),
        };
        for tone in phrase {
            let note = band.note(bar, *tone, if bell { 0.2 } else { 0.42 }, 0.25);
            if bell {
                band.both(note, 0.6, |sound, note, _| sound.bell(note));
            } else {
                let note = Note { key: note.key - 12.0, ..note };
                band.both(note, 0.4, |sound, note, noise| sound.string(note, noise));
            }
        }
    }
    // The last chord is left standing.
    for (voice, key) in [38.0, 50.0, 57.0, 61.0, 64.0, 66.0, 69.0].into_iter().enumerate() {
        let note = band.note(bars, (0.06 * voice as f32, key, 6.0), 0.26, -0.2);
        band.both(note, 0.4, |sound, note, _| sound.piano(note));
    }
    band.near.air(0.004, &mut Noise(77));
    band.piece("Lantern Street", "1")
}

/// Water that comes and goes: a harp in threes over slow strings, and a bell now and then.
pub fn slow_tide(rate: u32) -> Piece {
    const CHORDS: [[f32; 6]; 8] = [
        [45.0, 52.0, 57.0, 59.0, 60.0, 64.0],
        [41.0, 53.0, 57.0, 60.0, 64.0, 69.0],
        [40.0, 52.0, 55.0, 60.0, 62.0, 67.0],
        [43.0, 50.0, 55.0, 57.0, 62.0, 67.0],
        [38.0, 53.0, 57.0, 60.0, 64.0, 65.0],
        [45.0, 52.0, 57.0, 60.0, 64.0, 67.0],
        [41.0, 53.0, 55.0, 57.0, 60.0, 64.0],
        [40.0, 52.0, 56.0, 59.0, 62.0, 64.0],
    ];
    // The order in which the harp goes through a chord, and how often it turns round.
    const FIGURES: [[usize; 6]; 3] = [[0, 2, 3, 5, 4, 3], [1, 3, 5, 4, 2, 3], [0, 1, 3, 4, 5, 4]];
    let tune: [&[Tone]; 8] = [
        &[(0.0, 76.0, 2.0), (2.0, 74.0, 1.0)],
        &[(0.0, 72.0, 2.5)],
        &[(0.0, 74.0, 1.5), (1.5, 76.0, 0.5), (2.0, 79.0, 1.0)],
        &[(0.0, 74.0, 2.8)],
        &[(0.0, 77.0, 1.0), (1.0, 76.0, 1.0), (2.0, 72.0, 1.0)],
        &[(0.0, 76.0, 2.0), (2.5, 69.0, 0.5)],
        &[(0.0, 72.0, 1.5), (1.5, 71.0, 0.5), (2.0, 67.0, 1.0)],
        &[(0.0, 68.0, 1.0), (1.0, 71.0, 2.0)],
    ];
    let bars = 26;
    let mut band = Band::new(74.0, rate, 72.0, 3.0, 0x51_de);
    for bar in 0..bars {
        let chord = &CHORDS[bar % 8];
        // Louder towards the middle, as a wave is.
        let tide = 0.6 + 0.4 * (std::f32::consts::PI * bar as f32 / bars as f32).sin();
        if bar >= 1 {
            for key in [chord[0], chord[1], chord[3], chord[4]] {
                let note = band.note(bar, (0.0, key, 2.9), 0.3 * tide, 0.0);
                band.both(note, 0.3, |sound, note, noise| sound.pad(note, noise));
            }
        }
        let figure = &FIGURES[[0, 1, 0, 2, 1, 0, 2, 1][bar % 8]];
        for (eighth, step) in figure.iter().enumerate() {
            let accent = if eighth == 0 { 0.46 } else { 0.32 };
            let pan = 0.6 * (*step as f32 / 5.0 - 0.5);
            let up = if bar >= 16 && eighth % 3 == 2 { 12.0 } else { 0.0 };
            let note =
                band.note(bar, (eighth as f32 / 2.0, chord[*step] + up, 1.6), accent * tide, pan);
            band.both(note, 0.5, |sound, note, noise| sound.string(note, noise));
        }
        if bar >= 4 && bar < bars - 2 {
            for tone in tune[bar % 8] {
                let far = if (8..16).contains(&bar) { 12.0 } else { 0.0 };
                let note = band.note(bar, (tone.0, tone.1 + far, tone.2), 0.24 * tide, 0.2);
                band.both(note, 0.9, |sound, note, _| sound.bell(note));
            }
        }
        // The water itself.
        if bar % 2 == 0 {
            let side = if bar % 4 == 0 { -0.7 } else { 0.7 };
            let note = band.note(bar, (0.5, 0.15, 1.6), 0.035 * tide, side);
            let note = Note { secs: 1.3, ..note };
            band.both(note, 0.8, |sound, note, noise| sound.brush(note, noise));
        }
    }
    for (voice, key) in [45.0, 52.0, 57.0, 60.0, 64.0, 71.0, 76.0].into_iter().enumerate() {
        let note = band.note(bars, (0.18 * voice as f32, key, 5.0), 0.4, 0.15 * voice as f32 - 0.5);
        band.both(note, 0.7, |sound, note, noise| sound.string(note, noise));
    }
    band.near.air(0.003, &mut Noise(78));
    band.piece("Slow Tide", "2")
}
