//! What another node may pass on, and that it is whole. All other operations come from the leader's own process only.

use jam_proto::command::RoomCommand;
use jam_proto::convert::{Malformed, check_track};
use jam_proto::ids::{SessionId, check_user_name};
use jam_proto::level::{self, FeatureLevel};
use jam_proto::limits::{PLACE_MAX, SONG_BYTES_MAX, TAG_BYTES_MAX};
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{OpenSession, RegisterTrack};
use jam_proto::wire::v1::Track;

use crate::links::Failed;
use crate::refusal::Refusal;

/// Checks an operation that another node passed on to the leader, where `in_force` is the cluster's feature level.
///
/// # Errors
/// It was not taken and never will be.
pub fn check(op: &Op, in_force: FeatureLevel) -> Result<(), Failed> {
    if let Some(name) = leaders_own(op) {
        let sentence = format!("{name} comes from the leader itself, never from another node");
        return Err(Failed::Refused(Refusal::Forbidden(sentence)));
    }
    let needed = level::needed(op);
    if needed > in_force {
        let sentence =
            format!("this needs feature level {needed}, and level {in_force} is in force");
        return Err(Failed::NotTaken(Refusal::Unavailable(sentence)));
    }
    parse(op).map_err(|malformed| Failed::Refused(malformed.into()))
}

/// The name of an operation that only the leader itself proposes.
fn leaders_own(op: &Op) -> Option<&'static str> {
    match op {
        Op::OpenSession(_) | Op::Command(_) | Op::RegisterTrack(_) | Op::ReplaceNode(_) => None,
        Op::ForgetTrack(_) => Some("ForgetTrack"),
        Op::ClockEpoch(_) => Some("ClockEpoch"),
        Op::PauseUnheard(_) => Some("PauseUnheard"),
        Op::SetDerived(_) => Some("SetDerived"),
        Op::RaiseLevel(_) => Some("RaiseLevel"),
        Op::TimeMark(_) => Some("TimeMark"),
        Op::MarkLost(_) => Some("MarkLost"),
    }
}

fn parse(op: &Op) -> Result<(), Malformed> {
    match op {
        Op::OpenSession(OpenSession { session, user, .. }) => {
            SessionId::from_wire(session)?;
            Ok(check_user_name(user)?)
        }
        Op::Command(command) => RoomCommand::from_wire(command).map(drop),
        Op::RegisterTrack(RegisterTrack { track, .. }) => {
            parse_track(track.as_ref().ok_or(Malformed::Missing("the track"))?)
        }
        Op::ReplaceNode(replace) => range("a node's place", replace.node, 1, PLACE_MAX),
        _ => Ok(()),
    }
}

fn parse_track(track: &Track) -> Result<(), Malformed> {
    check_track(track)?;
    for tag in [&track.title, &track.artist, &track.album, &track.codec] {
        range("the length of a tag", tag.len() as u64, 0, TAG_BYTES_MAX as u64)?;
    }
    range("a song's size", track.bytes, 1, SONG_BYTES_MAX)
}

fn range(what: &'static str, got: u64, least: u64, most: u64) -> Result<(), Malformed> {
    if (least..=most).contains(&got) {
        return Ok(());
    }
    Err(Malformed::OutOfRange { what, range: format!("{least} to {most}"), got: got.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::wire::log::v1 as log;
    use jam_proto::wire::log::v1::{
        ClockEpoch, ForgetTrack, MarkLost, PauseUnheard, RaiseLevel, ReplaceNode, SetDerived,
        TimeMark,
    };
    use jam_proto::wire::v1::{Command, Skip, command::Kind};

    fn open(session: usize, user: &str, origin: &[u8]) -> Op {
        let session = vec![1; session];
        Op::OpenSession(OpenSession { session, user: user.to_owned(), origin: origin.to_vec() })
    }

    fn command(number: u64, entry: u64) -> Op {
        let command = Some(Command { kind: Some(Kind::Skip(Skip { entry })) });
        let room = "ABCD-EFGH-JKMN".to_owned();
        Op::Command(log::RoomCommand { session: vec![1; 16], number, room, command })
    }

    fn register(change: impl FnOnce(&mut Track)) -> Op {
        let mut track = Track {
            id: vec![1; 32],
            title: "a song".to_owned(),
            frames: 44_100,
            sample_rate: 44_100,
            channels: 2,
            bytes: 1000,
            ..Track::default()
        };
        change(&mut track);
        Op::RegisterTrack(RegisterTrack { track: Some(track), ..RegisterTrack::default() })
    }

    fn code(op: &Op, in_force: FeatureLevel) -> String {
        match check(op, in_force) {
            Ok(()) => "ok".to_owned(),
            Err(Failed::Refused(refusal) | Failed::NotTaken(refusal)) => refusal.code().to_owned(),
            Err(Failed::Lost) => "lost".to_owned(),
        }
    }

    #[test]
    fn what_is_the_leaders_own_is_refused_by_name() {
        for (op, name) in [
            (Op::ClockEpoch(ClockEpoch::default()), "ClockEpoch"),
            (Op::SetDerived(SetDerived::default()), "SetDerived"),
            (Op::ForgetTrack(ForgetTrack::default()), "ForgetTrack"),
            (Op::PauseUnheard(PauseUnheard::default()), "PauseUnheard"),
            (Op::RaiseLevel(RaiseLevel { level: 1 }), "RaiseLevel"),
            (Op::TimeMark(TimeMark {}), "TimeMark"),
            (Op::MarkLost(MarkLost::default()), "MarkLost"),
        ] {
            assert_eq!(code(&op, FeatureLevel::CURRENT), "forbidden", "{name}");
            let Err(Failed::Refused(refusal)) = check(&op, FeatureLevel::CURRENT) else {
                panic!("{name} is refused for good");
            };
            assert!(refusal.to_string().starts_with(name), "{refusal}");
        }
    }

    #[test]
    fn what_may_be_passed_on_is_whole() {
        let long = |track: &mut Track| track.title = "x".repeat(TAG_BYTES_MAX + 1);
        for (op, wanted) in [
            (open(16, "ann", &[]), "ok"),
            (open(15, "ann", &[]), "invalid"),
            (open(16, "", &[]), "invalid"),
            (command(1, 7), "ok"),
            (command(0, 7), "invalid"),
            (command(1, 0), "invalid"),
            (register(|_| ()), "ok"),
            (register(|track| track.frames = 0), "invalid"),
            (register(|track| track.id = vec![1; 31]), "invalid"),
            (register(|track| track.bytes = SONG_BYTES_MAX + 1), "invalid"),
            (register(long), "invalid"),
            (Op::RegisterTrack(RegisterTrack::default()), "invalid"),
            (Op::ReplaceNode(ReplaceNode { node: 3, holder: 3 }), "ok"),
            (Op::ReplaceNode(ReplaceNode { node: 0, holder: 3 }), "invalid"),
        ] {
            assert_eq!(code(&op, FeatureLevel::FIRST), wanted, "{op:?}");
        }
    }

    #[test]
    fn what_the_level_in_force_does_not_know_is_not_taken() {
        let op = open(16, "ann", &[1; 8]);
        assert_eq!(code(&op, FeatureLevel::FIRST), "unavailable");
        assert_eq!(code(&op, FeatureLevel::GUARDED), "ok");
    }
}
