//! Streams of bytes between machines.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
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
    /// The next connection, and the address that it comes from.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;
}

type Dialled = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

/// What tonic connects with.
pub(crate) fn connector(net: Arc<dyn Net>) -> ServiceFn<impl Fn(Uri) -> Dialled + Clone> {
    service_fn(move |uri: Uri| {
        let address = uri.authority().map_or(String::new(), ToString::to_string);
        net.dial(address).map(|stream| stream.map(TokioIo::new)).boxed()
    })
}

/// Which way some addresses are reached: tunnels, forwarded ports. Written `HOST:PORT=HOST:PORT,…`, an address and
/// where to connect instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detours(BTreeMap<String, String>);

impl FromStr for Detours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut detours = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let ends = item.split_once('=').filter(|(address, instead)| {
                [address, instead].iter().all(|end| {
                    let port = end.rsplit_once(':').filter(|(host, _)| !host.is_empty());
                    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
                })
            });
            let Some((address, instead)) = ends else {
                return Err(format!(
                    "'{item}' must look like 10.0.0.1:7701=127.0.0.1:9901, an address and where to connect instead"
                ));
            };
            detours.insert(address.to_owned(), instead.to_owned());
        }
        Ok(Self(detours))
    }
}

/// A network with detours.
#[derive(Debug)]
pub(crate) struct Detoured {
    pub(crate) net: Arc<dyn Net>,
    pub(crate) detours: Detours,
}

impl Net for Detoured {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        let instead = self.detours.0.get(&address).cloned();
        self.net.dial(instead.unwrap_or(address))
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        self.net.listen(at)
    }
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
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        async move {
            let (stream, from) = self.accept().await?;
            Ok((eager(stream), from))
        }
        .boxed()
    }
}

fn eager(stream: TcpStream) -> Stream {
    // Only a hint.
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_are_pairs_of_addresses() {
        let detours: Detours = "a:1=b:2, c:3=d:4,".parse().expect("two of them");
        assert_eq!(detours.0.get("a:1").map(String::as_str), Some("b:2"));
        assert_eq!(detours.0.get("c:3").map(String::as_str), Some("d:4"));
        assert_eq!("".parse(), Ok(Detours::default()));
        for wrong in ["a:1", "a:1=b", "a=b:2", ":1=b:2", "a:1=b:0"] {
            let error = wrong.parse::<Detours>().expect_err(wrong);
            assert!(error.contains("must look like"), "{error}");
        }
    }
}
