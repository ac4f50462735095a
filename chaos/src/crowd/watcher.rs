//! Watches a room for the whole run, from one node after another.

use std::time::Duration;

use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::watch_message::Kind;
use jam_world::World;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::{Nodes, Scene};
use crate::history::{Got, Hex, What};
use crate::seed::Stream;

/// A node says something about each second.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(8);

/// One watcher.
pub struct Watcher {
    id: u64,
    scene: Scene,
    nodes: Nodes,
    draws: Stream,
    /// Goes on where it was, or begins anew each time.
    resumes: bool,
    revision: u64,
}

impl Watcher {
    /// The `id`th watcher, in its `life`th life.
    pub fn new(id: u64, life: u32, world: &World, scene: Scene) -> Self {
        let mut draws = Stream::new(scene.seed, &format!("watcher {id}, life {life}"));
        let nodes = Nodes::of(world, &scene, &mut draws);
        let resumes = !draws.one_in(4);
        Self { id, scene, nodes, draws, resumes, revision: 0 }
    }

    /// Watches for ever.
    pub async fn run(mut self) {
        let room = self.scene.rooms[self.id as usize % self.scene.rooms.len()].clone();
        loop {
            let after = if self.resumes { self.revision } else { 0 };
            let (watcher, node) = (self.id, self.nodes.place());
            let code = room.as_str().to_owned();
            self.scene.book.note(What::Watch { watcher, node, room: code.clone(), after });
            let request =
                wire::WatchRequest { cluster_id: Vec::new(), room: code, after_revision: after };
            let mut rooms = RoomsClient::new(self.nodes.current());
            let why = match timeout(FIRST_ANSWER_MAX, rooms.watch(request)).await {
                Ok(Ok(stream)) => self.follow(stream.into_inner()).await,
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => "no answer".to_owned(),
            };
            self.scene.book.note(What::WatchEnded { watcher, why });
            self.nodes.go_on();
            sleep(Duration::from_millis(self.draws.below(400) + 20)).await;
        }
    }

    async fn follow(&mut self, mut stream: Streaming<wire::WatchMessage>) -> String {
        let wait_ms = self.draws.below(20_000) + 2_000;
        let until_ns = self.scene.book.now_ns() + wait_ms as i64 * 1_000_000;
        // Some leave a healthy node, too, but not in the end: by then all must have everything.
        let stays = |now_ns: i64| now_ns < until_ns || now_ns >= self.scene.healed_ns;
        while stays(self.scene.book.now_ns()) {
            let message = match timeout(SILENCE_MAX, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return "the node ended it".to_owned(),
                Ok(Err(status)) => return status.message().to_owned(),
                Err(_) => return "silence".to_owned(),
            };
            let got = match message.kind {
                Some(Kind::Snapshot(snapshot)) => {
                    self.revision = snapshot.revision;
                    Got::Snapshot(Hex(snapshot.encode_to_vec()))
                }
                Some(Kind::Events(events)) => {
                    self.revision =
                        events.events.last().map_or(self.revision, |last| last.revision);
                    Got::Events(events.events.iter().map(|one| Hex(one.encode_to_vec())).collect())
                }
                Some(Kind::Progress(mark)) => {
                    Got::Progress { revision: mark.revision, applied: mark.applied }
                }
                Some(Kind::Hello(_)) | None => continue,
            };
            self.scene.book.note(What::Watched { watcher: self.id, got });
        }
        "it had enough".to_owned()
    }
}
