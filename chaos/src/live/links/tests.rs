//! Real sockets on 127.0.0.1.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;

mod broken;
mod ends;
mod healthy;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must happen.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it never happened")
}

/// A link, and the listener that it leads to.
struct Site {
    link: Link,
    node: TcpListener,
}

impl Site {
    async fn new() -> Self {
        let node = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = node.local_addr().expect("an address");
        let link = Link::open("n1-n2", to, 7).await.expect("a link");
        Self { link, node }
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.link.address()).await.expect("a connection to the link")
    }

    /// A connection: the dialler's end and the target's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let dialler = self.dial().await;
        let (target, _) = soon(self.node.accept()).await.expect("a connection from the link");
        (dialler, target)
    }

    /// Waits until the counters say so.
    async fn until(&self, so: impl Fn(&Tally) -> bool) {
        let link = &self.link;
        let reached = async {
            while !so(&link.tally()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("never reached; at last {:?}", link.tally());
        }
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    soon(stream.write_all(bytes)).await.expect("sent");
}

async fn receive(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut received = vec![0; bytes];
    soon(stream.read_exact(&mut received)).await.expect("received");
    received
}

/// Bytes arrive, and it is the very ones.
async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    send(from, b"still here").await;
    assert_eq!(receive(to, 10).await, b"still here");
}

/// All that comes, and how it ends.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = soon(stream.read_to_end(&mut bytes)).await;
    (bytes, end.map(drop))
}

async fn assert_reset(stream: &mut TcpStream) {
    let (_, end) = rest(stream).await;
    assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

/// Nothing waits to be read. Means something only once it is known that there would be.
fn assert_silent(stream: &TcpStream) {
    let nothing = stream.try_read(&mut [0; 1]).expect_err("nothing to read");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

/// Bytes that are not all alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * i / 7 + i) as u8).collect()
}
