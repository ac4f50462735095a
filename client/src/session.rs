//! The sessions of this user with one cluster, kept on disk so that a command that died is not applied twice.
//!
//! A cluster remembers the last reply of each session, so a command that is sent again with its number is
//! answered, not applied again. That only helps if the number outlives the process: before a command is
//! sent, its number and the exact command are written down together with the *intent*, the command line
//! they stand for. A later run with the same intent takes them up again. Each process holds the lock of one
//! *slot* (a file, one session), since a session has one command in flight; a slot with an unfinished
//! intent is left to that intent.
//!
//! It also only helps while the cluster has the session. A session that was closed and opened again remembers
//! nothing, and would take a command that it had applied before for a new one. So a session is opened once: each
//! attempt to open one asks for a new id, an id is used once the cluster has said that it is open, and a command is
//! written down after that. Whatever is found written down was sent into an open session or not sent at all, and is
//! never sent into another one. If its session is closed by then, its outcome stays unknown.

mod done;
mod saved;
mod steps;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use done::DoneLog;
use jam_proto::command::Rejection;
use jam_proto::ids::{RoomCode, SessionId};
use jam_proto::wire::v1 as wire;
use jam_world::{World, exists, make_lasting_folder};
use saved::{Saved, Unfinished, hex, unhex, unix_now};

use crate::connection::Cluster;
use crate::error::Failure;

/// More processes of one user at once than this is a mistake in a script.
const SLOTS_MAX: u32 = 256;
/// So often a session is opened for one command. More than one can be closed before the command arrives when others open
/// sessions as fast as they can.
const OPENED_MAX: u32 = 4;

/// A locked slot: one session, one command line.
pub struct Session {
    world: World,
    path: PathBuf,
    /// Held for as long as the process lives.
    _lock: Box<dyn Send + Sync>,
    saved: Saved,
    done: DoneLog,
    recorder: Option<Recorder>,
}

/// What is about to be asked of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To open a session of this id.
    Session(SessionId),
    /// To apply the command of this number, once or, by itself, several times.
    Command(SessionId, u64),
}

type Recorder = Box<dyn Fn(Asked) + Send + Sync>;

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
                    if unfinished.is_of(intent) {
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
        slot.saved.unfinished = Some(Unfinished::begin(intent, now));
        slot.done = DoneLog::open(world.disk.as_ref(), &slot.path, None).map_err(trouble)?;
        Ok(slot)
    }

    /// `None` if another process holds it.
    fn lock(world: &World, path: &Path, user: &str) -> io::Result<Option<Self>> {
        // The lock is a file of its own: the slot's file is replaced at each save.
        let Some(lock) = world.disk.lock(&path.with_extension("lock"))? else { return Ok(None) };
        let mut saved = Saved::read(world.disk.as_ref(), path, user)?;
        let done = DoneLog::open(world.disk.as_ref(), path, saved.unfinished.as_mut())?;
        let (world, path) = (world.clone(), path.to_owned());
        Ok(Some(Self { world, path, _lock: lock, saved, done, recorder: None }))
    }

    /// Has `recorder` told what is asked of the cluster, each time before it is sent.
    pub fn record(&mut self, recorder: impl Fn(Asked) + Send + Sync + 'static) {
        self.recorder = Some(Box::new(recorder));
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
        self.open(cluster).await?;
        let number = self.write_down(step, room, &command)?;
        self.settle(cluster, step, number, room.clone(), command, false).await
    }

    /// Sends a command that is written down until it is settled. `maybe_applied`: it may have been sent before.
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
        for _ in 0..OPENED_MAX {
            let sent = self.send(cluster, what, number, &room, &command, &mut maybe_applied).await;
            let reply = match sent {
                Ok(reply) => reply,
                Err(unknown @ Failure::Unknown { .. }) => return Err(unknown),
                Err(failure) => {
                    self.forget_step()?;
                    return Err(failure);
                }
            };
            let Some(rejection) = reply.rejection.as_ref().map(Rejection::from_wire) else {
                self.note_reply(step, &room, &reply)?;
                return Ok(Settled { reply, room, earlier: false });
            };
            // By its session: that is closed, or was used elsewhere, and the memory of what it had done is gone.
            self.saved.opened &= !rejection.is_by_session();
            self.forget_step()?;
            if !rejection.is_by_session() {
                return Err(rejection.into());
            }
            if maybe_applied {
                return Err(Failure::Forgotten { what: what.to_owned() });
            }
            // This was the only attempt, and the cluster says that it was not applied.
            self.open(cluster).await?;
            number = self.write_down(step, &room, &command)?;
        }
        self.forget_step()?;
        let message = format!(
            "{what} was not done: the cluster closed {OPENED_MAX} sessions in a row before the command arrived; try again later"
        );
        Err(Failure::refused("session_expired", message))
    }

    async fn send(
        &self,
        cluster: &mut Cluster,
        what: &str,
        number: u64,
        room: &RoomCode,
        command: &wire::Command,
        maybe_applied: &mut bool,
    ) -> Result<wire::SubmitReply, Failure> {
        let id = self.id()?;
        self.tell(Asked::Command(id, number));
        cluster
            .edit(what, maybe_applied, async |door, give| {
                let request = wire::SubmitRequest {
                    session: id.to_wire(),
                    number,
                    room: room.as_str().to_owned(),
                    command: Some(command.clone()),
                    deadline_ms: give.as_millis() as u32,
                };
                door.rooms().submit(request).await
            })
            .await
    }

    /// The command line has ended, well or with a definite no. Not to be called after an unknown outcome.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.saved.unfinished = None;
        self.save(false)?;
        // If it stays, nobody takes it for that of another command line.
        let _ = self.done.remove(self.world.disk.as_ref());
        Ok(())
    }

    /// Has a session that the cluster said is open, for a command that is not written down yet.
    async fn open(&mut self, cluster: &mut Cluster) -> Result<(), Failure> {
        if self.saved.opened {
            return Ok(());
        }
        // An attempt whose answer got lost may still be carried out at any later time. If its id were used, that could
        // open the session a second time.
        let asked = Mutex::new(None);
        let user = self.saved.user.clone();
        cluster
            .ask("opening a session", async |door, give| {
                let id = SessionId(rand::random());
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                self.tell(Asked::Session(id));
                let request = wire::OpenSessionRequest {
                    session: id.to_wire(),
                    user: user.clone(),
                    deadline_ms: give.as_millis() as u32,
                };
                door.rooms().open_session(request).await
            })
            .await?;
        let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let id = asked.expect("an answer is one to an attempt, and each attempt has an id");
        self.saved.session = hex(&id.0);
        (self.saved.opened, self.saved.number) = (true, 0);
        Ok(())
    }

    fn tell(&self, asked: Asked) {
        if let Some(recorder) = &self.recorder {
            recorder(asked);
        }
    }

    fn id(&self) -> Result<SessionId, Failure> {
        let bytes = unhex(&self.saved.session).ok_or_else(|| self.corrupt())?;
        SessionId::from_wire(&bytes).map_err(|_| self.corrupt())
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
