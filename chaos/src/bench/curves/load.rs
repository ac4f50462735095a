//! Clients that speak the public API themselves: each has a connection and an open session before anything is
//! timed, and numbers its commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use jam_proto::time::Flicks;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{
    Command, Enqueue, MoveEntry, OpenSessionRequest, RemoveEntry, Seek, SubmitReply, SubmitRequest,
};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::spread::percentile;
use crate::cluster::PATIENCE;

/// The song that every room here begins with, and that stays current since the room is paused.
pub const FIRST_ENTRY: u64 = 1;
/// Seeks go to the whole seconds below this: every tune is longer.
const SEEK_SECS: u64 = 10;
/// Before an unsettled command is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// One client.
pub struct Client {
    rooms: RoomsClient<Channel>,
    session: Vec<u8>,
    number: u64,
}

impl Client {
    /// Connects to `address` and opens session `id`.
    pub async fn open(address: &str, id: u128) -> anyhow::Result<Self> {
        let mut rooms = RoomsClient::new(dial(address).await?);
        let session = id.to_be_bytes().to_vec();
        let open =
            OpenSessionRequest { session: session.clone(), user: "bench".into(), deadline_ms: 0 };
        rooms.open_session(open).await.context("no session")?;
        Ok(Self { rooms, session, number: 0 })
    }

    /// Sends the next command until it is settled: while the outcome is unknown, or nobody leads, the same once
    /// more. One that was judged and rejected is an error.
    pub async fn submit(&mut self, room: &str, kind: Kind) -> anyhow::Result<SubmitReply> {
        self.number += 1;
        let request = SubmitRequest {
            session: self.session.clone(),
            number: self.number,
            room: room.to_owned(),
            command: Some(Command { kind: Some(kind) }),
            deadline_ms: 0,
        };
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.rooms.submit(request.clone()).await {
                Ok(reply) => {
                    let reply = reply.into_inner();
                    return match reply.rejection {
                        Some(rejection) => Err(anyhow!("rejected: {}", rejection.message)),
                        None => Ok(reply),
                    };
                }
                Err(status) if !is_passing(&status) || Instant::now() >= give_up => {
                    return Err(status.into());
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// Whether a command may be settled later: nobody leads just now, or its outcome is not known.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// A connection of its own.
pub async fn dial(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5));
    endpoint.connect().await.with_context(|| format!("{address} does not answer"))
}

/// What a client does next, all of which makes events.
pub trait Script: Send + 'static {
    /// The next command and its room; `last` is the reply to the one before.
    fn next(&mut self, last: Option<&SubmitReply>) -> (&str, Kind);
}

/// Seeks in one paused room after another.
pub struct Seeks {
    /// Whose rooms, by all clients.
    pub rooms: Arc<[String]>,
    /// Where this client goes next; its own number at first.
    pub at: usize,
    /// How far it goes each time: the number of clients, so that they are never in step.
    pub stride: usize,
}

impl Script for Seeks {
    fn next(&mut self, _: Option<&SubmitReply>) -> (&str, Kind) {
        self.at += self.stride;
        (&self.rooms[self.at % self.rooms.len()], seek(self.at as u64))
    }
}

/// Edits a room's queue: a seek in the current song, a song queued, moved to the middle, taken out again. So
/// the queue keeps its length.
pub struct Edits {
    /// The room.
    pub room: String,
    /// What is queued.
    pub track: Vec<u8>,
    /// Songs are moved to before this entry; 0: to the end.
    pub middle: u64,
    /// How many commands there were.
    pub step: u64,
    /// The entry that this client queued.
    pub entry: u64,
}

impl Script for Edits {
    fn next(&mut self, last: Option<&SubmitReply>) -> (&str, Kind) {
        self.step += 1;
        let kind = match self.step % 4 {
            1 => seek(self.step),
            2 => Kind::Enqueue(Enqueue { track: self.track.clone(), next: false }),
            3 => {
                self.entry = last.map_or(0, |queued| queued.entry);
                Kind::Move(MoveEntry { entry: self.entry, before: self.middle })
            }
            _ => Kind::Remove(RemoveEntry { entry: self.entry }),
        };
        (&self.room, kind)
    }
}

/// A seek in the first entry.
pub fn seek(count: u64) -> Kind {
    let position = Flicks::from_secs((count % SEEK_SECS) as i64).0;
    Kind::Seek(Seek { entry: FIRST_ENTRY, position })
}

/// What a closed loop of clients did.
#[derive(Debug)]
pub struct Rate {
    /// Acknowledged commands per second.
    pub per_sec: f64,
    /// Commands.
    pub commands: usize,
    /// The time until the acknowledgement, median, ms.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
}

/// Every client sends command after command for `secs`, each the next as soon as one is acknowledged. Gives
/// the clients back.
pub async fn closed_loop<S: Script>(
    clients: Vec<Client>,
    secs: u64,
    script: impl Fn(usize) -> S,
) -> anyhow::Result<(Rate, Vec<Client>)> {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(secs);
    let mut loops = JoinSet::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        let mut script = script(index);
        loops.spawn(async move {
            let (mut taken_ms, mut last) = (Vec::new(), None);
            while Instant::now() < until {
                let (room, kind) = script.next(last.as_ref());
                let sent = Instant::now();
                last = Some(client.submit(room, kind).await?);
                taken_ms.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, anyhow::Error>((client, taken_ms))
        });
    }
    let (mut clients, mut taken_ms) = (Vec::new(), Vec::new());
    while let Some(ended) = loops.join_next().await {
        let (client, taken) = ended??;
        clients.push(client);
        taken_ms.extend(taken);
    }
    let secs = begun.elapsed().as_secs_f64();
    taken_ms.sort_unstable_by(f64::total_cmp);
    let rate = Rate {
        per_sec: taken_ms.len() as f64 / secs,
        commands: taken_ms.len(),
        p50_ms: percentile(&taken_ms, 50),
        p99_ms: percentile(&taken_ms, 99),
    };
    Ok((rate, clients))
}

/// Shares work out among the clients: what is to be done in a room, in order. Gives the clients back.
pub async fn share_out(
    clients: Vec<Client>,
    work: impl IntoIterator<Item = (String, Vec<Kind>)>,
) -> anyhow::Result<Vec<Client>> {
    let mut shares: Vec<(Client, Vec<_>)> =
        clients.into_iter().map(|client| (client, Vec::new())).collect();
    let count = shares.len();
    for (index, job) in work.into_iter().enumerate() {
        shares[index % count].1.push(job);
    }
    let mut sharers = JoinSet::new();
    for (mut client, jobs) in shares {
        sharers.spawn(async move {
            for (room, kinds) in jobs {
                for kind in kinds {
                    client.submit(&room, kind).await?;
                }
            }
            Ok::<_, anyhow::Error>(client)
        });
    }
    let mut clients = Vec::new();
    while let Some(ended) = sharers.join_next().await {
        clients.push(ended??);
    }
    Ok(clients)
}
