//! A room and sessions for a load generator that only fills numbers into a fixed request.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{Command, CreateRoom, OpenSessionRequest, SubmitRequest};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::room_code;
use crate::cluster::PATIENCE;

/// Requests in flight: enough for nodes to commit many with one sync.
const AT_ONCE: usize = 64;
/// Between two attempts at the same request.
const PAUSE: Duration = Duration::from_millis(20);
/// The session that makes the room has this instead of a number.
const MAKER: &str = "maker";

/// What to get ready.
#[derive(clap::Args)]
pub struct Prepare {
    /// Where the nodes listen.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', required = true)]
    servers: Vec<String>,
    /// The room's code; one that is there already stays as it is.
    #[arg(long, value_name = "CODE", value_parser = room_code)]
    room: RoomCode,
    /// What the sessions' keys begin with, before their numbers.
    #[arg(long)]
    prefix: String,
    /// The sessions' numbers.
    #[arg(long, value_name = "FIRST-LAST,…", value_delimiter = ',', value_parser = span, required = true)]
    sessions: Vec<RangeInclusive<u64>>,
}

impl Prepare {
    /// Makes the room and opens the sessions. What is there already stays; during an election it tries again.
    ///
    /// # Errors
    /// If a node refuses for good, or nobody acknowledges for [`PATIENCE`].
    pub async fn run(&self) -> anyhow::Result<()> {
        let nodes = Nodes::new(&self.servers)?;
        let maker = format!("{}{MAKER}", self.prefix);
        nodes.open(maker.clone()).await?;
        nodes.create(maker, &self.room).await?;
        let mut opening = JoinSet::new();
        for number in self.sessions.iter().cloned().flatten() {
            if opening.len() == AT_ONCE {
                opening.join_next().await.context("some are being opened")???;
            }
            let (nodes, key) = (nodes.clone(), format!("{}{number}", self.prefix));
            opening.spawn(async move { nodes.open(key).await });
        }
        opening.join_all().await.into_iter().collect()
    }
}

/// The nodes, asked in turn.
#[derive(Clone)]
struct Nodes {
    clients: Arc<[RoomsClient<Channel>]>,
    turn: Arc<AtomicUsize>,
}

impl Nodes {
    fn new(servers: &[String]) -> anyhow::Result<Self> {
        let client = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
            let endpoint = endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(1));
            Ok(RoomsClient::new(endpoint.connect_lazy()))
        };
        let clients = servers.iter().map(client).collect::<anyhow::Result<_>>()?;
        Ok(Self { clients, turn: Arc::default() })
    }

    async fn open(&self, key: String) -> anyhow::Result<()> {
        let request = OpenSessionRequest {
            session: key.into_bytes(),
            user: "bench".to_owned(),
            deadline_ms: 0,
        };
        self.surely(|mut node| {
            let request = request.clone();
            async move { node.open_session(request).await }
        })
        .await?;
        Ok(())
    }

    async fn create(&self, key: String, room: &RoomCode) -> anyhow::Result<()> {
        let create = Kind::Create(CreateRoom { name: "Bench".to_owned() });
        let request = SubmitRequest {
            session: key.into_bytes(),
            number: 1,
            room: room.as_str().to_owned(),
            command: Some(Command { kind: Some(create) }),
            deadline_ms: 0,
        };
        let reply = self.surely(|mut node| {
            let request = request.clone();
            async move { node.submit(request).await }
        });
        match reply.await?.into_inner().rejection {
            Some(rejection) if rejection.code != "room_exists" => {
                bail!("no room: {}", rejection.message)
            }
            _ => Ok(()),
        }
    }

    /// Asks one node after another until one does it: sessions make it harmless that it may be done already.
    async fn surely<T, F: Future<Output = Result<T, Status>>>(
        &self,
        attempt: impl Fn(RoomsClient<Channel>) -> F,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len();
            match attempt(self.clients[turn].clone()).await {
                Ok(reply) => return Ok(reply),
                Err(status) if status.code() == tonic::Code::InvalidArgument => bail!(status),
                Err(status) if begun.elapsed() > PATIENCE => {
                    return Err(status).context("nobody acknowledged for long");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// `7`, or `0-99`, both ends included.
fn span(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is not a number"));
    Ok(number(first)?..=number(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span("7"), Ok(7..=7));
        assert_eq!(span("0-99"), Ok(0..=99));
        assert!(span("0-").is_err() && span("a-b").is_err());
    }
}
