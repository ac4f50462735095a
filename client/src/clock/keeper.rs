//! Decides whose time counts, and publishes it.

mod handover;
#[cfg(test)]
mod tests;
mod unheard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jam_proto::sync::{ClockFilter, Holdover, Probe};
use jam_proto::wire::v1::TimeReply;
use jam_world::Clock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ClockConfig;
use super::link::{Burst, Link, Orders, Sighting};
use crate::audio::clocks::{differ, slept_ns};
use crate::audio::{ClockStanding, ClockView};
use crate::connection::Address;
use crate::news::News;
use handover::Gone;
use unheard::Silence;

/// How often the published map is steered: well within the second that it fades errors over.
const TICK: Duration = Duration::from_millis(200);
/// A clock that says of itself that it may be off by more is not worth being warm for.
const WARM_BOUND_NS_MAX: i64 = 5_000_000;
/// A new leader's clock counts from its second burst on: the first one may have met a busy machine.
const BURSTS_BEFORE_TRUST: u32 = 2;
/// Nothing is published before the clock is known this well, or a new leader's quick bursts are over.
const FIRST_BOUND_NS_MAX: i64 = 1_000_000;
const FIRST_BURSTS_MAX: u32 = 4;
/// For so long after the first publication a coarse first estimate is put right at once: one small jump at the start beats
/// half a minute of echo.
const SETTLING_NS: i64 = 5_000_000_000;
const SETTLING_STEP_NS: i64 = 1_000_000;
/// Followers let an offset in over so long, and run no more than this much faster or slower meanwhile.
const SLEWED_OVER_NS: i64 = 2_000_000_000;
const SLEWED_PPB_MAX: i64 = 300_000;
/// What an honest bound and an honest exchange may still disagree by.
const DISAGREE_NS: i64 = 1_000_000;

/// Keeps time until the other end of `until` is dropped.
pub(super) async fn run(config: ClockConfig, mut until: oneshot::Receiver<()>) {
    let (orders, _) = watch::channel(Orders::default());
    let (sightings, mut seen) = mpsc::channel(64);
    let mut keeper = Keeper::new(config, orders);
    let mut links = JoinSet::new();
    let mut linked: Vec<Address> = Vec::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        for address in keeper.config.nodes.all().iter() {
            if !linked.contains(address) {
                linked.push(address.clone());
                links.spawn(keeper.link(address, sightings.clone()).run());
            }
        }
        tokio::select! {
            Some(sighting) = seen.recv() => {
                keeper.take(sighting);
                keeper.publish();
            }
            _ = tick.tick() => {
                keeper.publish();
                keeper.tell_if_unheard();
            }
            _ = &mut until => break,
        }
    }
    links.shutdown().await;
}

/// Which of a node's maps: its clock epoch, and the node's raw clock when it set the map, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MapId {
    epoch: u64,
    set_raw_ns: i64,
}

impl MapId {
    fn of(reply: &TimeReply) -> Self {
        Self { epoch: reply.epoch, set_raw_ns: reply.set_raw_ns }
    }
}

/// One node's clock.
struct NodeClock {
    filter: ClockFilter,
    map: MapId,
    /// How far off the leader's time it may have been when it was heard as a follower last, ns; 0: never since it led.
    followed_within_ns: i64,
}

/// Whose time counts.
struct Lead {
    node: u64,
    address: Address,
    term: u64,
    epoch: u64,
    /// Since it leads.
    bursts: u32,
    answers: bool,
}

struct Keeper {
    config: ClockConfig,
    machine: Arc<dyn Clock>,
    orders: watch::Sender<Orders>,
    nodes: BTreeMap<u64, NodeClock>,
    lead: Option<Lead>,
    term_max: u64,
    /// The reference: the leader's filter as of its last burst. It stays when the leader is lost, whatever that node's clock
    /// says later.
    reference: Option<ClockFilter>,
    /// Whose it is: epoch, node, term. For a moment that is not yet who leads.
    reference_epoch: u64,
    reference_node: u64,
    reference_term: u64,
    /// When an exchange with a leader was made last: the raw clock, ns.
    heard_raw_ns: i64,
    /// The leader before, until the time of the next one is used.
    gone: Option<Gone>,
    holdover: Holdover,
    published_epoch: u64,
    first_published_ns: Option<i64>,
    slept_ns: i64,
    told_of_stranger: bool,
    silence: Silence,
}

impl Keeper {
    fn new(config: ClockConfig, orders: watch::Sender<Orders>) -> Self {
        // Until someone is known to lead, all are asked.
        orders.send_replace(Orders { searching: true, ..Orders::default() });
        let machine = config.nodes.dialer().world().clock.clone();
        Self {
            slept_ns: slept_ns(machine.as_ref()),
            machine,
            config,
            orders,
            nodes: BTreeMap::new(),
            lead: None,
            term_max: 0,
            reference: None,
            reference_epoch: 0,
            reference_node: 0,
            reference_term: 0,
            heard_raw_ns: 0,
            gone: None,
            holdover: Holdover::default(),
            published_epoch: 0,
            first_published_ns: None,
            told_of_stranger: false,
            silence: Silence::new(Instant::now()),
        }
    }

