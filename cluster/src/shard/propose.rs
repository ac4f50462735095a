//! Proposals on their way into the log.
//!
//! Whoever proposes puts the operation into a queue and waits. One task takes what waits, stamps it
//! and hands it to Raft as one log entry, so that the log's order is the stamps' order and many
//! proposals cost little more than one. Until the task has taken it, a proposal can be withdrawn:
//! then it was never applied and never will be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jam_proto::ids::RoomCode;
use jam_proto::level::{self, FeatureLevel};
use jam_proto::limits::OPERATION_BYTES_MAX;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::LogEntry;
use jam_proto::wire::log::v1::log_entry::Op;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::impls::ProgressResponder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::field::display;

use super::{ProposeError, Stamper, Standing, holders, not_leader};
use crate::about::About;
use crate::batches::{Carrier, Limits, carry};
use crate::raft::handle::Handle;
use crate::raft::link::MESSAGE_BYTES_MAX;
use crate::raft::members::heard_within;
use crate::raft::types::{LogId, Proposal, Types};
use crate::request::{self, RequestId};

/// A leader that heard no majority for this many leases refuses: what it takes could not be committed.
const LEASES_UNTIL_REFUSED: u32 = 2;

/// What waits looks this often whether this node still leads with a quorum.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Whether this node may take proposals.
pub struct Leading {
    pub handle: Arc<Handle>,
    pub stopping: AtomicBool,
}

impl Leading {
    /// The term that this node leads in, if it may take proposals now; `opening`: before the
    /// `ClockEpoch` of its term is applied.
    pub fn term(&self, opening: bool) -> Result<u64, ProposeError> {
        let metrics = self.handle.raft.metrics();
        let metrics = metrics.borrow_watched();
        self.check_running(&metrics)?;
        if metrics.current_leader != Some(metrics.id) || !metrics.state.is_leader() {
            let leader = metrics.current_leader.filter(|&leader| leader != metrics.id);
            let address =
                |id| Some((id, metrics.membership_config.get_node(&id)?.addresses.peers.clone()));
            return Err(ProposeError::NotLeader { leader: leader.and_then(address) });
        }
        if opening {
            return Ok(metrics.current_term);
        }
        if self.handle.state.read().shard.epoch().term != metrics.current_term {
            return Err(ProposeError::NotLeader { leader: None });
        }
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        if !heard_within(&metrics, &voters, self.handle.timing.lease() * LEASES_UNTIL_REFUSED) {
            return Err(ProposeError::NoQuorum);
        }
        Ok(metrics.current_term)
    }

    /// Whether a majority of the voters holds a song that is to be registered. A voter whose place was given away will lose
    /// its vote, so its copy does not count. A cluster below the feature level does not say who holds it.
    fn check_holders(&self, op: &Op) -> Result<(), ProposeError> {
        let Op::RegisterTrack(register) = op else { return Ok(()) };
        let metrics = self.handle.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        let state = self.handle.state.read();
        if state.shard.level() < FeatureLevel::GUARDED {
            return Ok(());
        }
        let is_replaced = |id: &u64| {
            let latest = |place| state.shard.replacement(place).unwrap_or(*id);
            membership.get_node(id).is_some_and(|node| latest(node.place) != *id)
        };
        let holders = register.holders.iter().copied().filter(|id| !is_replaced(id)).collect();
        Ok(holders::check(&holders, membership.membership().get_joint_config())?)
    }

    pub fn check_running(&self, metrics: &RaftMetrics<Types>) -> Result<(), ProposeError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(ProposeError::Stopped("it was told to".to_owned()));
        }
        match &metrics.running_state {
            Ok(()) => Ok(()),
            Err(fatal) => Err(self.stopped(fatal)),
        }
    }

    pub fn stopped(&self, fatal: &Fatal<Types>) -> ProposeError {
        let fault = self.handle.store.fault().borrow().clone();
        ProposeError::Stopped(fault.unwrap_or_else(|| fatal.to_string()))
    }
}

type Answer = oneshot::Sender<Result<Outcome, ProposeError>>;

/// A proposal in the queue.
struct Waiting {
    op: Op,
    request: Option<RequestId>,
    opening: bool,
    /// Set by the first one of those who take it and those who withdraw it.
    claimed: Arc<AtomicBool>,
    answer: Answer,
}

