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
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tower::util::{ServiceFn, service_fn};

use crate::stagger::first_success;

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
    /// If the name has several addresses, one that drops packets does not hold up the others.
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        async move {
            let found = lookup_host(&address).await.map_err(does_not_resolve)?;
            let attempts = alternate(found.collect()).into_iter().map(TcpStream::connect);
            let connected = first_success(attempts).await;
            let last = |mut errors: Vec<io::Error>| {
                errors.pop().unwrap_or_else(|| does_not_resolve("it has no address"))
            };
            connected.map(eager).map_err(last)
        }
        .boxed()
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

/// The addresses of a name in the order in which they are tried: the system's, but IPv6 and IPv4 in turn (RFC 8305, section 4).
fn alternate(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// [`io::ErrorKind::NotFound`], by which it is told from a host that does not answer.
fn does_not_resolve(why: impl ToString) -> io::Error {
    let why = why.to_string();
    let why = why.trim_start_matches("failed to lookup address information: ");
    io::Error::new(io::ErrorKind::NotFound, format!("the name does not resolve: {why}"))
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
    fn the_families_take_turns_beginning_with_the_system_s_choice() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let found = parse(&["[2001:db8::1]:1", "[2001:db8::2]:1", "10.0.0.1:1"]);
        let order = parse(&["[2001:db8::1]:1", "10.0.0.1:1", "[2001:db8::2]:1"]);
        assert_eq!(alternate(found), order);
        let found = parse(&["10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"]);
        let order = parse(&["10.0.0.1:1", "[2001:db8::1]:1", "10.0.0.2:1"]);
        assert_eq!(alternate(found), order);
        assert_eq!(alternate(Vec::new()), []);
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_not_found() {
        let dialled = Tcp.dial("nowhere.invalid:1".to_owned()).await;
        let Err(error) = dialled else { panic!("there is no such name") };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("does not resolve"), "{error}");
    }

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
