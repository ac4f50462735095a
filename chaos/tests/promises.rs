//! Listeners against each other, against time and against their traces: known distances must be read
//! as they are.

mod stage;

use jam_chaos::ear::{Heard, Reference, Song, listen};
use jam_chaos::promises::phase::phase_change;
use jam_chaos::promises::report::{Listener, report};
use jam_chaos::promises::skew::{common_span, skew};
use jam_chaos::promises::trace::agreement;
use stage::{BEGIN_NS, RATE, Stage, song};

fn hear(song: &Song, stage: &Stage) -> Heard {
    listen(&Reference::new(vec![song.clone()], RATE), stage.recording())
}

/// Plays `song` so that position = real time - `late`, on a card that is `ppm` off.
fn steady(song: &Song, ppm: f64, late: f64, secs: f64) -> Stage {
    let mut stage = Stage::new(ppm);
    stage.play(song, 1.0 - late, secs);
    stage
}

#[test]
fn skew_is_read_as_it_is() {
    let one = song(21, 44_100, 20.0);
    let first = hear(&one, &steady(&one, 80.0, 0.0, 8.0));
    for late in [0.0, 0.000_02, 0.000_1, 0.001, 0.03] {
        let second = hear(&one, &steady(&one, -60.0, late, 8.0));
        let (from, to) = common_span(&[&first, &second]).expect("heard together");
        let skew = skew(&first, &second, from, to).expect("heard together");
        assert!(skew.looks > 100);
        assert_eq!(skew.apart, 0);
        for read in [skew.p50_ns, skew.p99_ns, skew.max_ns] {
            assert!((read as f64 * 1e-9 - late).abs() < 2e-6, "{late}: {skew:?}");
        }
    }
}

#[test]
fn a_phase_that_moves_is_seen_moving() {
    let one = song(22, 48_000, 30.0);
    let at_ns = BEGIN_NS + 5_000_000_000;
    assert!(
        phase_change(&hear(&one, &steady(&one, 0.0, 0.0, 11.0)), at_ns).expect("played").max_ns
            < 2000
    );

    // 200 ppm slow for two seconds: 0.4 ms in all, and no jump.
    let mut stage = Stage::new(0.0);
    let at = stage.play(&one, 1.0, 5.0);
    stage.ppm = 200.0;
    let at = stage.play(&one, at, 2.0);
    stage.ppm = 0.0;
    stage.play(&one, at, 4.0);
    let heard = hear(&one, &stage);
    assert_eq!((heard.gaps.len(), heard.jumps.len(), heard.damage.len()), (0, 0, 0));
    let change = phase_change(&heard, at_ns).expect("played");
    assert!((change.max_ns - 400_000).abs() < 2000, "{change:?}");
}

#[test]
fn a_trace_is_held_against_the_sound() {
    let one = song(23, 44_100, 20.0);
    let heard = hear(&one, &steady(&one, 80.0, 0.0, 6.0));
    let trace = |off_frames: f64| {
        let line = |n: u64| {
            let frame = 50_000 + n * 4410;
            let secs = (frame as f64 + off_frames) / 44_100.0 - 1.0;
            let mono_ns = BEGIN_NS + (secs * 1e9).round() as i64;
            let track = &one.track;
            format!(
                r#"{{"mono_ns":{mono_ns},"shared_ns":5,"room":"r","entry":1,"track":"{track}","frame":{frame},"sample_rate":44100,"state":"playing","underruns":0,"jumps":0}}"#
            )
        };
        let mut text: Vec<String> = (0..40).map(line).collect();
        text.push(
            r#"{"mono_ns":1,"entry":null,"track":null,"frame":null,"state":"joining"}"#.to_owned(),
        );
        // Cut off by a kill.
        text.push(r#"{"mono_ns":17,"shar"#.to_owned());
        text.join("\n")
    };
    let good = agreement(&heard, &trace(0.0)).expect("a trace");
    assert_eq!((good.compared, good.other_song), (40, 0));
    assert!(good.max_ns < 2000, "{good:?}");
    let off = agreement(&heard, &trace(10.0)).expect("a trace");
    assert!((off.p50_ns - 226_757).abs() < 2000, "{off:?}");
    assert!(agreement(&heard, "no trace\n").is_err());
}

#[test]
fn a_report_says_what_broke() {
    let one = song(24, 48_000, 30.0);
    let listener = |name: &str, stage: &Stage| {
        Listener::new(name.to_owned(), hear(&one, stage), None).expect("no trace")
    };
    let good = steady(&one, 80.0, 0.0, 11.0);
    let lost = Some(BEGIN_NS + 5_000_000_000);
    let held = report(
        &[listener("ann", &good), listener("bob", &steady(&one, -60.0, 0.000_05, 11.0))],
        lost,
    );
    assert_eq!((held.broken, held.open), (vec![], vec![]));

    let mut bad = Stage::new(0.0);
    bad.play(&one, 1.0, 4.0);
    bad.silence(0.01);
    let at = bad.now();
    bad.play(&one, at + 1.0 + 0.003, 6.0);
    let broken = report(&[listener("ann", &good), listener("bob", &bad)], lost).broken;
    assert!(
        broken
            .iter()
            .any(|what| what == "bob: a gap of 10.0 ms at 4.000 s, at 0:05.000 of song 24"),
        "{broken:?}"
    );
    assert!(
        broken.iter().any(|what| what.starts_with("bob: 3.000 ms were left out at 4.0")),
        "{broken:?}"
    );
    assert!(
        broken.iter().any(|what| what.starts_with("ann and bob were 3.000 ms apart at p99")),
        "{broken:?}"
    );
}

#[test]
fn songs_of_every_format_are_recognised() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plain = dir.path().join("song.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&plain, spec).expect("created");
    for sample in jam_chaos::testsong::position_coded(25, 44_100, 8.0) {
        wav.write_sample((sample * 24_000.0) as i16).expect("written");
    }
    wav.finalize().expect("written");
    for (name, rate) in [("song.flac", "44100"), ("song.mp3", "44100"), ("song.opus", "48000")] {
        let path = dir.path().join(name);
        let status = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&plain)
            .args(["-ar", rate, "-b:a", "128k"])
            .arg(&path)
            .status()
            .expect("these tests need ffmpeg; scripts/test installs it");
        assert!(status.success());
        let song = jam_chaos::ear::read_song(&path).expect("a song");
        assert_eq!(
            song.track,
            blake3::hash(&std::fs::read(&path).expect("there")).to_hex().to_string()
        );
        let heard = hear(&song, &steady(&song, 80.0, 0.0, 5.0));
        assert_eq!((heard.gaps.len(), heard.jumps.len(), heard.damage.len()), (0, 0, 0), "{name}");
        let (_, at) = heard.position_at(BEGIN_NS + 3_000_000_000).expect("something sounds");
        assert!((at - 4.0).abs() < 2e-6, "{name}: {at}");
    }
}
