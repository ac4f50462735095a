//! Acknowledged commands per second, in a closed loop.

use std::time::{Duration, Instant};

use anyhow::Context;
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{
    Command, CreateRoom, OpenSessionRequest, Pause, Play, SubmitReply, SubmitRequest,
};
use tonic::transport::{Channel, Endpoint};

use super::{Effort, row};
use crate::cluster::Cluster;

/// One client: a connection and a session.
pub struct Client {
    rooms: RoomsClient<Channel>,
    session: Vec<u8>,
    room: String,
    number: u64,
}

impl Client {
    /// Connects to `address`, opens a session, and makes a room of its own.
    pub async fn open(address: &str, seed: u64) -> anyhow::Result<Self> {
        let rooms = dial(address).await?;
        let room =
            RoomCode::from_random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_str().to_owned();
        let session = u128::from(seed).to_be_bytes().to_vec();
        let mut client = Self { rooms, session: session.clone(), room, number: 0 };
        let open = OpenSessionRequest { session, user: "bench".into(), deadline_ms: 0 };
        client.rooms.open_session(open).await.context("no session")?;
        client.number += 1;
        client.send(Kind::Create(CreateRoom { name: "Bench".into() })).await.context("no room")?;
        Ok(client)
    }

    /// Goes on through another node.
    pub async fn redial(&mut self, address: &str) -> anyhow::Result<()> {
        self.rooms = dial(address).await?;
        Ok(())
    }

    /// The next command: play and pause in turn, each of which is an event.
    pub async fn next(&mut self) -> Result<SubmitReply, tonic::Status> {
        self.number += 1;
        self.again().await
    }

    /// The same command once more, in case it was not applied.
    pub async fn again(&mut self) -> Result<SubmitReply, tonic::Status> {
        let kind = match self.number % 2 {
            0 => Kind::Play(Play { entry: 0 }),
            _ => Kind::Pause(Pause { entry: 0 }),
        };
        self.send(kind).await
    }

    async fn send(&mut self, kind: Kind) -> Result<SubmitReply, tonic::Status> {
        let request = SubmitRequest {
            session: self.session.clone(),
            number: self.number,
            room: self.room.clone(),
            command: Some(Command { kind: Some(kind) }),
            deadline_ms: 0,
        };
        let reply = self.rooms.submit(request).await?.into_inner();
        match reply.rejection {
            Some(rejection) => Err(tonic::Status::failed_precondition(rejection.message)),
            None => Ok(reply),
        }
    }
}

async fn dial(address: &str) -> anyhow::Result<RoomsClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_millis(100));
    Ok(RoomsClient::new(endpoint.connect().await?))
}

/// One client at the leader, then one at each of 16 connections.
pub async fn measure(cluster: &mut Cluster, effort: &Effort) -> anyhow::Result<()> {
    let leader = cluster.wait_for_leader()?;
    let address = cluster.address(leader);
    for clients in [1, 16] {
        let (mut rates, mut latencies) = (vec![], vec![]);
        for trial in 0..effort.trials as u64 {
            let run = (0..clients).map(|client| {
                let (address, secs) = (address.clone(), effort.secs);
                tokio::spawn(async move {
                    closed_loop(&address, seed(clients, trial, client), secs).await
                })
            });
            let mut each = vec![];
            for task in run.collect::<Vec<_>>() {
                each.extend(task.await??);
            }
            rates.push(each.len() as f64 / effort.secs as f64);
            each.sort_unstable_by(f64::total_cmp);
            latencies.push((each[each.len() / 2], each[each.len() * 99 / 100]));
        }
        let plural = if clients == 1 { "client" } else { "clients" };
        row(&format!("acknowledged commands/s, {clients} {plural}"), &rates);
        row(
            &format!("their p50, ms, {clients} {plural}"),
            &latencies.iter().map(|l| l.0).collect::<Vec<_>>(),
        );
        row(
            &format!("their p99, ms, {clients} {plural}"),
            &latencies.iter().map(|l| l.1).collect::<Vec<_>>(),
        );
    }
    Ok(())
}

fn seed(clients: u64, trial: u64, client: u64) -> u64 {
    1 + clients * 1_000_000 + trial * 1000 + client
}

/// Milliseconds of each acknowledged command.
async fn closed_loop(address: &str, seed: u64, secs: u64) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::open(address, seed).await?;
    let until = Instant::now() + Duration::from_secs(secs);
    let mut taken = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        client.next().await?;
        taken.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}
