//! The log store and the state machine: openraft's own suite, and what a restart finds.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jam_cluster::raft::journal::FILE_BYTES;
use jam_cluster::raft::log::Log;
use jam_cluster::raft::machine::Machine;
use jam_cluster::raft::store::{Store, StoreError};
use jam_cluster::raft::types::{Entry, LogId, Proposal, SnapshotMeta, Types, Vote};
use jam_cluster::shard::AppliedSink;
use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{LogEntry, OpenSession};
use jam_world::World;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader, StorageError};

type TestResult = Result<(), Box<dyn std::error::Error>>;

struct NoSink;

impl AppliedSink for NoSink {
    fn applied(&self, _: u64, _: &[(RoomCode, Vec<Event>)], _: &Shard) {}
    fn replaced(&self, _: u64, _: &Shard) {}
}

struct Builder;

impl StoreBuilder<Types, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = open(folder.path(), 1).await.expect("an empty folder opens");
        Ok((
            folder,
            store.log(),
            Machine::new(store.snapshots(), Arc::new(NoSink), FeatureLevel::CURRENT),
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openraft_storage_suite() -> Result<(), StorageError<Types>> {
    Suite::test_all(Builder).await
}

async fn open(folder: &Path, place: u64) -> Result<Store, StoreError> {
    Store::open(&World::real(), folder, place, FILE_BYTES).await
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

/// An entry whose proposal has about `bytes` bytes.
fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let open = OpenSession { session: vec![7; 16], user: "x".repeat(bytes), ..Default::default() };
    let logged = LogEntry {
        proposed_stamp: index as i64,
        proposed_effective: 0,
        op: Some(Op::OpenSession(open)),
        ..LogEntry::default()
    };
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Proposal::new(vec![logged])),
    }
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (done, durable) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    durable.await.map_err(io::Error::other)?
}

async fn entries(log: &mut Log) -> io::Result<Vec<Entry>> {
    log.try_get_log_entries(..).await
}

/// Blobs are what sled never syncs.
fn blobs(folder: &Path) -> io::Result<usize> {
    match std::fs::read_dir(folder.join("sled/blobs")) {
        Ok(files) => Ok(files.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &target)?;
        } else {
            std::fs::copy(file.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_vote_log_and_snapshot() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 1).await?;
    assert!(store.is_pristine());
    let mut log = store.log();
    let vote = Vote::new_committed(3, 2);
    log.save_vote(&vote).await?;
    // Large ones are cut into parts, and come back whole.
    let written: Vec<_> =
        (0..200).map(|index| entry(3, index, if index % 10 == 0 { 60_000 } else { 100 })).collect();
    append(&mut log, written.clone()).await?;
    log.save_committed(Some(log_id(3, 150))).await?;
    let body = Bytes::from((0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let meta = SnapshotMeta { last_log_id: Some(log_id(3, 120)), ..SnapshotMeta::default() };
    store.snapshots().save(SnapshotMeta::default(), Bytes::from_static(b"older")).await?;
    store.snapshots().save(meta.clone(), body.clone()).await?;
    log.purge(log_id(3, 99)).await?;
    assert_eq!(entries(&mut log).await?, written[100..]);
    store.close().await?;
    assert_eq!(blobs(folder.path())?, 0, "a value went where sled never syncs");

    let store = open(folder.path(), 1).await?;
    let mut log = store.log();
    assert!(!store.is_pristine());
    assert_eq!(log.read_vote().await?, Some(vote));
    assert_eq!(log.read_committed().await?, Some(log_id(3, 150)));
    let state = log.get_log_state().await?;
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(3, 99)), Some(log_id(3, 199)))
    );
    assert_eq!(entries(&mut log).await?, written[100..]);
    assert_eq!(log.try_get_log_entries(150..152).await?, written[150..152]);
    let limited = log.limited_get_log_entries(100, 200).await?;
    assert_eq!(limited, written[100..100 + limited.len()]);
    assert_eq!(store.snapshots().load().await?, Some((meta, body)));
    store.close().await?;
    Ok(())
}