/// The queue's entrance.
pub struct Proposals {
    leading: Arc<Leading>,
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Proposals {
    /// Starts the task at the queue's other end. It ends when this is dropped.
    pub fn start(leading: Arc<Leading>, stamper: Arc<dyn Stamper>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(carry(Proposer { leading: leading.clone(), stamper }, waiting));
        Self { leading, queue }
    }

    /// Proposes `op` and waits for its outcome.
    pub async fn submit(
        &self,
        op: Op,
        timeout: Duration,
        opening: bool,
        mut standings: watch::Receiver<Standing>,
    ) -> Result<Outcome, ProposeError> {
        let bytes = op.encoded_len();
        if bytes > OPERATION_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes });
        }
        let deadline = Instant::now() + timeout;
        standings.mark_unchanged();
        self.leading.term(opening)?;
        let claimed = Arc::<AtomicBool>::default();
        let (answer, mut answered) = oneshot::channel();
        let ended = |_| ProposeError::Stopped("it was told to".to_owned());
        self.queue
            .send(Waiting {
                op,
                request: request::current(),
                opening,
                claimed: claimed.clone(),
                answer,
            })
            .map_err(ended)?;
        let mut look_at = Instant::now() + LOOK_EVERY;
        let withdrawn = loop {
            tokio::select! {
                biased;
                answer = &mut answered => return answer.unwrap_or(Err(ProposeError::Unknown)),
                Ok(()) = standings.changed() => {}
                () = sleep_until(look_at.min(deadline)) => look_at += LOOK_EVERY,
            }
            if let Err(refusal) = self.leading.term(opening) {
                break refusal;
            }
            if Instant::now() >= deadline {
                break ProposeError::NoQuorum;
            }
        };
        if !claimed.swap(true, Ordering::AcqRel) {
            return Err(withdrawn);
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }
}

struct Proposer {
    leading: Arc<Leading>,
    stamper: Arc<dyn Stamper>,
}

// A batch goes to the followers in one message, whatever is around its operations. Entries are bounded here, where they are
// proposed; nodes take every entry that is in the log, however large.
const _: () = assert!(Proposer::LIMITS.bytes * 4 <= MESSAGE_BYTES_MAX);

impl Carrier for Proposer {
    type Item = Waiting;
    /// Two, so that the disks have the next entry while the network brings the answers to the last.
    const LIMITS: Limits = Limits { in_flight: 2, items: 1024, bytes: 256 << 10 };

    fn size(waiting: &Waiting) -> usize {
        waiting.op.encoded_len()
    }

    /// Stamps a batch and hands it to Raft.
    async fn hand_over(&mut self, batch: Vec<Waiting>) -> BoxFuture<'static, ()> {
        let (term, opening_term) = (self.leading.term(false), self.leading.term(true));
        let mut entries = Vec::with_capacity(batch.len());
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        let mut requests = Vec::with_capacity(batch.len());
        let mut leads_in = None;
        for Waiting { op, request, opening, claimed, answer } in batch {
            if claimed.swap(true, Ordering::AcqRel) {
                continue;
            }
            let leads = if opening { &opening_term } else { &term };
            let may = leads.clone().and_then(|term| self.leading.check_holders(&op).map(|()| term));
            match may {
                // All in one entry, so all in the term of the first one.
                Ok(term) if *leads_in.get_or_insert(term) == term => {
                    requests.push((request, About::op(&op)));
                    entries.push(self.stamp(op));
                    answers.push(answer);
                }
                // Whoever asked may have gone.
                Ok(_) => drop(answer.send(Err(ProposeError::NotLeader { leader: None }))),
                Err(refusal) => drop(answer.send(Err(refusal))),
            }
        }
        let (responder, written) = ProgressResponder::complete_only();
        let taken = match leads_in {
            Some(term) => {
                let write = self.leading.handle.raft.write(Proposal::new(entries));
                write.responder(responder).with_leader(term).await
            }
            None => Ok(()),
        };
        let stopped = taken.map_err(|fatal| self.leading.stopped(&fatal)).err();
        Box::pin(async move {
            if let Some(stopped) = stopped {
                return refuse(answers, &stopped);
            }
            match written.await {
                Ok(Ok(written)) => {
                    log_applied(&requests, written.log_id);
                    for (answer, outcome) in answers.into_iter().zip(written.data.0) {
                        let _ = answer.send(Ok(outcome));
                    }
                }
                Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                    refuse(answers, &not_leader(forward));
                }
                // Everything else happened to an entry that was in the log already.
                Ok(Err(_)) | Err(_) => refuse(answers, &ProposeError::Unknown),
            }
        })
    }
}

/// Which entry of the log has what became of each request.
fn log_applied(requests: &[(Option<RequestId>, About)], written: LogId) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (entry, term) = (written.index, written.leader_id.term);
    for (request, About { what, session, room }) in requests {
        let (session, room) = (session.map(display), room.map(display));
        tracing::debug!(
            request = request.map(display),
            what,
            session,
            room,
            entry,
            term,
            "applied"
        );
    }
}

impl Proposer {
    fn stamp(&self, op: Op) -> LogEntry {
        let room = match &op {
            Op::Command(command) => RoomCode::parse(&command.room).ok(),
            Op::PauseUnheard(pause) => RoomCode::parse(&pause.room).ok(),
            _ => None,
        };
        let now = self.stamper.now();
        let effective = now + self.stamper.lead(room.as_ref());
        LogEntry {
            proposed_stamp: now.0,
            proposed_effective: effective.0,
            level: level::needed(&op).0,
            op: Some(op),
        }
    }
}

fn refuse(answers: Vec<Answer>, refusal: &ProposeError) {
    for answer in answers {
        let _ = answer.send(Err(refusal.clone()));
    }
}
