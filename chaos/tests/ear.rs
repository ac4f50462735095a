//! The judge is judged: it must hear every planted fault, and none that is not there.

mod stage;

use jam_chaos::ear::{Heard, Reference, Song, listen};
use stage::{BEGIN_NS, RATE, Stage, song};

fn hear(songs: &[&Song], stage: &Stage) -> Heard {
    let reference = Reference::new(songs.iter().map(|song| (*song).clone()).collect(), RATE);
    listen(&reference, stage.recording())
}

fn assert_clean(heard: &Heard) {
    assert_eq!(heard.gaps, []);
    assert_eq!(heard.jumps, []);
    assert_eq!(heard.damage, []);
}

/// The position heard at a real time, against the one that was played, in seconds.
fn assert_position(heard: &Heard, secs: f64, song: usize, position: f64) {
    let (found, at) = heard.position_at(BEGIN_NS + (secs * 1e9) as i64).expect("something sounds");
    assert_eq!(found, song, "at {secs} s");
    assert!((at - position).abs() < 2e-6, "at {secs} s: {at}, not {position}");
}

#[test]
fn sound_as_it_should_be_is_called_so() {
    for ppm in [0.0, 80.0, -80.0] {
        for rate in [44_100, 48_000, 96_000] {
            let one = song(1, rate, 12.0);
            let mut stage = Stage::new(ppm);
            stage.silence(0.4);
            let begin = stage.now();
            stage.play(&one, 3.3, 6.0);
            stage.silence(0.5);
            let heard = hear(&[&one], &stage);
            assert_clean(&heard);
            assert!((heard.sounding_secs() - 6.0).abs() < 0.05, "{}", heard.sounding_secs());
            for n in 1..12 {
                let secs = begin + 0.01 + f64::from(n) * 0.49;
                assert_position(&heard, secs, 0, secs - begin + 3.3);
            }
        }
    }
}

#[test]
fn songs_that_follow_each_other_are_one_sound() {
    let (one, two, other) = (song(1, 44_100, 5.013), song(2, 48_000, 6.0), song(3, 44_100, 9.0));
    for ppm in [0.0, 80.0, -60.0] {
        let mut stage = Stage::new(ppm);
        // The end of a song rarely falls on an output frame.
        let at = stage.play(&one, 1.0, 4.013);
        stage.play(&two, at - 5.013, 3.0);
        let heard = hear(&[&other, &two, &one], &stage);
        assert_clean(&heard);
        assert_position(&heard, 2.0, 2, 3.0);
        assert_position(&heard, 5.0, 1, 0.987);
    }
}

#[test]
fn a_song_may_follow_itself() {
    let one = song(1, 48_000, 4.0);
    let mut stage = Stage::new(30.0);
    let at = stage.play(&one, 1.0, 3.0);
    stage.play(&one, at - 4.0, 3.0);
    assert_clean(&hear(&[&one], &stage));
}

#[test]
fn holes_are_found_with_their_length() {
    let one = song(4, 44_100, 20.0);
    for secs in [0.001, 0.002, 0.021, 0.3] {
        let mut stage = Stage::new(-60.0);
        stage.play(&one, 2.0, 3.0);
        let hole = stage.samples.len();
        stage.silence(secs);
        // The song went on meanwhile, as it does when a buffer runs dry.
        stage.play(&one, 2.0 + stage.now(), 3.0);
        let heard = hear(&[&one], &stage);
        assert_eq!(heard.jumps, [], "{secs}");
        assert_eq!(heard.damage, [], "{secs}");
        assert_eq!(heard.gaps.len(), 1, "{secs}");
        let gap = &heard.gaps[0];
        assert!(gap.frame.abs_diff(hole) <= 2, "{secs}");
        assert!((gap.length_ns as f64 * 1e-9 - secs).abs() < 1e-4, "{secs}: {gap:?}");
    }
}

