//! A listener on a simulated machine: the real one, from the room to what its virtual device takes.

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::sync::Mutex;

use futures_util::stream::{self, BoxStream, StreamExt};
use jam_client::audio::{OutputSpec, PlayerConfig, PlayerState, Sink, VIRTUAL_RATE, VirtualSpec};
use jam_client::connection::{Address, Bearer, Dialer};
use jam_client::listener::{Listener, ListenerConfig};
use jam_client::songs::disk::DiskCache;
use jam_proto::event::{Entry, Event, EventKind};
use jam_proto::ids::{EntryId, Revision, RoomCode, TrackId};
use jam_proto::room::Room;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::v1 as wire;
use tonic::{Request, Response, Status, Streaming};
use wire::rooms_server::{Rooms, RoomsServer};
use wire::songs_server::{Songs, SongsServer};
use wire::time_server::{self, TimeServer};

use super::grpc::Incoming;
use super::*;

const SECS: u32 = 20;
const HERTZ: f64 = 20.0;
const SECOND_NS: i64 = 1_000_000_000;
/// When the music begins, by true time.
const BEGINS_NS: i64 = 2 * SECOND_NS;

/// A node that leads, whose shared time is its raw clock, and which plays one song in one room.
#[derive(Clone)]
struct Node {
    world: World,
    room: Arc<Room>,
    song: Arc<Vec<u8>>,
    listening: Arc<AtomicU32>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl time_server::Time for Node {
    type SyncStream = Answers<wire::TimeReply>;

    async fn sync(
        &self,
        probes: Request<Streaming<wire::TimeProbe>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        /// Until the listener has left.
        struct Present(Arc<AtomicU32>);
        impl Drop for Present {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.listening.fetch_add(1, Ordering::Relaxed);
        let (world, present) = (self.world.clone(), Present(self.listening.clone()));
        let replies = probes.into_inner().map(move |probe| {
            let _ = &present;
            let now = Flicks::from_nanos(world.clock.raw_ns()).0;
            Ok(wire::TimeReply {
                seq: probe?.seq,
                received: now,
                sent: now,
                cluster_id: vec![1],
                node: 1,
                term: 1,
                epoch: 1,
                leads: true,
                leader: 1,
                ..wire::TimeReply::default()
            })
        });
        Ok(Response::new(replies.boxed()))
    }
}

#[tonic::async_trait]
impl Rooms for Node {
    type WatchStream = Answers<wire::WatchMessage>;

    async fn watch(
        &self,
        _: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        use wire::watch_message::Kind;
        let hello = Kind::Hello(wire::WatchHello { cluster_id: vec![1], node: 1 });
        let said = [hello, Kind::Snapshot(self.room.to_wire())];
        let said = said.map(|kind| Ok(wire::WatchMessage { kind: Some(kind) }));
        Ok(Response::new(stream::iter(said).chain(stream::pending()).boxed()))
    }

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn submit(
        &self,
        _: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_rooms(
        &self,
        _: Request<wire::ListRoomsRequest>,
    ) -> Result<Response<wire::ListRoomsReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

#[tonic::async_trait]
impl Songs for Node {
    type FetchStream = Answers<wire::FetchChunk>;

    async fn fetch(
        &self,
        request: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let rest = &self.song[request.into_inner().offset as usize..];
        let chunks: Vec<_> = rest
            .chunks(32 << 10)
            .map(|data| Ok(wire::FetchChunk { data: data.to_vec().into() }))
            .collect();
        Ok(Response::new(stream::iter(chunks).boxed()))
    }

    async fn have(
        &self,
        _: Request<wire::HaveRequest>,
    ) -> Result<Response<wire::HaveReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn upload(
        &self,
        _: Request<Streaming<wire::UploadChunk>>,
    ) -> Result<Response<wire::UploadReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

async fn serve(node: Node) -> turmoil::Result {
    let listener = node.world.net.listen(([0, 0, 0, 0], 7400).into()).await?;
    let incoming = stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(Incoming), listener))
    });
    let routes = tonic::transport::Server::builder()
        .add_service(TimeServer::new(node.clone()))
        .add_service(RoomsServer::new(node.clone()))
        .add_service(SongsServer::new(node));
    Ok(routes.serve_with_incoming(incoming).await?)
}

/// A slow sine, so that each of its values says when it is due.
fn tone(seconds: f64) -> f64 {
    0.5 * (TAU * HERTZ * seconds).sin()
}

fn song() -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: VIRTUAL_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).expect("a header");
    for frame in 0..SECS * VIRTUAL_RATE {
        let value = tone(f64::from(frame) / f64::from(VIRTUAL_RATE));
        writer.write_sample((value * 32_767.0) as i16).expect("a sample");
    }
    writer.finalize().expect("whole");
    bytes.into_inner()
}

