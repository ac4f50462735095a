//! Fetches manifests and segments from whichever node gives them.
//!
//! A node is asked, and kept as long as it answers. If nothing comes from it for [`HEDGE_AFTER`], another one is asked as
//! well, and whoever is done first has given it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::segments_client::SegmentsClient;
use jam_world::first_success;
use tokio::time::{error::Elapsed, sleep, timeout};

use super::local::LocalRendition;
use crate::connection::{Address, Door};
use crate::nodes::Nodes;
use crate::refusal::Refusal;

/// Without a byte for so long, another node is asked too: longer than a round trip around the world, and well within what
/// is rendered ahead.
const HEDGE_AFTER: Duration = Duration::from_millis(300);
/// A node that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Nodes that are asked for the same at once.
const ASKED_AT_ONCE: usize = 2;

/// Bytes of a segment that may be on their way. A poor line needs seconds for them after the segment was called off, and three
/// segments at once make good for it on a long one.
const WINDOW_BYTES: u32 = 64 << 10;

/// Asks nodes.
pub struct Fetcher {
    nodes: Arc<Nodes>,
    doors: Mutex<BTreeMap<Address, Door>>,
    /// Which node is asked first.
    preferred: AtomicUsize,
    received: AtomicU64,
    /// What came with the last segment.
    receipt: Mutex<Bytes>,
}

/// Why something was not fetched.
#[derive(Debug)]
pub enum FetchError {
    /// Another node or another moment will do.
    Passing,
    /// Someone should hear of it.
    Lasting(String),
    /// The song was cut anew since: the manifest has to be fetched again.
    Changed,
}

impl Fetcher {
    /// From these nodes, whichever answer.
    pub fn new(nodes: Arc<Nodes>) -> Self {
        let preferred = AtomicUsize::new(rand::random_range(0..nodes.all().len().max(1)));
        Self {
            nodes,
            doors: Mutex::default(),
            preferred,
            received: AtomicU64::new(0),
            receipt: Mutex::default(),
        }
    }

    /// Bytes of segments that came in so far, also of such as were called off.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// What shows the cluster that sound was fetched; empty: none was.
    pub fn receipt(&self) -> Vec<u8> {
        self.receipt.lock().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    /// What there is of a song, with the manifest of one quality. A node that does not answer does not hold up the others.
    ///
    /// # Errors
    /// If no node gave it: what the last one said.
    pub async fn manifests(
        &self,
        track: TrackId,
        kbps: u32,
    ) -> Result<Vec<wire::Rendition>, FetchError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let turns = (0..self.nodes.all().len().max(1)).map(|place| first.wrapping_add(place));
        let asked = turns.map(|turn| async move {
            let given = self.manifests_of(turn, track, kbps).await;
            given.map(|renditions| (turn, renditions)).inspect_err(|_| self.avoid(turn))
        });
        let (turn, renditions) = first_success(asked)
            .await
            .map_err(|mut errors| errors.pop().unwrap_or(FetchError::Passing))?;
        if turn != first {
            self.avoid(first);
        }
        Ok(renditions)
    }

    async fn manifests_of(
        &self,
        turn: usize,
        track: TrackId,
        kbps: u32,
    ) -> Result<Vec<wire::Rendition>, FetchError> {
        let request = wire::ManifestsRequest { track: track.to_wire(), kbps: vec![kbps] };
        let (address, mut client) = self.node(turn).await?;
        let answer = timeout(SILENCE_MAX, client.manifests(request)).await;
        self.answered(&address, answer).map(|reply| reply.renditions)
    }

    /// A segment's bytes; they are still to be checked.
    ///
    /// # Errors
    /// If no node that was asked gave it.
    pub async fn segment(
        &self,
        track: TrackId,
        rendition: &LocalRendition,
        index: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let heard = AtomicU64::new(0);
        let ask = |turn: usize| {
            let heard = &heard;
            async move { (turn, self.ask(turn, track, rendition, index, heard).await) }
        };
        let mut asked = 1;
        let mut racing = FuturesUnordered::from_iter([ask(first)]);
        let may_ask = self.nodes.all().len().max(1);
        let mut before = 0;
        loop {
            tokio::select! {
                Some((turn, given)) = racing.next() => match given {
                    Ok(bytes) => {
                        if turn != first {
                            self.avoid(first);
                        }
                        return Ok(bytes);
                    }
                    Err(error) => {
                        self.avoid(turn);
                        let last = matches!(error, FetchError::Changed) || asked >= may_ask;
                        if !last {
                            racing.push(ask(first + asked));
                            asked += 1;
                        } else if racing.is_empty() {
                            return Err(error);
                        }
                    }
                },
                () = sleep(HEDGE_AFTER) => {
                    let now = heard.load(Ordering::Relaxed);
                    let silent = now == before;
                    before = now;
                    if silent && asked < may_ask && racing.len() < ASKED_AT_ONCE {
                        racing.push(ask(first + asked));
                        asked += 1;
                    }
                }
            }
        }
    }

