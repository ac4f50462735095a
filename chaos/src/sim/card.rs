//! A machine's network card: what goes on for a process whether it runs or not.
//!
//! It is a host of turmoil's. Processes run on runtimes of their own ([`super::process`]), so they reach their connections
//! through pipes. A process that is stopped is to its peers as a real one: connections are taken, bytes are received and
//! acknowledged until the buffers are full, and nobody answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::sync::{mpsc, oneshot};
use turmoil::net::{TcpListener, TcpStream};

/// What waits for a process on one connection, each way; as a small socket buffer.
const BUFFER_BYTES: usize = 64 << 10;
/// Connections that wait for a process to take them.
const BACKLOG: usize = 128;

/// A connection that came in, and where it comes from.
pub(super) type Accepted = (DuplexStream, SocketAddr);

/// What a process asks of the card.
enum Wish {
    Dial { address: String, give: oneshot::Sender<io::Result<DuplexStream>> },
    Listen { at: SocketAddr, give: oneshot::Sender<io::Result<mpsc::Receiver<Accepted>>> },
}

/// The card.
#[derive(Debug, Default)]
pub(super) struct Card {
    /// Of the host that runs now, if it does.
    wishes: Mutex<Option<mpsc::UnboundedSender<Wish>>>,
}

impl Card {
    /// What turmoil's host runs, for as long as it is not crashed.
    pub(super) async fn run(&self) {
        let (sender, mut wishes) = mpsc::unbounded_channel();
        *self.wishes() = Some(sender);
        while let Some(wish) = wishes.recv().await {
            match wish {
                Wish::Dial { address, give } => drop(tokio::spawn(dial(address, give))),
                Wish::Listen { at, give } => drop(tokio::spawn(listen(at, give))),
            }
        }
    }

    /// Connects to `HOST:PORT`.
    pub(super) async fn dial(&self, address: String) -> io::Result<DuplexStream> {
        let (give, given) = oneshot::channel();
        self.wish(Wish::Dial { address, give })?;
        given.await.unwrap_or_else(|_| Err(down()))
    }

    /// The connections that come in from now on.
    pub(super) async fn listen(&self, at: SocketAddr) -> io::Result<mpsc::Receiver<Accepted>> {
        let (give, given) = oneshot::channel();
        self.wish(Wish::Listen { at, give })?;
        given.await.unwrap_or_else(|_| Err(down()))
    }

    fn wish(&self, wish: Wish) -> io::Result<()> {
        let wishes = self.wishes();
        wishes.as_ref().and_then(|wishes| wishes.send(wish).ok()).ok_or_else(down)
    }

    fn wishes(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Wish>>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn down() -> io::Error {
    io::ErrorKind::NetworkDown.into()
}

async fn dial(address: String, mut give: oneshot::Sender<io::Result<DuplexStream>>) {
    let connected = tokio::select! {
        connected = TcpStream::connect(address.as_str()) => connected,
        // Nobody waits for it any more.
        () = give.closed() => return,
    };
    match connected {
        Ok(wire) => {
            let (end, own) = duplex(BUFFER_BYTES);
            if give.send(Ok(end)).is_ok() {
                carry(wire, own).await;
            }
        }
        Err(error) => drop(give.send(Err(error))),
    }
}

async fn listen(at: SocketAddr, give: oneshot::Sender<io::Result<mpsc::Receiver<Accepted>>>) {
    // turmoil binds to all addresses or to loopback; a machine has one address beside that.
    let ip = if at.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = match TcpListener::bind((ip, at.port())).await {
        Ok(listener) => listener,
        Err(error) => return drop(give.send(Err(error))),
    };
    let (sender, receiver) = mpsc::channel(BACKLOG);
    if give.send(Ok(receiver)).is_err() {
        return;
    }
    loop {
        tokio::select! {
            () = sender.closed() => return,
            accepted = listener.accept() => {
                let Ok((wire, from)) = accepted else { continue };
                let (end, own) = duplex(BUFFER_BYTES);
                // With a full backlog it is dropped, and its peer finds it closed.
                if sender.try_send((end, from)).is_ok() {
                    drop(tokio::spawn(carry(wire, own)));
                }
            }
        }
    }
}

/// Carries bytes both ways until one side is gone.
async fn carry(mut wire: TcpStream, mut process: DuplexStream) {
    // However it ends, both ends are closed now, which is all that either side learns of a real one.
    let _ = copy_bidirectional(&mut wire, &mut process).await;
}