fn room(code: RoomCode, track: TrackId, begins: SharedTime) -> Room {
    let entry = Entry {
        id: EntryId(1),
        track,
        title: "tone".into(),
        artist: String::new(),
        frames: u64::from(SECS * VIRTUAL_RATE),
        sample_rate: VIRTUAL_RATE,
        added_by: "ann".into(),
    };
    let event = |revision, kind| Event {
        revision: Revision(revision),
        stamp: begins,
        effective_at: begins,
        by: "ann".into(),
        kind,
    };
    let created = EventKind::Created { code, name: "test".into() };
    let mut room = Room::begin(&event(1, created)).expect("a room begins");
    room.fold(&event(2, EventKind::Enqueued { entry, before: None })).expect("in order");
    room.fold(&event(3, EventKind::Played)).expect("in order");
    room
}

/// The instants of its frames, and the left channel's samples.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<(i64, f32)>>>);

impl Sink for Ear {
    fn take(&mut self, _first_frame: u64, at_mono_ns: i64, sound: &[f32]) {
        let mut heard = self.0.lock().expect("one thread");
        heard.push((at_mono_ns, sound[0]));
    }

    fn silence(&mut self, _first_frame: u64, _frames: u64) {
        panic!("the device never stands still");
    }
}

#[test]
fn a_listener_hears_the_room_in_simulated_time_and_says_goodbye() -> turmoil::Result {
    let time = Time::new();
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .tick_duration(crate::sim::time::STEP)
        .simulation_duration(Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        .build();
    let song = song();
    let track = TrackId(*blake3::hash(&song).as_bytes());
    let code = RoomCode::from_random(7);
    let server = Machine::new(1, "server", &time);
    let begins = SharedTime(Flicks::from_nanos(server.clocks().raw_at(BEGINS_NS)).0);
    let node = Node {
        world: server.world(),
        room: Arc::new(room(code.clone(), track, begins)),
        song: Arc::new(song),
        listening: Arc::default(),
    };
    let listening = node.listening.clone();
    sim.host("server", move || serve(node.clone()));
    let (machine, ear) = (Machine::new(1, "client", &time), Ear::default());
    let (client, sink) = (machine.clone(), ear.clone());
    sim.client("client", async move {
        let world = client.world();
        let cache = DiskCache::open(&world, PathBuf::from("/songs"), 1 << 30)?;
        let mut listener = Listener::start(ListenerConfig {
            dialer: Dialer::new(world, Bearer::default()),
            cluster: vec![1],
            addresses: vec![Address::parse("server:7400")?],
            room: code,
            user: "bob".into(),
            cache,
            player: PlayerConfig {
                output: OutputSpec::Virtual(VirtualSpec { drift_ppm: 60.0, wav: None }),
                host: None,
                volume: 1.0,
                trim_ns: 0,
                trace: None,
                sink: Some(Box::new(sink)),
                urgent: false,
            },
        })?;
        let listened = tokio::time::timeout(Duration::from_secs(15), listener.run(|_, _| ()));
        assert!(listened.await.is_err(), "the node refuses nothing");
        let look = listener.look();
        assert_eq!(look.status.state, PlayerState::Playing);
        assert_eq!((look.status.underruns, look.status.jumps), (0, 0));
        assert!(look.song_here);
        assert_eq!(listening.load(Ordering::Relaxed), 1);
        listener.stop().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(listening.load(Ordering::Relaxed), 0, "the node knows that it has left");
        Ok(())
    });
    run(&time, &mut sim)?;

    // Each sample is the one that is due at its true instant, give or take what a network of milliseconds leaves.
    let clocks = machine.clocks();
    let mono_a_second = clocks.mono_at(SECOND_NS) - clocks.mono_at(0);
    let begun_ns = server.clocks().raw_at(BEGINS_NS);
    let heard = ear.0.lock().expect("one thread");
    let mut compared = 0;
    for (at_mono_ns, sample) in heard.iter() {
        let since_ns = i128::from(at_mono_ns - clocks.mono_at(0));
        let true_ns = (since_ns * i128::from(SECOND_NS) / i128::from(mono_a_second)) as i64;
        if (8..14).contains(&(true_ns / SECOND_NS)) {
            let due = tone((server.clocks().raw_at(true_ns) - begun_ns) as f64 * 1e-9);
            assert!((f64::from(*sample) - due).abs() < 0.1, "{sample} instead of {due}");
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
    Ok(())
}