#[test]
fn a_pause_holds_the_position() {
    let one = song(4, 48_000, 20.0);
    let mut stage = Stage::new(0.0);
    let at = stage.play(&one, 2.0, 3.0);
    stage.silence(1.0);
    stage.play(&one, at, 3.0);
    let heard = hear(&[&one], &stage);
    assert_eq!(heard.gaps.len(), 1);
    assert_eq!(heard.jumps.len(), 1);
    let size = heard.jumps[0].size_ns.expect("in one song");
    assert!((size + 1_000_000_000).abs() < 20_000, "{size}");
}

#[test]
fn repeats_and_jumps_are_found_with_their_size() {
    let one = song(5, 44_100, 30.0);
    for size in [-8.0, -0.5, -0.02, -0.001, -0.0002, 0.0002, 0.001, 0.003, 0.05, 0.17, 5.0] {
        let mut stage = Stage::new(80.0);
        let at = stage.play(&one, 11.0, 2.5);
        let step = stage.samples.len();
        stage.play(&one, at + size, 2.5);
        let heard = hear(&[&one], &stage);
        assert_eq!(heard.gaps, [], "{size}");
        assert_eq!(heard.damage, [], "{size}");
        assert_eq!(heard.jumps.len(), 1, "{size}: {:?}", heard.jumps);
        let jump = &heard.jumps[0];
        let found = jump.size_ns.expect("in one song") as f64 * 1e-9;
        assert!((found - size).abs() < 5e-6, "{size}: {found}");
        assert!(jump.frame.abs_diff(step) <= 48, "{size}: {} not {step}", jump.frame);
    }
}

#[test]
fn a_late_seam_and_a_skip_are_jumps() {
    let (one, two) = (song(6, 44_100, 5.0), song(7, 48_000, 9.0));
    let mut stage = Stage::new(-60.0);
    stage.play(&one, 2.0, 3.0);
    stage.silence(0.03);
    stage.play(&two, 0.0, 2.0);
    let heard = hear(&[&one, &two], &stage);
    assert_eq!(heard.jumps.len(), 1, "{:?}", heard.jumps);
    let late = heard.jumps[0].size_ns.expect("at a seam");
    assert!((late + 30_000_000).abs() < 30_000, "{late}");

    let mut stage = Stage::new(0.0);
    stage.play(&one, 1.0, 2.0);
    stage.play(&two, 4.0, 2.0);
    let heard = hear(&[&one, &two], &stage);
    assert_eq!(heard.jumps.len(), 1, "{:?}", heard.jumps);
    assert_eq!(heard.jumps[0].size_ns, None);
    assert_eq!((heard.jumps[0].from.song, heard.jumps[0].to.song), (0, 1));
    assert!(heard.jumps[0].frame.abs_diff(96_000) <= 48);
}

#[test]
fn wrong_sound_is_damage() {
    let (one, foreign) = (song(8, 48_000, 20.0), song(9, 48_000, 20.0));
    for secs in [0.004, 0.1, 2.0] {
        let mut stage = Stage::new(0.0);
        let at = stage.play(&one, 2.0, 3.0);
        let wrong = stage.samples.len();
        stage.play(&foreign, 1.0, secs);
        stage.play(&one, at + secs, 2.0);
        let heard = hear(&[&one], &stage);
        assert_eq!(heard.gaps, [], "{secs}");
        assert_eq!(heard.jumps, [], "{secs}");
        let damaged: usize = heard.damage.iter().map(|damage| damage.frames).sum();
        let expected = (secs * 48_000.0) as usize;
        assert!(damaged.abs_diff(expected) <= expected / 10 + 96, "{secs}: {:?}", heard.damage);
        assert!(heard.damage[0].frame.abs_diff(wrong) <= 480, "{secs}");
    }
}

#[test]
fn a_song_that_is_not_among_them_is_not_recognised() {
    let (one, foreign) = (song(8, 48_000, 60.0), song(9, 44_100, 20.0));
    let mut stage = Stage::new(0.0);
    stage.play(&foreign, 0.0, 15.0);
    let heard = hear(&[&one], &stage);
    assert_eq!(heard.span_ns(), None);
    assert_eq!(heard.damage.len(), 1);
    assert!(heard.damage[0].frames > 14 * 48_000);
}