    fn link(&self, address: &Address, sightings: mpsc::Sender<Sighting>) -> Link {
        Link {
            address: address.clone(),
            dialer: self.config.nodes.dialer().clone(),
            orders: self.orders.subscribe(),
            report: self.config.report.clone(),
            sightings,
        }
    }

    fn take(&mut self, sighting: Sighting) {
        let address = sighting.address;
        match sighting.seen {
            Ok(burst) => self.take_burst(address, burst),
            Err(why) => {
                self.silence.failed(&address, why);
                if self.lead.as_ref().is_some_and(|lead| lead.address == address) {
                    self.lost_leader();
                }
            }
        }
    }

    fn take_burst(&mut self, address: Address, burst: Burst) {
        let last = &burst.last;
        if last.cluster_id != self.config.cluster {
            if !self.told_of_stranger {
                self.told_of_stranger = true;
                let trouble =
                    format!("the node at {address} belongs to another cluster; it is left out");
                self.config.reporter.tell(News::Trouble(trouble));
            }
            return;
        }
        self.silence.answered(&address, last, Instant::now());
        if let Ok(leader) = Address::parse(&last.leader_address) {
            self.config.nodes.learn(leader);
        }
        let leads = last.leads && last.term >= self.term_max;
        if leads || last.error_bound_ns <= WARM_BOUND_NS_MAX {
            let clock =
                self.nodes.entry(last.node).or_insert_with(|| NodeClock::new(MapId::of(last)));
            if leads {
                clock.leads();
            } else {
                clock.followed_within_ns = last.error_bound_ns;
            }
            clock.observe(MapId::of(last), &burst.probes);
        }
        if leads {
            self.lead_by(address, last, burst.probes.len());
            self.heard_raw_ns = self.machine.raw_ns();
            self.config.commits.name(last.commit_index, Instant::now());
        } else if self
            .lead
            .as_ref()
            .is_some_and(|lead| lead.node == last.node || last.term > lead.term)
        {
            // It has stepped down, or a later term has begun.
            self.lost_leader();
        }
    }

    fn lead_by(&mut self, address: Address, last: &TimeReply, probes: usize) {
        self.term_max = last.term;
        let is_new = self.lead.as_ref().is_none_or(|lead| {
            !lead.answers
                || lead.node != last.node
                || lead.term != last.term
                || lead.epoch != last.epoch
        });
        if let Some(lead) = self.lead.as_ref().filter(|lead| lead.node != last.node) {
            self.gone
                .get_or_insert(Gone::new(lead.node, self.heard_raw_ns))
                .back(self.machine.raw_ns());
        }
        let went_on =
            self.lead.as_ref().filter(|lead| lead.node == last.node && lead.epoch == last.epoch);
        let bursts = went_on.map_or(0, |lead| lead.bursts) + 1;
        let (node, term, epoch) = (last.node, last.term, last.epoch);
        self.lead =
            Some(Lead { node, address: address.clone(), term, epoch, bursts, answers: true });
        if is_new {
            self.config.reporter.tell(News::Leader { node, term, epoch });
            self.order(Some(address));
        }
        let epoch_bumped = epoch != self.reference_epoch;
        // A new epoch begins with a step: not on the word of a single probe, which may have been held up.
        let begins_epoch = epoch_bumped && probes > 1;
        if bursts >= BURSTS_BEFORE_TRUST || self.reference.is_none() || begins_epoch {
            let new = self.nodes.get(&node).map(|clock| clock.filter.clone());
            let old = std::mem::replace(&mut self.reference, new);
            let clocks = old.as_ref().zip(self.reference.as_ref()).filter(|_| !epoch_bumped);
            if let Some(gone) = self.gone.take()
                && let Some(news) = gone.over(node, self.machine.raw_ns(), clocks)
            {
                self.config.reporter.tell(news);
            }
            let leader = self.orders.borrow().leader.clone();
            self.order(leader);
            self.reference_epoch = epoch;
            (self.reference_node, self.reference_term) = (node, term);
        }
    }

    fn lost_leader(&mut self) {
        if let Some(lead) = self.lead.as_mut().filter(|lead| lead.answers) {
            lead.answers = false;
            lead.bursts = 0;
            self.gone.get_or_insert(Gone::new(lead.node, self.heard_raw_ns));
            self.config.reporter.tell(News::LeaderLost { node: lead.node });
            self.order(None);
        }
    }

