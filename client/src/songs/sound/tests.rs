use std::f64::consts::TAU;

use jam_media::{Manifest, Refusal};
use jam_proto::ids::TrackId;
use jam_world::World;

use super::*;

const RATE: u32 = 44_100;
const SECONDS: u64 = 17;
const FRAMES: u64 = SECONDS * RATE as u64 + 99;

/// Two tones, the same at whatever rate they are sampled.
fn tone(seconds: f64) -> f64 {
    0.4 * (TAU * 331.7 * seconds).sin() + 0.3 * (TAU * 2503.1 * seconds).cos()
}

/// The song at a rate, and a little quieter, so that one can be told from the other.
fn segments(rate: u32, frames: u64, level: f64) -> (Manifest, Vec<Vec<u8>>) {
    let mut whole = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: rate,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::new(&mut whole, spec).expect("a cursor takes all");
    for frame in 0..frames {
        let sample = (level * tone(frame as f64 / f64::from(rate))) as f32;
        (0..2).for_each(|_| writer.write_sample(sample).expect("a cursor takes all"));
    }
    writer.finalize().expect("a cursor takes all");
    let length = whole.get_ref().len() as u64;
    whole.set_position(0);
    let mut segments = Vec::new();
    let manifest = jam_media::cut(jam_media::source(whole, length), frames, rate, |_, bytes| {
        segments.push(bytes);
        Ok::<_, Refusal>(())
    });
    (manifest.expect("a song"), segments)
}

/// A song of which the original and one rendition are on the disk.
struct Fixture {
    _folder: tempfile::TempDir,
    song: Arc<LocalSong>,
    original: Arc<LocalRendition>,
    small: Arc<LocalRendition>,
    shelf: Shelf,
}

/// How much quieter the small one is.
const SMALL: f64 = 0.5;

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = DiskCache::open(&World::real(), folder.path().into(), 1 << 30).expect("opens");
        let song = Arc::new(LocalSong::new(TrackId([1; 32]), FRAMES, RATE));
        let add = |kbps, (manifest, segments): (Manifest, Vec<Vec<u8>>)| {
            for (info, bytes) in manifest.segments().iter().zip(segments) {
                disk.store(&info.hash, &bytes).expect("stored");
            }
            song.add(kbps, manifest)
        };
        let original = add(0, segments(RATE, FRAMES, 1.0));
        let frames = (FRAMES * 48_000).div_ceil(u64::from(RATE));
        let small = add(96, segments(48_000, frames, SMALL));
        let shelf = Shelf { disk, lost: Arc::default() };
        Self { _folder: folder, song, original, small, shelf }
    }

    fn sound(&self) -> SegmentSound {
        SegmentSound::new(self.song.clone(), self.shelf.clone())
    }
}

fn ready(rendition: &LocalRendition, from_s: u64, to_s: u64) {
    let (from, to) = (from_s * u64::from(RATE), (to_s * u64::from(RATE)).min(FRAMES));
    let last = rendition.segment_at(to - 1).expect("within the song");
    for index in rendition.segment_at(from).expect("within the song")..=last {
        rendition.set_ready(index, true);
    }
}

fn read_to(sound: &mut SegmentSound, frame: u64, heard: &mut Vec<f32>) {
    let mut some = [0.0; 2 * 333];
    while sound.at < frame {
        let wanted = (frame - sound.at).min(333) as usize * 2;
        let count = sound.read(&mut some[..wanted]);
        heard.extend(some[..count * 2].chunks(2).map(|frame| frame[0]));
    }
}

/// How far what was heard from frame `from` on is from the tone at its best level between the two, at most; and what that
/// level is over time.
fn compare(heard: &[f32], from: u64) -> (f64, Vec<f64>) {
    let (mut worst, mut levels): (f64, _) = (0.0, Vec::new());
    for (n, some) in heard.chunks(512).enumerate() {
        let at = |k: usize| tone((from as usize + n * 512 + k) as f64 / f64::from(RATE));
        let (mut with, mut own) = (0.0, 0.0);
        for (k, sample) in some.iter().enumerate() {
            with += f64::from(*sample) * at(k);
            own += at(k) * at(k);
        }
        let level = with / own;
        let off =
            some.iter().enumerate().map(|(k, sample)| (f64::from(*sample) - level * at(k)).abs());
        // In a cross-fade the level changes within the block.
        let steady = (level - 1.0).abs() < 0.001 || (level - SMALL).abs() < 0.001;
        worst = worst.max(if steady { off.fold(0.0, f64::max) } else { 0.0 });
        levels.push(level);
    }
    (worst, levels)
}

