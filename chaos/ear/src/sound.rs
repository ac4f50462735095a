//! The music does not stop: whoever listens hears no gap, no repeat, no jump and nothing foreign.

use crate::{Heard, Place};

/// Something that breaks the promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// CLOCK_MONOTONIC when it was heard.
    pub at_ns: i64,
    /// One sentence, with the instant in seconds.
    pub what: String,
}

/// Everything in `heard` that breaks the promise, in the order in which it was heard. `since_ns`
/// (CLOCK_MONOTONIC) is what the sentences count their seconds from.
pub fn broken(heard: &Heard, since_ns: i64) -> Vec<Fault> {
    let secs = |at_ns: i64| (at_ns - since_ns) as f64 * 1e-9;
    let place =
        |place: &Place| format!("{} of {}", minutes(place.position_ns), heard.songs[place.song].0);
    let gaps = heard.gaps.iter().map(|gap| {
        let (length, place) = (millis(gap.length_ns), place(&gap.place));
        Fault {
            at_ns: gap.at_ns,
            what: format!("a gap of {length} at {:.3} s, at {place}", secs(gap.at_ns)),
        }
    });
    let jumps = heard.jumps.iter().map(|jump| {
        let what = match jump.size_ns {
            Some(size) if size < 0 => format!("{} were repeated", millis(-size)),
            Some(size) => format!("{} were left out", millis(size)),
            None => "the song broke off".to_owned(),
        };
        let (from, to) = (place(&jump.from), place(&jump.to));
        Fault {
            at_ns: jump.at_ns,
            what: format!("{what} at {:.3} s, from {from} to {to}", secs(jump.at_ns)),
        }
    });
    let damage = heard.damage.iter().map(|damage| {
        let length = millis((damage.frames as f64 * 1e9 / f64::from(heard.sample_rate())) as i64);
        Fault {
            at_ns: damage.at_ns,
            what: format!("{length} of wrong sound at {:.3} s", secs(damage.at_ns)),
        }
    });
    let mut found: Vec<_> = gaps.chain(jumps).chain(damage).collect();
    found.sort();
    found
}

/// A length of time in milliseconds, with as many digits as help.
pub fn millis(nanos: i64) -> String {
    let millis = nanos as f64 * 1e-6;
    if millis.abs() < 10.0 { format!("{millis:.3} ms") } else { format!("{millis:.1} ms") }
}

fn minutes(nanos: i64) -> String {
    let (sign, secs) = (if nanos < 0 { "-" } else { "" }, nanos.abs() as f64 * 1e-9);
    format!("{sign}{}:{:06.3}", (secs / 60.0) as u64, secs % 60.0)
}
