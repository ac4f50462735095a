//! Two listeners at once, on cards that are off: how far apart they are, and how a lost leader moves them.

use crate::cluster::{Cluster, Listener, monotonic_ns};
use crate::ear::{Heard, Song};
use crate::promises::phase::phase_change;
use crate::promises::skew::skew;

use super::{SETTLED_SECS, hear_out, row_us};

const TOGETHER_SECS: f64 = 30.0;
/// What is judged of a failover, and some more.
const AFTER_SECS: f64 = 6.0;

/// What was recorded, and when what happened.
pub(super) struct Together {
    ann: Listener,
    bob: Listener,
    from_ns: i64,
    to_ns: i64,
    lost_ns: Vec<i64>,
}

/// Records two listeners, then kills the leader again and again.
pub(super) fn record(cluster: &mut Cluster, room: &str, kills: usize) -> anyhow::Result<Together> {
    let (mut ann, mut bob) = (cluster.listen("ann", room, 80)?, cluster.listen("bob", room, -60)?);
    ann.play_on(SETTLED_SECS)?;
    bob.play_on(0.0)?;
    let from_ns = monotonic_ns();
    ann.play_on(TOGETHER_SECS)?;
    let to_ns = monotonic_ns();
    let mut lost_ns = Vec::new();
    for _ in 0..kills {
        let leader = cluster.wait_for_leader()?;
        lost_ns.push(monotonic_ns());
        cluster.kill(leader)?;
        ann.play_on(AFTER_SECS)?;
        cluster.start_node(leader)?;
        cluster.wait_for_all()?;
        // A failover is judged against where the phase was going before.
        ann.play_on(AFTER_SECS)?;
    }
    Ok(Together { ann, bob, from_ns, to_ns, lost_ns })
}

impl Together {
    /// Hears them, and prints how it was.
    pub(super) fn judge(self, settled: &Heard, songs: &[Song]) -> anyhow::Result<()> {
        let (ann, bob) = (hear_out(self.ann, songs)?, hear_out(self.bob, songs)?);
        if let Some(skew) = skew(&ann, &bob, self.from_ns, self.to_ns) {
            row_us("skew of two listeners, cards at +80 and -60 ppm, p50, µs", &[skew.p50_ns]);
            row_us("the same, p99, µs", &[skew.p99_ns]);
            row_us("the same, highest, µs", &[skew.max_ns]);
        }
        let all = [&ann, &bob, settled];
        let changes: Vec<i64> = self
            .lost_ns
            .iter()
            .flat_map(|lost_ns| all.iter().filter_map(|heard| phase_change(heard, *lost_ns)))
            .map(|change| change.max_ns)
            .collect();
        row_us("phase change of three listeners when the leader is killed, µs", &changes);
        let gaps: usize = all.iter().map(|heard| heard.gaps.len()).sum();
        let jumps: usize = all.iter().map(|heard| heard.jumps.len()).sum();
        super::row("gaps and jumps of the three in all that time", &[(gaps + jumps) as f64]);
        Ok(())
    }
}
