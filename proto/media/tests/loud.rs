//! The loudness of a song is what the `ebur128` crate says of its samples, in every format.
#![allow(missing_docs)]

mod common;

use common::{Songs, all};
use ebur128::{EbuR128, Mode};

#[test]
fn it_is_what_ebur128_says() {
    let songs = Songs::new();
    // Louder at its end, so that the true peak is looked for all the way.
    songs.original("plain.wav", 44_100);
    songs.ffmpeg("plain.wav", &["-af", "volume='0.2+t*0.9':eval=frame"], "original.wav");
    let formats: &[(&str, &[&str])] = &[
        ("a.wav", &[]),
        ("slow.wav", &["-ar", "8000"]),
        ("fast.wav", &["-ar", "96000"]),
        ("faster.wav", &["-ar", "192000"]),
        ("a.aiff", &[]),
        ("a.flac", &[]),
        ("six.flac", &["-ac", "6"]),
        ("alac.m4a", &["-c:a", "alac"]),
        ("a.m4a", &[]),
        ("a.aac", &[]),
        ("a.mp3", &["-b:a", "320k"]),
        ("a.mp2", &[]),
        ("a.ogg", &[]),
        ("a.opus", &[]),
        ("a.webm", &["-c:a", "libopus"]),
        ("a.caf", &["-c:a", "alac"]),
    ];
    for (name, options) in formats {
        songs.ffmpeg("original.wav", options, name);
        let info = songs.info(name);
        let samples = all(&mut songs.open(name, &info));
        let mut meter = EbuR128::new(2, info.sample_rate, Mode::I | Mode::TRUE_PEAK).expect(name);
        meter.add_frames_f32(&samples).expect(name);
        let peak = |channel| meter.true_peak(channel).expect(name);
        let integrated = meter.loudness_global().expect(name) * 100.0;
        let true_peak = peak(0).max(peak(1)).log10() * 2000.0;
        let found = info.loudness.unwrap_or_else(|| panic!("{name} sounds"));
        // Hundredths of a dB. What was padded counts there, and not here.
        let off = (f64::from(found.integrated) - integrated).abs();
        assert!(off <= 10.0, "{name}: {found:?}, not {integrated}");
        let off = (f64::from(found.true_peak) - true_peak).abs();
        assert!(off <= 10.0, "{name}: {found:?}, not {true_peak}");
    }
}
