//! The host of the room where listeners are: keeps its queue filled, and does something with it now and then.
//!
//! It edits as `jam` does, by the real client's session: numbered, written down before it is sent, and taken up again after
//! an unknown outcome by another claim of the same intent, as if the command line had been typed once more. Now and then
//! it is killed in mid-command, and its next process takes up what is written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jam_client::connection::{Address, Bearer, Cluster, Dialer};
use jam_client::error::Failure;
use jam_client::session::{Asked, Session};
use jam_proto::ids::RoomCode;
use jam_proto::time::Flicks;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use jam_world::World;
use prost::Message;
use tokio::time::{sleep, timeout};

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
/// One in so many runs of a command line is killed, within the time below: most have asked something by then, and few
/// have ended.
const KILLED_ONE_IN: u64 = 8;
const KILLED_WITHIN_MS: u64 = 60;

/// The host.
pub struct Host {
    name: String,
    world: World,
    scene: Scene,
    /// Reads and uploads.
    client: Client,
    draws: Stream,
    kills: Stream,
    intents: u64,
}

impl Host {
    /// Of the scene's last room.
    pub fn new(name: &str, world: &World, scene: Scene) -> Self {
        let client = Client::new(name, 1, world, scene.clone());
        let draws = Stream::new(scene.seed, name);
        let kills = Stream::new(scene.seed, &format!("{name} is killed"));
        let (name, world) = (name.to_owned(), world.clone());
        Self { name, world, scene, client, draws, kills, intents: 0 }
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
        while !self.client.rests() && !self.run_once(&command).await {
            sleep(AGAIN_AFTER).await;
        }
    }

    /// One run of the command line, which may be killed. Whether it has an outcome.
    async fn run_once(&mut self, command: &wire::Command) -> bool {
        let killed = self.kills.one_in(KILLED_ONE_IN);
        let after = Duration::from_millis(self.kills.below(KILLED_WITHIN_MS) + 1);
        if !killed {
            return self.attempt(command).await.is_ok();
        }
        // What it asked stays without an answer in the book, as for any process that ended.
        matches!(timeout(after, self.attempt(command)).await, Ok(Ok(())))
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
        let asked = self.writes_down(&mut session, &room, command);
        let settled = match session.resume(&mut cluster, STEP).await {
            Ok(Some(settled)) => Ok(settled),
            Ok(None) => session.submit(&mut cluster, STEP, &room, command.clone()).await,
            Err(failure) => Err(failure),
        };
        let mut asked = std::mem::take(&mut *lock(&asked));
        let last = asked.pop();
        // The cluster had closed the sessions of those before, and the command went into another one.
        for earlier in asked {
            self.scene.book.answered(earlier, Answer::Unknown);
        }
        let answer = |answer| {
            if let Some(op) = last {
                self.scene.book.answered(op, answer);
            }
        };
        match settled {
            Ok(settled) => {
                answer(Answer::Reply(Hex(settled.reply.encode_to_vec())));
                session.finish()
            }
            Err(unknown @ Failure::Unknown { .. }) => {
                answer(Answer::Unknown);
                Err(unknown)
            }
            Err(failure) => {
                // Refused by a node, or judged by the room: both are final, and which one it was is not told.
                answer(Answer::Unknown);
                session.finish()?;
                match failure {
                    Failure::Refused { .. } | Failure::Forgotten { .. } => Ok(()),
                    other => Err(other),
                }
            }
        }
    }

    /// Has all that the session asks written down before it is sent. The numbers of its commands' requests, in order.
    fn writes_down(
        &self,
        session: &mut Session,
        room: &RoomCode,
        command: &wire::Command,
    ) -> Arc<Mutex<Vec<u64>>> {
        let requests = Arc::<Mutex<Vec<u64>>>::default();
        let asked = Arc::clone(&requests);
        let (book, user) = (self.scene.book.clone(), self.name.clone());
        let (room, command) = (room.as_str().to_owned(), command.encode_to_vec());
        session.record(move |what| match what {
            Asked::Session(id) => {
                let request = Request::Open { session: Hex(id.to_wire()), user: user.clone() };
                let opening = book.invoked(&user, request);
                book.answered(opening, Answer::Unknown);
            }
            Asked::Command(id, number) => {
                let (session, command) = (Hex(id.to_wire()), Hex(command.clone()));
                let request = Request::Command { session, number, room: room.clone(), command };
                lock(&asked).push(book.invoked(&user, request));
            }
        });
        requests
    }
}

fn lock(requests: &Mutex<Vec<u64>>) -> MutexGuard<'_, Vec<u64>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}
