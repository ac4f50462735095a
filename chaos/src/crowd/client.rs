//! Clients that edit rooms at random, and know what they were told.
//!
//! They speak the public API themselves, so that every request and every answer is known.

use std::time::Duration;

use jam_cluster::refusal::code_of;
use jam_proto::time::Flicks;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_world::World;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{Nodes, Scene, Song};
use crate::history::{Answer, Digest, Hex, Request};
use crate::seed::Stream;

/// A request that takes longer is given up by its client.
const PATIENCE: Duration = Duration::from_millis(2500);
/// What a node is given less, so that its own word comes first.
const DEADLINE_MS: u32 = 2000;
/// Songs are sent in pieces of this size.
const CHUNK_BYTES: usize = 64 << 10;

/// One client.
pub struct Client {
    name: String,
    scene: Scene,
    nodes: Nodes,
    draws: Stream,
    session: [u8; 16],
    opened: bool,
    number: u64,
    /// Entries that it has seen, by room.
    seen: Vec<Vec<u64>>,
}

enum Sent {
    Reply(wire::SubmitReply),
    Refused,
    Unknown,
}

impl Client {
    /// The `life`th client of that name.
    pub fn new(name: &str, life: u32, world: &World, scene: Scene) -> Self {
        let mut draws = Stream::new(scene.seed, &format!("client {name}, life {life}"));
        let nodes = Nodes::of(world, &scene, &mut draws);
        let seen = vec![Vec::new(); scene.rooms.len()];
        let session = fresh(&mut draws);
        Self { name: name.to_owned(), scene, nodes, draws, session, opened: false, number: 0, seen }
    }

    /// Edits and reads until it is time to rest.
    pub async fn run(mut self) {
        while !self.rests() {
            sleep(Duration::from_millis(self.draws.below(120) + 1)).await;
            let room = self.draws.below(self.scene.rooms.len() as u64 - 1) as usize;
            match self.draws.below(8) {
                0 | 1 => drop(self.read(room).await),
                2 if self.draws.one_in(3) => {
                    let songs = self.scene.songs.clone();
                    let song = self.draws.below(songs.len() as u64) as usize;
                    self.upload(&songs[song]).await;
                }
                _ => {
                    let kind = self.invent(room);
                    self.edit(room, kind).await;
                }
            }
        }
    }

    /// Whether it is time to rest.
    pub(super) fn rests(&self) -> bool {
        self.scene.book.now_ns() >= self.scene.until_ns
    }

    async fn edit(&mut self, room: usize, kind: Kind) {
        if !self.opened && !self.open().await {
            return;
        }
        let command = wire::Command { kind: Some(kind) };
        self.number += 1;
        loop {
            match self.submit(room, &command).await {
                Sent::Reply(reply) => {
                    if reply.entry != 0 {
                        self.seen[room].push(reply.entry);
                    }
                    let code = reply.rejection.map(|rejection| rejection.code);
                    if matches!(code.as_deref(), Some("session_expired" | "stale")) {
                        self.session = fresh(&mut self.draws);
                        (self.opened, self.number) = (false, 0);
                    }
                    return;
                }
                Sent::Refused => {
                    // It will never be applied: the next wish may be another one.
                    if self.draws.one_in(2) {
                        return;
                    }
                }
                // Most ask again; some give up and never know.
                Sent::Unknown => {
                    if self.draws.one_in(4) {
                        return;
                    }
                }
            }
            if self.rests() {
                return;
            }
            self.nodes.go_on();
            sleep(Duration::from_millis(self.draws.below(200) + 10)).await;
        }
    }

    fn invent(&mut self, room: usize) -> Kind {
        let song = &self.scene.songs[self.draws.below(self.scene.songs.len() as u64) as usize];
        let track = song.track.to_vec();
        let seen = &self.seen[room];
        let newest = seen.len().saturating_sub(6);
        let pick = newest + self.draws.below((seen.len() - newest) as u64) as usize;
        let entry = seen.get(pick).copied();
        match (self.draws.below(14), entry) {
            (0, _) => Kind::Create(wire::CreateRoom { name: format!("by {}", self.name) }),
            (1..=3, _) | (_, None) => {
                Kind::Enqueue(wire::Enqueue { track, next: self.draws.one_in(3) })
            }
            (4, Some(entry)) => Kind::Remove(wire::RemoveEntry { entry }),
            (5, Some(entry)) => Kind::Move(wire::MoveEntry { entry, before: 0 }),
            (6, Some(entry)) => Kind::Pause(wire::Pause { entry }),
            (7 | 8, Some(entry)) => Kind::Play(wire::Play { entry }),
            (9, Some(entry)) => {
                let position = Flicks::from_nanos(self.draws.within(0..=900_000_000)).0;
                Kind::Seek(wire::Seek { entry, position })
            }
            (10, Some(entry)) => Kind::Skip(wire::Skip { entry }),
            (11, Some(entry)) => Kind::Back(wire::Back { entry }),
            (_, Some(_)) => {
                let name = format!("{} {}", self.name, self.draws.below(1000));
                Kind::Rename(wire::RenameRoom { name })
            }
        }
    }

