//! The state machine: the shard in memory, rebuilt from snapshot and log.

use std::io;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::ShardSnapshot;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use prost::Message;

use super::snapshots::Snapshots;
use super::types::{Answer, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};
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
pub struct SharedState(Arc<RwLock<State>>);

impl SharedState {
    /// Locks it for a look.
    ///
    /// # Panics
    /// If applying panicked: no one may see a state that is half changed.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().expect("applying an entry never panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().expect("applying an entry never panics")
    }
}

/// Openraft's way to the state.
pub struct Machine {
    state: SharedState,
    snapshots: Snapshots,
    sink: Arc<dyn AppliedSink>,
}

impl Machine {
    /// A machine that has applied nothing yet.
    pub fn new(snapshots: Snapshots, sink: Arc<dyn AppliedSink>) -> Self {
        Self { state: SharedState::default(), snapshots, sink }
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
            let mut state = self.state.write();
            let state = &mut *state;
            state.applied = Some(entry.log_id());
            let (term, index) = place(entry.log_id());
            let mut answer = Answer::default();
            let mut events = Vec::new();
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    state.membership =
                        StoredMembership::new(Some(entry.log_id()), membership.clone());
                }
                EntryPayload::Normal(proposal) => {
                    // Skipping an entry that this version can't read would make this node's rooms
                    // differ from the others': stop instead.
                    let decoded = proposal.decode().map_err(io::Error::other)?;
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
            if let EntryPayload::Normal(_) = &entry.payload {
                self.sink.applied(entry.log_id.index, &events, &state.shard);
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
        let bytes = snapshot.clone();
        let shard = self
            .snapshots
            .blocking(move || {
                let wire = ShardSnapshot::decode(bytes).map_err(io::Error::other)?;
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
