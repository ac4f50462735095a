//! Opening sessions, and what an outcome says of earlier attempts at the same operation.

use super::sessions::Opening;
use super::{Applied, Outcome, Shard};
use crate::convert::Malformed;
use crate::ids::{Origin, SessionId, check_user_name};
use crate::level::FeatureLevel;
use crate::time::SharedTime;
use crate::wire::log::v1 as log;

impl Shard {
    pub(super) fn open_session(
        &mut self,
        open: &log::OpenSession,
        aged: SharedTime,
    ) -> Result<Applied, Malformed> {
        let id = SessionId::from_wire(&open.session)?;
        check_user_name(&open.user)?;
        let origin = origin_from_wire(&open.origin)?;
        self.sessions.expire(aged, Some(id));
        if self.level < FeatureLevel::GUARDED {
            self.sessions.open_first(id, &open.user, aged);
            return Ok(Applied::only(Outcome::SessionOpened { existed: None }));
        }
        Ok(match self.sessions.open(id, &open.user, origin, aged) {
            Opening::Existed => Applied::only(Outcome::SessionOpened { existed: Some(true) }),
            Opening::New { evicted } => Applied {
                evicted,
                ..Applied::only(Outcome::SessionOpened { existed: Some(false) })
            },
            Opening::Full { limit } => Applied::only(Outcome::SessionsFull(limit)),
        })
    }
}

/// Empty: not known.
pub(super) fn origin_from_wire(bytes: &[u8]) -> Result<Option<Origin>, Malformed> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(Origin::from_wire(bytes)?)) }
}

impl Outcome {
    /// Whether it also says what became of earlier attempts to propose the same operation, of which no answer came. An
    /// outcome that only says why this attempt changed nothing does not: an earlier one may have been applied.
    pub fn settles_earlier_attempts(&self) -> bool {
        match self {
            Self::Command(reply) => {
                reply.rejection.as_ref().is_none_or(|rejection| !rejection.is_by_session())
            }
            Self::SessionsFull(_) | Self::TracksFull(_) | Self::Nothing => false,
            Self::SessionOpened { .. }
            | Self::Track(_)
            | Self::Forgotten
            | Self::Epoch
            | Self::Node(_)
            | Self::Lost
            | Self::Level(_) => true,
        }
    }
}
