//! Decides whose time counts, and publishes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jam_proto::sync::{ClockFilter, Holdover, Probe};
use jam_proto::wire::v1::TimeReply;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::link::{Burst, Link, Orders, Sighting};
use super::{ClockConfig, raw_ns, slept_ns};
use crate::audio::ClockView;
use crate::connection::Address;
use crate::news::News;

/// How often the published map is steered: well within the second that it fades errors over.
const TICK: Duration = Duration::from_millis(100);
/// A clock that says of itself that it may be off by more is not worth being warm for.
const WARM_BOUND_NS_MAX: i64 = 5_000_000;
/// A new leader's clock counts from its second burst on: the first one may have met a busy machine.
const BURSTS_BEFORE_TRUST: u32 = 2;
/// What an honest bound and an honest exchange may still disagree by.
const DISAGREE_NS: i64 = 1_000_000;
/// A jump of this size between the clocks that do and don't count sleep is no NTP.
const SLEPT_NS: i64 = 20_000_000;

/// Keeps time for ever.
pub(super) async fn run(config: ClockConfig) {
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
            _ = tick.tick() => keeper.publish(),
        }
    }
}

/// One node's clock.
#[derive(Default)]
struct NodeClock {
    filter: ClockFilter,
    epoch: u64,
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
    orders: watch::Sender<Orders>,
    nodes: BTreeMap<u64, NodeClock>,
    lead: Option<Lead>,
    term_max: u64,
    /// The reference: the leader's filter as of its last burst. It stays when the leader is lost, whatever that node's clock
    /// says later.
    reference: Option<ClockFilter>,
    reference_epoch: u64,
    holdover: Holdover,
    published_epoch: u64,
    slept_ns: i64,
    told_of_stranger: bool,
}