/// Applying waits for a load, so a load does not wait for a save: it may lose the chunks that it
/// reads, and then reads the newer ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_loaded_whole_while_others_are_saved() -> TestResult {
    const SAVES: u64 = 20;
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 1).await?;
    let snapshots = store.snapshots();
    let meta = |index| SnapshotMeta { last_log_id: Some(log_id(1, index)), ..Default::default() };
    let body = |index: u64| Bytes::from(vec![index as u8; 200_000 + 10_000 * index as usize]);
    snapshots.save(meta(1), body(1)).await?;
    let saver = snapshots.clone();
    let saves = tokio::spawn(async move {
        for index in 2..=SAVES {
            saver.save(meta(index), body(index)).await?;
        }
        // Built before, done after: the newer one stays.
        saver.save(meta(5), body(5)).await
    });
    let mut last = 1;
    while !saves.is_finished() {
        let (loaded, bytes) = snapshots.load().await?.ok_or("no snapshot")?;
        let index = loaded.last_log_id.ok_or("of nothing")?.index;
        assert!(index >= last, "{index} after {last}");
        assert!(bytes == body(index), "{index} is not whole");
        last = index;
    }
    saves.await??;
    assert_eq!(snapshots.load().await?, Some((meta(SAVES), body(SAVES))));
    store.close().await?;
    Ok(())
}

/// After a restart the older entries are on disk only, and new ones in memory only until the writer
/// has had its turn: whoever reads across the seam must see both, or a committed entry is skipped.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_has_no_hole_where_the_disk_ends() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut written = Vec::new();
    for round in 0..40 {
        let store = open(folder.path(), 1).await?;
        let mut log = store.log();
        let new: Vec<_> = (0..3).map(|step| entry(1, round * 3 + step, 100)).collect();
        written.extend(new.clone());
        let (done, durable) = Types::oneshot();
        log.append(new, IOFlushed::signal(done)).await?;
        let until = written.len() as u64;
        assert_eq!(log.try_get_log_entries(0..until).await?, written, "before it is durable");
        durable.await.map_err(io::Error::other)??;
        assert_eq!(log.try_get_log_entries(0..until).await?, written, "and after");
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_log_goes_on_from_the_cut() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 1).await?;
    let mut log = store.log();
    append(&mut log, (0..50).map(|index| entry(1, index, 10_000)).collect()).await?;
    log.truncate_after(Some(log_id(1, 19))).await?;
    append(&mut log, vec![entry(2, 20, 10), entry(2, 21, 10)]).await?;
    let kept = entries(&mut log).await?;
    assert_eq!(
        kept.iter().map(|entry| entry.log_id).skip(19).collect::<Vec<_>>(),
        [log_id(1, 19), log_id(2, 20), log_id(2, 21)]
    );
    store.close().await?;

    let store = open(folder.path(), 1).await?;
    assert_eq!(entries(&mut store.log()).await?, kept);
    store.close().await?;
    Ok(())
}

