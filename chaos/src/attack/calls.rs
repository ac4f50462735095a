//! Attacks by requests that anybody may make.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_proto::wire::v1::time_client::TimeClient;
use jam_proto::wire::v1::{
    Command, CreateRoom, Enqueue, FetchRequest, ListRoomsRequest, ListenerReport,
    OpenSessionRequest, StatusRequest, SubmitRequest, TimeProbe, TransferRequest, UploadChunk,
    UploadStart, WatchRequest,
};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::{SESSION_MARK, did};

/// Sessions of one attacker, so that no limit of one session holds it up.
const SESSIONS: usize = 40;
const ENQUEUES_IN_FLIGHT: usize = 400;
/// Entries of the room with a long queue.
const ENTRIES: u64 = 8_000;
const WATCHERS: usize = 150;
const STATUSES_AT_ONCE: usize = 100;
const LISTS_AT_ONCE: usize = 200;
const FETCHES: usize = 256;
const DRIPS: usize = 32;
const PROMISED_BYTES: u64 = 400 << 20;
const DRIP_EVERY: Duration = Duration::from_secs(1);
const LIARS: usize = 8;
/// How far away they say they are: an answer to a probe comes so late.
const LIE: Duration = Duration::from_millis(2900);
const TRANSFERS: u64 = 30;
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// After an answer that was a refusal.
const REST: Duration = Duration::from_millis(20);

/// Whom it attacks.
#[derive(Clone, Debug)]
pub struct Target {
    /// The nodes.
    pub servers: Vec<String>,
    /// Where people listen.
    pub room: String,
    /// A song that the cluster has.
    pub track: Vec<u8>,
}

impl Target {
    /// A connection of its own to one node after the other.
    fn channel(&self, number: usize) -> Channel {
        let server = &self.servers[number % self.servers.len()];
        let uri = format!("http://{server}");
        Endpoint::from_shared(uri).expect("an address").connect_lazy()
    }

