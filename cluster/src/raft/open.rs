//! Requests on a stream of log entries that have no answer yet.
//!
//! Openraft takes an answer that holds the log up to X for the answer to all requests that end at X or before, and counts
//! the leader as heard when the last of those was sent. But the next request may end at X, too: one that has no entries
//! and only tells how far the log is committed. A leader that was stopped for seconds sends such a one before
//! it reads what was answered long ago, and then believes in a lease that nobody gave it, and in reads
//! that no majority confirmed. So an answer is kept back while a later request that it would answer as well is open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use super::types::{LogId, Types};

/// The requests, in order. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Open(Arc<Mutex<VecDeque<Option<LogId>>>>);

impl Open {
    /// A request is sent.
    pub fn asked(&self, request: &AppendEntriesRequest<Types>) {
        let last = request.entries.last().map(|entry| entry.log_id);
        self.asks().push_back(last.or(request.prev_log_id));
    }

    /// The oldest request was answered; whether Openraft may hear of it.
    pub fn answered(&self, answer: &StreamAppendResult<Types>) -> bool {
        let mut asks = self.asks();
        asks.pop_front();
        match answer {
            Ok(matching) => asks.front().is_none_or(|next| next > matching),
            Err(_) => true,
        }
    }

    /// Whether nothing waits for an answer.
    pub fn is_empty(&self) -> bool {
        self.asks().is_empty()
    }

    fn asks(&self) -> MutexGuard<'_, VecDeque<Option<LogId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry;
    use openraft::raft::StreamAppendError;

    use super::super::types::{Entry, Vote};
    use super::*;

    fn at(index: u64) -> LogId {
        LogId::new(1.into(), index)
    }

    /// A request behind `prev`, with entries up to `last`.
    fn request(prev: u64, last: u64) -> AppendEntriesRequest<Types> {
        let entry = |index| Entry::new_blank(at(index));
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(at(prev)),
            entries: (prev + 1..=last).map(entry).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn an_answer_waits_for_the_request_that_it_would_answer_as_well() {
        let open = Open::default();
        open.asked(&request(4, 7));
        open.asked(&request(7, 7));
        open.asked(&request(7, 9));
        assert!(!open.answered(&Ok(Some(at(7)))), "the empty one is open");
        assert!(open.answered(&Ok(Some(at(7)))));
        assert!(!open.is_empty());
        assert!(open.answered(&Ok(Some(at(9)))));
        assert!(open.is_empty());
    }

    #[test]
    fn a_refusal_waits_for_nothing() {
        let open = Open::default();
        open.asked(&request(7, 7));
        open.asked(&request(7, 7));
        assert!(open.answered(&Err(StreamAppendError::HigherVote(Vote::new(2, 2)))));
    }
}