impl Keeper {
    fn new(config: ClockConfig, orders: watch::Sender<Orders>) -> Self {
        // Until someone is known to lead, all are asked.
        orders.send_replace(Orders { leader: None, searching: true });
        Self {
            config,
            orders,
            nodes: BTreeMap::new(),
            lead: None,
            term_max: 0,
            reference: None,
            reference_epoch: 0,
            holdover: Holdover::default(),
            published_epoch: 0,
            slept_ns: slept_ns(),
            told_of_stranger: false,
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
            Err(_) => {
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
        if let Ok(leader) = Address::parse(&last.leader_address) {
            self.config.nodes.learn(leader);
        }
        let leads = last.leads && last.term >= self.term_max;
        if leads || last.error_bound_ns <= WARM_BOUND_NS_MAX {
            self.nodes.entry(last.node).or_default().observe(last.epoch, &burst.probes);
        }
        if leads {
            self.lead_by(address, last);
        } else if self
            .lead
            .as_ref()
            .is_some_and(|lead| lead.node == last.node || last.term > lead.term)
        {
            // It has stepped down, or a later term has begun.
            self.lost_leader();
        }
    }

    fn lead_by(&mut self, address: Address, last: &TimeReply) {
        self.term_max = last.term;
        let is_new = self.lead.as_ref().is_none_or(|lead| {
            !lead.answers
                || lead.node != last.node
                || lead.term != last.term
                || lead.epoch != last.epoch
        });
        let went_on =
            self.lead.as_ref().filter(|lead| lead.node == last.node && lead.epoch == last.epoch);
        let bursts = went_on.map_or(0, |lead| lead.bursts) + 1;
        let (node, term, epoch) = (last.node, last.term, last.epoch);
        self.lead =
            Some(Lead { node, address: address.clone(), term, epoch, bursts, answers: true });
        if is_new {
            self.config.reporter.tell(News::Leader { node, term, epoch });
            self.order(Orders { leader: Some(address), searching: false });
        }
        let epoch_bumped = epoch != self.reference_epoch;
        if bursts >= BURSTS_BEFORE_TRUST || self.reference.is_none() || epoch_bumped {
            self.reference = self.nodes.get(&node).map(|clock| clock.filter.clone());
            self.reference_epoch = epoch;
        }
    }

    fn lost_leader(&mut self) {
        if let Some(lead) = self.lead.as_mut().filter(|lead| lead.answers) {
            lead.answers = false;
            lead.bursts = 0;
            self.config.reporter.tell(News::LeaderLost);
            self.order(Orders { leader: None, searching: true });
        }
    }

    fn order(&self, orders: Orders) {
        self.orders.send_if_modified(|old| {
            let changed = *old != orders;
            *old = orders;
            changed
        });
    }

    fn publish(&mut self) {
        self.notice_sleep();
        let raw_now_ns = raw_ns();
        let Some(estimate) = self.reference.as_ref().and_then(|filter| filter.estimate(raw_now_ns))
        else {
            return;
        };
        let bumped = self.reference_epoch != self.published_epoch;
        let may_step = bumped || !self.config.sounding.load(Ordering::Relaxed);
        let steered = self.holdover.steer(raw_now_ns, &estimate.map, may_step);
        self.published_epoch = self.reference_epoch;
        let lead = self.lead.as_ref();
        self.config.view.store(Some(Arc::new(ClockView {
            map: steered.map,
            bound_ns: estimate.bound_ns() + steered.left_ns.abs(),
            leader: lead.map_or(0, |lead| lead.node),
            term: lead.map_or(0, |lead| lead.term),
            epoch: self.reference_epoch,
        })));
    }

    /// The raw clock stands still while the machine sleeps, and all that was known is worth nothing afterwards.
    fn notice_sleep(&mut self) {
        let slept_ns = slept_ns();
        if (slept_ns - self.slept_ns).abs() > SLEPT_NS {
            self.nodes.clear();
            self.reference = None;
            if let Some(lead) = &mut self.lead {
                lead.bursts = 0;
            }
        }
        self.slept_ns = slept_ns;
    }
}

impl NodeClock {
    fn observe(&mut self, epoch: u64, probes: &[Probe]) {
        if epoch != self.epoch || self.is_refuted_by(probes) {
            *self = Self { filter: ClockFilter::default(), epoch };
        }
        self.filter.observe(probes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Dialer;
    use crate::news::Reporter;
    use crate::nodes::Nodes;
    use arc_swap::ArcSwapOption;
    use jam_proto::sync::SharedMap;
    use jam_proto::time::{Flicks, SharedTime};
    use std::sync::atomic::AtomicBool;

    const CLUSTER: [u8; 2] = [4, 2];

    fn truth(offset_ns: i64) -> SharedMap {
        SharedMap {
            raw_ns: 0,
            shared: SharedTime(1 << 45) + Flicks::from_nanos(offset_ns),
            drift: 0.0,
        }
    }

    struct Rig {
        keeper: Keeper,
        view: Arc<ArcSwapOption<ClockView>>,
        sounding: Arc<AtomicBool>,
        news: mpsc::Receiver<News>,
    }

    impl Rig {
        fn new() -> Self {
            let view = Arc::new(ArcSwapOption::empty());
            let sounding = Arc::new(AtomicBool::new(false));
            let (reporter, news) = Reporter::new();
            let (_, report) = watch::channel(None);
            let (view_too, sounding_too) = (view.clone(), sounding.clone());
            let nodes = Nodes::new(Dialer::default(), vec![]);
            let cluster = CLUSTER.to_vec();
            let config = ClockConfig {
                nodes,
                cluster,
                view: view_too,
                sounding: sounding_too,
                report,
                reporter,
            };
            Self {
                keeper: Keeper::new(config, watch::channel(Orders::default()).0),
                view,
                sounding,
                news,
            }
        }

        fn sees(&mut self, node: u64, term: u64, epoch: u64, leads: bool, clock: &SharedMap) {
            let now = raw_ns();
            let probe = |back_ns: i64| Probe {
                sent_ns: back_ns - 100_000,
                received: clock.at(back_ns - 50_000),
                replied: clock.at(back_ns - 50_000),
                back_ns,
            };
            let last = TimeReply {
                cluster_id: CLUSTER.to_vec(),
                node,
                term,
                epoch,
                leads,
                ..TimeReply::default()
            };
            let burst =
                Burst { probes: (0..8).map(|back| probe(now - back * 1000)).collect(), last };
            let address = address(node);
            self.keeper.take(Sighting { address, seen: Ok(burst) });
            self.keeper.publish();
        }

        /// Shared time as published minus as `clock` has it, ns; `None`: nothing is published.
        fn off_by(&self, clock: &SharedMap) -> Option<i64> {
            let now = raw_ns();
            self.view.load().as_ref().map(|view| view.map.at(now).since(clock.at(now)).as_nanos())
        }

        fn told(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.news.try_recv().ok())
                .map(|news| format!("{news:?}"))
                .collect()
        }
    }

    fn address(node: u64) -> Address {
        Address::parse(&format!("127.0.0.1:{node}")).expect("an address")
    }

    #[test]
    fn only_the_leader_of_the_highest_term_is_believed() {
        let mut rig = Rig::new();
        rig.sees(1, 3, 1, false, &truth(0));
        assert_eq!(rig.off_by(&truth(0)), None);
        rig.sees(2, 4, 1, true, &truth(0));
        assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 50_000));
        rig.sees(1, 3, 1, true, &truth(70_000_000));
        assert_eq!(rig.view.load().as_ref().map(|view| (view.leader, view.term)), Some((2, 4)));
        assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 50_000));
    }

    #[test]
    fn another_cluster_is_left_out() {
        let mut rig = Rig::new();
        let last = TimeReply {
            cluster_id: vec![9],
            leads: true,
            term: 1,
            node: 1,
            ..TimeReply::default()
        };
        rig.keeper.take(Sighting { address: address(1), seen: Ok(Burst { probes: vec![], last }) });
        rig.keeper.publish();
        assert!(rig.view.load().is_none());
        assert!(rig.told()[0].contains("another cluster"));
    }

    #[test]
    fn a_lost_leader_is_held_over_and_the_next_one_let_in_without_a_step() {
        let mut rig = Rig::new();
        for _ in 0..4 {
            rig.sees(1, 1, 1, true, &truth(0));
        }
        rig.sounding.store(true, Ordering::Relaxed);
        rig.keeper.take(Sighting { address: address(1), seen: Err("gone".into()) });
        rig.keeper.publish();
        assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 50_000));
        // Two milliseconds apart: let in at 200 ppm, so next to nothing of it shows yet.
        for _ in 0..4 {
            rig.sees(2, 2, 1, true, &truth(2_000_000));
        }
        assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 100_000));
        let bound_ns = rig.view.load().as_ref().map(|view| view.bound_ns);
        assert!(
            bound_ns.is_some_and(|bound| bound > 1_500_000),
            "the bound must own up to it: {bound_ns:?}"
        );
        let told = rig.told();
        assert!(told[0].starts_with("Leader { node: 1") && told[1] == "LeaderLost", "{told:?}");
        assert!(told[2].starts_with("Leader { node: 2"), "{told:?}");
        // What the old one's clock says once it is back changes nothing.
        rig.sees(1, 2, 1, false, &truth(900_000_000));
        assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 100_000));
    }

    #[test]
    fn a_bumped_epoch_steps_even_while_something_sounds() {
        let mut rig = Rig::new();
        rig.sees(1, 1, 1, true, &truth(0));
        rig.sounding.store(true, Ordering::Relaxed);
        rig.sees(2, 2, 2, true, &truth(40_000_000));
        assert!(rig.off_by(&truth(40_000_000)).is_some_and(|off| off.abs() < 50_000));
        assert_eq!(rig.view.load().as_ref().map(|view| view.epoch), Some(2));
    }

    #[test]
    fn a_clock_that_was_restarted_is_learnt_anew() {
        let mut clock = NodeClock::default();
        let probe = |clock: &SharedMap| {
            let now = raw_ns();
            Probe {
                sent_ns: now - 100_000,
                received: clock.at(now - 50_000),
                replied: clock.at(now - 50_000),
                back_ns: now,
            }
        };
        clock.observe(1, &[probe(&truth(0))]);
        clock.observe(1, &[probe(&truth(300_000))]);
        let before = clock.filter.estimate(raw_ns()).expect("observed");
        assert!(
            before.map.at(raw_ns()).since(truth(0).at(raw_ns())).as_nanos() < 299_000,
            "noise is filtered"
        );
        clock.observe(1, &[probe(&truth(50_000_000))]);
        let after = clock.filter.estimate(raw_ns()).expect("observed");
        let off_ns = after.map.at(raw_ns()).since(truth(50_000_000).at(raw_ns())).as_nanos();
        assert!(off_ns.abs() < 100_000, "{off_ns}");
    }
}