/// More than memory keeps, so that what took the place of cut entries is read from sled: it must not be
/// asked before it has heard of the cut.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_is_never_read_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 1).await?;
    let mut log = store.log();
    let mut expected: Vec<Entry> = Vec::new();
    for term in 1..6 {
        let kept = expected.len() as u64 / 2;
        let last = kept.checked_sub(1).map(|last: u64| expected[last as usize].log_id);
        log.truncate_after(last).await?;
        expected.truncate(kept as usize);
        let new: Vec<_> = (kept..kept + 400).map(|index| entry(term, index, 10_000)).collect();
        expected.extend(new.clone());
        for some in new.chunks(40) {
            append(&mut log, some.to_vec()).await?;
        }
        assert_eq!(entries(&mut log).await?, expected);
    }
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_store_that_forgot_is_refused_and_the_command_is_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let kept = tempfile::tempdir()?;
    let store = open(folder.path(), 3).await?;
    store.log().save_vote(&Vote::new(1, 1)).await?;
    append(&mut store.log(), (0..10).map(|index| entry(1, index, 10)).collect()).await?;
    store.close().await?;
    copy(&folder.path().join("sled"), &kept.path().join("sled"))?;

    // An entry more; then sled comes back as it was before.
    let store = open(folder.path(), 3).await?;
    append(&mut store.log(), vec![entry(1, 10, 10)]).await?;
    store.close().await?;
    std::fs::remove_dir_all(folder.path().join("sled"))?;
    copy(&kept.path().join("sled"), &folder.path().join("sled"))?;
    let refusal = open(folder.path(), 3).await.err();
    assert!(matches!(refusal, Some(StoreError::Behind { place: 3, .. })));
    assert!(
        refusal.map(|error| error.to_string()).unwrap_or_default().contains("cluster replace 3")
    );

    // The same for sled gone altogether, and for the vote file.
    std::fs::remove_dir_all(folder.path().join("sled"))?;
    assert!(matches!(open(folder.path(), 3).await, Err(StoreError::Behind { .. })));
    std::fs::remove_dir_all(folder.path().join("sled"))?;
    copy(&kept.path().join("sled"), &folder.path().join("sled"))?;
    std::fs::remove_file(folder.path().join("vote"))?;
    assert!(matches!(open(folder.path(), 3).await, Err(StoreError::Untrusted { .. })));
    Ok(())
}

/// Bits that flip in sled can take the snapshot away, whole or its newest, and leave the log behind it.
#[tokio::test]
async fn a_log_without_the_snapshot_that_it_goes_on_from_is_refused() -> TestResult {
    for snapshot in [None, Some(3)] {
        let folder = tempfile::tempdir()?;
        let store = open(folder.path(), 2).await?;
        let mut log = store.log();
        append(&mut log, (0..10).map(|index| entry(1, index, 10)).collect()).await?;
        if let Some(index) = snapshot {
            let meta =
                SnapshotMeta { last_log_id: Some(log_id(1, index)), ..SnapshotMeta::default() };
            store.snapshots().save(meta, Bytes::from_static(b"rooms")).await?;
        }
        log.purge(log_id(1, 4)).await?;
        store.close().await?;
        let refusal = open(folder.path(), 2).await.err();
        assert!(matches!(refusal, Some(StoreError::Untrusted { place: 2, .. })));
        let why = refusal.map(|error| error.to_string()).unwrap_or_default();
        assert!(why.contains("a snapshot of log entries up to 4"), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_slot_of_the_vote_file_is_survived_and_two_are_not() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 1).await?;
    append(&mut store.log(), vec![entry(1, 0, 10)]).await?;
    append(&mut store.log(), vec![entry(1, 1, 10)]).await?;
    store.close().await?;
    let path = folder.path().join("vote");
    let mut bytes = std::fs::read(&path)?;
    bytes[14] ^= 1;
    std::fs::write(&path, &bytes)?;
    let store = open(folder.path(), 1).await?;
    store.close().await?;
    bytes[4096 + 14] ^= 1;
    std::fs::write(&path, &bytes)?;
    assert!(matches!(open(folder.path(), 1).await, Err(StoreError::Untrusted { .. })));
    Ok(())
}

/// A forged message brought it here under an older build. Counting on from it would end the node in the first election.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_of_a_term_at_the_end_is_refused_by_name() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = open(folder.path(), 3).await?;
    store.log().save_vote(&Vote::new_committed(u64::MAX - 1, 7)).await?;
    store.close().await?;
    drop(store);
    let error = open(folder.path(), 3).await.err().ok_or("the term is too high")?;
    assert!(matches!(error, StoreError::TermTooHigh { place: 3, term } if term == u64::MAX - 1));
    assert!(error.to_string().contains("cluster replace 3"), "{error}");
    Ok(())
}
