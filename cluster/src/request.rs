//! Ids of requests: they follow a request through the nodes, so that a reader of several logs finds its lines.
//!
//! The node that a client asks makes the id. It is known to the task that serves the request ([`current`]), goes with what that
//! passes on to other nodes, and is in each line that is logged about the request. Ids of clients' making are not taken: they
//! could hold anything, also what no log may have.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tonic::metadata::{MetadataMap, MetadataValue};

/// The metadata that holds the id of a request that a node passes on.
pub const REQUEST_KEY: &str = "jam-request-id";

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request: which process took it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    process: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}-{}", self.process, self.number)
    }
}

impl FromStr for RequestId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (process, number) = text.split_once('-').ok_or(())?;
        let process = u32::from_str_radix(process, 16).map_err(|_| ())?;
        Ok(Self { process, number: number.parse().map_err(|_| ())? })
    }
}

/// Makes the ids of one process.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { process: rand::random(), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// One that this process has not given yet.
    pub fn next(&self) -> RequestId {
        RequestId { process: self.process, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The id of the request that the running task serves; `None`: it serves none.
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(|id| *id).ok()
}

/// Runs `work` for the request `id`, if it is known.
pub async fn scope<T>(id: Option<RequestId>, work: impl Future<Output = T>) -> T {
    match id {
        Some(id) => CURRENT.scope(id, work).await,
        None => work.await,
    }
}

/// Puts the current id into a call to another node.
pub fn sign(metadata: &mut MetadataMap) {
    if let Some(id) = current() {
        // Hex digits, a dash and decimal digits.
        if let Ok(value) = MetadataValue::try_from(id.to_string()) {
            metadata.insert(REQUEST_KEY, value);
        }
    }
}

/// The id in a call of another node.
pub fn of(headers: &HeaderMap) -> Option<RequestId> {
    headers.get(REQUEST_KEY)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_id_goes_with_what_a_task_passes_on() {
        let ids = RequestIds::default();
        let id = ids.next();
        assert_ne!(ids.next(), id);
        assert_eq!(current(), None);
        let passed_on = scope(Some(id), async {
            let mut metadata = MetadataMap::new();
            sign(&mut metadata);
            of(&metadata.into_headers())
        });
        assert_eq!(passed_on.await, Some(id));
    }

    #[test]
    fn what_is_no_id_is_not_taken() {
        for text in ["", "-", "12-", "-12", "zz-1", "0001", "1-2-3", "1-\u{661}", "123456789-1"] {
            assert_eq!(text.parse::<RequestId>(), Err(()), "{text}");
        }
    }
}
