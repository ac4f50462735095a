//! A jam survives its leader: three real nodes, two real listeners, and what they heard.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use jam_chaos::cluster::{Cluster, Listener, monotonic_ns};
use jam_chaos::ear::{Heard, Recording, Reference, listen, read_song};
use jam_chaos::promises::report::{self, report};
use jam_chaos::promises::sound::broken;
use jam_chaos::promises::trace;
use jam_chaos::testsong::position_coded;
use jam_chaos::witness::Witness;
use serde_json::Value;

/// Listeners are paced in real time: two of these tests at once would take the time from each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Builds are not optimised and the machine is shared, so only what can be heard is held against the
/// listeners here; the tighter figure is measured, not tested.
const SKEW_MAX_NS: i64 = 1_000_000;

struct Jam {
    dir: tempfile::TempDir,
    cluster: Cluster,
    room: String,
    songs: Vec<PathBuf>,
    entries: Vec<u64>,
    witness: Option<Witness>,
}

impl Jam {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cluster = Cluster::start(dir.path(), 3).expect("a cluster");
        let room = cluster.jam(&["create", "Test"]).expect("created");
        let room = room["room"].as_str().expect("a room's code").to_owned();
        Self {
            dir,
            cluster,
            room,
            songs: Vec::new(),
            entries: Vec::new(),
            witness: Some(Witness::start()),
        }
    }

    /// Makes a position-coded song and adds it to the queue.
    fn add(&mut self, name: &str, sample_rate: u32, secs: f64) {
        let path = self.dir.path().join(name);
        make_song(&path, self.songs.len() as u64 + 100, sample_rate, secs);
        let added =
            self.cluster.jam(&["add", &self.room, &path.display().to_string()]).expect("added");
        assert_eq!(added["sample_rate"], sample_rate, "{added}");
        self.entries.push(added["entry"].as_u64().expect("an entry"));
        self.songs.push(path);
    }

    fn command(&self, verb: &str) -> Value {
        self.cluster.jam(&[verb, &self.room]).expect(verb)
    }

    fn listeners(&self) -> [Listener; 2] {
        [("ann", 80), ("bob", -60)]
            .map(|(user, drift)| self.cluster.listen(user, &self.room, drift).expect("listening"))
    }

    /// Kills the node that leads; answers which, and when.
    fn kill_leader(&mut self) -> (usize, i64) {
        let leader = self.cluster.wait_for_leader().expect("a leader");
        let now = monotonic_ns();
        self.cluster.kill(leader).expect("killed");
        (leader, now)
    }

    /// Has the listeners leave and judges what they heard.
    fn judge(&mut self, listeners: [Listener; 2], leader_lost_ns: i64) -> [Heard; 2] {
        let songs: Vec<_> =
            self.songs.iter().map(|path| read_song(path).expect("a song")).collect();
        let judged = listeners.map(|listener| {
            let (user, wav, trace) =
                (listener.user.clone(), listener.wav.clone(), listener.trace.clone());
            assert!(listener.leave().expect("left").success());
            let recording = Recording::open(&wav).expect("a recording");
            let heard = listen(&Reference::new(songs.clone(), recording.sample_rate), recording);
            let text = std::fs::read_to_string(trace).expect("a trace");
            report::Listener::new(user, heard, Some(&text)).expect("a trace")
        });
        let said = report(&judged, Some(leader_lost_ns));
        println!("{said}");
        let stalls = self.witness.take().expect("judged once").stop();
        println!("the machine itself stalled {} times", stalls.count());
        for listener in &judged {
            let mut faults = broken(&listener.heard, 0);
            faults.retain(|fault| !stalls.explain(fault.at_ns));
            assert_eq!(faults, [], "{}:\n{said}", listener.name);
            let trace = listener.trace.expect("set above");
            assert!(
                trace.compared > 50 && trace.max_ns < trace::OFF_MAX_NS,
                "{}: {trace:?}",
                listener.name
            );
        }
        let together = said.skews[0].all.as_ref().expect("heard together");
        // A stall excuses the one look that it upset, never the run.
        let steady = together.max_ns < SKEW_MAX_NS || stalls.explain(together.max_at_ns);
        assert!(steady && together.p99_ns < SKEW_MAX_NS && together.apart <= 2, "{said}");
        judged.map(|listener| listener.heard)
    }
}

