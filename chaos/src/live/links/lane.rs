//! One direction of one connection: a thin shell around [`Transit`].

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::tally::{BytesCount, add, sub};
use super::transit::{Next, READ_BYTES, Transit};
use super::way::{Gate, Way};
use super::{End, Orders};

/// Why a lane is no longer carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are other orders.
    Changed,
    /// Both ends have said that they are done, and both were told.
    Finished,
    /// An end has reset its connection, and the other is to be told.
    Reset,
}

/// How a source has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Fin,
    Rst,
}

/// What the two lanes of a connection tell each other.
#[derive(Default)]
pub(super) struct Ends {
    /// By end: the link's connection with it is broken.
    broken: [AtomicBool; 2],
    /// By end: it has sent FIN, and the other was told.
    done: [AtomicBool; 2],
}

/// What carrying needs to know.
pub(super) struct Around<'a> {
    /// The orders that are followed, for a look whether there are newer ones.
    pub orders: &'a watch::Receiver<Orders>,
    pub ends: &'a Ends,
    /// The zero of [`Transit`]'s times.
    pub epoch: Instant,
}

/// One direction of one connection.
pub(super) struct Lane<'a> {
    source: End,
    transit: Transit,
    bytes: BytesMut,
    count: &'a BytesCount,
    ending: Option<Ending>,
    lost: bool,
}

impl<'a> Lane<'a> {
    /// From an end to the other.
    pub fn new(source: End, transit: Transit, count: &'a BytesCount) -> Self {
        Self { source, transit, bytes: BytesMut::new(), count, ending: None, lost: false }
    }

    /// The way is as ordered from now on.
    pub fn set_way(&mut self, way: &Way) {
        self.transit.set_way(way);
    }

    /// TCP loses no bytes in the middle: nothing more can be carried.
    pub fn has_lost(&self) -> bool {
        self.lost
    }

    /// Carries until there is a reason to stop. May be dropped at any time, and called again.
    pub async fn carry(
        &mut self,
        source: &mut ReadHalf<'_>,
        sink: &mut WriteHalf<'_>,
        around: &Around<'_>,
    ) -> Stop {
        let to = self.source.other();
        loop {
            if around.orders.has_changed().unwrap_or(true) {
                return Stop::Changed;
            }
            self.swallow(around.ends.broken[to as usize].load(Relaxed));
            match self.transit.next(self.now_ns(around)) {
                Next::Pass(bytes) => match sink.write(&self.bytes[..bytes]).await {
                    Ok(bytes) => self.left(around, bytes),
                    Err(_) => {
                        // What the other lane reads from there says so too, unless its end was passed on before.
                        around.ends.broken[to as usize].store(true, Relaxed);
                        if around.ends.done[to as usize].load(Relaxed) {
                            return Stop::Reset;
                        }
                    }
                },
                Next::End => match self.pass_end(sink, around).await {
                    Some(stop) => return stop,
                    None => {
                        self.discard();
                    }
                },
                Next::At(at_ns) => {
                    let at = around.epoch + Duration::from_nanos(at_ns);
                    tokio::select! {
                        () = self.take(source, around) => {}
                        () = sleep_until(at) => {}
                    }
                }
                Next::Nothing => self.take(source, around).await,
            }
        }
    }

    /// Takes what comes from the source. Returns once something did, which may be never.
    async fn take(&mut self, source: &mut ReadHalf<'_>, around: &Around<'_>) {
        match self.ending {
            None => {}
            Some(Ending::Fin) if around.ends.done[self.source as usize].load(Relaxed) => {
                // Whoever closed a socket resets the connection if there is still something to read. An error of the
                // wait means that the runtime ends.
                let _ = source.ready(Interest::ERROR).await;
                return self.end(around, Ending::Rst);
            }
            Some(_) => return pending().await,
        }
        let room = self.transit.room().min(READ_BYTES);
        if room == 0 {
            return pending().await;
        }
        self.bytes.reserve(room);
        match source.read_buf(&mut (&mut self.bytes).limit(room)).await {
            Ok(0) if !around.ends.broken[self.source as usize].load(Relaxed) => {
                self.end(around, Ending::Fin);
            }
            // A broken connection reads as ended once its error was reported to a writer.
            Ok(0) | Err(_) => self.end(around, Ending::Rst),
            Ok(bytes) => {
                add(&self.count.held, bytes);
                self.transit.push(self.now_ns(around), bytes);
            }
        }
    }

    fn end(&mut self, around: &Around<'_>, ending: Ending) {
        if ending == Ending::Rst {
            around.ends.broken[self.source as usize].store(true, Relaxed);
        }
        self.ending = Some(ending);
        self.transit.end(self.now_ns(around));
    }

    /// Tells the sink that nothing more will come, in the form in which the source said so.
    async fn pass_end(&self, sink: &mut WriteHalf<'_>, around: &Around<'_>) -> Option<Stop> {
        let (from, to) = (self.source as usize, self.source.other() as usize);
        if around.ends.broken[from].load(Relaxed) {
            return Some(Stop::Reset);
        }
        if sink.shutdown().await.is_err() {
            around.ends.broken[to].store(true, Relaxed);
        }
        around.ends.done[from].store(true, Relaxed);
        around.ends.done[to].load(Relaxed).then_some(Stop::Finished)
    }

    /// Swallows what is under way, if it is to be. To a sink that is broken nothing can be lost.
    fn swallow(&mut self, sink_broken: bool) {
        if self.lost || self.transit.way().gate == Gate::Blackhole {
            add(&self.count.swallowed, self.transit.held());
            self.lost |= self.discard();
        } else if sink_broken {
            self.discard();
        }
    }

    /// Forgets what is under way; whether that was anything.
    fn discard(&mut self) -> bool {
        let (bytes, some) = self.transit.clear();
        sub(&self.count.held, bytes);
        self.bytes.clear();
        some
    }

    fn left(&mut self, around: &Around<'_>, bytes: usize) {
        self.transit.left(self.now_ns(around), bytes);
        self.bytes.advance(bytes);
        if self.bytes.is_empty() && self.bytes.capacity() > READ_BYTES {
            // Held bytes have grown it.
            self.bytes = BytesMut::new();
        }
        add(&self.count.passed, bytes);
        sub(&self.count.held, bytes);
    }

    /// A healthy link reads no clock.
    fn now_ns(&self, around: &Around<'_>) -> u64 {
        if self.transit.way().is_prompt() {
            return 0;
        }
        u64::try_from(around.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        sub(&self.count.held, self.transit.held());
    }
}
