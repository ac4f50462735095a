//! What clients asked for and were told, request by request, and which requests are one command.

use std::collections::BTreeMap;

use jam_proto::wire::log::v1::RoomCommand;
use jam_proto::wire::v1::Command;
use prost::Message;

use crate::history::{Answer, Hex, History, Request, What};

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    pub client: &'a str,
    pub request: &'a Request,
    /// The record that it was asked in.
    pub invoked: usize,
    /// The record that it was answered in, and the answer. None: nobody knows.
    pub answered: Option<(usize, &'a Answer)>,
}

/// All requests of a history, in the order in which they were sent.
pub(super) fn operations(history: &History) -> Vec<Operation<'_>> {
    let mut operations: Vec<Operation<'_>> = Vec::new();
    let mut by_op = BTreeMap::new();
    for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
        match what {
            What::Invoked { client, op, request } => {
                by_op.insert(*op, operations.len());
                operations.push(Operation { client, request, invoked: record, answered: None });
            }
            What::Answered { op, answer } => {
                if let Some(&place) = by_op.get(op) {
                    operations[place].answered.get_or_insert((record, answer));
                }
            }
            _ => {}
        }
    }
    operations
}

impl Operation<'_> {
    /// It was refused: it will never be served.
    pub fn refused(&self) -> Option<(usize, &str)> {
        match self.answered {
            Some((record, Answer::Refused { code })) => Some((record, code.as_str())),
            _ => None,
        }
    }

    /// The records that show it.
    pub fn records(&self) -> impl Iterator<Item = usize> + use<> {
        [self.invoked].into_iter().chain(self.answered.map(|(record, _)| record))
    }
}

/// A command, whoever sent it how often: its tries have the same session, number, room and payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommandKey {
    pub session: Vec<u8>,
    pub number: u64,
    pub room: String,
    /// Encoded anew, so that equal commands are equal bytes.
    payload: Vec<u8>,
}

impl CommandKey {
    /// Of a request, if it is for a command. One that can't be decoded is equal to none in the log.
    pub fn of_request(request: &Request) -> Option<Self> {
        let Request::Command { session, number, room, command } = request else { return None };
        let payload = Command::decode(command.0.as_slice())
            .map_or_else(|_| command.0.clone(), |command| command.encode_to_vec());
        Some(Self { session: session.0.clone(), number: *number, room: room.clone(), payload })
    }

    /// Of a command in the log.
    pub fn of_logged(command: &RoomCommand) -> Self {
        Self {
            session: command.session.clone(),
            number: command.number,
            room: command.room.clone(),
            payload: command.command.as_ref().map(Message::encode_to_vec).unwrap_or_default(),
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        let session = Hex(self.session.clone()).short();
        format!("command {} of session {session} in {}", self.number, self.room)
    }
}
