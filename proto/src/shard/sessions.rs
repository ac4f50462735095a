//! Sessions: what makes a retry harmless.
//!
//! A session has one command in flight and numbers them upwards. Its last command and the reply
//! are kept, so that the same command again gets the same reply and is not applied again. A session that was not used
//! for a week is closed; a closed session's commands are refused, never applied.
//!
//! When as many are open as may be, a session is closed to make room for another one. Those that never had a command
//! go first, the oldest first: closing one loses no memory of a command. Then those of the origin that holds most, the
//! least recently used first, so that whoever opens many sessions loses their own. A session that was used within
//! [`limits::SESSION_PROTECTED_SECS`] may still have a command under way whose retry needs it, so it is never closed
//! for another one: rather the new one is refused.

mod origins;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use self::origins::Origins;
use crate::command::{Command, Rejection, Reply, RoomCommand};
use crate::ids::{Origin, RoomCode, SessionId};
use crate::limits;
use crate::time::{Flicks, SharedTime};

/// The open sessions of a shard. The sets are indexes of `by_id`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sessions {
    /// So many may be open.
    limit: usize,
    by_id: OrdMap<SessionId, Session>,
    /// The least recently used one first.
    by_use: OrdSet<(SharedTime, SessionId)>,
    /// Those without a command, the oldest first.
    never_used: OrdSet<(SharedTime, SessionId)>,
    /// Those with one, by where they came from.
    used: Origins,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::with_limit(limits::SESSIONS_MAX)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub user: Arc<str>,
    /// Where its client came from; `None`: not known.
    pub origin: Option<Origin>,
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

/// What came of opening a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It was open before.
    Existed,
    /// It is open now.
    New { evicted: Option<Evicted> },
    /// It is not open: this many are, and none of them may be closed.
    Full { limit: usize },
}

/// A session that was closed to make room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// It never had a command.
    NeverUsed,
    /// It had not been used for a while.
    Idle,
}

impl Sessions {
    /// At most so many expired sessions are swept up with one log entry, so that none takes long.
    const SWEPT_MAX: usize = 16;

    /// None is open, and at most `limit` will be at one time.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            by_id: OrdMap::new(),
            by_use: OrdSet::new(),
            never_used: OrdSet::new(),
            used: Origins::default(),
        }
    }

    /// Opens a session by the rules of feature level 1.
    pub fn open(
        &mut self,
        id: SessionId,
        user: &str,
        origin: Option<Origin>,
        stamp: SharedTime,
    ) -> Opening {
        if self.by_id.contains_key(&id) {
            return Opening::Existed;
        }
        let mut evicted = None;
        if self.by_id.len() >= self.limit {
            let Some((victim, kind)) = self.victim(origin, stamp) else {
                return Opening::Full { limit: self.limit };
            };
            self.remove(victim);
            evicted = Some(kind);
        }
        self.insert(id, Session { user: user.into(), origin, used: stamp, last: None });
        Opening::New { evicted }
    }

    /// Opens a session by the rules of feature level 0: the least recently used one makes room.
    pub fn open_first(&mut self, id: SessionId, user: &str, stamp: SharedTime) {
        if self.by_id.contains_key(&id) {
            return;
        }
        if self.by_id.len() >= self.limit {
            self.close_oldest();
        }
        self.insert(id, Session { user: user.into(), origin: None, used: stamp, last: None });
    }

    /// The session that makes room for one from `origin`.
    fn victim(&self, origin: Option<Origin>, stamp: SharedTime) -> Option<(SessionId, Evicted)> {
        if let Some(&(_, id)) = self.never_used.get_min() {
            return Some((id, Evicted::NeverUsed));
        }
        let idle_until = stamp - Flicks::from_secs(limits::SESSION_PROTECTED_SECS);
        let idle = |&(used, id): &(SharedTime, SessionId)| {
            (used <= idle_until).then_some((id, Evicted::Idle))
        };
        let largest = self.used.largest()?;
        let of_largest = self.used.oldest_of(largest);
        of_largest.as_ref().and_then(idle).or_else(|| {
            // All of them were used of late. That is no reason to close those of others for one more of them.
            if origin == largest { None } else { self.by_use.get_min().and_then(idle) }
        })
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
        let Some(session) = self.by_id.get_mut(&id) else { return };
        let (used_before, origin) = (session.used, session.origin);
        session.used = stamp;
        let first = session.last.is_none();
        session.last = Some(Arc::new(Settled { number, room, command, reply }));
        self.by_use.remove(&(used_before, id));
        self.by_use.insert((stamp, id));
        if first {
            self.never_used.remove(&(used_before, id));
            self.used.add(origin, stamp, id);
        } else {
            self.used.touch(origin, used_before, stamp, id);
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
            && self.by_id.get(&id).is_some_and(|session| session.used < kept_from)
        {
            self.remove(id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.by_id.iter()
    }

    /// In place of one of the same id.
    pub fn insert(&mut self, id: SessionId, session: Session) {
        self.remove(id);
        self.by_use.insert((session.used, id));
        match session.last {
            Some(_) => self.used.add(session.origin, session.used, id),
            None => drop(self.never_used.insert((session.used, id))),
        }
        self.by_id.insert(id, session);
    }

    fn remove(&mut self, id: SessionId) {
        let Some(session) = self.by_id.remove(&id) else { return };
        self.by_use.remove(&(session.used, id));
        match session.last {
            Some(_) => self.used.remove(session.origin, session.used, id),
            None => drop(self.never_used.remove(&(session.used, id))),
        }
    }

    fn close_oldest(&mut self) {
        if let Some(&(_, oldest)) = self.by_use.get_min() {
            self.remove(oldest);
        }
    }
}
