//! Joining in mid-song: how soon the right sound comes, and how right it is.

use std::path::PathBuf;

use anyhow::Context;

use super::{hear, row_us};
use crate::bench::row;
use crate::cluster::{Cluster, monotonic_ns};
use crate::ear::{Heard, Recording, Song};

/// When the phase is looked at: as soon as the ear can tell it, and when it shall have settled.
const FIRST_NS: i64 = 25_000_000;
const LATER_NS: i64 = 3_000_000_000;
/// Seconds that are recorded of each.
const RECORDED_SECS: f64 = 3.5;

/// Somebody who joined.
pub(super) struct Join {
    begun_ns: i64,
    wav: PathBuf,
}

/// Has listeners join one after the other, each with nothing in its cache.
pub(super) fn record(cluster: &Cluster, room: &str, trials: usize) -> anyhow::Result<Vec<Join>> {
    let join = |trial| {
        let begun_ns = monotonic_ns();
        let mut listener = cluster.listen(&format!("join{trial}"), room, 0)?;
        listener.wait_for("playing", |line| line["state"] == "playing")?;
        listener.play_on(RECORDED_SECS)?;
        let wav = listener.wav.clone();
        listener.leave()?;
        Ok(Join { begun_ns, wav })
    };
    (0..trials).map(join).collect()
}

/// Compares them with a listener who had settled.
pub(super) fn judge(joins: &[Join], settled: &Heard, songs: &[Song]) -> anyhow::Result<()> {
    let (mut sounds_ms, mut right_ms, mut first, mut later) = (vec![], vec![], vec![], vec![]);
    for join in joins {
        let since_ms = |ns: i64| (ns - join.begun_ns) as f64 / 1e6;
        let sounds_ns = Recording::open(&join.wav)?.first_sound_ns().context("nothing sounded")?;
        let heard = hear(&join.wav, songs)?;
        let (right_ns, _) = heard.span_ns().context("nothing that is known sounded")?;
        sounds_ms.push(since_ms(sounds_ns));
        right_ms.push(since_ms(right_ns));
        first.extend(apart_ns(&heard, settled, right_ns + FIRST_NS));
        later.extend(apart_ns(&heard, settled, right_ns + LATER_NS));
    }
    row("`jam join` in mid-song, process start to the first sound, ms", &sounds_ms);
    row("to the first sound that the ear knows, ms", &right_ms);
    row_us("from its right place there, µs", &first);
    row_us("three seconds later, µs", &later);
    Ok(())
}

/// How far two listeners are apart; none where they don't play one song, as across a seam.
fn apart_ns(a: &Heard, b: &Heard, at_ns: i64) -> Option<i64> {
    let ((song_a, at_a), (song_b, at_b)) = (a.position_at(at_ns)?, b.position_at(at_ns)?);
    (song_a == song_b).then(|| ((at_a - at_b) * 1e9).abs() as i64)
}