    fn rooms(&self, number: usize) -> RoomsClient<Channel> {
        RoomsClient::new(self.channel(number)).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// A session, with its next number.
struct Session {
    rooms: RoomsClient<Channel>,
    id: Vec<u8>,
    next: AtomicU64,
}

impl Session {
    async fn open(target: &Target, number: usize) -> Option<Self> {
        let mut rooms = target.rooms(number);
        let id = blake3::hash(format!("{} {number}", std::process::id()).as_bytes());
        let id = [SESSION_MARK, &id.as_bytes()[..16 - SESSION_MARK.len()]].concat();
        let user = "attacker".to_owned();
        let request = OpenSessionRequest { session: id.clone(), user, deadline_ms: 0 };
        rooms.open_session(request).await.ok()?;
        Some(Self { rooms, id, next: AtomicU64::new(1) })
    }

    /// Whether it was done.
    async fn submit(&self, room: &str, kind: Kind) -> bool {
        let request = SubmitRequest {
            session: self.id.clone(),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            room: room.to_owned(),
            command: Some(Command { kind: Some(kind) }),
            deadline_ms: 0,
        };
        let done = self.rooms.clone().submit(request).await.is_ok();
        did();
        done
    }
}

/// A room of its own with a queue of one song, as long as wanted; many at one time.
async fn fill(target: &Target, entries: u64) -> String {
    let code = RoomCode::from_random(u64::from(std::process::id()) << 32).as_str().to_owned();
    let opened = join_all((0..SESSIONS).map(|number| Session::open(target, number))).await;
    let sessions: Vec<Arc<Session>> = opened.into_iter().flatten().map(Arc::new).collect();
    let Some(first) = sessions.first() else { return code };
    first.submit(&code, Kind::Create(CreateRoom { name: "long".to_owned() })).await;
    let enqueue = |number: u64| {
        let session = sessions[number as usize % sessions.len()].clone();
        let (code, track) = (code.clone(), target.track.clone());
        async move {
            if !session.submit(&code, Kind::Enqueue(Enqueue { track, next: false })).await {
                sleep(REST).await;
            }
        }
    };
    stream::iter(0..entries).map(enqueue).buffer_unordered(ENQUEUES_IN_FLIGHT).count().await;
    code
}

pub async fn enqueues(target: &Target) {
    fill(target, u64::MAX).await;
}

pub async fn watchers(target: &Target) {
    let room = fill(target, ENTRIES).await;
    let watch = |number| {
        let (mut rooms, room) = (target.rooms(number), room.clone());
        async move {
            let watch = rooms.watch(WatchRequest { room, ..WatchRequest::default() }).await;
            did();
            watch
        }
    };
    // Open, and nobody reads them.
    let held = join_all((0..WATCHERS).map(watch)).await;
    std::future::pending::<()>().await;
    drop(held);
}

pub async fn statuses(target: &Target) {
    let room = fill(target, ENTRIES).await;
    let ask = |number: usize| {
        let (mut rooms, room) = (target.rooms(number), room.clone());
        async move {
            loop {
                did();
                if rooms.status(StatusRequest { room: room.clone() }).await.is_err() {
                    sleep(REST).await;
                }
            }
        }
    };
    join_all((0..STATUSES_AT_ONCE).map(ask)).await;
}

pub async fn lists(target: &Target) {
    let ask = |number: usize| {
        let mut rooms = target.rooms(number);
        async move {
            loop {
                did();
                if rooms.list_rooms(ListRoomsRequest::default()).await.is_err() {
                    sleep(REST).await;
                }
            }
        }
    };
    join_all((0..LISTS_AT_ONCE).map(ask)).await;
}

pub async fn fetches(target: &Target) {
    let songs = SongsClient::new(target.channel(0));
    let fetch = |_| {
        let (mut songs, id) = (songs.clone(), target.track.clone());
        async move {
            let fetch = songs.fetch(FetchRequest { id, ..FetchRequest::default() }).await;
            did();
            fetch
        }
    };
    let held = join_all((0..FETCHES).map(fetch)).await;
    std::future::pending::<()>().await;
    drop(held);
}

/// Drips of songs that nobody has, each of which promises much.
pub async fn uploads(target: &Target) {
    let drip = |number: usize| {
        let mut songs = SongsClient::new(target.channel(number));
        async move {
            for attempt in 0_u64.. {
                let name = format!("{} {number} {attempt}", std::process::id());
                let id = blake3::hash(name.as_bytes()).as_bytes().to_vec();
                let start = UploadStart { id, bytes: PROMISED_BYTES, ..UploadStart::default() };
                let first = UploadChunk { start: Some(start), data: vec![7; 1 << 10].into() };
                let more =
                    stream::repeat_with(|| UploadChunk { start: None, data: vec![7].into() });
                let more = more.then(|chunk| async {
                    sleep(DRIP_EVERY).await;
                    chunk
                });
                did();
                let _ = songs.upload(stream::iter([first]).chain(more)).await;
                sleep(REST).await;
            }
        }
    };
    join_all((0..DRIPS).map(drip)).await;
}

/// Listeners that answer each time reply late, and say that they listen.
pub async fn liars(target: &Target) {
    let lie = |number: usize| {
        let mut time = TimeClient::new(target.channel(number));
        let room = target.room.clone();
        async move {
            loop {
                let (send, probes) = mpsc::unbounded_channel();
                let report = ListenerReport {
                    room: room.clone(),
                    user: format!("liar {number}"),
                    device: "a speaker".to_owned(),
                    state: "playing".to_owned(),
                    ..ListenerReport::default()
                };
                let probe =
                    |seq| TimeProbe { seq, immediate: seq > 1, report: Some(report.clone()) };
                // The receiver is there.
                let _ = send.send(probe(1));
                let Ok(replies) = time.sync(UnboundedReceiverStream::new(probes)).await else {
                    sleep(REST).await;
                    continue;
                };
                let mut replies = replies.into_inner();
                while let Ok(Some(reply)) = replies.message().await {
                    sleep(LIE).await;
                    did();
                    let _ = send.send(probe(reply.seq + 1));
                }
            }
        }
    };
    join_all((0..LIARS).map(lie)).await;
}

/// Moves the leader, again and again.
pub async fn transfers(target: &Target) {
    let mut cluster = ClusterClient::new(target.channel(0));
    for number in 0..TRANSFERS {
        let to = number % target.servers.len() as u64 + 1;
        did();
        if cluster.transfer(TransferRequest { to }).await.is_err() {
            sleep(REST).await;
        }
    }
    std::future::pending().await
}
