//! One port for everything: gRPC and plain HTTP, HTTP/1 and HTTP/2.
//!
//! What a single client may take is bounded here, below all services: connections, streams on one
//! connection, headers, and the time that a connection may say nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use futures_util::{Stream, stream};
use jam_world::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::lines::{Line, Lines};

/// Connections at one time. A listener has three: for events, time and songs.
const CONNECTIONS_MAX: usize = 8192;
/// Streams at one time on one connection.
const STREAMS_MAX: u32 = 512;
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A client that answers no ping for the sum of these is gone, and its listener with it.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing at all comes is closed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, which most often means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets what is under way end.
pub async fn serve(
    listener: Box<dyn Listener>,
    router: Router,
    lines: Arc<Lines>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(connections(listener, lines), stop)
        .await
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

fn connections(
    listener: Box<dyn Listener>,
    lines: Arc<Lines>,
) -> impl Stream<Item = io::Result<Connection>> {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    stream::unfold((listener, lines, free), |(listener, lines, free)| async {
        let connection = accept(listener.as_ref(), &lines, &free).await;
        Some((Ok(connection), (listener, lines, free)))
    })
}

async fn accept(listener: &dyn Listener, lines: &Lines, free: &Arc<Semaphore>) -> Connection {
    let slot = Arc::clone(free).acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let silent = Some(Box::pin(sleep(FIRST_BYTE_TIMEOUT)));
                let line = lines.open(from);
                let closing = Some(Box::pin(line.closing().notified_owned()));
                return Connection { stream, from, silent, closing, _line: line, _slot: slot };
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A client's connection, in its slot.
struct Connection {
    stream: jam_world::Stream,
    from: SocketAddr,
    /// Until the first byte came.
    silent: Option<Pin<Box<Sleep>>>,
    /// Until it is to be closed.
    closing: Option<Pin<Box<OwnedNotified>>>,
    _line: Arc<Line>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// Fails once the connection is to be closed: then its streams are reset, and what waits for it is freed.
    fn check_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(closing) = &mut self.closing
            && closing.as_mut().poll(context).is_ready()
        {
            self.closing = None;
        }
        if self.closing.is_some() { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// Where a request comes from: an extension of each request that was served over a connection.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddress(pub SocketAddr);

impl RemoteAddress {
    /// Whether it is this machine's own, in IPv4, IPv6 or the one within the other.
    pub fn is_loopback(&self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl Connected for Connection {
    type ConnectInfo = RemoteAddress;

    fn connect_info(&self) -> RemoteAddress {
        RemoteAddress(self.from)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.silent = None;
            return Poll::Ready(read);
        }
        if let Some(silent) = &mut self.silent {
            ready!(silent.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::response::Response;
    use bytes::Bytes;
    use jam_world::World;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::answers::{Message, attach, put_in_place};

    const HANGS: Duration = Duration::from_secs(60);

    /// Without an end.
    async fn answer(lines: Arc<Lines>, request: Request) -> Response {
        let peer = request.extensions().get::<RemoteAddress>().map(|remote| remote.0);
        let message = || Ok(Message::ready(Bytes::from(vec![0; 16 << 10])));
        let attached = attach((), lines.of(peer), stream::repeat_with(message));
        let mut response = Response::default();
        *response.extensions_mut() = attached.extensions().clone();
        put_in_place(response).await
    }

    #[tokio::test]
    async fn a_connection_that_takes_nothing_is_closed() {
        let (world, lines) = (World::real(), Arc::<Lines>::default());
        let free = std::net::TcpListener::bind("127.0.0.1:0");
        let at = free.and_then(|free| free.local_addr()).expect("a port");
        let listener = world.net.listen(at).await.expect("listens");
        let answering = lines.clone();
        let router = Router::new().fallback(move |request| answer(answering.clone(), request));
        let serving = tokio::spawn(serve(listener, router, lines.clone(), std::future::pending()));

        let mut client = TcpStream::connect(at).await.expect("connects");
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("asks");
        let stuck = async {
            while lines.close_stuck(Instant::now() + HANGS) == 0 {
                tokio::task::yield_now().await;
            }
            // What was sent before is there to be read, and then nothing.
            let _ = client.read_to_end(&mut Vec::new()).await;
        };
        timeout(HANGS, stuck).await.expect("the connection ends");
        serving.abort();
    }
}
