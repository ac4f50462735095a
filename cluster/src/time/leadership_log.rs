//! What the log says of leadership: one line when a leader has been found, whatever it took, and one when none is for long.
//!
//! An election under load may take several terms, and each node sees each of them begin. Who reads the log wants to know who
//! leads now, and for how long nobody did.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::raft::contact;
use crate::shard::{Group, Standing};

/// A leader is logged once it has led for so long. One that is followed by another one within it is only counted.
const SETTLED: Duration = Duration::from_secs(1);
/// Nothing reports that a leader is heard no more.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two lines about no leader, in one stretch.
const REPEAT: Duration = Duration::from_secs(60);

/// Runs for as long as the node does.
pub async fn log_leadership(group: Group) {
    let mut standings = group.standing_changes();
    let mut changes = Changes::new(Instant::now(), contact::silence_max(group.election_max()));
    loop {
        let mut standing = standings.borrow_and_update().clone();
        // A node that is cut off goes on naming its leader.
        standing.leader = standing.leader.filter(|_| group.contact().is_live());
        let now = Instant::now();
        changes.saw(&standing, now);
        if let Some(line) = changes.tell(now) {
            line.log(standing.id);
        }
        let look_at = changes.due().map_or(now + LOOK_EVERY, |due| due.min(now + LOOK_EVERY));
        tokio::select! {
            changed = standings.changed() => if changed.is_err() { return },
            () = sleep_until(look_at) => {}
        }
    }
}

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Leads { leader: u64, term: u64, leaders: u32, leaderless: Duration },
    NoLeader { term: u64, leaderless: Duration },
}

impl Line {
    fn log(self, own: u64) {
        match self {
            Self::Leads { leader, term, leaders, leaderless } => {
                let what = if leader == own { "leading" } else { "following" };
                let leaderless_ms = leaderless.as_millis() as u64;
                tracing::info!(leader, term, leaders, leaderless_ms, "{what}");
            }
            Self::NoLeader { term, leaderless } => {
                let leaderless_ms = leaderless.as_millis() as u64;
                tracing::warn!(
                    term,
                    leaderless_ms,
                    "no leader is known: edits are refused or wait"
                );
            }
        }
    }
}

/// What has happened since the last line.
struct Changes {
    silence_max: Duration,
    /// Of the last line.
    told: Option<(u64, u64)>,
    leader: Option<u64>,
    term: u64,
    /// Since when that holds.
    since: Instant,
    /// How often another leader was seen.
    leaders: u32,
    /// For how long there was none, before `since`.
    leaderless: Duration,
    /// When this stretch without a leader was told of last.
    complained: Option<Instant>,
}

impl Changes {
    fn new(now: Instant, silence_max: Duration) -> Self {
        Self {
            silence_max,
            told: None,
            leader: None,
            term: 0,
            since: now,
            leaders: 0,
            leaderless: Duration::ZERO,
            complained: None,
        }
    }

    fn saw(&mut self, standing: &Standing, now: Instant) {
        if (standing.leader, standing.term) == (self.leader, self.term) {
            return;
        }
        if self.leader.is_none() {
            self.leaderless += now.saturating_duration_since(self.since);
        }
        // Terms may pass while nobody leads: that is one stretch.
        let goes_on = self.leader.is_none() && standing.leader.is_none();
        (self.leader, self.term, self.since) = (standing.leader, standing.term, now);
        self.leaders += u32::from(standing.leader.is_some());
        if !goes_on {
            self.complained = None;
        }
    }

    /// When there is something to tell, if nothing changes until then.
    fn due(&self) -> Option<Instant> {
        match self.leader {
            Some(leader) => {
                let is_news = self.told != Some((leader, self.term));
                is_news.then(|| self.since + SETTLED)
            }
            None => Some(match self.complained {
                Some(last) => last + REPEAT,
                None => self.since + self.silence_max.saturating_sub(self.leaderless),
            }),
        }
    }

    fn tell(&mut self, now: Instant) -> Option<Line> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let term = self.term;
        let Some(leader) = self.leader else {
            self.complained = Some(now);
            let leaderless = self.leaderless + now.saturating_duration_since(self.since);
            return Some(Line::NoLeader { term, leaderless });
        };
        self.told = Some((leader, term));
        let (leaders, leaderless) =
            (std::mem::take(&mut self.leaders), std::mem::take(&mut self.leaderless));
        Some(Line::Leads { leader, term, leaders, leaderless })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn standing(leader: Option<u64>, term: u64) -> Standing {
        Standing { id: 1, leader, term, ..Standing::default() }
    }

    #[test]
    fn an_election_in_many_terms_is_one_line() {
        let start = Instant::now();
        let mut changes = Changes::new(start, MS(1000));
        for term in 1..9 {
            changes.saw(&standing(None, term), start + MS(term * 20));
            assert_eq!(changes.tell(start + MS(term * 20)), None);
        }
        changes.saw(&standing(Some(3), 9), start + MS(200));
        changes.saw(&standing(None, 10), start + MS(250));
        changes.saw(&standing(Some(2), 11), start + MS(300));
        assert_eq!(changes.tell(start + MS(1299)), None, "it may not last");
        let line = Line::Leads { leader: 2, term: 11, leaders: 2, leaderless: MS(250) };
        assert_eq!(changes.tell(start + MS(1300)), Some(line));
        assert_eq!((changes.due(), changes.tell(start + MS(99_000))), (None, None));
    }

    #[test]
    fn a_long_time_without_a_leader_is_told_now_and_then() {
        let start = Instant::now();
        let mut changes = Changes::new(start, MS(1000));
        changes.saw(&standing(None, 1), start + MS(500));
        let line = |at: u64, term| Some(Line::NoLeader { term, leaderless: MS(at) });
        assert_eq!(changes.tell(start + MS(999)), None);
        assert_eq!(changes.tell(start + MS(1000)), line(1000, 1));
        changes.saw(&standing(None, 7), start + MS(30_000));
        assert_eq!(changes.tell(start + MS(60_999)), None);
        assert_eq!(changes.tell(start + MS(61_000)), line(61_000, 7));
    }
}
