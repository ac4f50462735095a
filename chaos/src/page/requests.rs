//! What clients asked for, by kind, and how it came out.

use std::collections::BTreeMap;

use jam_proto::wire::v1::Command;
use prost::Message;

use crate::history::{Answer, Hex, History, Request, What, command_name};

/// How a request came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Came {
    /// It was served.
    Acknowledged,
    /// It was judged by its room, which said no.
    Rejected,
    /// It was not served and never will be.
    Refused,
    /// Nobody can tell.
    Unknown,
}

impl Came {
    pub const ALL: [Self; 4] = [Self::Acknowledged, Self::Rejected, Self::Refused, Self::Unknown];

    /// For people, for scripts, and as a class of the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Opened | Answer::Stored | Answer::Room { .. } | Answer::NoRoom => {
                Self::Acknowledged
            }
            Answer::Reply(reply) => match reply_of(reply) {
                Some(reply) if reply.rejection.is_none() => Self::Acknowledged,
                Some(_) => Self::Rejected,
                None => Self::Unknown,
            },
            Answer::Refused { .. } => Self::Refused,
            Answer::Unknown => Self::Unknown,
        }
    }
}

/// A reply, if it can be decoded.
pub(super) fn reply_of(reply: &Hex) -> Option<jam_proto::wire::v1::SubmitReply> {
    jam_proto::wire::v1::SubmitReply::decode(reply.0.as_slice()).ok()
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub client: &'a str,
    pub kind: String,
    pub at_ns: i64,
    /// How long the answer took, ns. None: there was none.
    pub took_ns: Option<i64>,
    pub came: Came,
}

/// All of a history, in the order in which they were sent.
pub(super) fn requests(history: &History) -> Vec<Asked<'_>> {
    let mut all: Vec<Asked<'_>> = Vec::new();
    let mut by_op: BTreeMap<u64, usize> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Invoked { client, op, request } => {
                by_op.insert(*op, all.len());
                all.push(Asked {
                    client,
                    kind: kind(request),
                    at_ns: record.at_ns,
                    took_ns: None,
                    came: Came::Unknown,
                });
            }
            What::Answered { op, answer } => {
                if let Some(place) = by_op.remove(op) {
                    let asked = &mut all[place];
                    asked.took_ns = Some(record.at_ns - asked.at_ns);
                    asked.came = Came::of(answer);
                }
            }
            _ => {}
        }
    }
    all
}

fn kind(request: &Request) -> String {
    match request {
        Request::Open { .. } => "open a session".to_owned(),
        Request::Upload { .. } => "keep a song".to_owned(),
        Request::Read { .. } => "read a room".to_owned(),
        Request::Command { command, .. } => {
            let kind = Command::decode(command.0.as_slice()).ok().and_then(|one| one.kind);
            format!("command: {}", kind.as_ref().map_or("not decodable", command_name))
        }
    }
}
