use std::collections::BTreeMap;

use openraft::Membership;
use openraft::entry::RaftEntry;

use super::super::types::{Entry, PeerNode, StoredMembership};
use super::*;

fn at(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

/// Node 2 calls a node that knows of term 7, with 50 entries committed.
const BOUNDS: Bounds = Bounds { from: 2, own_term: 7, committed: None };

fn append(vote: Vote, prev: Option<LogId>, ids: &[LogId]) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote,
        prev_log_id: prev,
        entries: ids.iter().map(|id| Entry::new_blank(*id)).collect(),
        leader_commit: None,
    }
}

fn is_contradiction(checked: Result<(), OutOfBounds>) -> bool {
    matches!(checked, Err(OutOfBounds::Contradiction { .. }))
}

#[test]
fn a_vote_is_its_senders_own() {
    let leads = |node| BOUNDS.append(&append(Vote::new_committed(7, node), None, &[]));
    assert_eq!(leads(2), Ok(()));
    assert_eq!(leads(1), Err(OutOfBounds::NotTheSender { from: 2, of: 1 }));
    let asks = |vote| BOUNDS.candidate(&VoteRequest::new(vote, Some(at(7, 9))));
    assert_eq!(asks(Vote::new(8, 2)), Ok(()));
    assert_eq!(asks(Vote::new(8, 3)), Err(OutOfBounds::NotTheSender { from: 2, of: 3 }));
    let hands_over = |vote| BOUNDS.transfer(&TransferLeaderRequest::new(vote, 3, Some(at(7, 9))));
    assert_eq!(hands_over(Vote::new_committed(7, 2)), Ok(()));
    assert!(hands_over(Vote::new_committed(7, 1)).is_err());
    // A candidate leads nobody, and a leader asks nobody for a vote.
    assert!(is_contradiction(asks(Vote::new_committed(8, 2))));
    assert!(is_contradiction(hands_over(Vote::new(7, 2))));
    assert!(is_contradiction(BOUNDS.append(&append(Vote::new(7, 2), None, &[]))));
}

#[test]
fn a_term_is_no_further_ahead_than_elections_can_bring_it() {
    let refused = |bounds: Bounds, term| {
        matches!(bounds.term(term), Err(OutOfBounds::TermTooHigh { from: 2, .. }))
    };
    assert!(!refused(BOUNDS, 0) && !refused(BOUNDS, 7 + TERMS_AHEAD_MAX));
    assert!(refused(BOUNDS, 8 + TERMS_AHEAD_MAX) && refused(BOUNDS, u64::MAX));
    // A node that joins knows of no term. There is room above the highest one all the same.
    let joins = Bounds { own_term: 0, ..BOUNDS };
    assert!(!refused(joins, 1 << 60) && !refused(joins, TERM_MAX) && refused(joins, TERM_MAX + 1));
    let late = Bounds { own_term: TERM_MAX, ..BOUNDS };
    assert!(!refused(late, TERM_MAX) && refused(late, TERM_MAX + 1));
}

#[test]
fn log_entries_follow_each_other() {
    let leader = Vote::new_committed(7, 2);
    let check = |prev, ids: &[LogId]| BOUNDS.append(&append(leader, prev, ids));
    assert_eq!(check(None, &[at(0, 0), at(1, 1), at(7, 2)]), Ok(()));
    assert_eq!(check(Some(at(3, 9)), &[at(3, 10)]), Ok(()));
    assert!(is_contradiction(check(None, &[at(1, 1)])), "the first entry is missing");
    assert!(is_contradiction(check(Some(at(3, 9)), &[at(3, 11)])), "a gap");
    assert!(is_contradiction(check(Some(at(3, 9)), &[at(2, 10)])), "an earlier term");
    assert!(is_contradiction(check(Some(at(3, 9)), &[at(8, 10)])), "a later term");
    assert!(is_contradiction(check(Some(at(3, u64::MAX)), &[])), "an index at the end");
    assert!(is_contradiction(check(Some(at(8, 9)), &[])), "after a later term");
    let commit = Some(at(8, 1));
    let request = AppendEntriesRequest { leader_commit: commit, ..append(leader, None, &[]) };
    assert!(is_contradiction(BOUNDS.append(&request)), "a commit of a later term");
}

#[test]
fn nothing_takes_the_place_of_what_is_committed() {
    let bounds = Bounds { committed: Some(at(5, 50)), ..BOUNDS };
    let leader = Vote::new_committed(7, 2);
    let check = |prev, ids: &[LogId]| bounds.append(&append(leader, prev, ids));
    assert_eq!(check(Some(at(5, 50)), &[at(7, 51)]), Ok(()));
    assert_eq!(check(Some(at(4, 20)), &[at(5, 21)]), Ok(()));
    assert!(is_contradiction(check(Some(at(6, 50)), &[])));
    assert!(is_contradiction(check(Some(at(4, 20)), &[at(6, 21)])));
}

#[test]
fn a_snapshot_covers_what_its_leader_can_have() {
    let members: BTreeMap<u64, PeerNode> = [(1, PeerNode::default())].into();
    let membership = Membership::new_with_defaults(vec![[1].into()], members.keys().copied());
    let meta = |last, since| SnapshotMeta {
        last_log_id: last,
        last_membership: StoredMembership::new(since, membership.clone()),
    };
    let bounds = Bounds { committed: Some(at(5, 50)), ..BOUNDS };
    let leader = Vote::new_committed(7, 2);
    let check = |last, since| bounds.snapshot(&leader, &meta(last, since));
    assert_eq!(check(Some(at(6, 60)), Some(at(2, 3))), Ok(()));
    assert_eq!(check(Some(at(4, 40)), None), Ok(()), "an old one is Raft's to pass over");
    assert!(is_contradiction(check(None, None)));
    assert!(is_contradiction(check(Some(at(8, 60)), None)), "a later term");
    assert!(is_contradiction(check(Some(at(6, 50)), None)), "not what is committed here");
    assert!(is_contradiction(check(Some(at(6, u64::MAX)), None)));
    assert!(is_contradiction(check(Some(at(6, 60)), Some(at(6, 61)))), "a later membership");
    let nobody = SnapshotMeta { last_log_id: Some(at(6, 60)), ..SnapshotMeta::default() };
    assert!(is_contradiction(bounds.snapshot(&leader, &nobody)));
}

#[test]
fn answers_tell_of_a_later_term() {
    let vote = Vote::new(9, 3);
    assert_eq!(VoteResponse::<Types>::new(vote, None, false).term(), Some(9));
    assert_eq!(SnapshotResponse::<Types>::new(vote).term(), Some(9));
    assert_eq!(AppendEntriesResponse::<Types>::HigherVote(vote).term(), Some(9));
    let streamed: StreamAppendResult<Types> = Err(StreamAppendError::HigherVote(vote));
    assert_eq!(streamed.term(), Some(9));
    let expected = Vote::new_committed(8, 1);
    let handed: TransferLeaderResponse<Types> =
        Err(TransferLeaderError::VoteChanged { expected, actual: vote });
    assert_eq!(handed.term(), Some(9));
}
