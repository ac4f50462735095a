//! Notices that no leader is heard for longer than an election takes, and says which address of whom does not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use jam_proto::wire::v1::TimeReply;
use tokio::time::Instant;

use crate::connection::{Address, NoAnswer};
use crate::news::Unheard;

/// Elections are over sooner, and nobody has wondered yet.
const TELL_AFTER: Duration = Duration::from_millis(1500);
/// As long as it lasts, it is told again this often at most, when something about it has changed.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A node whose last answer is older than this does not answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What each node answered last, and since when none of them was the leader.
pub(super) struct Silence {
    since: Option<Instant>,
    told: Option<(Instant, Unheard)>,
    answered: BTreeMap<Address, Instant>,
    failed: BTreeMap<Address, String>,
    /// The leader that some node named last.
    named: Option<(u64, Address)>,
}

impl Silence {
    pub fn new(now: Instant) -> Self {
        Self {
            since: Some(now),
            told: None,
            answered: BTreeMap::new(),
            failed: BTreeMap::new(),
            named: None,
        }
    }

    /// A node of the cluster answered.
    pub fn answered(&mut self, address: &Address, reply: &TimeReply, now: Instant) {
        self.failed.remove(address);
        self.answered.insert(address.clone(), now);
        let leader = Address::parse(&reply.leader_address).ok();
        self.named = leader.filter(|_| reply.leader != 0).map(|leader| (reply.leader, leader));
    }

    /// A node did not.
    pub fn failed(&mut self, address: &Address, why: String) {
        self.answered.remove(address);
        self.failed.insert(address.clone(), why);
    }

    /// Whether the leader is heard now. If it has not been for long enough: what is to be told, for nodes at these addresses.
    pub fn look(&mut self, is_heard: bool, all: &[Address], now: Instant) -> Option<Unheard> {
        if is_heard {
            (self.since, self.told) = (None, None);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < TELL_AFTER {
            return None;
        }
        let unheard = self.why(all, now);
        let is_new = self.told.as_ref().is_none_or(|(at, told)| {
            *told != unheard && now.saturating_duration_since(*at) >= TELL_AGAIN_AFTER
        });
        if !is_new {
            return None;
        }
        self.told = Some((now, unheard.clone()));
        Some(unheard)
    }

    fn why(&self, all: &[Address], now: Instant) -> Unheard {
        let is_here = |address: &Address| {
            let at = self.answered.get(address);
            at.is_some_and(|at| now.saturating_duration_since(*at) < ANSWERED_WITHIN)
        };
        let no_answer = |address: &Address| NoAnswer {
            address: address.clone(),
            why: self.failed.get(address).cloned().unwrap_or_else(|| "no answer".to_owned()),
            is_definite: false,
        };
        let silent = || all.iter().filter(|address| !is_here(address)).map(no_answer).collect();
        match &self.named {
            _ if !all.iter().any(is_here) => Unheard::Nobody { silent: silent() },
            Some((node, address)) if !is_here(address) => {
                Unheard::Leader { node: *node, at: no_answer(address) }
            }
            _ => Unheard::NoLeader { silent: silent() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::parse(&format!("10.0.0.1:{port}")).expect("an address")
    }

    fn names(leader: u64) -> TimeReply {
        let leader_address =
            if leader == 0 { String::new() } else { address(leader as u16).to_string() };
        TimeReply { leader, leader_address, ..TimeReply::default() }
    }

    #[test]
    fn a_leader_that_does_not_answer_is_named_within_two_seconds() {
        let (all, began) = ([address(1), address(2)], Instant::now());
        let mut silence = Silence::new(began);
        let second = |tenths: u64| began + Duration::from_millis(100 * tenths);
        for tenths in 0..15 {
            silence.answered(&all[0], &names(2), second(tenths));
            assert_eq!(silence.look(false, &all, second(tenths)), None);
        }
        let at = NoAnswer { address: address(2), why: "no answer".into(), is_definite: false };
        let told = Some(Unheard::Leader { node: 2, at });
        assert_eq!(silence.look(false, &all, second(16)), told);
        // Once is enough while nothing changes, and nothing is told of a leader that is heard.
        assert_eq!(silence.look(false, &all, second(17)), None);
        assert_eq!(silence.look(true, &all, second(18)), None);
        assert_eq!(silence.look(false, &all, second(19)), None);
    }

    #[test]
    fn without_a_majority_the_silent_ones_are_named() {
        let (all, began) = ([address(1), address(2), address(3)], Instant::now());
        let mut silence = Silence::new(began);
        let later = began + TELL_AFTER;
        silence.answered(&all[0], &names(0), later);
        silence.failed(&all[1], "nothing listens there".into());
        let told = silence.look(false, &all, later).expect("it is time");
        let Unheard::NoLeader { silent } = told else { panic!("{told:?}") };
        let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
        assert_eq!(silent, ["10.0.0.1:2: nothing listens there", "10.0.0.1:3: no answer"]);
    }

    #[test]
    fn where_nobody_answers_that_is_said() {
        let (all, began) = ([address(1)], Instant::now());
        let mut silence = Silence::new(began);
        silence.answered(&all[0], &names(1), began);
        let much_later = began + 2 * ANSWERED_WITHIN;
        let told = silence.look(false, &all, much_later);
        assert!(matches!(&told, Some(Unheard::Nobody { silent }) if silent.len() == 1), "{told:?}");
    }
}
