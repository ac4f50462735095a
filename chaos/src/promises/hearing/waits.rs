//! Once nothing is broken any more, no listener waits for long for what it needs to play: its room, the time, its song.

use super::super::sound::millis;
use super::super::verdict::Findings;
use super::Bounds;
use super::due::Rooms;
use super::listener::Listener;

/// Judges one listener in a run that was healed at `healed_ns` of true time.
pub fn judge(
    listener: &Listener<'_>,
    healed_ns: i64,
    rooms: &mut Rooms<'_>,
    bounds: &Bounds,
    found: &mut Findings,
) {
    // What it waits for, and the record and the time since when it does.
    let mut waits: Option<(&str, usize, i64)> = None;
    for (record, at_ns, sample) in &listener.samples {
        if *at_ns < healed_ns {
            continue;
        }
        let lacks = if sample.revision == 0 {
            Some("its room")
        } else if sample.shared.is_none() {
            Some("the time")
        } else {
            let plays = listener.due_at(*at_ns, rooms).is_some_and(|due| due.playing);
            (plays && !sample.song_here).then_some("its song")
        };
        let Some(lacks) = lacks else {
            waits = None;
            continue;
        };
        // One thing after the other is one wait.
        let (_, since, since_ns) = waits.unwrap_or((lacks, *record, *at_ns));
        waits = Some((lacks, since, since_ns));
        if at_ns - since_ns > bounds.waits_ns {
            found.judged();
            found.broken(
                format!(
                    "{} waits for {lacks} since {}, and nothing is broken; {} is the limit",
                    listener.name(),
                    millis(at_ns - since_ns),
                    millis(bounds.waits_ns)
                ),
                [since, *record],
            );
            return;
        }
    }
}
