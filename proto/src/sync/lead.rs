//! How far ahead the leader announces a command that changes what sounds.

use crate::time::Flicks;

const MILLIS: i64 = 1_000_000;
/// What a listener needs besides the way there: its ring of rendered sound, and decoding.
const READY_NS: i64 = 250 * MILLIS;
/// No command is announced for sooner: a listener's ring holds up to this much.
const LEAD_NS_MIN: i64 = 400 * MILLIS;
/// None for later: whoever presses a key waits this long.
const LEAD_NS_MAX: i64 = 3000 * MILLIS;
/// A listener above this (and three times the median) doesn't make all the others wait.
const OUTLIER_NS_MIN: i64 = 500 * MILLIS;

/// The round trip that a room's commands wait for: the 95th percentile, leaving out those above
/// `max(3 × the median, 500 ms)`; 0 if there are none. Nanoseconds; reorders `rtts_ns`.
pub fn near_rtt_ns(rtts_ns: &mut [i64]) -> i64 {
    rtts_ns.sort_unstable();
    match rtts_ns.len() {
        0 => 0,
        count => {
            let bar = OUTLIER_NS_MIN.max(rtts_ns[(count - 1) / 2].saturating_mul(3));
            let near = &rtts_ns[..rtts_ns.partition_point(|rtt| *rtt <= bar)];
            // The median is below the bar, so `near` is not empty. Nearest rank.
            near[(near.len() * 95).div_ceil(100) - 1].max(0)
        }
    }
}

/// `clamp(250 ms + 1.5 × the room's round trip + recent commit time, 400 ms, 3 s)`, the round trip as
/// [`near_rtt_ns`] has it. All in nanoseconds.
pub fn lead_time(near_rtt_ns: i64, commit_ns: i64) -> Flicks {
    let wanted = near_rtt_ns.saturating_mul(3).saturating_div(2).saturating_add(commit_ns.max(0));
    Flicks::from_nanos(wanted.saturating_add(READY_NS).clamp(LEAD_NS_MIN, LEAD_NS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead_ms(rtts_ms: &[i64], commit_ms: i64) -> i64 {
        let mut rtts: Vec<i64> = rtts_ms.iter().map(|rtt| rtt * MILLIS).collect();
        lead_time(near_rtt_ns(&mut rtts), commit_ms * MILLIS).as_nanos() / MILLIS
    }

    #[test]
    fn near_listeners_get_the_least() {
        assert_eq!(lead_ms(&[], 0), 400);
        assert_eq!(lead_ms(&[1, 2, 1], 5), 400);
    }

    #[test]
    fn far_listeners_get_time() {
        assert_eq!(lead_ms(&[200], 10), 250 + 300 + 10);
        assert_eq!(lead_ms(&[200, 180, 10], 0), 250 + 300);
    }

    #[test]
    fn one_far_listener_of_many_is_left_out() {
        assert_eq!(lead_ms(&[20, 20, 20, 2000], 0), 400);
        assert_eq!(lead_ms(&[900], 0), 250 + 1350, "alone, it is the median");
        assert_eq!(lead_ms(&[300, 300, 300, 800], 0), 250 + 1200, "800 ms is below three medians");
    }

    #[test]
    fn the_most_is_three_seconds() {
        assert_eq!(lead_ms(&[60_000], 0), 3000);
        assert_eq!(lead_ms(&[], 60_000), 3000);
        let mut absurd = [i64::MAX, i64::MAX, i64::MIN];
        assert_eq!(lead_time(near_rtt_ns(&mut absurd), i64::MAX), Flicks::from_millis(3000));
    }
}
