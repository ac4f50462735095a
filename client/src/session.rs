//! The sessions of this user with one cluster, kept on disk so that a command that died is not applied twice.
//!
//! A cluster remembers the last reply of each session, so a command that is sent again with its number is
//! answered, not applied again. That only helps if the number outlives the process: before anything is
//! sent, the number and the exact command are written down together with the *intent*, the command line
//! they stand for. A later run with the same intent takes them up again. Each process holds the lock of one
//! *slot* (a file, one session), since a session has one command in flight; a slot with an unfinished
//! intent is left to that intent.

mod saved;

use std::io;
use std::path::{Path, PathBuf};

use jam_proto::ids::{RoomCode, SessionId};
use jam_proto::wire::v1 as wire;
use jam_world::{Disk, World, exists, make_lasting_folder};
use prost::Message;
use saved::{Done, Saved, Sending, Unfinished, hex, unhex, unix_now};

use crate::connection::Cluster;
use crate::error::Failure;

/// More processes of one user at once than this is a mistake in a script.
const SLOTS_MAX: u32 = 256;

/// A locked slot: one session, one command line.
pub struct Session {
    world: World,
    path: PathBuf,
    /// Held for as long as the process lives.
    _lock: Box<dyn Send + Sync>,
    saved: Saved,
}

/// What became of one step.
pub struct Settled {
    /// The cluster's reply; `rejection` is not set.
    pub reply: wire::SubmitReply,
    /// The room that it was for.
    pub room: RoomCode,
    /// The reply was given to an earlier run of the same command line.
    pub earlier: bool,
}

impl Session {
    /// Takes a free slot below `folder`: the one that `intent` was left in, or any without an unfinished intent.
    pub fn claim(
        world: &World,
        folder: &Path,
        cluster: &[u8],
        user: &str,
        intent: &str,
    ) -> Result<Self, Failure> {
        let folder = slots(folder, cluster, user);
        let trouble = |error| {
            Failure::local(format!("can't keep the session in {}", folder.display()), error)
        };
        make_lasting_folder(world.disk.as_ref(), &folder).map_err(trouble)?;
        let now = unix_now(world.clock.as_ref());
        let mut free: Option<Self> = None;
        for number in 0..SLOTS_MAX {
            let path = slot(&folder, number);
            let exists = exists(world.disk.as_ref(), &path).map_err(trouble)?;
            let Some(slot) = Self::lock(world, &path, user).map_err(trouble)? else { continue };
            match &slot.saved.unfinished {
                Some(unfinished) if unfinished.is_fresh(now) => {
                    if unfinished.intent == intent {
                        return Ok(slot);
                    }
                }
                _ => {
                    free.get_or_insert(slot);
                }
            }
            // Slots are numbered without holes: behind the first new one there is nothing to resume.
            if !exists && free.is_some() {
                break;
            }
        }
        let mut slot = free.ok_or_else(|| {
            Failure::refused("too_many_sessions", format!("{SLOTS_MAX} commands of {user} are under way on this machine; wait for some to end"))
        })?;
        slot.saved.unfinished = Some(Unfinished {
            intent: intent.to_owned(),
            started_unix_secs: now,
            done: Vec::new(),
            sending: None,
        });
        Ok(slot)
    }

    /// `None` if another process holds it.
    fn lock(world: &World, path: &Path, user: &str) -> io::Result<Option<Self>> {
        // The lock is a file of its own: the slot's file is replaced at each save.
        let Some(lock) = world.disk.lock(&path.with_extension("lock"))? else { return Ok(None) };
        let saved = Saved::read(world.disk.as_ref(), path, user)?;
        Ok(Some(Self { world: world.clone(), path: path.to_owned(), _lock: lock, saved }))
    }

    /// The session and the number of a step that was sent and has no reply yet.
    pub fn sent(&self) -> Result<Option<(SessionId, u64)>, Failure> {
        let sending = self.saved.unfinished.as_ref().and_then(|wish| wish.sending.as_ref());
        sending.map(|sending| Ok((self.id()?, sending.number))).transpose()
    }

    /// The session and the number of the step that is sent next, if the cluster has not forgotten the session by then.
    pub fn next(&self) -> Result<(SessionId, u64), Failure> {
        Ok((self.id()?, self.saved.number + 1))
    }

    /// Settles a step that an earlier run of this command line has settled or sent; `None`: it had not come so far.
    pub async fn resume(
        &mut self,
        cluster: &mut Cluster,
        step: &str,
    ) -> Result<Option<Settled>, Failure> {
        if let Some((reply, room)) = self.settled_before(step)? {
            return Ok(Some(Settled { reply, room, earlier: true }));
        }
        let Some((number, room, command)) = self.sent_before(step)? else { return Ok(None) };
        let mut settled = self.settle(cluster, step, number, room, command, true).await?;
        settled.earlier = true;
        Ok(Some(settled))
    }

    /// Sends one step of the command line until it is settled. Call [`Self::resume`] before.
    pub async fn submit(
        &mut self,
        cluster: &mut Cluster,
        step: &str,
        room: &RoomCode,
        command: wire::Command,
    ) -> Result<Settled, Failure> {
        let number = self.write_down(step, room, &command)?;
        self.settle(cluster, step, number, room.clone(), command, false).await
    }

