//! Follows a room: a follower of the log without a vote.
//!
//! Folds the committed events with the very code that the nodes apply them with, from whichever node answers.
//! Losing the connection changes nothing that is heard: the room that is known stays, and following goes on where it
//! was, for ever if need be.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::room::Room;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::watch_message::Kind;
use tokio::time::{sleep, timeout};

use crate::connection::Backoff;
use crate::error::Failure;
use crate::news::{News, Reporter};
use crate::nodes::Nodes;
use crate::refusal::Refusal;

/// Nodes send a mark about each second; one that is silent for so long is stopped or cut off.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// A node may wait this long for a room that was made a moment ago elsewhere.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(8);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The room as committed so far, kept up to date.
pub struct Follower {
    nodes: Arc<Nodes>,
    code: RoomCode,
    room: Arc<ArcSwapOption<Room>>,
    reporter: Reporter,
    /// Of the cluster that the room is in; empty: not known yet.
    cluster: Vec<u8>,
    /// What is known does not fit on what came: start over from a snapshot.
    start_over: bool,
    was_following: bool,
}

/// Why one stream ended.
enum Ended {
    /// Try another node.
    Lost(String),
    /// There is no such room, or we are not wanted.
    Refused(Failure),
}

impl Follower {
    /// Follows `code` into `room`. `cluster` is the id of the cluster, empty if it is not known.
    pub fn new(
        nodes: Arc<Nodes>,
        code: RoomCode,
        room: Arc<ArcSwapOption<Room>>,
        cluster: Vec<u8>,
        reporter: Reporter,
    ) -> Self {
        Self { nodes, code, room, reporter, cluster, start_over: false, was_following: false }
    }

    /// Follows for ever. Ends only if the nodes refuse before the room was ever known.
    pub async fn run(mut self) -> Failure {
        let mut backoff = Backoff::default();
        loop {
            let before = self.room.load().as_ref().map(|room| room.revision());
            match self.follow_one().await {
                Ended::Refused(failure) if self.room.load().is_none() => return failure,
                Ended::Refused(failure) => self.lost(failure.to_string()),
                Ended::Lost(why) => self.lost(why),
            }
            if self.room.load().as_ref().map(|room| room.revision()) != before {
                backoff.reset();
            }
            sleep(backoff.next_pause(PAUSE_MAX)).await;
        }
    }

    fn lost(&mut self, why: String) {
        if self.was_following {
            self.was_following = false;
            self.reporter.tell(News::Lost(why));
        }
    }

    async fn follow_one(&mut self) -> Ended {
        let door = match self.nodes.dial_next().await {
            Ok(door) => door,
            Err(why) => return Ended::Lost(why),
        };
        let known = self.room.load().as_ref().map_or(0, |room| room.revision().0);
        let request = wire::WatchRequest {
            cluster_id: self.cluster.clone(),
            room: self.code.as_str().to_owned(),
            after_revision: if self.start_over { 0 } else { known },
        };
        let answered = timeout(FIRST_ANSWER_MAX, async { door.rooms().watch(request).await }).await;
        let mut stream = match answered {
            Ok(Ok(stream)) => stream.into_inner(),
            Ok(Err(status)) => return ended(&status),
            Err(_) => return Ended::Lost("the node does not answer".into()),
        };
        let mut wait = FIRST_ANSWER_MAX;
        loop {
            let message = match timeout(wait, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Ended::Lost("the node ended the stream".into()),
                Ok(Err(status)) => return ended(&status),
                Err(_) => return Ended::Lost("the node fell silent".into()),
            };
            if let Err(why) = self.take(message) {
                return Ended::Lost(why);
            }
            wait = SILENCE_MAX;
        }
    }

    /// Takes one message in; an error ends the stream.
    fn take(&mut self, message: wire::WatchMessage) -> Result<(), String> {
        match message.kind {
            Some(Kind::Hello(hello)) => self.greet(&hello),
            Some(Kind::Snapshot(snapshot)) => self.replace(&snapshot),
            Some(Kind::Events(events)) => self.fold(&events.events),
            Some(Kind::Progress(_)) | None => Ok(()),
        }
    }

    fn greet(&mut self, hello: &wire::WatchHello) -> Result<(), String> {
        if self.cluster.is_empty() {
            self.cluster = hello.cluster_id.clone();
        }
        if self.cluster != hello.cluster_id {
            return Err(format!("node {} belongs to another cluster than the room", hello.node));
        }
        // The room counts as followed once something of it is known: a node may greet and then have to wait.
        if !self.was_following {
            let again = self.room.load().is_some();
            self.was_following = true;
            self.reporter.tell(News::Following { node: hello.node, again });
        }
        Ok(())
    }

    fn replace(&mut self, snapshot: &wire::RoomSnapshot) -> Result<(), String> {
        let room = Room::from_wire(snapshot)
            .map_err(|error| format!("a snapshot makes no sense: {error}"))?;
        if room.code() != &self.code {
            return Err("the node sent another room".into());
        }
        if self.room.load().as_ref().is_some_and(|known| known.revision() > room.revision()) {
            return Err("the node is behind what is known already".into());
        }
        self.start_over = false;
        let (name, revision) = (room.name().to_owned(), room.revision().0);
        self.reporter.tell(News::Snapshot { room: room.code().clone(), name, revision });
        self.room.store(Some(Arc::new(room)));
        Ok(())
    }

    /// All the events of one log entry become visible together.
    fn fold(&mut self, events: &[wire::Event]) -> Result<(), String> {
        let known = self.room.load_full();
        let mut room: Option<Room> = known.as_deref().cloned();
        let mut folded = Vec::with_capacity(events.len());
        for event in events {
            let event = Event::from_wire(event)
                .map_err(|error| format!("an event makes no sense: {error}"))?;
            match &mut room {
                Some(room) if event.revision <= room.revision() => continue,
                Some(room) => {
                    if let Err(out_of_order) = room.fold(&event) {
                        self.start_over = true;
                        return Err(out_of_order.to_string());
                    }
                }
                None => room = Some(Room::begin(&event).ok_or("events came before the room")?),
            }
            folded.push(event);
        }
        self.room.store(room.map(Arc::new));
        folded.into_iter().for_each(|event| self.reporter.tell(News::Happened(event)));
        Ok(())
    }
}

fn ended(status: &tonic::Status) -> Ended {
    match Refusal::of(status) {
        Refusal::Final { code, message } => Ended::Refused(Failure::Refused { code, message }),
        other => Ended::Lost(other.message().to_owned()),
    }
}
