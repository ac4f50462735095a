//! The log store and the state machine: openraft's own suite, and what a restart finds.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jam_cluster::raft::machine::Machine;
use jam_cluster::raft::store::{Store, StoreError};
use jam_cluster::raft::types::{Entry, LogId, Proposal, SnapshotMeta, Types, Vote};
use jam_cluster::shard::AppliedSink;
use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::{LogEntry, OpenSession, log_entry::Op};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, RaftLogReader, StorageError};

struct NoSink;

impl AppliedSink for NoSink {
    fn applied(&self, _: u64, _: &[(RoomCode, Vec<Event>)], _: &Shard) {}
    fn replaced(&self, _: u64, _: &Shard) {}
}

struct Builder;

/// Closes the store before its folder goes.
struct Guard {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.store.close());
    }
}

impl StoreBuilder<Types, jam_cluster::raft::log::Log, Machine, Guard> for Builder {
    async fn build(
        &self,
    ) -> Result<(Guard, jam_cluster::raft::log::Log, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path(), 1).expect("an empty folder opens");
        let machine = Machine::new(store.snapshots(), Arc::new(NoSink));
        let log = store.log();
        Ok((Guard { store, _folder: folder }, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openraft_storage_suite() -> Result<(), StorageError<Types>> {
    Suite::test_all(Builder).await
}
