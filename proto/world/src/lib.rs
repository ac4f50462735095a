//! What Jam's processes ask of their machine: clocks, a network, a disk, threads.
//!
//! All of it is asked through a [`World`], a value that is handed down from `main`. [`World::real`] is this
//! machine; the simulation (`jam-chaos sim`) hands the same code a world that it makes up from a seed.
//!
//! Not in here: `tokio::time`, which a simulation drives by itself, and randomness, which comes from the
//! operating system in one place.

mod clock;
mod disk;
mod log_lines;
mod net;
mod stagger;
mod work;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint, Error};

pub use clock::Clock;
pub use disk::{
    Cursor, Database, Disk, Entries, File, Meta, Open, exists, make_lasting_folder, write_and_sync,
};
pub use log_lines::{LogLines, LostLines};
pub use net::{Detours, Duplex, Listener, Net, Stream};
pub use stagger::{ATTEMPT_DELAY, first_success};
pub use work::{Apart, Pacer, Turn, Work};

/// A machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who can be reached.
    pub net: Arc<dyn Net>,
    /// What is kept.
    pub disk: Arc<dyn Disk>,
    /// Who does what takes long.
    pub work: Arc<dyn Work>,
}

impl World {
    /// The machine that this process runs on.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(clock::SystemClock),
            net: Arc::new(net::Tcp),
            disk: Arc::new(disk::FileSystem),
            work: Arc::new(work::Threads),
        }
    }

    /// The same machine, which reaches some addresses by other ones.
    #[must_use]
    pub fn by(self, detours: Detours) -> Self {
        if detours == Detours::default() {
            return self;
        }
        Self { net: Arc::new(net::Detoured { net: self.net, detours }), ..self }
    }

    /// A channel that connects when it is first used, and again whenever it has to.
    pub fn channel(&self, endpoint: Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(net::connector(self.net.clone()))
    }

    /// A channel that is connected. The error says that nobody answers there.
    pub fn connect(&self, endpoint: Endpoint) -> BoxFuture<'static, Result<Channel, Error>> {
        let connector = net::connector(self.net.clone());
        async move { endpoint.connect_with_connector(connector).await }.boxed()
    }

    /// Does `work`, which waits for the disk or takes the processor for long, where it holds up nothing else.
    ///
    /// # Errors
    /// If it panicked, or if the process is ending.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = oneshot::channel();
        // Whoever waited may have gone; the work is done all the same.
        self.work.blocking(Box::new(move || drop(tell.send(work())))).await;
        told.await
            .map_err(|_| io::Error::other("work in the background panicked or was called off"))
    }

    /// As [`World::blocking`], for work that may fail itself.
    ///
    /// # Errors
    /// Those of the work as well.
    pub async fn try_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.blocking(work).await?
    }

    /// As [`World::blocking`], for what takes the processor for long: all else goes before it.
    ///
    /// # Errors
    /// If it panicked, if there is no thread, or if the process is ending.
    pub async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = oneshot::channel();
        self.work.heavy(Box::new(move || drop(tell.send(work())))).await;
        told.await
            .map_err(|_| io::Error::other("heavy work panicked, or there was no thread for it"))
    }

    /// Starts a thread of its own for `task`, which may block.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn worker(&self, name: &str, task: BoxFuture<'static, ()>) -> io::Result<()> {
        self.work.worker(name, task)
    }

    /// A runtime that nothing else holds up.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn apart(&self, name: &str) -> io::Result<Apart> {
        self.work.apart(name)
    }

    /// Starts a thread of its own that takes turns, as [`Work::paced`] says.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn paced(
        &self,
        name: &str,
        turn: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> io::Result<Box<dyn Pacer>> {
        self.work.paced(name, Box::new(turn))
    }
}
