//! What it takes to ingest songs: `cargo run --release -p jam-media --example ingest -- FILE...`
//!
//! Prints a line of JSON for each file: what it is, how fast [`inspect`] (decoding, and the loudness by EBU R128) and [`cut`]
//! were, as multiples of real time on one core, and the most memory that this process had so far. So for memory give it one file.
//! The time is that of all cores together, so that a busy machine doesn't matter; `inspect_wall_s` is the clock's.
//! docs/benchmarks.md has the figures.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use jam_media::{Limits, Refusal, SongInfo, cut, file, inspect};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The limit of a cluster, 6 hours.
const LIMITS: Limits = Limits { secs_max: 6 * 3600 };

fn main() -> ExitCode {
    let mut refused = false;
    for path in std::env::args().skip(1) {
        match ingest(Path::new(&path)) {
            Ok(line) => println!("{line}"),
            Err(refusal) => {
                refused = true;
                println!(r#"{{"file":{path:?},"refused":"{}"}}"#, refusal.code());
                eprintln!("{path}: {refusal}");
            }
        }
    }
    ExitCode::from(u8::from(refused))
}

fn ingest(path: &Path) -> Result<String, Refusal> {
    let open = || file(path).map_err(|error| Refusal::Unreadable(error.to_string()));
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());

    let watch = Watch::start();
    let SongInfo { frames, sample_rate, codec, .. } = inspect(open()?, LIMITS)?;
    let (inspected_secs, inspected_wall_secs) = (watch.secs(), watch.begun.elapsed().as_secs_f64());
    let inspected_mb = peak_mb();

    let watch = Watch::start();
    let manifest = cut(open()?, frames, sample_rate, |_, _| Ok::<_, Refusal>(()))?;
    let cut_secs = watch.secs();

    let secs = frames as f64 / f64::from(sample_rate);
    Ok(format!(
        "{{\"file\":{path:?},\"codec\":\"{codec}\",\"bytes\":{bytes},\"frames\":{frames},\"secs\":{secs:.1},\
         \"inspect_s\":{inspected_secs:.2},\"inspect_wall_s\":{inspected_wall_secs:.2},\"inspect_x\":{:.0},\"inspect_peak_mb\":{},\
         \"cut_s\":{cut_secs:.2},\"cut_x\":{:.0},\"segments\":{},\"peak_mb\":{}}}",
        secs / inspected_secs,
        number(inspected_mb),
        secs / cut_secs,
        manifest.segments().len(),
        number(peak_mb()),
    ))
}

/// Time of all cores, and of the clock.
struct Watch {
    cpu: Timespec,
    begun: Instant,
}

impl Watch {
    fn start() -> Self {
        Self { cpu: clock_gettime(ClockId::ProcessCPUTime), begun: Instant::now() }
    }

    fn secs(&self) -> f64 {
        let cpu = clock_gettime(ClockId::ProcessCPUTime) - self.cpu;
        cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9
    }
}

/// The most memory that was resident, in MB, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| format!("{value:.1}"))
}
