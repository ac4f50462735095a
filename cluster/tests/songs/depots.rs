//! What every depot must do, whatever is behind it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jam_cluster::blobs::{Data, Depot, DepotError, ObjectDepot};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::trio::id_of;

/// Of two parts and a bit, in no even chunks.
const LONG: usize = (16 << 20) + 5;

fn data(bytes: &[u8]) -> Data {
    let chunks: Vec<_> = bytes.chunks(100_001).map(Bytes::copy_from_slice).map(Ok).collect();
    stream::iter(chunks).boxed()
}

pub async fn bytes_of(data: Data) -> Vec<u8> {
    let join = |mut all: Vec<u8>, chunk: Bytes| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    };
    data.try_fold(Vec::new(), join).await.expect("bytes")
}

async fn check(store: Arc<dyn ObjectStore>) {
    let depot = ObjectDepot::new(store.clone(), Path::from("some/where"));
    for length in [0, 1000, 8 << 20, LONG] {
        let song: Vec<u8> = (0..length).map(|n| (n * 7 + n / 1000) as u8).collect();
        let id = id_of(&song);
        assert!(matches!(depot.read(&id, 0).await.err(), Some(DepotError::Missing)));

        let cut = data(&song).chain(stream::iter([Err(io::Error::other("cut"))])).boxed();
        assert!(matches!(depot.put(&id, cut).await, Err(DepotError::Unread(_))));
        assert!(depot.list().await.expect("lists").is_empty(), "nothing came of it");

        depot.put(&id, data(&song)).await.expect("takes it");
        assert_eq!(bytes_of(depot.read(&id, 0).await.expect("reads")).await, song);
        for offset in [1, length / 2, length.saturating_sub(1)] {
            if offset > 0 && offset < length {
                let rest = depot.read(&id, offset as u64).await.expect("reads");
                assert_eq!(bytes_of(rest).await, song[offset..]);
            }
        }
        let other = Path::from("some/where/songs/a note");
        store.put(&other, PutPayload::from_static(b"?")).await.expect("writes");
        let listed = depot.list().await.expect("lists");
        assert_eq!(listed.keys().collect::<Vec<_>>(), [&id]);
        assert_eq!(listed[&id].bytes, length as u64);

        depot.put(&id, data(b"another")).await.expect("in its place");
        assert_eq!(bytes_of(depot.read(&id, 0).await.expect("reads")).await, b"another");
        depot.remove(&id).await.expect("removes");
        depot.remove(&id).await.expect("it is gone already");
        assert!(depot.list().await.expect("lists").is_empty());
    }
}

async fn check_claims(store: Arc<dyn ObjectStore>) {
    let depot = ObjectDepot::new(store.clone(), Path::default());
    depot.claim("one").await.expect("nobody's");
    depot.claim("one").await.expect("its own");
    let refused = depot.claim("two").await.expect_err("another's");
    assert!(matches!(refused, DepotError::Foreign(owner) if owner == "one"));
    let below = ObjectDepot::new(store, Path::from("below"));
    below.claim("two").await.expect("a place of its own");
}

#[tokio::test]
async fn in_memory() {
    check(Arc::new(InMemory::new())).await;
    check_claims(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalFileSystem::new_with_prefix(folder.path()).expect("a store");
    let store = Arc::new(store.with_fsync(true));
    check(store.clone()).await;
    check_claims(store).await;
}
