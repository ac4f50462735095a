//! The room that a listener follows, over nodes that come and go.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use futures_util::{Stream, StreamExt, stream};
use jam_client::clock::{BEHIND_MAX, Commits};
use jam_client::connection::{Address, Bearer, Dialer};
use jam_client::follow::{FollowConfig, Follower, Outdated};
use jam_client::news::{News, Reporter};
use jam_client::nodes::Nodes;
use jam_proto::event::{Event, EventKind};
use jam_proto::ids::{Revision, RoomCode};
use jam_proto::room::Room;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1 as wire;
use jam_world::World;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use wire::rooms_server::{Rooms, RoomsServer};
use wire::watch_message::Kind;

/// A node that says what the test has written down for each time it is asked.
#[derive(Clone, Default)]
struct Scripted {
    /// Streams stay open once all is said.
    stays: bool,
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
        let said = stream::iter(said);
        Ok(Response::new(match self.stays {
            true => Box::pin(said.chain(stream::pending())),
            false => Box::pin(said),
        }))
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
    let follower = Follower::new(FollowConfig {
        nodes,
        cluster: Vec::new(),
        code: code(),
        room: room.clone(),
        followed: Arc::default(),
        commits: Arc::default(),
        reporter,
    });
    let following = tokio::spawn(follower.run());
    assert_eq!(until_told(&mut news, 9).await, [3, 4, 5, 6, 9]);
    assert_eq!(room.load().as_deref(), Some(&room_at(9)));
    assert_eq!(asked_after.lock().expect("held shortly")[..6], [0, 3, 6, 6, 6, 0]);
    following.abort();
}

/// What a node says that has applied its log up to `applied`.
fn hello_of(node: u64, stale_ms: Option<u64>, applied: u64) -> Kind {
    Kind::Hello(wire::WatchHello { cluster_id: vec![1], node, stale_ms, applied })
}

fn progress(revision: u64, applied: u64, stale_ms: Option<u64>) -> Kind {
    Kind::Progress(wire::Progress { revision, applied, stale_ms })
}

/// Follows the node that says `first`, and knows of one that says `other` soon after; the news until `until`.
async fn told(
    first: Vec<Kind>,
    other: Vec<Kind>,
    commits: Commits,
    until: impl Fn(&News) -> bool,
) -> Vec<String> {
    let node = |script: &[Kind]| {
        let watches = Arc::new(Mutex::new(std::iter::repeat_n(script.to_vec(), 9).collect()));
        Scripted { stays: true, watches, asked_after: Arc::default() }.start()
    };
    let dialer = Dialer::new(World::real(), Bearer::default());
    let nodes = Nodes::new(dialer, vec![node(&first).await]);
    let (reporter, mut news) = Reporter::new();
    let follower = Follower::new(FollowConfig {
        nodes: nodes.clone(),
        cluster: Vec::new(),
        code: code(),
        room: Arc::default(),
        followed: Arc::default(),
        commits: Arc::new(commits),
        reporter,
    });
    let following = tokio::spawn(follower.run());
    let mut told = Vec::new();
    loop {
        let next = news.recv().await.expect("the follower lives");
        match &next {
            News::Snapshot { .. } => nodes.learn(node(&other).await),
            other => told.push(format!("{other:?}")),
        }
        if until(&next) {
            following.abort();
            return told;
        }
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_left_for_one_that_is_not() {
    let cut_off = vec![hello_of(1, None, 5), snapshot(2), progress(2, 5, Some(1200))];
    let healthy = vec![hello_of(2, None, 6), events(3..=3)];
    let heard = |news: &News| matches!(news, News::Happened(_));
    let told = told(cut_off, healthy, Commits::default(), heard).await;
    assert_eq!(told[0], format!("{:?}", News::Following { node: 1, again: false }));
    let changed = News::Changed { from: 1, to: 2, why: Outdated::CutOff };
    assert!(told.contains(&format!("{changed:?}")), "{told:?}");
}

#[tokio::test]
async fn a_node_that_is_late_is_left_for_one_that_is_not() {
    let commits = Commits::default();
    commits.name(9, Instant::now() - BEHIND_MAX);
    let late = vec![hello_of(1, None, 5), snapshot(2), progress(2, 8, None)];
    let prompt = vec![hello_of(2, None, 9), events(3..=3)];
    let told = told(late, prompt, commits, |news| matches!(news, News::Happened(_))).await;
    let changed = News::Changed { from: 1, to: 2, why: Outdated::Lags };
    assert!(told.contains(&format!("{changed:?}")), "{told:?}");
}

#[tokio::test]
async fn where_no_node_is_better_the_old_one_is_followed_on() {
    let cut_off = vec![hello_of(1, Some(1200), 5), snapshot(2)];
    let as_well = vec![hello_of(2, Some(1300), 6), events(3..=3)];
    let stays = |news: &News| matches!(news, News::Outdated { .. });
    let told = told(cut_off, as_well, Commits::default(), stays).await;
    let outdated = News::Outdated { node: 1, why: Outdated::CutOff };
    assert_eq!(told.last(), Some(&format!("{outdated:?}")));
    assert!(!told.iter().any(|news| news.starts_with("Happened")), "{told:?}");
}
