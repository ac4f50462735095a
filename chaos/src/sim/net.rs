//! The network of a simulated machine: turmoil's.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_world::Stream;
use turmoil::net::{TcpListener, TcpStream};

use super::disk::{Disk, Life};

/// What one life of a process connects with. Names of turmoil's hosts are resolved, and addresses are taken as they are.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) disk: Arc<Disk>,
    pub(super) life: Life,
}

impl jam_world::Net for Net {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        let alive = self.disk.check_life(self.life);
        async move {
            alive?;
            let stream: Stream = Box::new(TcpStream::connect(address.as_str()).await?);
            Ok(stream)
        }
        .boxed()
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn jam_world::Listener>>> {
        async move {
            self.disk.check_life(self.life)?;
            // turmoil binds to all addresses or to loopback; a machine has one address beside that.
            let is_loopback = at.ip().is_loopback();
            let ip = if is_loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
            let listener = Listener(TcpListener::bind((ip, at.port())).await?);
            let listener: Box<dyn jam_world::Listener> = Box::new(listener);
            Ok(listener)
        }
        .boxed()
    }
}

struct Listener(TcpListener);

impl jam_world::Listener for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        async move {
            let stream: Stream = Box::new(self.0.accept().await?.0);
            Ok(stream)
        }
        .boxed()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.local_addr().ok()).finish()
    }
}
