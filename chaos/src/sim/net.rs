//! The network as one life of a process sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_world::Stream;
use tokio::sync::{Mutex, mpsc};

use super::card::{Accepted, Card};
use super::disk::{Disk, Life};

/// What one life of a process connects with. Names of machines are resolved, and addresses are taken as they are.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) card: Arc<Card>,
    pub(super) disk: Arc<Disk>,
    pub(super) life: Life,
}

impl jam_world::Net for Net {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        let (card, alive) = (self.card.clone(), self.disk.check_life(self.life));
        async move {
            alive?;
            let stream: Stream = Box::new(card.dial(address).await?);
            Ok(stream)
        }
        .boxed()
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn jam_world::Listener>>> {
        async move {
            self.disk.check_life(self.life)?;
            let incoming = Mutex::new(self.card.listen(at).await?);
            let listener: Box<dyn jam_world::Listener> = Box::new(Listener { incoming });
            Ok(listener)
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Listener {
    incoming: Mutex<mpsc::Receiver<Accepted>>,
}

impl jam_world::Listener for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        async move {
            let accepted = self.incoming.lock().await.recv().await;
            let (stream, from) = accepted.ok_or(io::ErrorKind::NetworkDown)?;
            let stream: Stream = Box::new(stream);
            Ok((stream, from))
        }
        .boxed()
    }
}
