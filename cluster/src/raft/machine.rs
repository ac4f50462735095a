//! The state machine: the shard in memory, rebuilt from snapshot and log.

use std::io;
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use jam_proto::level::{self, FeatureLevel, Newer};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::{LogEntry, ShardSnapshot};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use prost::Message;

use super::snapshots::Snapshots;
use super::types::{Answer, LogId, Proposal, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::shard::{AppliedSink, Payload};

/// What the log has made so far.
#[derive(Clone, Default)]
pub struct State {
    /// The rooms, sessions and tracks.
    pub shard: Shard,
    /// The last entry that is in it.
    pub applied: Option<LogId>,
    /// The last membership that is in it.
    pub membership: StoredMembership,
}

/// The state, for readers. Clones share it.
#[derive(Clone, Default)]
pub struct SharedState {
    state: Arc<RwLock<State>>,
    newer: Arc<OnceLock<String>>,
}

impl SharedState {
    /// Why this build can't go on with the log, if it met what a newer build wrote: a whole sentence.
    pub fn newer(&self) -> Option<&str> {
        self.newer.get().map(String::as_str)
    }

    /// Remembers that `what` was written by a newer build. Raft stops with the error.
    fn stop_at(&self, what: &str, newer: Newer) -> io::Error {
        let sentence = format!(
            "{what} was written by a newer build ({newer}). Nothing is lost: install the build that the other nodes \
             run, and start this node again"
        );
        io::Error::other(self.newer.get_or_init(|| sentence).clone())
    }

    /// Locks it for a look.
    ///
    /// # Panics
    /// If applying panicked: no one may see a state that is half changed.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("applying an entry never panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("applying an entry never panics")
    }
}

/// Openraft's way to the state.
pub struct Machine {
    state: SharedState,
    snapshots: Snapshots,
    sink: Arc<dyn AppliedSink>,
    known: FeatureLevel,
}

impl Machine {
    /// A machine that has applied nothing yet, of a build that knows feature levels up to `known`.
    pub fn new(snapshots: Snapshots, sink: Arc<dyn AppliedSink>, known: FeatureLevel) -> Self {
        Self { state: SharedState::default(), snapshots, sink, known }
    }

    /// The entries of a proposal. An entry that this build can't apply stops the node before it: skipping it would make
    /// this node's rooms differ from the others'.
    fn decode(&self, index: u64, proposal: &Proposal) -> io::Result<Vec<LogEntry>> {
        let entries = proposal.decode().map_err(io::Error::other)?;
        for entry in &entries {
            level::check_entry(entry, self.known)
                .map_err(|newer| self.state.stop_at(&format!("log entry {index}"), newer))?;
        }
        Ok(entries)
    }

    /// The state, for readers.
    pub fn state(&self) -> SharedState {
        self.state.clone()
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let (term, index) = place(entry.log_id());
            let decoded = match &entry.payload {
                EntryPayload::Normal(proposal) => self.decode(index, proposal)?,
                EntryPayload::Blank | EntryPayload::Membership(_) => Vec::new(),
            };
            let mut state = self.state.write();
            let state = &mut *state;
            state.applied = Some(entry.log_id());
            let mut answer = Answer::default();
            let mut events = Vec::new();
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    state.membership =
                        StoredMembership::new(Some(entry.log_id()), membership.clone());
                }
                EntryPayload::Normal(_) => {
                    for entry in &decoded {
                        let applied = state.shard.apply(term, entry);
                        if let Outcome::Track(track) = &applied.outcome {
                            self.sink.registered(track);
                        }
                        applied.gone.iter().for_each(|id| self.sink.forgotten(id));
                        if let Some(evicted) = applied.evicted {
                            self.sink.evicted(evicted);
                        }
                        events.extend(applied.events);
                        answer.0.push(applied.outcome);
                    }
                }
            }
            // First the one who waits for the outcome: many a watcher may be woken next.
            if let Some(responder) = responder {
                responder.send(answer);
            }
            match &entry.payload {
                EntryPayload::Normal(_) => self.sink.applied(index, &events, &state.shard),
                EntryPayload::Blank | EntryPayload::Membership(_) => self.sink.passed(index),
            }
            let seen = match &entry.payload {
                EntryPayload::Blank => Payload::Blank,
                EntryPayload::Membership(membership) => Payload::Members(membership.to_string()),
                EntryPayload::Normal(proposal) => Payload::Batch(proposal.bytes()),
            };
            self.sink.witnessed(term, index, seen, &state.shard);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { state: Some(self.state.read().clone()), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Bytes,
    ) -> Result<(), io::Error> {
        let (bytes, known, state) = (snapshot.clone(), self.known, self.state());
        let shard = self
            .snapshots
            .blocking(move || {
                let wire = ShardSnapshot::decode(bytes).map_err(io::Error::other)?;
                level::check_snapshot(&wire, known)
                    .map_err(|newer| state.stop_at("the snapshot", newer))?;
                Shard::from_wire(&wire).map_err(io::Error::other)
            })
            .await?;
        self.snapshots.save(meta.clone(), snapshot).await?;
        let installed =
            State { shard, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let before = {
            let mut state = self.state.write();
            let before = std::mem::replace(&mut *state, installed);
            let (term, index) = meta.last_log_id.map_or((0, 0), place);
            self.sink.replaced(index, &state.shard);
            self.sink.witnessed(term, index, Payload::Snapshot, &state.shard);
            before
        };
        self.snapshots
            .blocking(move || {
                drop(before);
                Ok(())
            })
            .await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let loaded = self.snapshots.load().await?;
        Ok(loaded.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

fn place(id: LogId) -> (u64, u64) {
    (id.committed_leader_id().term, id.index)
}

/// A state that stands still while it is written down, once.
pub struct Builder {
    state: Option<State>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let state = self.state.take();
        let State { shard, applied, membership } =
            state.ok_or_else(|| io::Error::other("this state was written down already"))?;
        let meta = SnapshotMeta { last_log_id: applied, last_membership: membership };
        // The shard is let go there too: what changed meanwhile is no longer shared, and takes its time.
        let encode = move || Ok(Bytes::from(shard.to_wire().encode_to_vec()));
        let snapshot = self.snapshots.blocking(encode).await?;
        self.snapshots.save(meta.clone(), snapshot.clone()).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
