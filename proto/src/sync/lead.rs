//! How far ahead the leader announces a command that changes what sounds.
//!
//! Everybody in a room waits for it, and whoever opens a stream of reports has a say in it. So a say needs more than a
//! stream: who has not fetched sound has none, people count and not their streams, and those who come from one place have
//! one say together, which a minority of them can't move.

use std::collections::BTreeMap;

use crate::ids::Origin;
use crate::time::Flicks;

const MILLIS: i64 = 1_000_000;
/// What a listener needs besides the way there: its ring of rendered sound, and decoding.
const READY_NS: i64 = 250 * MILLIS;
/// No command is announced for sooner: a listener's ring holds up to this much.
const LEAD_NS_MIN: i64 = 400 * MILLIS;
/// None for later: whoever presses a key waits this long.
const LEAD_NS_MAX: i64 = 3000 * MILLIS;
/// A place above this (and three times the median) doesn't make all the others wait.
const OUTLIER_NS_MIN: i64 = 500 * MILLIS;

/// A stream of reports, as it counts here.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// Where it comes from; `None`: not known, which is one place.
    pub origin: Option<Origin>,
    /// Whom it names.
    pub user: &'a str,
    /// Whether it has fetched sound.
    pub has_sound: bool,
    /// Its round trip as the node measured it, nanoseconds.
    pub rtt_ns: i64,
}

/// The round trip that a room's commands wait for, nanoseconds; 0 if nobody has a say.
///
/// A person's is that of their farthest stream. A place's is the median of its people's, the lower one of two. The
/// room's is the 95th percentile of the places', leaving out those above `max(3 × their median, 500 ms)`.
pub fn near_rtt_ns<'a>(streams: impl Iterator<Item = Stream<'a>>) -> i64 {
    let mut people: BTreeMap<(Option<Origin>, &str), i64> = BTreeMap::new();
    for stream in streams.filter(|stream| stream.has_sound) {
        let farthest = people.entry((stream.origin, stream.user)).or_insert(stream.rtt_ns);
        *farthest = stream.rtt_ns.max(*farthest);
    }
    let mut places: BTreeMap<Option<Origin>, Vec<i64>> = BTreeMap::new();
    for ((origin, _), rtt_ns) in people {
        places.entry(origin).or_default().push(rtt_ns);
    }
    let mut rtts_ns: Vec<i64> = places.values_mut().filter_map(|place| median(place)).collect();
    let Some(median) = median(&mut rtts_ns) else { return 0 };
    let bar = OUTLIER_NS_MIN.max(median.saturating_mul(3));
    let near = &rtts_ns[..rtts_ns.partition_point(|rtt| *rtt <= bar)];
    // The median is below the bar, so `near` is not empty. Nearest rank.
    near[(near.len() * 95).div_ceil(100) - 1].max(0)
}

/// The lower one of two; sorts.
fn median(rtts_ns: &mut [i64]) -> Option<i64> {
    rtts_ns.sort_unstable();
    rtts_ns.get(rtts_ns.len().checked_sub(1)? / 2).copied()
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

    /// A stream from a place of this number, of a user of that name.
    fn stream(place: u8, user: &str, rtt_ms: i64) -> Stream<'_> {
        let rtt_ns = rtt_ms.saturating_mul(MILLIS);
        Stream { origin: Some(Origin([place; 8])), user, has_sound: true, rtt_ns }
    }

    fn lead_ms(streams: &[Stream<'_>], commit_ms: i64) -> i64 {
        let near = near_rtt_ns(streams.iter().copied());
        lead_time(near, commit_ms.saturating_mul(MILLIS)).as_nanos() / MILLIS
    }

    /// Each from a place of its own.
    fn apart(rtts_ms: &[i64]) -> Vec<Stream<'static>> {
        (0..).zip(rtts_ms).map(|(place, rtt)| stream(place, "ann", *rtt)).collect()
    }

    #[test]
    fn near_listeners_get_the_least_and_far_ones_get_time() {
        assert_eq!(lead_ms(&[], 0), 400);
        assert_eq!(lead_ms(&apart(&[1, 2, 1]), 5), 400);
        assert_eq!(lead_ms(&apart(&[200]), 10), 250 + 300 + 10);
        assert_eq!(lead_ms(&apart(&[200, 180, 10]), 0), 250 + 300);
    }

    #[test]
    fn one_far_place_of_many_is_left_out() {
        assert_eq!(lead_ms(&apart(&[20, 20, 20, 2000]), 0), 400);
        assert_eq!(lead_ms(&apart(&[900]), 0), 250 + 1350, "alone, it is the median");
        let near_three_medians = lead_ms(&apart(&[300, 300, 300, 800]), 0);
        assert_eq!(near_three_medians, 250 + 1200, "800 ms is below three medians");
    }

    #[test]
    fn who_has_no_sound_has_no_say() {
        let honest = stream(1, "ann", 20);
        let silent = |place| Stream { has_sound: false, ..stream(place, "eve", 2000) };
        assert_eq!(lead_ms(&[honest, silent(2), silent(3), silent(4)], 0), 400);
        assert_eq!(lead_ms(&[silent(2), silent(3)], 0), 400);
    }

    #[test]
    fn streams_of_one_person_are_one_person_and_people_of_one_place_have_one_say() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let lying = names.map(|user| stream(9, user, 10_000));
        // Eight liars from one place, whatever they call themselves, against one and two places with one listener each.
        for honest in [vec![stream(1, "ann", 20)], apart(&[20, 60])] {
            let all: Vec<_> = honest.iter().copied().chain(lying).collect();
            assert_eq!(lead_ms(&all, 0), lead_ms(&honest, 0));
        }
        let eight_streams = [stream(9, "eve", 10_000); 8];
        let at_home = ["ann", "bob", "cid"].map(|user| stream(9, user, 20));
        let all: Vec<_> = at_home.into_iter().chain(eight_streams).collect();
        assert_eq!(lead_ms(&all, 0), 400, "one of the four people of that place");
    }

    #[test]
    fn a_minority_of_a_place_does_not_move_it() {
        let at = |rtts: &[i64]| {
            let names = ["a", "b", "c", "d", "e"];
            let people: Vec<_> =
                names.into_iter().zip(rtts).map(|(user, rtt)| stream(1, user, *rtt)).collect();
            lead_ms(&people, 0)
        };
        assert_eq!(at(&[200, 210, 220, 9000, 9000]), 250 + 330, "within what the others have");
        assert_eq!(at(&[200, 9000]), 250 + 300, "a half is no majority");
        assert_eq!(at(&[200, 9000, 9000]), 3000, "a majority is");
    }

    #[test]
    fn the_farthest_device_of_a_person_counts() {
        assert_eq!(lead_ms(&[stream(1, "ann", 10), stream(1, "ann", 300)], 0), 250 + 450);
    }

    #[test]
    fn the_most_is_three_seconds() {
        assert_eq!(lead_ms(&apart(&[60_000]), 0), 3000);
        assert_eq!(lead_ms(&[], 60_000), 3000);
        let absurd = [i64::MAX, i64::MAX, i64::MIN].map(|rtt| stream(1, "ann", rtt));
        assert_eq!(lead_ms(&absurd, i64::MAX), 3000);
    }
}
