//! What it takes to ingest songs: `cargo run --release -p jam-media --example ingest -- FILE...`
//!
//! Prints a line of JSON for each file: what it is, how fast [`inspect`] (decoding, and the loudness by EBU R128) and [`cut`]
//! were, as multiples of real time on one core, and the most memory that this process had so far. So for memory give it one file.
//! Where the system tells, the time is the core's, so that a busy machine doesn't matter. docs/benchmarks.md has the figures.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use jam_media::{Limits, Refusal, SongInfo, cut, file, inspect};

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
    let inspected_secs = watch.secs();
    let inspected_mb = peak_mb();

    let watch = Watch::start();
    let manifest = cut(open()?, frames, sample_rate, |_, _| Ok::<_, Refusal>(()))?;
    let cut_secs = watch.secs();

    let secs = frames as f64 / f64::from(sample_rate);
    Ok(format!(
        "{{\"file\":{path:?},\"codec\":\"{codec}\",\"bytes\":{bytes},\"frames\":{frames},\"secs\":{secs:.1},\
         \"inspect_s\":{inspected_secs:.2},\"inspect_x\":{:.0},\"inspect_peak_mb\":{},\
         \"cut_s\":{cut_secs:.2},\"cut_x\":{:.0},\"segments\":{},\"peak_mb\":{}}}",
        secs / inspected_secs,
        number(inspected_mb),
        secs / cut_secs,
        manifest.segments().len(),
        number(peak_mb()),
    ))
}

/// Time of a core, or else of the clock.
struct Watch {
    cpu_ns: Option<u64>,
    begun: Instant,
}

impl Watch {
    fn start() -> Self {
        Self { cpu_ns: cpu_ns(), begun: Instant::now() }
    }

    fn secs(&self) -> f64 {
        match (self.cpu_ns, cpu_ns()) {
            (Some(from), Some(to)) => (to - from) as f64 / 1e9,
            _ => self.begun.elapsed().as_secs_f64(),
        }
    }
}

/// What the only thread has had of cores, where the system tells.
fn cpu_ns() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    told.split_whitespace().next()?.parse().ok()
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
