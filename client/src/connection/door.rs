//! One connection to one node: its address, the token on every request, and the services behind it.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::segments_client::SegmentsClient;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_proto::wire::v1::time_client::TimeClient;
use jam_world::World;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::Address;
use crate::error::Failure;

/// How long one node may take to accept a connection: far above any sane round trip, far below patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of an answer that may be on their way: the snapshot of a large room has some, and 64 KiB would cap a long line.
const WINDOW_BYTES: u32 = 1 << 20;

/// Why a node could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// Which one.
    pub address: Address,
    /// What happened, such as "no answer" or "nothing listens there".
    pub why: String,
    /// Nothing listens there, or there is no such name: trying again won't help before somebody does something about it.
    pub is_definite: bool,
}

impl NoAnswer {
    /// Nothing came back.
    pub(super) fn silent(address: Address) -> Self {
        Self { address, why: "no answer".to_owned(), is_definite: false }
    }

    /// From the last cause: "Connection refused" rather than "transport error".
    fn of(address: Address, error: &(dyn Error + 'static)) -> Self {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let (why, is_definite) = match kind {
            Some(io::ErrorKind::ConnectionRefused) => ("nothing listens there".to_owned(), true),
            Some(io::ErrorKind::TimedOut) => ("no answer".to_owned(), false),
            Some(io::ErrorKind::NotFound) => (cause.to_string(), true),
            _ => (cause.to_string(), false),
        };
        Self { address, why, is_definite }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.address, self.why)
    }
}

impl From<NoAnswer> for String {
    fn from(no_answer: NoAnswer) -> Self {
        no_answer.to_string()
    }
}

/// Puts the bearer token on every request.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// From the token as the operator handed it out.
    pub fn new(token: Option<&str>) -> Result<Self, Failure> {
        let Some(token) = token else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {}", token.trim()).parse().map_err(|_| {
                Failure::Usage(
                    "the token must be one line of plain ASCII; pass it with --token-file, --token or JAM_TOKEN".into(),
                )
            })?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// What the header says.
    #[cfg(test)]
    pub fn header(&self) -> Option<String> {
        self.0.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// An open connection to a node, and the services behind it.
#[derive(Clone)]
pub struct Door(InterceptedService<Channel, Bearer>);

impl Door {
    /// Commands, status, watching.
    pub fn rooms(&self) -> RoomsClient<InterceptedService<Channel, Bearer>> {
        // A snapshot of a room holds its whole queue, 10,000 entries of up to 1 KiB.
        RoomsClient::new(self.0.clone()).max_decoding_message_size(64 << 20)
    }
    /// Uploads and fetches.
    pub fn songs(&self) -> SongsClient<InterceptedService<Channel, Bearer>> {
        SongsClient::new(self.0.clone())
    }
    /// Songs in segments.
    pub fn segments(&self) -> SegmentsClient<InterceptedService<Channel, Bearer>> {
        SegmentsClient::new(self.0.clone())
    }
    /// Clock probes.
    pub fn time(&self) -> TimeClient<InterceptedService<Channel, Bearer>> {
        TimeClient::new(self.0.clone())
    }
    /// For operators.
    pub fn cluster(&self) -> ClusterClient<InterceptedService<Channel, Bearer>> {
        ClusterClient::new(self.0.clone())
    }
}

/// Opens connections, all with the same token.
#[derive(Clone, Debug)]
pub struct Dialer {
    world: World,
    bearer: Bearer,
}

impl Dialer {
    /// From a machine, with the token that every request carries.
    pub fn new(world: World, bearer: Bearer) -> Self {
        Self { world, bearer }
    }

    /// The machine.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Opens a connection of its own to one node.
    pub fn dial(&self, address: &Address) -> BoxFuture<'static, Result<Door, NoAnswer>> {
        self.dial_for(address, WINDOW_BYTES)
    }

    /// As [`Dialer::dial`], where at most so many bytes of an answer may be on their way: a node that was told to stop sends
    /// no more than that.
    pub fn dial_for(
        &self,
        address: &Address,
        window_bytes: u32,
    ) -> BoxFuture<'static, Result<Door, NoAnswer>> {
        let (dialer, address) = (self.clone(), address.clone());
        async move {
            let endpoint = match endpoint(&address, window_bytes) {
                Ok(endpoint) => endpoint,
                Err(error) => return Err(NoAnswer::of(address, &error)),
            };
            match timeout(CONNECT_TIMEOUT, dialer.world.connect(endpoint)).await {
                Ok(Ok(channel)) => Ok(Door(InterceptedService::new(channel, dialer.bearer))),
                Ok(Err(error)) => Err(NoAnswer::of(address, &error)),
                Err(_) => Err(NoAnswer::silent(address)),
            }
        }
        .boxed()
    }
}

fn endpoint(address: &Address, window_bytes: u32) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        // Finds out that a node is gone without a word (power, cable) in a few seconds.
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(4))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(window_bytes)
        .initial_connection_window_size(2 * window_bytes))
}
