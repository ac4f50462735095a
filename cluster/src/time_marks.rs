//! The leader commits what time it is when nothing else was committed for a while.
//!
//! What the log says of time is all that is left if every node's clock file is lost: so little music is heard twice. And a
//! new epoch begins at most two hours after the last stamp, so there must be one each hour.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::level::FeatureLevel;
use jam_proto::shard::Shard;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::TimeMark;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::{MissedTickBehavior, interval};

use crate::shard::Group;
use crate::time::clock::NodeClock;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const MARK_TIMEOUT: Duration = Duration::from_secs(2);
/// While a room plays: as much is heard twice at most if every clock file is lost. Ten log entries a minute would be a
/// sixth of what one busy host makes.
const PLAYING_EVERY: Flicks = Flicks::from_secs(10);
/// While none does, nothing is heard twice. Half of what a new epoch may go ahead.
const IDLE_EVERY: Flicks = Flicks::from_secs(3600);

/// Runs for as long as the node does. Only a leader that could open its leadership marks time, from the feature level on that
/// knows the entry.
pub async fn mark_time(group: Group, clock: Arc<NodeClock>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if clock.leads_in().is_none() || !group.standing().leads_with_lease {
            continue;
        }
        // A clone costs next to nothing, and the look at all the rooms holds up nobody.
        if is_due(&group.read(Shard::clone), clock.now())
            && let Err(error) = group.propose(Op::TimeMark(TimeMark {}), MARK_TIMEOUT).await
        {
            tracing::debug!(%error, "could not mark the time; the next look tries again");
        }
    }
}

/// Whether the log should hear what time it is.
fn is_due(shard: &Shard, now: SharedTime) -> bool {
    let silent = now.since(shard.last_stamp());
    let plays = || {
        let mut sounding = shard.rooms().map(|(_, room)| room.at(now));
        sounding.any(|sounding| sounding.playing && sounding.entry.is_some())
    };
    shard.level() >= FeatureLevel::GUARDED
        && (silent >= IDLE_EVERY || (silent >= PLAYING_EVERY && plays()))
}

#[cfg(test)]
mod tests {
    use jam_proto::command::{Command, RoomCommand};
    use jam_proto::ids::{EntryId, RoomCode, SessionId, TrackId};
    use jam_proto::level;
    use jam_proto::wire::log::v1 as log;
    use jam_proto::wire::v1::Track;

    use super::*;

    fn at(secs: i64) -> SharedTime {
        SharedTime(Flicks::from_secs(secs).0)
    }

    fn apply(shard: &mut Shard, secs: i64, op: Op) {
        let (stamp, level) = (at(secs).0, level::needed(&op).0);
        let entry =
            log::LogEntry { proposed_stamp: stamp, proposed_effective: stamp, level, op: Some(op) };
        shard.apply(1, &entry);
    }

    /// A room with a song of a minute, stamped at 10 s.
    fn with_room(level: u32) -> Shard {
        let mut shard = Shard::default();
        apply(&mut shard, 10, Op::RaiseLevel(log::RaiseLevel { level }));
        let (session, track) = (SessionId([1; 16]), TrackId([2; 32]));
        let user = "ann".to_owned();
        let open = log::OpenSession { session: session.to_wire(), user, ..Default::default() };
        apply(&mut shard, 10, Op::OpenSession(open));
        let (id, frames, sample_rate) = (track.to_wire(), 60 * 48_000, 48_000);
        let song = Track { id, frames, sample_rate, bytes: 1, ..Default::default() };
        let register = log::RegisterTrack { track: Some(song), ..Default::default() };
        apply(&mut shard, 10, Op::RegisterTrack(register));
        let room = RoomCode::parse("ABCD-EFGH-JKMN").expect("it looks like one");
        let commands = [
            Command::Create { name: "Attic".to_owned() },
            Command::Enqueue { track, next: false },
            Command::Play { entry: Some(EntryId(1)) },
        ];
        for (number, command) in (1..).zip(commands) {
            let command = RoomCommand { session, number, room: room.clone(), command };
            apply(&mut shard, 10, Op::Command(command.to_wire()));
        }
        shard
    }

    #[test]
    fn each_ten_seconds_while_a_room_sounds_and_each_hour_else() {
        let shard = with_room(1);
        assert!(!is_due(&shard, at(19)));
        assert!(is_due(&shard, at(21)));
        // The song has ended, and the room waits for the next one.
        assert!(!is_due(&shard, at(80)));
        assert!(!is_due(&shard, at(3600)));
        assert!(is_due(&shard, at(3611)));
        let mut marked = shard;
        apply(&mut marked, 21, Op::TimeMark(TimeMark {}));
        assert!(!is_due(&marked, at(30)));
    }

    #[test]
    fn never_below_level_1() {
        assert!(!is_due(&with_room(0), at(9_000)));
    }
}