    fn tell_if_unheard(&mut self) {
        let is_heard = self.lead.as_ref().is_some_and(|lead| lead.answers);
        let all = self.config.nodes.all();
        if let Some(why) = self.silence.look(is_heard, &all, Instant::now()) {
            let has_time = self.config.view.load().is_some();
            self.config.reporter.tell(News::Unheard { why, has_time });
        }
    }

    /// Tells the links who leads, or to look for that, and whether more is to be asked of whoever leads.
    fn order(&self, leader: Option<Address>) {
        let eager = self.reference.as_ref().is_some_and(ClockFilter::scatters);
        let orders = Orders { searching: leader.is_none(), leader, eager };
        self.orders.send_if_modified(|old| {
            let changed = *old != orders;
            *old = orders;
            changed
        });
    }

    fn publish(&mut self) {
        self.notice_sleep();
        let raw_now_ns = self.machine.raw_ns();
        let Some(estimate) = self.reference.as_ref().and_then(|filter| filter.estimate(raw_now_ns))
        else {
            return;
        };
        let bursts = self.lead.as_ref().map_or(0, |lead| lead.bursts);
        let first_ns = match self.first_published_ns {
            Some(first_ns) => first_ns,
            None if estimate.bound_ns() > FIRST_BOUND_NS_MAX && bursts < FIRST_BURSTS_MAX => return,
            None => *self.first_published_ns.insert(raw_now_ns),
        };
        let bumped = self.reference_epoch != self.published_epoch;
        let silent = !self.config.sounding.load(Ordering::Relaxed);
        let off_ns = self.holdover.published().map_or(0, |published| {
            estimate.map.at(raw_now_ns).since(published.at(raw_now_ns)).as_nanos().abs()
        });
        let coarse = raw_now_ns - first_ns < SETTLING_NS
            && off_ns > SETTLING_STEP_NS.max(estimate.bound_ns());
        let may_step = bumped || silent || coarse;
        let steered = self.holdover.steer(raw_now_ns, &estimate.map, may_step);
        self.published_epoch = self.reference_epoch;
        self.config.view.store(Some(Arc::new(ClockView {
            map: steered.map,
            bound_ns: estimate.bound_ns() + steered.left_ns.abs(),
            // The bound is about this one's time, and not about that of somebody who was heard of only just now.
            leader: self.reference_node,
            term: self.reference_term,
            epoch: self.reference_epoch,
            slept_ns: self.slept_ns,
            standing: ClockStanding {
                heard_raw_ns: self.heard_raw_ns,
                sigma_ns: estimate.sigma_ns,
                rtt_ns: estimate.rtt_min_ns,
                left_ns: steered.left_ns,
            },
        })));
    }

    /// The raw clock stands still while the machine sleeps, and all that was known is worth nothing afterwards: it
    /// begins anew.
    fn notice_sleep(&mut self) {
        let slept_ns = slept_ns(self.machine.as_ref());
        if differ(slept_ns, self.slept_ns) {
            self.nodes.clear();
            self.reference = None;
            self.holdover = Holdover::default();
            self.first_published_ns = None;
            self.config.view.store(None);
            if let Some(lead) = &mut self.lead {
                lead.bursts = 0;
            }
        }
        self.slept_ns = slept_ns;
    }
}

impl NodeClock {
    fn new(map: MapId) -> Self {
        Self { filter: ClockFilter::with_envelopes(), map, followed_within_ns: 0 }
    }

    fn observe(&mut self, map: MapId, probes: &[Probe]) {
        if map != self.map || self.is_refuted_by(probes) {
            *self = Self::new(map);
        }
        self.filter.observe(probes);
    }

    /// It leads from now on, and so runs evenly: as a follower it drew near the leader's time, faster or slower than it is.
    fn leads(&mut self) {
        let slewed_ppb = self.followed_within_ns.saturating_mul(1_000_000_000) / SLEWED_OVER_NS;
        self.filter.loosen(slewed_ppb.min(SLEWED_PPB_MAX));
        self.followed_within_ns = 0;
    }

    /// An exchange bounds the offset strictly, by half its round trip. If what is believed lies outside of that, the
    /// node's clock was not continued: it was restarted, and is not what it was.
    fn is_refuted_by(&self, probes: &[Probe]) -> bool {
        let Some(best) = probes.iter().min_by_key(|probe| probe.rtt_ns()) else { return false };
        let Some(estimate) = self.filter.estimate(best.back_ns) else { return false };
        let (from_ns, to_ns) = (best.sent_ns, best.back_ns);
        let early_ns = best.received.since(estimate.map.at(from_ns)).as_nanos();
        let late_ns = estimate.map.at(to_ns).since(best.replied).as_nanos();
        // Each would be at least 0 if the estimate were exact.
        early_ns.min(late_ns) < -(estimate.bound_ns() + DISAGREE_NS)
    }
}