/// The largest difference of two samples in a row, of the tone and of what was heard.
fn steps(heard: &[f32]) -> (f64, f64) {
    let own = (0..100_000).map(|frame| {
        let at = |frame: u64| tone(frame as f64 / f64::from(RATE));
        (at(frame + 1) - at(frame)).abs()
    });
    let heard = heard.windows(2).map(|two| f64::from((two[1] - two[0]).abs()));
    (own.fold(0.0, f64::max), heard.fold(0.0, f64::max))
}

#[test]
fn another_rate_lies_on_the_songs_line() {
    let fixture = Fixture::new();
    ready(&fixture.small, 0, SECONDS);
    for from in [0, 1, 44_100 * 5 + 17, FRAMES - 3000] {
        let mut sound = fixture.sound();
        sound.seek(from);
        let mut heard = Vec::new();
        read_to(&mut sound, (from + 200_000).min(FRAMES), &mut heard);
        assert_eq!(sound.failure(), None);
        // The resampler rings at an end of the song, where the tone is cut off.
        let inner = if from + 200_000 > FRAMES { heard.len() - 200 } else { heard.len() };
        let (worst, levels) = compare(&heard[200..inner], from + 200);
        assert!(worst < 1e-4, "from {from}: {worst}");
        assert!(levels.iter().all(|level| (level - SMALL).abs() < 1e-3), "from {from}: {levels:?}");
    }
}

#[test]
fn it_goes_up_and_down_without_click_or_gap() {
    let fixture = Fixture::new();
    // Down where the original ends, and up where it is there again.
    ready(&fixture.original, 0, 5);
    ready(&fixture.small, 0, SECONDS);
    let mut sound = fixture.sound();
    let mut heard = Vec::new();
    read_to(&mut sound, 3 * u64::from(RATE), &mut heard);
    assert_eq!(sound.kbps(), Some(0));
    read_to(&mut sound, 7 * u64::from(RATE), &mut heard);
    assert_eq!(sound.kbps(), Some(96));
    ready(&fixture.original, 9, SECONDS);
    read_to(&mut sound, FRAMES, &mut heard);
    assert_eq!((heard.len() as u64, sound.failure()), (FRAMES, None));

    let (worst, levels) = compare(&heard[200..heard.len() - 2000], 200);
    assert!(worst < 1e-4, "{worst}");
    let near = |level: f64, to: f64| (level - to).abs() < 1e-3;
    let changes = levels.windows(2).filter(|two| !near(two[0], two[1])).count();
    let between =
        levels.iter().filter(|level| !near(**level, 1.0) && !near(**level, SMALL)).count();
    // Two changes, each through the one or two blocks that a cross-fade touches.
    assert!((2..=6).contains(&changes) && (2..=4).contains(&between), "{changes} {between}");
    assert!(near(levels[0], 1.0) && near(levels[13 * 44_100 / 1024], SMALL));
    assert!(near(levels[levels.len() - 1], 1.0), "{:?}", levels.last());
    let (own, most) = steps(&heard);
    assert!(most <= own * 1.01, "a click: {most} against {own}");
}

#[test]
fn what_goes_bad_is_replaced_by_another_quality() {
    let fixture = Fixture::new();
    ready(&fixture.original, 0, SECONDS);
    ready(&fixture.small, 0, SECONDS);
    // Its file is gone, and it is still promised.
    let second = fixture.original.segment_at(6 * u64::from(RATE)).expect("within the song");
    let hash = blake3::Hash::from(fixture.original.manifest.segments()[second].hash);
    std::fs::remove_file(fixture._folder.path().join(hash.to_string())).expect("removed");
    let mut sound = fixture.sound();
    let mut heard = Vec::new();
    read_to(&mut sound, FRAMES, &mut heard);
    assert_eq!(sound.failure(), None);
    assert!(!fixture.original.is_ready(second));
    let (own, most) = steps(&heard);
    assert!(most <= own * 1.01, "a click: {most} against {own}");
    let silent = heard[1000..heard.len() - 1000].chunks(64);
    assert!(silent.into_iter().all(|some| some.iter().any(|sample| *sample != 0.0)));
}
