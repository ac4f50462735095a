//! Sessions: what makes a retry harmless.
//!
//! A session has one command in flight and numbers them upwards. Its last command and the reply
//! are kept, so that the same command again gets the same reply and is not applied again. What a
//! session did not use for a week, or what more than the limit of sessions push out, is forgotten; a
//! forgotten session's commands are refused, never applied.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::command::{Command, Rejection, Reply, RoomCommand};
use crate::ids::{RoomCode, SessionId};
use crate::limits;
use crate::time::{Flicks, SharedTime};

/// The open sessions of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sessions {
    by_id: OrdMap<SessionId, Session>,
    /// The least recently used one first.
    by_use: OrdSet<(SharedTime, SessionId)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub user: Arc<str>,
    /// Stamp of its last command, or of its opening.
    pub used: SharedTime,
    pub last: Option<Arc<Settled>>,
}

/// A command that was judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    pub number: u64,
    pub room: RoomCode,
    pub command: Command,
    pub reply: Reply,
}

/// What is to be done with a command.
pub(crate) enum Admission {
    /// Judge it, on behalf of this user.
    New(Arc<str>),
    /// It was judged: this is what became of it.
    Repeated(Reply),
    /// It may not be judged.
    Refused(Rejection),
}

impl Sessions {
    /// At most so many expired sessions are swept up with one log entry, so that none takes long.
    const SWEPT_MAX: usize = 16;

    pub fn open(&mut self, id: SessionId, user: &str, stamp: SharedTime) {
        if self.by_id.contains_key(&id) {
            return;
        }
        if self.by_id.len() >= limits::SESSIONS_MAX {
            self.close_oldest();
        }
        self.insert(id, Session { user: user.into(), used: stamp, last: None });
    }

    pub fn admit(&self, request: &RoomCommand) -> Admission {
        let Some(session) = self.by_id.get(&request.session) else {
            return Admission::Refused(Rejection::SessionExpired);
        };
        match &session.last {
            Some(last) if request.number < last.number => {
                Admission::Refused(Rejection::Stale { number: request.number, last: last.number })
            }
            #[cfg(feature = "planted")]
            Some(_) if crate::planted::Bug::NoDeduplication.is_planted() => {
                Admission::New(session.user.clone())
            }
            Some(last) if request.number == last.number => {
                if last.room == request.room && last.command == request.command {
                    Admission::Repeated(last.reply.clone())
                } else {
                    Admission::Refused(Rejection::NumberReused(request.number))
                }
            }
            _ => Admission::New(session.user.clone()),
        }
    }

    /// Keeps what became of an admitted command.
    pub fn settle(&mut self, request: RoomCommand, reply: Reply, stamp: SharedTime) {
        let RoomCommand { session: id, number, room, command } = request;
        if let Some(session) = self.by_id.get_mut(&id) {
            self.by_use.remove(&(session.used, id));
            session.used = stamp;
            session.last = Some(Arc::new(Settled { number, room, command, reply }));
            self.by_use.insert((stamp, id));
        }
    }

    /// Closes what was not used for too long by `stamp`; `asked` for certain, the others when it is their turn.
    pub fn expire(&mut self, stamp: SharedTime, asked: Option<SessionId>) {
        let kept_from = stamp - Flicks::from_secs(limits::SESSION_IDLE_SECS_MAX);
        for _ in 0..Self::SWEPT_MAX {
            if self.by_use.get_min().is_none_or(|(used, _)| *used >= kept_from) {
                return;
            }
            self.close_oldest();
        }
        if let Some(id) = asked
            && let Some(session) = self.by_id.get(&id).filter(|session| session.used < kept_from)
        {
            self.by_use.remove(&(session.used, id));
            self.by_id.remove(&id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.by_id.iter()
    }

    pub fn insert(&mut self, id: SessionId, session: Session) {
        self.by_use.insert((session.used, id));
        self.by_id.insert(id, session);
    }

    fn close_oldest(&mut self) {
        if let Some(oldest) = self.by_use.get_min().copied() {
            self.by_use.remove(&oldest);
            self.by_id.remove(&oldest.1);
        }
    }
}
