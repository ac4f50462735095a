//! A depot in an object store: `songs/ab/<hash>` for each song, and `cluster` with the id of the cluster whose they are.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use jam_proto::ids::TrackId;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};

use super::{Data, Depot, DepotError, Listing, Stored};

/// A song of at most this many bytes goes in one request, any other in parts of this size. S3 wants at least 5 MiB, and
/// no more than 10,000 parts.
const PART_BYTES: usize = 8 << 20;

/// Songs below a path of an object store.
#[derive(Debug)]
pub struct ObjectDepot {
    store: Arc<dyn ObjectStore>,
    base: Path,
}

impl ObjectDepot {
    /// All that it keeps is below `base`.
    pub fn new(store: Arc<dyn ObjectStore>, base: Path) -> Self {
        Self { store, base }
    }

    fn songs(&self) -> Path {
        self.base.clone().join("songs")
    }

    fn place(&self, id: &TrackId) -> Path {
        let name = id.to_string();
        self.songs().join(&name[..2]).join(name.as_str())
    }

    async fn owner(&self, mark: &Path) -> Result<Option<String>, DepotError> {
        match self.store.get(mark).await {
            Ok(found) => {
                let text = found.bytes().await?;
                Ok(Some(String::from_utf8_lossy(&text).trim().to_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_parts(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        mut part: PutPayload,
        parts: &mut Parts,
    ) -> Result<(), DepotError> {
        while part.content_length() > 0 {
            upload.put_part(part).await?;
            part = parts.next().await?;
        }
        upload.complete().await?;
        Ok(())
    }
}

#[tonic::async_trait]
impl Depot for ObjectDepot {
    async fn claim(&self, cluster: &str) -> Result<(), DepotError> {
        let mark = self.base.clone().join("cluster");
        let text = || PutPayload::from(format!("{cluster}\n"));
        let written = match self.owner(&mark).await? {
            Some(owner) if owner != cluster => return Err(DepotError::Foreign(owner)),
            // Once more what is there: it shows that this node may write.
            Some(_) => self.store.put(&mark, text()).await,
            None => self.store.put_opts(&mark, text(), PutMode::Create.into()).await,
        };
        match written {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => match self.owner(&mark).await? {
                Some(owner) if owner != cluster => Err(DepotError::Foreign(owner)),
                _ => Ok(()),
            },
            // Of a bucket that is not there.
            Err(error @ object_store::Error::NotFound { .. }) => Err(DepotError::Refused(error)),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, id: &TrackId, data: Data) -> Result<(), DepotError> {
        let place = self.place(id);
        let mut parts = Parts { data, rest: Bytes::new() };
        let first = parts.next().await?;
        if first.content_length() < PART_BYTES {
            self.store.put(&place, first).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&place).await?;
        let put = self.put_parts(&mut upload, first, &mut parts).await;
        if put.is_err() {
            // If this fails as well, the store's own rule for unfinished uploads clears them away.
            let _ = upload.abort().await;
        }
        put
    }

    async fn read(&self, id: &TrackId, offset: u64) -> Result<Data, DepotError> {
        let range = Some(GetRange::Offset(offset)).filter(|_| offset > 0);
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.store.get_opts(&self.place(id), options).await?;
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }

    async fn list(&self) -> Result<Listing, DepotError> {
        let mut songs = Listing::new();
        let mut objects = self.store.list(Some(&self.songs()));
        while let Some(object) = objects.try_next().await? {
            // What is no song is none of ours.
            let Some(hash) =
                object.location.filename().and_then(|name| blake3::Hash::from_hex(name).ok())
            else {
                continue;
            };
            let stored = Stored { bytes: object.size, since: object.last_modified.into() };
            songs.insert(TrackId(*hash.as_bytes()), stored);
        }
        Ok(songs)
    }

    async fn remove(&self, id: &TrackId) -> Result<(), DepotError> {
        match self.store.delete(&self.place(id)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// Bytes cut into parts of one size; some stores want that of all but the last.
struct Parts {
    data: Data,
    rest: Bytes,
}

impl Parts {
    /// The next part; it is shorter than [`PART_BYTES`] only at the end, and empty behind it.
    async fn next(&mut self) -> Result<PutPayload, DepotError> {
        let (mut chunks, mut missing) = (Vec::new(), PART_BYTES);
        while missing > 0 {
            if self.rest.is_empty() {
                match self.data.next().await {
                    Some(chunk) => self.rest = chunk.map_err(DepotError::Unread)?,
                    None => break,
                }
            }
            let chunk = self.rest.split_to(missing.min(self.rest.len()));
            missing -= chunk.len();
            chunks.push(chunk);
        }
        Ok(chunks.into_iter().collect())
    }
}
