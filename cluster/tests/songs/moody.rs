//! A depot that can be told to misbehave.

use std::future::pending;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use jam_cluster::blobs::{Data, Depot, DepotError, Listing, ObjectDepot};
use jam_proto::ids::TrackId;
use object_store::memory::InMemory;
use object_store::path::Path;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Good,
    /// Nobody answers.
    Down,
    /// Nothing ever comes.
    Stalled,
    /// What comes is not what was put.
    Lying,
}

#[derive(Debug)]
pub struct Moody {
    depot: ObjectDepot,
    mood: Mutex<Mood>,
}

impl Moody {
    pub fn new() -> Arc<Self> {
        let depot = ObjectDepot::new(Arc::new(InMemory::new()), Path::default());
        Arc::new(Self { depot, mood: Mutex::default() })
    }

    pub fn feel(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().expect("no panic")
    }

    async fn answer(&self) -> Result<&ObjectDepot, DepotError> {
        match self.mood() {
            Mood::Good | Mood::Lying => Ok(&self.depot),
            Mood::Stalled => pending().await,
            Mood::Down => Err(DepotError::Failed(object_store::Error::Generic {
                store: "moody",
                source: "nobody answers".into(),
            })),
        }
    }
}

#[tonic::async_trait]
impl Depot for Moody {
    async fn claim(&self, cluster: &str) -> Result<(), DepotError> {
        self.answer().await?.claim(cluster).await
    }
    async fn put(&self, id: &TrackId, data: Data) -> Result<(), DepotError> {
        self.answer().await?.put(id, data).await
    }
    async fn read(&self, id: &TrackId, offset: u64) -> Result<Data, DepotError> {
        let data = self.answer().await?.read(id, offset).await?;
        if self.mood() == Mood::Good {
            return Ok(data);
        }
        let bend = |chunk: bytes::Bytes| chunk.iter().map(|byte| byte ^ 1).collect();
        Ok(data.map(move |chunk| chunk.map(bend)).boxed())
    }
    async fn list(&self) -> Result<Listing, DepotError> {
        self.answer().await?.list().await
    }
    async fn remove(&self, id: &TrackId) -> Result<(), DepotError> {
        self.answer().await?.remove(id).await
    }
}