fn make_song(path: &Path, seed: u64, sample_rate: u32, secs: f64) {
    let plain = path.with_extension("plain.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&plain, spec).expect("created");
    for sample in position_coded(seed, sample_rate, secs) {
        wav.write_sample((sample * 24_000.0) as i16).expect("written");
    }
    wav.finalize().expect("written");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(&plain)
        .args(["-b:a", "128k"])
        .arg(path)
        .status()
        .expect("these tests need ffmpeg; scripts/test installs it");
    assert!(status.success());
}

/// How far the song is ahead of shared time, in nanoseconds: the same at every instant while it plays.
fn phase_ns(line: &Value, shared: &str) -> i64 {
    let number = |name: &str| line[name].as_i64().expect("a number");
    (number("frame") as f64 * 1e9 / number("sample_rate") as f64) as i64 - number(shared)
}

fn entries(queue: &Value) -> Vec<u64> {
    let entries = queue.as_array().expect("a queue").iter();
    entries.map(|entry| entry["entry"].as_u64().expect("an entry")).collect()
}

#[test]
fn the_music_goes_on_without_leader_and_without_cluster() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut jam = Jam::new();
    jam.add("one.flac", 44_100, 120.0);
    jam.add("two.opus", 48_000, 20.0);
    jam.command("play");
    let mut listeners = jam.listeners();
    for listener in &mut listeners {
        listener.play_on(4.0).expect("playing");
    }

    let (dead, lost_ns) = jam.kill_leader();
    // The next acknowledged command: a song, with all its bytes.
    jam.add("three.mp3", 44_100, 10.0);
    let acknowledged = jam.command("status");
    assert_eq!(entries(&acknowledged["queue"]), jam.entries, "{acknowledged}");
    listeners[0].play_on(3.0).expect("playing");

    for node in (1..=3).filter(|node| *node != dead) {
        jam.cluster.kill(node).expect("killed");
    }
    for listener in &mut listeners {
        listener.play_on(2.0).expect("playing without a cluster");
    }
    for node in 1..=3 {
        jam.cluster.start_node(node).expect("started");
    }
    jam.cluster.wait_for_leader().expect("a leader");
    let resumed = jam.command("status");
    assert_eq!(entries(&resumed["queue"]), jam.entries, "{resumed}");
    assert_eq!(resumed["playing"], true, "{resumed}");
    assert!(
        resumed["revision"].as_u64() >= acknowledged["revision"].as_u64(),
        "{resumed} after {acknowledged}"
    );
    for listener in &mut listeners {
        listener.play_on(3.0).expect("playing");
    }
    // They have found the cluster again, and the room is where they are.
    let standing = jam.cluster.jam(&["cluster", "status"]).expect("a cluster");
    for listener in &mut listeners {
        let back = |line: &Value| line["term"].as_u64() >= standing["term"].as_u64();
        let line = listener.wait_for("following the new leader", back).expect("back");
        let apart_ns = (phase_ns(&line, "shared_ns") - phase_ns(&resumed, "shared_time_ns")).abs();
        assert!(apart_ns < SKEW_MAX_NS, "{line} against {resumed}");
    }
    for listener in &mut listeners {
        listener.play_on(1.0).expect("playing");
    }
    jam.judge(listeners, lost_ns);
}

#[test]
fn the_end_of_a_song_needs_no_leader() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut jam = Jam::new();
    // Formats and rates change at each seam.
    jam.add("one.flac", 44_100, 14.0);
    jam.add("two.opus", 48_000, 7.0);
    jam.add("three.mp3", 44_100, 30.0);
    let mut listeners = jam.listeners();
    for listener in &mut listeners {
        listener.wait_for("being there", |line| line["state"] == "paused").expect("joined");
    }
    jam.command("play");
    let first = jam.entries[0];
    let near_end =
        |line: &Value| line["entry"] == first && line["frame"].as_u64() > Some(44_100 * 12 + 4_410);
    for listener in &mut listeners {
        listener.wait_for("near the end of the first song", near_end).expect("playing");
    }
    let (_, lost_ns) = jam.kill_leader();
    let last = jam.entries[2];
    for listener in &mut listeners {
        let there =
            |line: &Value| line["entry"] == last && line["frame"].as_u64() > Some(44_100 * 3);
        listener.wait_for("in the third song", there).expect("playing");
    }
    let status = jam.command("status");
    assert_eq!(entries(&status["queue"]), [last], "{status}");
    let heard = jam.judge(listeners, lost_ns);
    for heard in heard {
        let songs: Vec<usize> = heard.sequence().iter().map(|place| place.song).collect();
        assert_eq!(songs, [0, 1, 2]);
    }
}
