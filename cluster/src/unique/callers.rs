//! What a member knows of the processes that run as the members of its cluster. Pure: time comes in as numbers.
//!
//! Two processes of one data folder mean that the folder was copied. The one that began later must end, never both, and
//! a process that died must not make its successor end. So a member first tells the earlier one that it stays. Only a
//! process that lives can read that; it says so with each call from then on, and only then is the later one told to end.

use std::collections::BTreeMap;

use crate::identity::Id;

/// Processes of one folder that are remembered. Those of earlier starts are among them.
pub const PROCESSES_MAX: usize = 8;

/// A process, as it says itself.
#[derive(Clone, Debug)]
pub struct Process {
    /// Drawn when it started.
    pub id: Id,
    /// Since it started, ms.
    pub age_ms: u64,
    /// The processes over which it was told to stay.
    pub stays_over: Vec<Id>,
}

/// What a process is told of another one of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// There is no other one.
    Alone,
    /// This one began earlier, and may be dead.
    Unsettled(Id),
    /// The process stays: this one began later.
    Stays(Id),
    /// The process must end: this one lives, and knows that it stays.
    Ends(Id),
}

/// The processes of each folder.
#[derive(Debug, Default)]
pub struct Callers {
    /// Whoever called last comes last.
    folders: BTreeMap<Id, Vec<Caller>>,
}

#[derive(Debug)]
struct Caller {
    process: Id,
    /// By this node's clock, ms: the earliest that any of its calls allows.
    began_ms: i64,
    stays_over: Vec<Id>,
}

impl Callers {
    /// Forgets the folders that are no member's any more.
    pub fn keep(&mut self, is_member: impl Fn(Id) -> bool) {
        self.folders.retain(|folder, _| is_member(*folder));
    }

    /// A process of `folder` calls, at `now_ms` of this node's clock. Answers what it is to be told.
    pub fn hear(&mut self, folder: Id, process: Process, now_ms: i64) -> Word {
        let callers = self.folders.entry(folder).or_default();
        let age_ms = i64::try_from(process.age_ms).unwrap_or(i64::MAX);
        let mut began_ms = now_ms.saturating_sub(age_ms);
        if let Some(at) = callers.iter().position(|caller| caller.process == process.id) {
            began_ms = began_ms.min(callers.remove(at).began_ms);
        }
        let Process { id, stays_over, .. } = process;
        let own = Caller { process: id, began_ms, stays_over };
        let word = own.word(callers);
        if callers.len() >= PROCESSES_MAX {
            callers.remove(0);
        }
        callers.push(own);
        word
    }
}

impl Caller {
    fn word(&self, others: &[Self]) -> Word {
        // Once the other one knows that it stays, that holds, whatever is known of their ages by now.
        if let Some(other) = others.iter().find(|other| other.stays_over.contains(&self.process)) {
            return Word::Ends(other.process);
        }
        let began = |caller: &Self| (caller.began_ms, caller.process);
        let (earlier, later): (Vec<&Self>, Vec<&Self>) =
            others.iter().partition(|other| began(other) < began(self));
        let untold = later.iter().rev().find(|other| !self.stays_over.contains(&other.process));
        match (untold, earlier.last()) {
            (Some(other), _) => Word::Stays(other.process),
            (None, Some(other)) => Word::Unsettled(other.process),
            (None, None) => Word::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: Id = Id([9; 16]);
    const OLD: Id = Id([2; 16]);
    const NEW: Id = Id([1; 16]);

    fn call(callers: &mut Callers, id: Id, began_ms: i64, over: &[Id], now_ms: i64) -> Word {
        let age_ms = (now_ms - began_ms) as u64;
        callers.hear(FOLDER, Process { id, age_ms, stays_over: over.to_vec() }, now_ms)
    }

    #[test]
    fn the_later_process_ends_once_the_earlier_one_knows_that_it_stays() {
        let mut callers = Callers::default();
        assert_eq!(call(&mut callers, OLD, 0, &[], 100), Word::Alone);
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 5_100), Word::Unsettled(OLD));
        assert_eq!(call(&mut callers, OLD, 0, &[], 6_000), Word::Stays(NEW));
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 6_100), Word::Unsettled(OLD));
        assert_eq!(call(&mut callers, OLD, 0, &[NEW], 6_300), Word::Alone);
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 6_400), Word::Ends(OLD));
    }

    #[test]
    fn a_process_that_died_makes_no_successor_end() {
        let mut callers = Callers::default();
        call(&mut callers, OLD, 0, &[], 100);
        for life in 3..40 {
            let now_ms = i64::from(life) * 1000;
            let word = call(&mut callers, Id([life; 16]), now_ms, &[], now_ms + 1);
            assert!(matches!(word, Word::Unsettled(_)), "{word:?}");
        }
        // What it sent before it died comes late.
        let mut callers = Callers::default();
        call(&mut callers, NEW, 5_000, &[], 5_100);
        call(&mut callers, OLD, 0, &[], 9_000);
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 9_100), Word::Unsettled(OLD));
    }

    #[test]
    fn a_member_that_has_just_started_goes_by_the_age() {
        let mut callers = Callers::default();
        call(&mut callers, NEW, 5_000, &[], 5_100);
        assert_eq!(call(&mut callers, OLD, -100_000, &[], 5_200), Word::Stays(NEW));
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 5_300), Word::Unsettled(OLD));
    }

    #[test]
    fn folders_of_others_are_forgotten() {
        let mut callers = Callers::default();
        call(&mut callers, OLD, 0, &[], 100);
        callers.keep(|folder| folder != FOLDER);
        assert_eq!(call(&mut callers, NEW, 5_000, &[], 5_100), Word::Alone);
    }
}
