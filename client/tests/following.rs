//! The room that a listener follows, over nodes that come and go.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use futures_util::{Stream, stream};
use jam_client::connection::{Address, Bearer, Dialer};
use jam_client::follow::Follower;
use jam_client::news::{News, Reporter};
use jam_client::nodes::Nodes;
use jam_proto::event::{Event, EventKind};
use jam_proto::ids::{Revision, RoomCode};
use jam_proto::room::Room;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1 as wire;
use jam_world::World;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use wire::rooms_server::{Rooms, RoomsServer};
use wire::watch_message::Kind;

/// A node that says what the test has written down for each time it is asked.
#[derive(Clone, Default)]
struct Scripted {
    watches: Arc<Mutex<VecDeque<Vec<Kind>>>>,
    asked_after: Arc<Mutex<Vec<u64>>>,
}

impl Scripted {
    async fn start(self) -> Address {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = tonic::transport::Server::builder()
            .add_service(RoomsServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Address::parse(&address).expect("an address")
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Rooms for Scripted {
    type WatchStream = Answers<wire::WatchMessage>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.asked_after.lock().expect("held shortly").push(request.into_inner().after_revision);
        let script = self.watches.lock().expect("held shortly").pop_front();
        let script = script.ok_or_else(|| Status::unavailable("nothing more to say"))?;
        let said = script.into_iter().map(|kind| Ok(wire::WatchMessage { kind: Some(kind) }));
        Ok(Response::new(Box::pin(stream::iter(said))))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn submit(
        &self,
        _: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitReply>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn list_rooms(
        &self,
        _: Request<wire::ListRoomsRequest>,
    ) -> Result<Response<wire::ListRoomsReply>, Status> {
        Err(Status::unimplemented("not in this script"))
    }

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        Err(Status::unimplemented("not in this script"))
    }
}

fn event(revision: u64) -> Event {
    let kind = match revision {
        1 => EventKind::Created { code: code(), name: "Friday".into() },
        even if even % 2 == 0 => EventKind::Played,
        _ => EventKind::Paused { nobody_listening: false },
    };
    let at = SharedTime(revision as i64 * 1000);
    Event { revision: Revision(revision), stamp: at, effective_at: at, by: "ann".into(), kind }
}

fn code() -> RoomCode {
    RoomCode::from_random(42)
}

fn hello(cluster: u8) -> Kind {
    Kind::Hello(wire::WatchHello { cluster_id: vec![cluster], node: 1, ..Default::default() })
}

fn snapshot(revision: u64) -> Kind {
    Kind::Snapshot(room_at(revision).to_wire())
}

fn room_at(revision: u64) -> Room {
    let mut room = Room::begin(&event(1)).expect("a created event");
    (2..=revision).for_each(|next| room.fold(&event(next)).expect("in order"));
    room
}

fn events(revisions: std::ops::RangeInclusive<u64>) -> Kind {
    let events = revisions.map(|one| event(one).to_wire()).collect();
    Kind::Events(wire::Events { events, index: 0 })
}

async fn until_told(news: &mut mpsc::Receiver<News>, revision: u64) -> Vec<u64> {
    let mut told = Vec::new();
    while told.last() != Some(&revision) {
        if let News::Happened(event) = news.recv().await.expect("the follower lives") {
            told.push(event.revision.0);
        }
    }
    told
}

#[tokio::test]
async fn a_room_is_followed_through_lost_connections_without_gap_repeat_or_rewind() {
    let node = Scripted::default();
    let scripts = [
        vec![hello(1), snapshot(2), events(3..=3)],
        // It goes on where it was; a repeat is no news.
        vec![hello(1), events(2..=4), events(5..=6)],
        // A node that is behind, and one of another cluster, change nothing.
        vec![hello(1), snapshot(4), events(5..=5)],
        vec![hello(2), snapshot(2)],
        // A gap: what follows is not folded, and a snapshot is asked for.
        vec![hello(1), events(8..=8)],
        vec![hello(1), snapshot(8), events(9..=9)],
    ];
    node.watches.lock().expect("held shortly").extend(scripts);
    let asked_after = node.asked_after.clone();
    let nodes = Nodes::new(Dialer::new(World::real(), Bearer::default()), vec![node.start().await]);
    let (reporter, mut news) = Reporter::new();
    let room: Arc<ArcSwapOption<Room>> = Arc::default();
    let follower = Follower::new(nodes, code(), room.clone(), Vec::new(), reporter);
    let following = tokio::spawn(follower.run());
    assert_eq!(until_told(&mut news, 9).await, [3, 4, 5, 6, 9]);
    assert_eq!(room.load().as_deref(), Some(&room_at(9)));
    assert_eq!(asked_after.lock().expect("held shortly")[..6], [0, 3, 6, 6, 6, 0]);
    following.abort();
}
