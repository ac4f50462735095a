//! Sessions by where their clients came from. Each change and each question takes time in proportion to the logarithm
//! of the number of sessions.

use imbl::{OrdMap, OrdSet};

use crate::ids::{Origin, SessionId};
use crate::time::SharedTime;

/// Sessions by origin, and how many each origin has. Those of unknown origin count as one origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Origins {
    /// The least recently used one of each origin first.
    by_use: OrdSet<(Option<Origin>, SharedTime, SessionId)>,
    counts: OrdMap<Option<Origin>, usize>,
    /// The same, the origin that has most last.
    by_count: OrdSet<(usize, Option<Origin>)>,
}

impl Origins {
    /// A session that was not among them.
    pub fn add(&mut self, origin: Option<Origin>, used: SharedTime, id: SessionId) {
        if self.by_use.insert((origin, used, id)).is_none() {
            self.count(origin, |count| count + 1);
        }
    }

    pub fn remove(&mut self, origin: Option<Origin>, used: SharedTime, id: SessionId) {
        if self.by_use.remove(&(origin, used, id)).is_some() {
            self.count(origin, |count| count.saturating_sub(1));
        }
    }

    /// It was used again.
    pub fn touch(
        &mut self,
        origin: Option<Origin>,
        before: SharedTime,
        used: SharedTime,
        id: SessionId,
    ) {
        self.by_use.remove(&(origin, before, id));
        self.by_use.insert((origin, used, id));
    }

    /// The origin that has most. Among equals the one whose digest is highest: any would do, as long as all nodes agree.
    pub fn largest(&self) -> Option<Option<Origin>> {
        self.by_count.get_max().map(|&(_, origin)| origin)
    }

    /// The least recently used session of an origin.
    pub fn oldest_of(&self, origin: Option<Origin>) -> Option<(SharedTime, SessionId)> {
        let first = (origin, SharedTime(i64::MIN), SessionId([0; 16]));
        let &(found, used, id) = self.by_use.range(first..).next()?;
        (found == origin).then_some((used, id))
    }

    fn count(&mut self, origin: Option<Origin>, change: impl FnOnce(usize) -> usize) {
        let before = self.counts.get(&origin).copied().unwrap_or(0);
        let after = change(before);
        self.by_count.remove(&(before, origin));
        if after == 0 {
            self.counts.remove(&origin);
        } else {
            self.counts.insert(origin, after);
            self.by_count.insert((after, origin));
        }
    }
}