    async fn settle(
        &mut self,
        cluster: &mut Cluster,
        step: &str,
        mut number: u64,
        room: RoomCode,
        command: wire::Command,
        mut maybe_applied: bool,
    ) -> Result<Settled, Failure> {
        let what = describe(&command);
        loop {
            if let Err(failure) = self.open(cluster).await {
                return Err(self.unsettled(failure, maybe_applied, what)?);
            }
            let session = self.id()?.to_wire();
            let sent = cluster
                .edit(what, &mut maybe_applied, async |door, give| {
                    let request = wire::SubmitRequest {
                        session: session.clone(),
                        number,
                        room: room.as_str().to_owned(),
                        command: Some(command.clone()),
                        deadline_ms: give.as_millis() as u32,
                    };
                    door.rooms().submit(request).await
                })
                .await;
            let reply = match sent {
                Ok(reply) => reply,
                Err(unknown @ Failure::Unknown { .. }) => return Err(unknown),
                Err(failure) => {
                    self.forget_step()?;
                    return Err(failure);
                }
            };
            match reply.rejection.as_ref().map(|rejection| rejection.code.as_str()) {
                None => {
                    self.note_reply(step, &room, &reply)?;
                    return Ok(Settled { reply, room, earlier: false });
                }
                // The session is gone, and with it the memory of what it had done.
                Some("session_expired") if maybe_applied => {
                    self.renew();
                    self.forget_step()?;
                    return Err(Failure::Forgotten { what: what.to_owned() });
                }
                Some("session_expired" | "stale" | "number_reused") if !maybe_applied => {
                    self.renew();
                    number = self.write_down(step, &room, &command)?;
                }
                Some(code) => {
                    let message = reply
                        .rejection
                        .as_ref()
                        .map(|rejection| rejection.message.clone())
                        .unwrap_or_default();
                    let failure = Failure::refused(code, message);
                    self.forget_step()?;
                    return Err(failure);
                }
            }
        }
    }

    /// The command line has ended, well or with a definite no. Not to be called after an unknown outcome.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.saved.unfinished = None;
        self.save(false)
    }

    async fn open(&mut self, cluster: &mut Cluster) -> Result<(), Failure> {
        if self.saved.opened {
            return Ok(());
        }
        let (session, user) = (self.id()?.to_wire(), self.saved.user.clone());
        // Opening a session twice is opening it once.
        cluster
            .ask("opening a session", async |door, give| {
                let deadline_ms = give.as_millis() as u32;
                let request = wire::OpenSessionRequest {
                    session: session.clone(),
                    user: user.clone(),
                    deadline_ms,
                };
                door.rooms().open_session(request).await
            })
            .await?;
        self.saved.opened = true;
        Ok(())
    }

    /// A refusal on the way to a retry leaves the earlier attempt as unknown as it was.
    fn unsettled(
        &mut self,
        failure: Failure,
        maybe_applied: bool,
        what: &str,
    ) -> Result<Failure, Failure> {
        if maybe_applied {
            return Ok(Failure::Unknown { what: what.to_owned(), last: failure.to_string() });
        }
        self.forget_step()?;
        Ok(failure)
    }

    fn id(&self) -> Result<SessionId, Failure> {
        let bytes = unhex(&self.saved.session).ok_or_else(|| self.corrupt())?;
        SessionId::from_wire(&bytes).map_err(|_| self.corrupt())
    }

    fn renew(&mut self) {
        let fresh = Saved::fresh(&self.saved.user);
        self.saved = Saved { unfinished: self.saved.unfinished.take(), ..fresh };
    }

    /// Takes the next number and writes it down with the command, durably, before anything is sent.
    fn write_down(
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

    fn note_reply(
        &mut self,
        step: &str,
        room: &RoomCode,
        reply: &wire::SubmitReply,
    ) -> Result<(), Failure> {
        let reply = format!("{room} {}", hex(&reply.encode_to_vec()));
        if let Some(unfinished) = &mut self.saved.unfinished {
            unfinished.sending = None;
            unfinished.done.push(Done { step: step.to_owned(), reply });
        }
        self.save(false)
    }

    fn forget_step(&mut self) -> Result<(), Failure> {
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

    fn corrupt(&self) -> Failure {
        Failure::refused(
            "session_damaged",
            format!("the session file {} is damaged; delete it", self.path.display()),
        )
    }

    fn save(&self, durable: bool) -> Result<(), Failure> {
        let disk: &dyn Disk = self.world.disk.as_ref();
        self.saved.write(disk, &self.path, durable).map_err(|error| {
            Failure::local(format!("can't write the session file {}", self.path.display()), error)
        })
    }
}

/// Where the file of a slot of this user with this cluster lies below `folder`.
pub fn slot_path(folder: &Path, cluster: &[u8], user: &str, number: u32) -> PathBuf {
    slot(&slots(folder, cluster, user), number)
}

fn slots(folder: &Path, cluster: &[u8], user: &str) -> PathBuf {
    let user_key = blake3::hash(user.as_bytes()).to_hex();
    folder.join("sessions").join(hex(cluster)).join(&user_key.as_str()[..16])
}

fn slot(slots: &Path, number: u32) -> PathBuf {
    slots.join(format!("{number}.json"))
}

/// The command in words, for "… has no known outcome".
fn describe(command: &wire::Command) -> &'static str {
    use wire::command::Kind;
    match &command.kind {
        Some(Kind::Create(_)) => "creating the room",
        Some(Kind::Enqueue(_)) => "queueing the song",
        Some(Kind::Remove(_)) => "removing the entry",
        Some(Kind::Move(_)) => "moving the entry",
        Some(Kind::Clear(_)) => "clearing the queue",
        Some(Kind::Play(_)) => "play",
        Some(Kind::Pause(_)) => "pause",
        Some(Kind::Seek(_)) => "seek",
        Some(Kind::Skip(_)) => "skip",
        Some(Kind::Back(_)) => "back",
        Some(Kind::Rename(_)) => "renaming the room",
        None => "the command",
    }
}
