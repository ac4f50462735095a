//! What became of a proposal, on its way back from the leader.

use jam_proto::command::Reply;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::Outcome;
use jam_proto::wire::peer::v1::answer::Answer as Wire;
use jam_proto::wire::peer::v1::{Answer, Refused, SessionAnswer};
use tonic::{Code, Status};

use crate::links::{Failed, judge_code};
use crate::refusal::code_of;

/// For the node that passed it on.
pub fn to_wire(proposed: Result<Outcome, Failed>) -> Answer {
    let answer = match proposed {
        Ok(Outcome::SessionOpened { existed: None }) => Wire::SessionOpened(true),
        Ok(Outcome::SessionOpened { existed: Some(existed) }) => {
            Wire::Session(SessionAnswer { existed, full: 0 })
        }
        Ok(Outcome::SessionsFull(limit)) => {
            Wire::Session(SessionAnswer { existed: false, full: limit as u64 })
        }
        Ok(Outcome::Command(reply)) => Wire::Command(reply.to_wire()),
        Ok(Outcome::Track(track)) => Wire::Track(track),
        Ok(Outcome::TracksFull(limit)) => Wire::TracksFull(limit as u64),
        Ok(Outcome::Forgotten) => Wire::Forgotten(true),
        Ok(Outcome::Lost) => Wire::Lost(true),
        Ok(Outcome::Epoch) => Wire::Epoch(true),
        Ok(Outcome::Node(node)) => Wire::Node(node),
        Ok(Outcome::Level(level)) => Wire::Level(level.0),
        Ok(Outcome::Nothing) => Wire::Nothing(true),
        Err(failed) => {
            let status = Status::from(failed);
            Wire::Refused(Refused {
                grpc_code: status.code() as i32,
                code: code_of(&status).unwrap_or_default().to_owned(),
                message: status.message().to_owned(),
            })
        }
    };
    Answer { answer: Some(answer) }
}

/// An answer that can't be read leaves the outcome unknown.
pub fn from_wire(answer: Answer) -> Result<Outcome, Failed> {
    Ok(match answer.answer.ok_or(Failed::Lost)? {
        Wire::SessionOpened(_) => Outcome::SessionOpened { existed: None },
        Wire::Session(SessionAnswer { existed, full: 0 }) => {
            Outcome::SessionOpened { existed: Some(existed) }
        }
        Wire::Session(SessionAnswer { full, .. }) => {
            Outcome::SessionsFull(usize::try_from(full).map_err(|_| Failed::Lost)?)
        }
        Wire::Command(reply) => {
            Outcome::Command(Reply::from_wire(&reply).map_err(|_| Failed::Lost)?)
        }
        Wire::Track(track) => Outcome::Track(track),
        Wire::TracksFull(limit) => {
            Outcome::TracksFull(usize::try_from(limit).map_err(|_| Failed::Lost)?)
        }
        Wire::Forgotten(_) => Outcome::Forgotten,
        Wire::Lost(_) => Outcome::Lost,
        Wire::Epoch(_) => Outcome::Epoch,
        Wire::Node(node) => Outcome::Node(node),
        Wire::Level(level) => Outcome::Level(FeatureLevel(level)),
        Wire::Nothing(_) => Outcome::Nothing,
        Wire::Refused(Refused { grpc_code, code, message }) => {
            return Err(judge_code(Code::from_i32(grpc_code), &code, &message));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::command::Rejection;
    use jam_proto::ids::{EntryId, Revision};
    use jam_proto::time::SharedTime;

    use crate::refusal::Refusal;

    #[test]
    fn answers_come_back() {
        let reply = Reply {
            revision: Revision(7),
            effective_at: SharedTime(9),
            entry: Some(EntryId(3)),
            rejection: Some(Rejection::NoHistory),
        };
        for answer in [
            Ok(Outcome::SessionOpened { existed: None }),
            Ok(Outcome::SessionOpened { existed: Some(true) }),
            Ok(Outcome::SessionOpened { existed: Some(false) }),
            Ok(Outcome::SessionsFull(3)),
            Ok(Outcome::Command(reply)),
            Ok(Outcome::Track(Default::default())),
            Ok(Outcome::TracksFull(3)),
            Ok(Outcome::Forgotten),
            Ok(Outcome::Lost),
            Ok(Outcome::Epoch),
            Ok(Outcome::Node(4)),
            Ok(Outcome::Level(FeatureLevel(1))),
            Ok(Outcome::Nothing),
            Err(Failed::Lost),
            Err(Failed::NotTaken(Refusal::NotLeader)),
            Err(Failed::NotTaken(Refusal::Unavailable("it stops".to_owned()))),
        ] {
            let sent = match &answer {
                Ok(outcome) => to_wire(Ok(outcome.clone())),
                Err(Failed::Lost) => to_wire(Err(Failed::Lost)),
                Err(Failed::NotTaken(refusal)) => to_wire(Err(Failed::NotTaken(refusal.clone()))),
                Err(Failed::Refused(refusal)) => to_wire(Err(Failed::Refused(refusal.clone()))),
            };
            assert_eq!(from_wire(sent), answer);
        }
        assert_eq!(from_wire(Answer { answer: None }), Err(Failed::Lost));
    }
}
