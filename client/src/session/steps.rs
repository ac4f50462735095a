//! What is written down of each step of a command line, before it is sent and once it has its reply.

use jam_proto::ids::RoomCode;
use jam_proto::wire::v1 as wire;
use prost::Message;

use super::Session;
use super::saved::{Done, Sending, hex, unhex};
use crate::error::Failure;

impl Session {
    /// Takes the next number and writes it down with the command, durably, before anything is sent.
    pub(super) fn write_down(
        &mut self,
        step: &str,
        room: &RoomCode,
        command: &wire::Command,
    ) -> Result<u64, Failure> {
        self.saved.number += 1;
        let number = self.saved.number;
        let unfinished = self
            .saved
            .unfinished
            .as_mut()
            .expect("a claimed slot has an intent until it is finished");
        unfinished.sending = Some(Sending {
            step: step.to_owned(),
            number,
            room: room.as_str().to_owned(),
            command: hex(&command.encode_to_vec()),
        });
        self.save(true)?;
        Ok(number)
    }

    pub(super) fn note_reply(
        &mut self,
        step: &str,
        room: &RoomCode,
        reply: &wire::SubmitReply,
    ) -> Result<(), Failure> {
        let reply = format!("{room} {}", hex(&reply.encode_to_vec()));
        if let Some(unfinished) = &mut self.saved.unfinished {
            unfinished.sending = None;
            unfinished.done.push(Done { step: step.to_owned(), reply });
            let disk = self.world.disk.as_ref();
            self.done.append(disk, unfinished).map_err(|error| self.unwritten(error))?;
        }
        Ok(())
    }

    pub(super) fn forget_step(&mut self) -> Result<(), Failure> {
        if let Some(unfinished) = &mut self.saved.unfinished {
            unfinished.sending = None;
        }
        self.save(false)
    }

    /// The reply to a step, and its room, if an earlier run of this command line got one.
    pub fn settled_before(
        &self,
        step: &str,
    ) -> Result<Option<(wire::SubmitReply, RoomCode)>, Failure> {
        let done = self
            .saved
            .unfinished
            .as_ref()
            .and_then(|unfinished| unfinished.done.iter().find(|done| done.step == step));
        let Some(done) = done else { return Ok(None) };
        let parsed = done.reply.split_once(' ').and_then(|(room, reply)| {
            let reply = wire::SubmitReply::decode(unhex(reply)?.as_slice()).ok()?;
            Some((reply, RoomCode::parse(room).ok()?))
        });
        parsed.map(Some).ok_or_else(|| self.corrupt())
    }

    /// The number, the room and the command of a step that an earlier run sent and got no reply to.
    pub fn sent_before(
        &self,
        step: &str,
    ) -> Result<Option<(u64, RoomCode, wire::Command)>, Failure> {
        let sending =
            self.saved.unfinished.as_ref().and_then(|unfinished| unfinished.sending.as_ref());
        let Some(sending) = sending.filter(|sending| sending.step == step) else { return Ok(None) };
        let parsed = unhex(&sending.command).and_then(|bytes| {
            let command = wire::Command::decode(bytes.as_slice()).ok()?;
            Some((sending.number, RoomCode::parse(&sending.room).ok()?, command))
        });
        parsed.map(Some).ok_or_else(|| self.corrupt())
    }

    pub(super) fn corrupt(&self) -> Failure {
        Failure::refused(
            "session_damaged",
            format!("the session file {} is damaged; delete it", self.path.display()),
        )
    }

    /// Writes the slot's file anew, and before that what is still to be written of the replies.
    pub(super) fn save(&mut self, durable: bool) -> Result<(), Failure> {
        let disk = self.world.disk.as_ref();
        let replies = match &mut self.saved.unfinished {
            Some(unfinished) => self.done.append(disk, unfinished).and_then(|()| self.done.sync()),
            None => Ok(()),
        };
        let saved = replies.and_then(|()| self.saved.write(disk, &self.path, durable));
        saved.map_err(|error| self.unwritten(error))
    }

    fn unwritten(&self, error: std::io::Error) -> Failure {
        Failure::local(format!("can't write the session file {}", self.path.display()), error)
    }
}
