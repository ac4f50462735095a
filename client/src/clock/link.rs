//! One node's clock: a connection that carries probes and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jam_proto::sync::Probe;
use jam_proto::wire::v1::{ListenerReport, TimeProbe, TimeReply};
use jam_world::Clock;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::audio::clocks::{differ, slept_ns};
use crate::connection::{Address, Dialer};
use crate::refusal::Refusal;

/// Probes in a burst, of which the fastest counts.
const BURST: usize = 8;
/// A burst over a long path ends early rather than keep the music waiting; but with two probes, from the second of which
/// the node sees how far away we are.
const BURST_TIME_MAX: Duration = Duration::from_millis(400);
/// A node that is silent for so long, and for twice as long as it took last, is stopped or cut off.
const REPLY_TIME_MAX: Duration = Duration::from_millis(1500);
/// How far away it is has to be found out first.
const FIRST_REPLY_TIME_MAX: Duration = Duration::from_secs(5);
/// The bursts after the first one with a new leader, all in its first half second.
const QUICK_BURSTS: u32 = 3;
const QUICK_PAUSE: Duration = Duration::from_millis(150);
/// Then a burst a second for ten seconds, then one every other second, with the report alone in between.
const SETTLED_AFTER: u32 = 14;
const LEAD_PAUSE: Duration = Duration::from_secs(1);
/// Where round trips scatter, a burst this often: at first, and from then on.
const EAGER_PAUSE: Duration = Duration::from_millis(200);
const EAGER_FOR: u32 = 200;
const EAGER_LATER_PAUSE: Duration = Duration::from_millis(500);
/// The leader is told of this listener no more often.
const REPORT_PAUSE: Duration = Duration::from_millis(700);
/// The others stay warm at this rate.
const WARM_PAUSE: Duration = Duration::from_secs(10);
/// While nobody leads, each is asked this often whether it does now.
const SEARCH_PAUSE: Duration = Duration::from_millis(100);
/// A node that can't be reached is tried again after so long.
const AWAY_PAUSE: Duration = Duration::from_secs(2);

/// What the keeper wants of all links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// The node at this address leads.
    pub leader: Option<Address>,
    /// The leader does not answer (any more): look who does.
    pub searching: bool,
    /// The leader's round trips scatter, and more of them would tell more.
    pub eager: bool,
}

/// What one link saw.
pub(super) struct Sighting {
    pub address: Address,
    /// `Err`: the node does not answer.
    pub seen: Result<Burst, String>,
}

/// One burst of probes, all of one epoch and one map of the node's.
pub(super) struct Burst {
    pub probes: Vec<Probe>,
    /// The last reply, for all that is not a time stamp.
    pub last: TimeReply,
}

pub(super) struct Link {
    pub address: Address,
    pub dialer: Dialer,
    pub orders: watch::Receiver<Orders>,
    pub report: watch::Receiver<Option<ListenerReport>>,
    pub sightings: mpsc::Sender<Sighting>,
}

enum Pace {
    Lead,
    Eager,
    Warm,
    Search,
}

impl Link {
    /// Probes until the keeper has gone.
    pub async fn run(mut self) {
        loop {
            let why = match self.connected().await {
                Ok(()) => return,
                Err(why) => why,
            };
            if self
                .sightings
                .send(Sighting { address: self.address.clone(), seen: Err(why) })
                .await
                .is_err()
            {
                return;
            }
            let pause = if self.orders.borrow().searching { SEARCH_PAUSE } else { AWAY_PAUSE };
            if !self.rest(pause).await {
                return;
            }
        }
    }

    /// As long as the connection lasts; `Ok`: the keeper has gone.
    async fn connected(&mut self) -> Result<(), String> {
        let door = self.dialer.dial(&self.address).await.map_err(|no_answer| no_answer.why)?;
        let (probes, queue) = mpsc::channel::<TimeProbe>(1);
        let sent_ns = Arc::new(AtomicI64::new(0));
        let machine = self.dialer.world().clock.clone();
        let outgoing = stamped(queue, sent_ns.clone(), machine.clone());
        let opened =
            timeout(FIRST_REPLY_TIME_MAX, async { door.time().sync(outgoing).await }).await;
        let replies = match opened {
            Ok(Ok(replies)) => replies.into_inner(),
            Ok(Err(status)) => return Err(Refusal::of(&status).message().to_owned()),
            Err(_) => return Err("no answer".into()),
        };
        let patience = FIRST_REPLY_TIME_MAX;
        let mut exchange = Exchange { machine, probes, replies, sent_ns, patience, seq: 0 };
        let (mut led_for, mut reported) = (0, None);
        loop {
            let pace = self.pace();
            let leads = matches!(pace, Pace::Lead | Pace::Eager);
            led_for = if leads { led_for + 1 } else { 0 };
            let (count, pause) = match pace {
                Pace::Lead if led_for <= QUICK_BURSTS => (BURST, QUICK_PAUSE),
                Pace::Eager if led_for <= EAGER_FOR => (BURST, EAGER_PAUSE),
                Pace::Eager => (BURST, EAGER_LATER_PAUSE),
                Pace::Lead if led_for > SETTLED_AFTER && led_for % 2 == 0 => (1, LEAD_PAUSE),
                Pace::Lead => (BURST, LEAD_PAUSE),
                Pace::Warm => (BURST, WARM_PAUSE),
                Pace::Search => (1, SEARCH_PAUSE),
            };
            let is_due = reported.is_none_or(|at: Instant| at.elapsed() >= REPORT_PAUSE);
            let report = (leads && is_due).then(|| self.report.borrow().clone()).flatten();
            let began = Instant::now();
            if report.is_some() {
                reported = Some(began);
            }
            let burst = exchange.burst(count, report).await?;
            if self
                .sightings
                .send(Sighting { address: self.address.clone(), seen: Ok(burst) })
                .await
                .is_err()
            {
                return Ok(());
            }
            if !self.rest_until(began + pause).await {
                return Ok(());
            }
        }
    }

