//! What a new node must show before it votes, as the leader remembers it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::identity::Id;

/// The admissions that this node, as the leader, has begun. They are in memory only: a leader that was started again, or
/// is elected again, begins them anew, which asks the new node for more and never for less.
#[derive(Debug, Default)]
pub struct Admissions(Mutex<BTreeMap<u64, Admission>>);

#[derive(Clone, Copy, Debug)]
struct Admission {
    incarnation: Id,
    term: u64,
    index: u64,
}

impl Admissions {
    /// The log index that `node` must have applied when it says that it holds all songs: the leader's last one when it was
    /// first asked in this term. What was acknowledged before is at or below it. What is acknowledged later is on a majority
    /// of the voters of that time, none of which is the node that is replaced.
    pub fn required(&self, node: u64, incarnation: Id, term: u64, last_index: u64) -> u64 {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, admission| admission.term == term);
        let fresh = Admission { incarnation, term, index: last_index };
        let admission = begun.entry(node).or_insert(fresh);
        if admission.incarnation != incarnation {
            *admission = fresh;
        }
        admission.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admission_asks_for_the_log_as_it_was_when_it_began() {
        let admissions = Admissions::default();
        let (folder, other) = (Id([1; 16]), Id([2; 16]));
        assert_eq!(admissions.required(100, folder, 3, 40), 40);
        assert_eq!(admissions.required(100, folder, 3, 90), 40, "it need not chase the log");
        assert_eq!(admissions.required(101, folder, 3, 91), 91);
        assert_eq!(admissions.required(100, other, 3, 92), 92, "another folder holds nothing yet");
        assert_eq!(admissions.required(100, other, 4, 93), 93, "another term begins anew");
    }
}
