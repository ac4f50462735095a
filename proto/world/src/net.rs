//! Streams of bytes between machines.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::util::{ServiceFn, service_fn};

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub type Stream = Box<dyn Duplex>;

/// A network.
pub trait Net: Debug + Send + Sync {
    /// Connects to `HOST:PORT`.
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>>;
    /// Takes connections from now on.
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;
}

/// Where connections come in.
pub trait Listener: Debug + Send + Sync {
    /// The next one.
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>>;
}

type Dialled = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

/// What tonic connects with.
pub(crate) fn connector(net: Arc<dyn Net>) -> ServiceFn<impl Fn(Uri) -> Dialled + Clone> {
    service_fn(move |uri: Uri| {
        let address = uri.authority().map_or(String::new(), ToString::to_string);
        net.dial(address).map(|stream| stream.map(TokioIo::new)).boxed()
    })
}

/// The operating system's. Small messages never wait for each other.
#[derive(Debug)]
pub(crate) struct Tcp;

impl Net for Tcp {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        async move { Ok(eager(TcpStream::connect(address).await?)) }.boxed()
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        async move {
            let listener: Box<dyn Listener> = Box::new(TcpListener::bind(at).await?);
            Ok(listener)
        }
        .boxed()
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        async move { Ok(eager(self.accept().await?.0)) }.boxed()
    }
}

fn eager(stream: TcpStream) -> Stream {
    // Only a hint.
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}