    fn pace(&self) -> Pace {
        let orders = self.orders.borrow();
        if orders.leader.as_ref() == Some(&self.address) {
            if orders.eager { Pace::Eager } else { Pace::Lead }
        } else if orders.searching {
            Pace::Search
        } else {
            Pace::Warm
        }
    }

    async fn rest(&mut self, pause: Duration) -> bool {
        // Jitter, so that listeners who lost the same node don't come back in step.
        let pause = pause.mul_f64(rand::random_range(0.7..1.0));
        self.rest_until(Instant::now() + pause).await
    }

    /// Rests, or until the orders change; false: the keeper has gone.
    async fn rest_until(&mut self, until: Instant) -> bool {
        tokio::select! {
            () = sleep_until(until) => true,
            changed = self.orders.changed() => {
                if changed.is_ok() {
                    // Orders come in small flurries while a leader changes.
                    sleep(Duration::from_millis(1)).await;
                }
                changed.is_ok()
            }
        }
    }
}

/// The stamp is taken when the connection asks for the message, the last moment that is ours.
fn stamped(
    queue: mpsc::Receiver<TimeProbe>,
    stamp_ns: Arc<AtomicI64>,
    machine: Arc<dyn Clock>,
) -> impl Stream<Item = TimeProbe> + Send + 'static {
    ReceiverStream::new(queue).map(move |probe| {
        stamp_ns.store(machine.raw_ns(), Ordering::Relaxed);
        probe
    })
}

struct Exchange {
    machine: Arc<dyn Clock>,
    probes: mpsc::Sender<TimeProbe>,
    replies: Streaming<TimeReply>,
    sent_ns: Arc<AtomicI64>,
    /// How long a reply is waited for.
    patience: Duration,
    seq: u64,
}

impl Exchange {
    async fn burst(
        &mut self,
        count: usize,
        mut report: Option<ListenerReport>,
    ) -> Result<Burst, String> {
        let began = Instant::now();
        let mut probes = Vec::with_capacity(count);
        let mut slept_before_ns = slept_ns(self.machine.as_ref());
        loop {
            // The first one has waited for us, so the node can't take a round trip from it.
            let immediate = !probes.is_empty();
            let (probe, reply) = self.exchange(immediate, report.take()).await?;
            let slept_now_ns = slept_ns(self.machine.as_ref());
            if differ(slept_now_ns, slept_before_ns) {
                // The raw clock stood still: what was asked before is older than it looks.
                probes.clear();
                slept_before_ns = slept_now_ns;
                continue;
            }
            let map = (reply.epoch, reply.set_raw_ns);
            probes.push((probe, map));
            let is_late = began.elapsed() > BURST_TIME_MAX && probes.len() > 1;
            if probes.len() >= count || is_late {
                let of_last = probes.iter().filter(|(_, of)| *of == map);
                return Ok(Burst {
                    probes: of_last.map(|(probe, _)| *probe).collect(),
                    last: reply,
                });
            }
        }
    }

    async fn exchange(
        &mut self,
        immediate: bool,
        report: Option<ListenerReport>,
    ) -> Result<(Probe, TimeReply), String> {
        self.seq += 1;
        let probe = TimeProbe { seq: self.seq, immediate, report };
        self.probes.send(probe).await.map_err(|_| "the connection was closed")?;
        let answered = timeout(self.patience, self.replies.message()).await;
        let back_ns = self.machine.raw_ns();
        let reply = match answered {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => return Err("the node ended the exchange".into()),
            Ok(Err(status)) => return Err(status.message().to_owned()),
            Err(_) => return Err("no answer".into()),
        };
        if reply.seq != self.seq {
            return Err("the node answered another probe".into());
        }
        let sent_ns = self.sent_ns.load(Ordering::Relaxed);
        let took = Duration::from_nanos(u64::try_from(back_ns - sent_ns).unwrap_or(0));
        self.patience = REPLY_TIME_MAX.max(2 * took);
        let probe = Probe::answered(sent_ns, &reply, back_ns)
            .map_err(|error| format!("an answer makes no sense: {error}"))?;
        Ok((probe, reply))
    }
}