#[test]
fn silence_is_nothing() {
    let one = song(8, 48_000, 10.0);
    let mut stage = Stage::new(0.0);
    stage.silence(10.0);
    let heard = hear(&[&one], &stage);
    assert_clean(&heard);
    assert_eq!(heard.span_ns(), None);
    assert_eq!(heard.position_at(BEGIN_NS + 1_000_000_000), None);
}

#[test]
fn silence_that_belongs_to_the_song_is_no_hole() {
    let mut one = song(8, 44_100, 12.0);
    one.samples[3 * 44_100..5 * 44_100].fill(0.0);
    let mut stage = Stage::new(80.0);
    stage.play(&one, 1.0, 8.0);
    let heard = hear(&[&one], &stage);
    assert_clean(&heard);
    assert_position(&heard, 6.0, 0, 7.0);
}

#[test]
fn a_silent_song_is_no_repeat() {
    let (one, two) = (song(1, 44_100, 5.0), song(2, 48_000, 6.0));
    let mut silent = song(3, 44_100, 0.2);
    silent.samples.fill(0.0);
    let mut stage = Stage::new(30.0);
    stage.play(&one, 2.0, 3.0);
    stage.silence(0.2);
    stage.play(&two, 0.0, 3.0);
    assert_clean(&hear(&[&one, &two, &silent], &stage));
    // Without that song, the next one came late; and so it did with silence of another length.
    assert_eq!(hear(&[&one, &two], &stage).jumps.len(), 1);
    let mut stage = Stage::new(30.0);
    stage.play(&one, 2.0, 3.0);
    stage.silence(0.25);
    stage.play(&two, 0.0, 3.0);
    assert_eq!(hear(&[&one, &two, &silent], &stage).jumps.len(), 1);
}

#[test]
fn a_song_of_a_millisecond_is_no_wrong_sound() {
    let (one, two) = (song(1, 48_000, 5.0), song(2, 48_000, 6.0));
    let (short, foreign) = (song(3, 48_000, 0.001), song(4, 48_000, 0.001));
    for follows in [true, false] {
        let play = |short: &Song| {
            let mut stage = Stage::new(0.0);
            stage.play(&one, 2.0, 3.0);
            stage.play(short, 0.0, 0.001);
            match follows {
                true => drop(stage.play(&two, 0.0, 3.0)),
                false => stage.silence(1.0),
            }
            stage
        };
        assert_clean(&hear(&[&one, &two, &short], &play(&short)));
        let heard = hear(&[&one, &two, &short], &play(&foreign));
        // Behind the last song, a player's fade may last as long.
        let is_told = heard.damage.len() + heard.jumps.len() > 0;
        assert_eq!(is_told, follows, "other sound of the same length");
    }
}

#[test]
fn a_fade_out_that_is_too_quiet_to_be_placed_is_no_wrong_sound() {
    let fading = |seed| {
        let mut one = song(seed, 44_100, 8.0);
        let from = 6 * 44_100;
        for (n, sample) in one.samples[from..].iter_mut().enumerate() {
            // 80 dB down in two seconds.
            *sample *= 10f32.powf(-4.0 * n as f32 / (2.0 * 44_100.0));
        }
        one
    };
    let (one, other, after) = (fading(1), fading(2), song(3, 48_000, 5.0));
    for ppm in [0.0, 60.0] {
        let mut stage = Stage::new(ppm);
        let at = stage.play(&one, 2.0, 6.0);
        stage.play(&after, at - 8.0, 2.0);
        stage.silence(0.2);
        let heard = hear(&[&one, &after], &stage);
        assert_clean(&heard);
    }
    // Another song in its place is wrong as long as it is louder than the rounding.
    let mut stage = Stage::new(0.0);
    let at = stage.play(&one, 2.0, 4.1);
    stage.play(&other, at, 8.0 - at);
    assert!(!hear(&[&one], &stage).damage.is_empty());
}