    async fn ask(
        &self,
        turn: usize,
        track: TrackId,
        rendition: &LocalRendition,
        index: usize,
        heard: &AtomicU64,
    ) -> Result<Vec<u8>, FetchError> {
        let info = &rendition.manifest.segments()[index];
        let request = wire::SegmentRequest {
            track: track.to_wire(),
            kbps: rendition.kbps,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            hash: info.hash.to_vec(),
            offset: 0,
        };
        let (address, mut client) = self.node(turn).await?;
        let answer = timeout(SILENCE_MAX, client.segment(request)).await;
        let mut chunks = self.answered(&address, answer)?;
        let mut bytes = Vec::with_capacity(info.bytes as usize);
        loop {
            let next = timeout(SILENCE_MAX, chunks.message()).await;
            let chunk = match next {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break,
                Ok(Err(status)) => return Err(self.refused(&address, &status)),
                Err(_) => return Err(self.silent(&address)),
            };
            heard.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
            self.received.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&chunk.data);
            if !chunk.receipt.is_empty() {
                *self.receipt.lock().unwrap_or_else(PoisonError::into_inner) = chunk.receipt;
            }
            if bytes.len() > info.bytes as usize {
                break;
            }
        }
        match rendition.manifest.check(index, &bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => {
                tracing::warn!(%address, %error, "a node gave other bytes than a song's");
                Err(FetchError::Passing)
            }
        }
    }

    /// The node whose turn it is.
    async fn node(&self, turn: usize) -> Result<(Address, Client), FetchError> {
        let all = self.nodes.all();
        let address = all.get(turn % all.len().max(1)).ok_or(FetchError::Passing)?;
        let open = self.doors().get(address).cloned();
        let door = match open {
            Some(door) => door,
            None => {
                let dialed = self.nodes.dialer().dial_for(address, WINDOW_BYTES).await;
                let door = dialed.map_err(|_| FetchError::Passing)?;
                self.doors().insert(address.clone(), door.clone());
                door
            }
        };
        Ok((address.clone(), door.segments()))
    }

    /// Another node is asked first from here on.
    fn avoid(&self, turn: usize) {
        // If somebody did so meanwhile, that will do.
        let (order, next) = (Ordering::Relaxed, turn.wrapping_add(1));
        let _ = self.preferred.compare_exchange(turn, next, order, order);
    }

    fn answered<T>(
        &self,
        address: &Address,
        answer: Result<Result<tonic::Response<T>, tonic::Status>, Elapsed>,
    ) -> Result<T, FetchError> {
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(address, &status)),
            Err(_) => Err(self.silent(address)),
        }
    }

    fn refused(&self, address: &Address, status: &tonic::Status) -> FetchError {
        match Refusal::of(status) {
            Refusal::Final { code, .. } if code == "manifest_changed" => FetchError::Changed,
            Refusal::Final { message, .. } => {
                FetchError::Lasting(format!("a song can't be fetched: {message}"))
            }
            Refusal::Elsewhere(_)
            | Refusal::NoQuorum(_)
            | Refusal::NoLeader(_)
            | Refusal::Later { .. } => FetchError::Passing,
            Refusal::Unknown(_) => self.silent(address),
        }
    }

    fn silent(&self, address: &Address) -> FetchError {
        // The next time it is dialled anew.
        self.doors().remove(address);
        FetchError::Passing
    }

    fn doors(&self) -> MutexGuard<'_, BTreeMap<Address, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Client = SegmentsClient<
    tonic::service::interceptor::InterceptedService<
        tonic::transport::Channel,
        crate::connection::Bearer,
    >,
>;
