//! One port for everything: gRPC and plain HTTP, HTTP/1 and HTTP/2.
//!
//! What a single client may take is bounded here, below all services: connections, streams on one
//! connection, headers, frames, requests, and the time until it has shown that it may come in.

pub mod bucket;
mod connection;
mod door;
mod frames;
mod slots;
mod visit;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::{StreamExt, stream};
use jam_world::Listener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::service::Routes;
use tonic::transport::Server;

use crate::lines::{Line, Lines};
use connection::Connection;
use door::Door;
use visit::Visit;

pub use connection::Caller;
pub use slots::{Full, STRANGERS_MAX, Who};
pub use visit::Answer;

/// Streams at one time on one connection.
const STREAMS_MAX: u32 = 512;
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A client that answers no ping for the sum of these is gone, and its listener with it.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept, which most often means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets what is under way end. `strangers_per_address`: how many connections of one address may be
/// open at one time that have not shown that they may come in; `None`: the default. `lines`: what their answers may take.
pub async fn serve(
    listener: Box<dyn Listener>,
    router: Router,
    lines: Arc<Lines>,
    strangers_per_address: Option<usize>,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    let routes = Routes::from(router).prepare();
    let door = Arc::new(Door::new(strangers_per_address));
    let mut served = JoinSet::new();
    loop {
        let (connection, visit, line) = tokio::select! {
            accepted = accept(listener.as_ref(), &door, &lines) => accepted,
            Some(_) = served.join_next() => continue,
            // An error means that the node is gone: then nothing is served either.
            _ = stop.wait_for(|stop| *stop) => break,
        };
        served.spawn(attend(server.clone(), routes.clone(), connection, visit, line, stop.clone()));
    }
    drop(listener);
    while served.join_next().await.is_some() {}
}

/// As many file descriptors as the system lets us have: each connection takes one, and the usual
/// soft limit is made for programs that use select(2).
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn accept(
    listener: &dyn Listener,
    door: &Arc<Door>,
    lines: &Lines,
) -> (Connection, Arc<Visit>, Arc<Line>) {
    loop {
        door.room().await;
        match listener.accept().await {
            Ok((stream, from)) => match door.arrive(from) {
                Ok(visit) => {
                    let line = lines.open(from);
                    return (Connection::new(stream, from, visit.clone()), visit, line);
                }
                Err(Full) => tracing::debug!("one address has too many connections"),
            },
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection until it ends, must go, or the node stops. It is told to go before it is cut, so that a client knows
/// which of its requests were not taken.
async fn attend(
    server: Server,
    routes: Routes,
    connection: Connection,
    visit: Arc<Visit>,
    line: Arc<Line>,
    mut stop: watch::Receiver<bool>,
) {
    let closing = line.closing();
    let (tell, told) = oneshot::channel::<()>();
    // The server would take the end of the connections for its own.
    let connections = stream::iter([Ok::<_, Infallible>(connection)]).chain(stream::pending());
    let told = async {
        // Nobody tells it anything if the node is gone.
        let _ = told.await;
    };
    let serving = server.serve_with_incoming_shutdown(routes, connections, told);
    tokio::pin!(serving);
    let grace = tokio::select! {
        _ = &mut serving => return,
        end = visit.ended() => Some(end).filter(|end| *end != visit::End::Gone),
        // It takes nothing, not even that it must go.
        () = closing.notified() => return visit.cut(),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    drop(tell);
    match grace {
        Some(end) => {
            tracing::debug!(?end, "a connection must go");
            let _ = timeout(end.grace(), serving).await;
            visit.cut();
        }
        None => drop(serving.await),
    }
}

/// Where a request comes from: an extension of each request that came over a connection.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddress(pub SocketAddr);

impl RemoteAddress {
    /// Whether it is this machine's own, in IPv4, IPv6 or the one within the other.
    pub fn is_loopback(&self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests;