    async fn open(&mut self) -> bool {
        let request =
            Request::Open { session: Hex(self.session.to_vec()), user: self.name.clone() };
        let op = self.scene.book.invoked(&self.name, request);
        let request = wire::OpenSessionRequest {
            session: self.session.to_vec(),
            user: self.name.clone(),
            deadline_ms: DEADLINE_MS,
        };
        let mut rooms = RoomsClient::new(self.nodes.current());
        let sent = timeout(PATIENCE, rooms.open_session(request)).await;
        self.opened = matches!(sent, Ok(Ok(_)));
        self.scene.book.answered(op, self.answer(sent, |_| Answer::Opened));
        if !self.opened {
            self.nodes.go_on();
        }
        self.opened
    }

    async fn submit(&mut self, room: usize, command: &wire::Command) -> Sent {
        let code = self.scene.rooms[room].as_str().to_owned();
        let request = Request::Command {
            session: Hex(self.session.to_vec()),
            number: self.number,
            room: code.clone(),
            command: Hex(command.encode_to_vec()),
        };
        let op = self.scene.book.invoked(&self.name, request);
        let request = wire::SubmitRequest {
            session: self.session.to_vec(),
            number: self.number,
            room: code,
            command: Some(command.clone()),
            deadline_ms: DEADLINE_MS,
        };
        let mut rooms = RoomsClient::new(self.nodes.current());
        let sent = timeout(PATIENCE, rooms.submit(request)).await;
        let reply = match &sent {
            Ok(Ok(reply)) => Some(reply.get_ref().clone()),
            _ => None,
        };
        let answer = self.answer(sent, |reply| Answer::Reply(Hex(reply.encode_to_vec())));
        let ended = match (reply, &answer) {
            (Some(reply), _) => Sent::Reply(reply),
            (None, Answer::Refused { .. }) => Sent::Refused,
            (None, _) => Sent::Unknown,
        };
        self.scene.book.answered(op, answer);
        ended
    }

    /// Looks at a room; the entries that it has now, the current one first, if the answer came.
    pub(super) async fn read(&mut self, room: usize) -> Vec<u64> {
        let code = self.scene.rooms[room].as_str().to_owned();
        let op = self.scene.book.invoked(&self.name, Request::Read { room: code.clone() });
        let mut rooms = RoomsClient::new(self.nodes.current());
        let sent = timeout(PATIENCE, rooms.status(wire::StatusRequest { room: code })).await;
        if let Ok(Ok(reply)) = &sent
            && let Some(found) = &reply.get_ref().room
        {
            let entries = found.current.iter().chain(&found.upcoming).map(|entry| entry.id);
            self.seen[room] = entries.collect();
        }
        let failed = !matches!(sent, Ok(Ok(_)));
        let answer = self.answer(sent, |reply| match &reply.room {
            Some(room) => {
                Answer::Room { revision: room.revision, digest: Digest::of_snapshot(room) }
            }
            None => Answer::NoRoom,
        });
        self.scene.book.answered(op, answer);
        if failed {
            self.nodes.go_on();
            return Vec::new();
        }
        self.seen[room].clone()
    }

    /// Whether the cluster says that it is kept.
    pub(super) async fn upload(&mut self, song: &Song) -> bool {
        let request = Request::Upload { track: Hex(song.track.to_vec()) };
        let op = self.scene.book.invoked(&self.name, request);
        let start = wire::UploadStart {
            id: song.track.to_vec(),
            bytes: song.bytes.len() as u64,
            offset: 0,
            file_name: "song.wav".into(),
        };
        let first = wire::UploadChunk { start: Some(start), ..wire::UploadChunk::default() };
        let rest = song.bytes.chunks(CHUNK_BYTES).map(|data| wire::UploadChunk {
            data: data.to_vec().into(),
            ..wire::UploadChunk::default()
        });
        let chunks: Vec<_> = std::iter::once(first).chain(rest).collect();
        let mut client = SongsClient::new(self.nodes.current());
        let sent = timeout(PATIENCE * 4, client.upload(tokio_stream::iter(chunks))).await;
        let stored = matches!(sent, Ok(Ok(_)));
        self.scene.book.answered(op, self.answer(sent, |_| Answer::Stored));
        if !stored {
            self.nodes.go_on();
        }
        stored
    }

    /// What an outcome means.
    fn answer<T>(
        &self,
        sent: Result<Result<tonic::Response<T>, Status>, tokio::time::error::Elapsed>,
        good: impl FnOnce(&T) -> Answer,
    ) -> Answer {
        match sent {
            Ok(Ok(reply)) => good(reply.get_ref()),
            Ok(Err(status)) => match code_of(&status) {
                None | Some("unknown" | "internal") => Answer::Unknown,
                Some("room_unknown") => Answer::NoRoom,
                Some(code) => Answer::Refused { code: code.to_owned() },
            },
            Err(_) => Answer::Unknown,
        }
    }
}

fn fresh(draws: &mut Stream) -> [u8; 16] {
    let mut session = [0; 16];
    session[..8].copy_from_slice(&draws.draw().to_le_bytes());
    session[8..].copy_from_slice(&draws.draw().to_le_bytes());
    session
}
