//! One connection over a link, from when it was taken to its end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};

use super::lane::{Around, Ends, Lane, Stop};
use super::tally::{Count, One, add};
use super::transit::{READ_BYTES, Transit};
use super::way::Gate;
use super::{End, Orders};
use crate::seed::Stream;

/// How long the listener rests if it can take no connection: there are no more file descriptors.
const REST: Duration = Duration::from_millis(20);

/// What all connections of a link share.
pub(super) struct Road {
    pub name: String,
    pub to: SocketAddr,
    pub seed: u64,
    pub epoch: Instant,
    pub count: Count,
}

/// Takes connections until the link is closed.
pub(super) async fn listen(
    listener: TcpListener,
    road: Arc<Road>,
    mut orders: watch::Receiver<Orders>,
) {
    loop {
        let born = orders.borrow_and_update().clone();
        if is_over(&orders) {
            return;
        }
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((dialler, _)) => {
                    let number = road.count.accepted.fetch_add(1, Relaxed);
                    let (road, orders) = (road.clone(), orders.clone());
                    tokio::spawn(async move { serve(dialler, number, born, &road, orders).await });
                }
                Err(error) => {
                    tracing::warn!(link = road.name, %error, "can't take a connection");
                    sleep(REST).await;
                }
            },
            // Closed or dropped is a change, too.
            _ = orders.changed() => {}
        }
    }
}

/// `born`: the orders when it was taken.
async fn serve(
    dialler: TcpStream,
    number: u64,
    born: Orders,
    road: &Road,
    mut orders: watch::Receiver<Orders>,
) {
    let _open = One::of(&road.count.open);
    let Some((mut dialler, mut target)) = connect(dialler, &born, road, &mut orders).await else {
        return;
    };
    let transit = |direction| {
        let draws = Stream::new(road.seed, &format!("{} {direction} {number}", road.name));
        let stalls = Stream::new(road.seed, &format!("{} {direction} stalls", road.name)).draw();
        Transit::new(draws, stalls)
    };
    let mut there = Lane::new(End::Dialler, transit("there"), &road.count.there);
    let mut back = Lane::new(End::Target, transit("back"), &road.count.back);
    let ends = Ends::default();
    loop {
        let order = orders.borrow_and_update().clone();
        let healed = (there.has_lost() || back.has_lost()) && order.passes();
        if is_over(&orders) || order.resets != born.resets || healed {
            return reset(road, [dialler, target]);
        }
        if order.half_opens != born.half_opens {
            return vanish(dialler, target, road, order, orders).await;
        }
        there.set_way(&order.there);
        back.set_way(&order.back);
        let seen = orders.clone();
        let around = Around { orders: &seen, ends: &ends, epoch: road.epoch };
        let (mut from_dialler, mut to_dialler) = dialler.split();
        let (mut from_target, mut to_target) = target.split();
        let stop = tokio::select! {
            _ = orders.changed() => Stop::Changed,
            stop = there.carry(&mut from_dialler, &mut to_target, &around) => stop,
            stop = back.carry(&mut from_target, &mut to_dialler, &around) => stop,
        };
        match stop {
            Stop::Changed => {}
            Stop::Finished => return,
            Stop::Reset => return abort([dialler, target]),
        }
    }
}

/// Connects to the target, as soon as both directions let the handshake pass.
async fn connect(
    mut dialler: TcpStream,
    born: &Orders,
    road: &Road,
    orders: &mut watch::Receiver<Orders>,
) -> Option<(TcpStream, TcpStream)> {
    let swallowed = AtomicU64::new(0);
    // Once begun it goes on, whatever becomes of the ways: the target may have taken it already.
    let mut dial = pin!(async {
        let target = TcpStream::connect(road.to).await?;
        target.set_nodelay(true)?;
        io::Result::Ok(target)
    });
    let mut dialled = false;
    loop {
        let order = orders.borrow_and_update().clone();
        let refused = order.refuse && !dialled;
        let lost = swallowed.load(Relaxed) > 0 && order.passes();
        if is_over(orders) || order.resets != born.resets || refused || lost {
            reset(road, [dialler]);
            if dialled && let Ok(target) = dial.await {
                abort([target]);
            }
            return None;
        }
        let gates = [order.there.gate, order.back.gate];
        dialled |= gates == [Gate::Open; 2];
        tokio::select! {
            target = &mut dial, if dialled => {
                match target.and_then(|target| dialler.set_nodelay(true).map(|()| target)) {
                    Ok(target) => return Some((dialler, target)),
                    Err(error) => {
                        tracing::debug!(link = road.name, %error, "the target can't be reached");
                        reset(road, [dialler]);
                        return None;
                    }
                }
            }
            () = swallow(&mut dialler, [&swallowed, &road.count.there.swallowed]),
                if !dialled && gates.contains(&Gate::Blackhole) =>
            {
                // The dialler gave up, and nobody else knows of it.
                return None;
            }
            _ = orders.changed() => {}
        }
    }
}

/// One end vanishes, and the other is not told.
async fn vanish(
    dialler: TcpStream,
    target: TcpStream,
    road: &Road,
    order: Orders,
    mut orders: watch::Receiver<Orders>,
) {
    let (gone, mut remains, swallowed) = match order.gone {
        Some(End::Dialler) => (dialler, target, &road.count.back.swallowed),
        Some(End::Target) => (target, dialler, &road.count.there.swallowed),
        // Healed in the meantime.
        None => return reset(road, [dialler, target]),
    };
    abort([gone]);
    let _half_open = One::of(&road.count.half_open);
    let mut ended = false;
    loop {
        let now = orders.borrow_and_update().clone();
        if is_over(&orders) || now.resets != order.resets || now.heals != order.heals {
            return reset(road, [remains]);
        }
        tokio::select! {
            _ = orders.changed() => {}
            () = swallow(&mut remains, [swallowed]), if !ended => ended = true,
        }
    }
}

/// Swallows what comes, until nothing will come.
async fn swallow<const N: usize>(stream: &mut TcpStream, counters: [&AtomicU64; N]) {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    while let Ok(n @ 1..) = stream.read_buf(&mut bytes).await {
        counters.iter().for_each(|counter| add(counter, n));
        bytes.clear();
    }
}

fn is_over(orders: &watch::Receiver<Orders>) -> bool {
    orders.has_changed().is_err() || orders.borrow().closed
}

/// The link resets a connection by itself.
fn reset<const N: usize>(road: &Road, streams: [TcpStream; N]) {
    add(&road.count.reset, 1);
    abort(streams);
}

/// Closes with RST. What was written and not taken yet by the other side's kernel is lost, as it is in any reset.
fn abort<const N: usize>(streams: [TcpStream; N]) {
    for stream in streams {
        if let Err(error) = stream.set_zero_linger() {
            tracing::debug!(%error, "a connection is closed, not reset");
        }
    }
}
