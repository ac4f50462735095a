//! The host of the room where listeners are: keeps its queue filled, and does something with it now and then.
//!
//! It edits as `jam` does, by the real client's session: numbered, written down before it is sent, and taken up again after
//! an unknown outcome by another claim of the same intent, as if the command line had been typed once more.

use std::collections::BTreeSet;
use std::time::Duration;

use jam_client::connection::{Address, Bearer, Cluster, Dialer};
use jam_client::error::Failure;
use jam_client::session::Session;
use jam_proto::ids::{RoomCode, SessionId};
use jam_proto::time::Flicks;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use jam_world::World;
use prost::Message;
use tokio::time::sleep;

use super::{Client, Scene};
use crate::history::{Answer, Hex, Request};
use crate::seed::Stream;

/// A command line has one step here.
const STEP: &str = "edit";
/// Entries that it keeps in the queue.
const QUEUED_MIN: usize = 4;
/// What a command line may take.
const PATIENCE: Duration = Duration::from_secs(4);
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// The host.
pub struct Host {
    name: String,
    world: World,
    scene: Scene,
    /// Reads and uploads.
    client: Client,
    draws: Stream,
    intents: u64,
    opened: BTreeSet<[u8; 16]>,
}

impl Host {
    /// Of the scene's last room.
    pub fn new(name: &str, world: &World, scene: Scene) -> Self {
        let client = Client::new(name, 1, world, scene.clone());
        let draws = Stream::new(scene.seed, name);
        let (name, world) = (name.to_owned(), world.clone());
        Self { name, world, scene, client, draws, intents: 0, opened: BTreeSet::new() }
    }

    /// Hosts until it is time to rest.
    pub async fn run(mut self) {
        let songs = self.scene.concert.clone();
        for song in songs.iter() {
            while !self.client.upload(song).await && !self.client.rests() {
                sleep(AGAIN_AFTER).await;
            }
        }
        self.edit(Kind::Create(wire::CreateRoom { name: "concert".into() })).await;
        while !self.client.rests() {
            let queue = self.client.read(self.scene.rooms.len() - 1).await;
            let is_filled = queue.len() >= QUEUED_MIN;
            let kind = match (queue.first().copied(), self.draws.below(12)) {
                (Some(entry), 0) if is_filled => Kind::Skip(wire::Skip { entry }),
                (Some(entry), 1) => Kind::Pause(wire::Pause { entry }),
                (Some(entry), 2) => {
                    let position = Flicks::from_nanos(self.draws.within(0..=2_500_000_000)).0;
                    Kind::Seek(wire::Seek { entry, position })
                }
                (Some(entry), 3) => Kind::Back(wire::Back { entry }),
                (Some(entry), 4..=7) if is_filled => Kind::Play(wire::Play { entry }),
                _ => {
                    let song = self.draws.below(songs.len() as u64) as usize;
                    let track = songs[song].track.to_vec();
                    Kind::Enqueue(wire::Enqueue { track, next: false })
                }
            };
            self.edit(kind).await;
            if is_filled {
                sleep(Duration::from_millis(self.draws.below(5_000) + 500)).await;
            }
        }
    }

    /// Types a command line until it has an outcome.
    async fn edit(&mut self, kind: Kind) {
        self.intents += 1;
        let command = wire::Command { kind: Some(kind) };
        while !self.client.rests() && self.attempt(&command).await.is_err() {
            sleep(AGAIN_AFTER).await;
        }
    }

    /// One run of the command line. An error: the outcome is not known, or nobody was reached.
    async fn attempt(&mut self, command: &wire::Command) -> Result<(), Failure> {
        let dialer = Dialer::new(self.world.clone(), Bearer::default());
        let servers: Result<Vec<Address>, _> =
            self.scene.addresses.iter().map(|address| Address::parse(address)).collect();
        let servers = servers.map_err(|error| Failure::Usage(error.to_string()))?;
        let mut cluster = Cluster::find(dialer, servers, PATIENCE).await?;
        let intent = format!("intent {}", self.intents);
        let mut session =
            Session::claim(&self.world, &self.scene.home, cluster.id(), &self.name, &intent)?;
        let room = self.scene.rooms.last().expect("there is the host's").clone();
        let sent = session.sent()?;
        let (id, number) = sent.map_or_else(|| session.next(), Ok)?;
        let op = self.asks(id, number, &room, command);
        let settled = match sent {
            Some(_) => session.resume(&mut cluster, STEP).await.transpose(),
            None => Some(session.submit(&mut cluster, STEP, &room, command.clone()).await),
        };
        let settled = settled.expect("what was sent is taken up again");
        let used = session.next()?;
        match settled {
            Ok(settled) => {
                let reply = Answer::Reply(Hex(settled.reply.encode_to_vec()));
                if used == (id, number + 1) {
                    self.scene.book.answered(op, reply);
                } else {
                    // The cluster had forgotten the session, and the command went into another one.
                    self.scene.book.answered(op, Answer::Unknown);
                    let again = self.asks(used.0, used.1 - 1, &room, command);
                    self.scene.book.answered(again, reply);
                }
                session.finish()
            }
            Err(unknown @ Failure::Unknown { .. }) => {
                self.scene.book.answered(op, Answer::Unknown);
                Err(unknown)
            }
            Err(failure) => {
                // Refused by a node, or judged by the room: both are final, and which one it was is not told.
                self.scene.book.answered(op, Answer::Unknown);
                session.finish()?;
                match failure {
                    Failure::Refused { .. } | Failure::Forgotten { .. } => Ok(()),
                    other => Err(other),
                }
            }
        }
    }

    fn asks(
        &mut self,
        id: SessionId,
        number: u64,
        room: &RoomCode,
        command: &wire::Command,
    ) -> u64 {
        let session = Hex(id.to_wire());
        if self.opened.insert(id.0) {
            // The session opens it by itself.
            let request = Request::Open { session: session.clone(), user: self.name.clone() };
            let opening = self.scene.book.invoked(&self.name, request);
            self.scene.book.answered(opening, Answer::Unknown);
        }
        let request = Request::Command {
            session,
            number,
            room: room.as_str().to_owned(),
            command: Hex(command.encode_to_vec()),
        };
        self.scene.book.invoked(&self.name, request)
    }
}
