//! A door with clients at it, in memory, by virtual time.

use std::io;

use axum::body::{Body, to_bytes};
use axum::middleware;
use axum::routing::{get, post};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::{Request, StatusCode};
use jam_world::{Net, Stream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

mod stuck;

use super::*;
use crate::api::admission::{self, Admission, Serves};
use crate::config::Access;

const TOKEN: &str = "what clients show";
const AUTHORIZATION: &str = "Bearer what clients show";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

type Accepted = (Stream, SocketAddr);

#[derive(Debug)]
struct Line(mpsc::UnboundedSender<DuplexStream>);

impl Net for Line {
    fn dial(&self, _: String) -> BoxFuture<'static, io::Result<Stream>> {
        let (here, there) = duplex(64 << 10);
        let sent = self.0.send(there);
        async move {
            sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let stream: Stream = Box::new(here);
            Ok(stream)
        }
        .boxed()
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        unreachable!("the door has its listener")
    }
}

#[derive(Debug)]
struct Incoming(Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl Listener for Incoming {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        async move {
            match self.0.lock().await.recv().await {
                Some(stream) => Ok((Box::new(stream) as Stream, ([127, 0, 0, 1], 1).into())),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

/// A door that is open until this is dropped.
struct Open {
    world: World,
    _stop: watch::Sender<bool>,
}

impl Open {
    fn new() -> Self {
        let access = Access { token: Some(TOKEN.to_owned()), ..Access::default() };
        let took = async |request: axum::extract::Request| {
            let body = to_bytes(request.into_body(), usize::MAX).await.expect("a body");
            format!("{} bytes", body.len())
        };
        let router = Router::new()
            .route("/readyz", get(async || "ready"))
            .route("/bytes", post(took))
            .route("/never", get(std::future::pending::<&str>))
            .layer(middleware::from_fn_with_state(
                Arc::new(Admission::new(&access, Serves::All)),
                admission::check,
            ));
        let (dial, incoming) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(
            Box::new(Incoming(Mutex::new(incoming))),
            router,
            Arc::default(),
            None,
            stopped,
        ));
        Self { world: World { net: Arc::new(Line(dial)), ..World::real() }, _stop: stop }
    }

    fn client(&self) -> Channel {
        self.world.channel(Endpoint::from_static("http://localhost"))
    }

    /// A connection that has sent these bytes.
    async fn raw(&self, bytes: &[u8]) -> Stream {
        let mut stream = self.world.net.dial(String::new()).await.expect("a line");
        stream.write_all(bytes).await.expect("sent");
        stream
    }

    /// One over HTTP/2 that has asked for what only a guest gets.
    async fn raw_guest(&self, path: &str) -> Stream {
        // HPACK (RFC 7541): GET, http, and literals that are not indexed.
        let mut head = vec![0x82, 0x86];
        for (name, value) in
            [(":path", path), (":authority", "localhost"), ("authorization", AUTHORIZATION)]
        {
            for text in [name, value] {
                if text == name {
                    head.push(0);
                }
                head.push(text.len() as u8);
                head.extend(text.as_bytes());
            }
        }
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        // The end of its headers and of its stream.
        bytes.extend(frame(1, 5, 1, &head));
        self.raw(&bytes).await
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Answers pings, as a client with nothing to ask, until the other end closes; then says which frames came.
async fn stay(stream: &mut Stream) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        kinds.push(kind);
        if kind == PING
            && flags == 0
            && stream.write_all(&frame(PING, 1, 0, &payload)).await.is_err()
        {
            break;
        }
    }
    kinds
}

/// Asks; a token is shown.
async fn ask(
    client: &Channel,
    request: http::request::Builder,
    body: Body,
) -> (StatusCode, String) {
    let request = request.header("authorization", AUTHORIZATION);
    let request: Request<tonic::body::Body> =
        request.body(tonic::body::Body::new(body)).expect("a request");
    let response = client.clone().oneshot(request).await.expect("an answer");
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await.expect("a body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn is_served(client: &Channel) -> bool {
    ask(client, Request::get("http://localhost/readyz"), Body::empty()).await.1 == "ready"
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_is_sent_away() {
    let door = Open::new();
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let began = Instant::now();
    let said = stay(&mut door.raw(&opening).await).await;
    assert!(said.contains(&GOAWAY), "it is told: {said:?}");
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    for held in [
        "",
        "PRI * HTTP/2.0\r\n",
        "POST /bytes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let began = Instant::now();
        let mut stream = door.raw(held.as_bytes()).await;
        // An error is an end, too.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        assert!(began.elapsed() < Duration::from_secs(11), "{held:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_shut_nobody_out() {
    let door = Open::new();
    let guest = door.client();
    assert!(is_served(&guest).await);
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS_MAX {
        strangers.push(door.raw(PREFACE).await);
    }
    let began = Instant::now();
    for _ in 0..10 {
        strangers.push(door.raw(PREFACE).await);
        assert!(is_served(&door.client()).await, "a newcomer");
        assert!(is_served(&guest).await, "who was in before");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "before they go by themselves");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_asks_nothing_is_told_to_go() {
    let door = Open::new();
    let mut waits = door.raw_guest("/never").await;
    let waits = tokio::spawn(async move { stay(&mut waits).await });
    let client = door.client();
    assert!(is_served(&client).await);
    // Its connection has been quiet for long, and the next request goes by another one.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(is_served(&client).await);
    assert!(!waits.is_finished(), "what waits for an answer stays");
    let began = Instant::now();
    let said = stay(&mut door.raw_guest("/readyz").await).await;
    assert!(said.contains(&GOAWAY), "it is told: {said:?}");
    assert_eq!(began.elapsed().as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_cheap_frames_ends_its_connection() {
    let door = Open::new();
    for (kind, stream, payload) in
        [(PING, 0, &[0; 8][..]), (SETTINGS, 0, &[]), (8, 0, &[0, 0, 0, 1]), (2, 3, &[0; 5])]
    {
        let (mut read, mut write) = tokio::io::split(door.raw_guest("/never").await);
        let reading = tokio::spawn(async move {
            let mut said = Vec::new();
            let _ = read.read_to_end(&mut said).await;
            said
        });
        let one = frame(kind, 0, stream, payload);
        let mut sent = 0;
        // It has its budget, and what comes back in the time that this takes.
        while sent < 100_000 && write.write_all(&one).await.is_ok() {
            sent += 1;
        }
        let said = reading.await.expect("read");
        assert!((8_000..20_000).contains(&sent), "{sent} frames of kind {kind}");
        let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
        assert!(said.windows(5).any(|bytes| bytes == &goaway[..5]), "kind {kind} is told");
    }
    assert!(is_served(&door.client()).await);
}

#[tokio::test(start_paused = true)]
async fn a_busy_client_never_meets_the_limits() {
    let door = Open::new();
    let client = door.client();
    let upload =
        |bytes: usize| ask(&client, Request::post("http://localhost/bytes"), vec![7; bytes].into());
    // Songs, and a thousand small requests at once, again and again; all by one connection.
    let songs = join_all((0..8).map(|_| upload(8 << 20)));
    let small = async {
        for _ in 0..20 {
            for (status, said) in join_all((0..1000).map(upload)).await {
                assert_eq!(status, StatusCode::OK, "{said}");
            }
        }
    };
    let (songs, ()) = tokio::join!(songs, small);
    for song in songs {
        assert_eq!(song, (StatusCode::OK, format!("{} bytes", 8 << 20)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_so_many_requests_in_a_second() {
    let door = Open::new();
    let client = door.client();
    assert!(is_served(&client).await);
    let began = Instant::now();
    for _ in 0..60 {
        assert!(join_all((0..400).map(|_| is_served(&client))).await.into_iter().all(|ok| ok));
    }
    // 24,000 of them, of which 4,000 are free.
    let took = began.elapsed();
    assert!((9..=11).contains(&took.as_secs()), "{took:?}");
}
