//! Whose time counts, told by what the links might see.

use super::*;
use crate::connection::{Bearer, Dialer};
use crate::news::Reporter;
use crate::nodes::Nodes;
use arc_swap::ArcSwapOption;
use jam_proto::sync::SharedMap;
use jam_proto::time::{Flicks, SharedTime};
use jam_world::World;
use std::sync::atomic::AtomicBool;

const CLUSTER: [u8; 2] = [4, 2];

fn truth(offset_ns: i64) -> SharedMap {
    SharedMap { raw_ns: 0, shared: SharedTime(1 << 45) + Flicks::from_nanos(offset_ns), drift: 0.0 }
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
        let nodes = Nodes::new(Dialer::new(World::real(), Bearer::default()), vec![]);
        let cluster = CLUSTER.to_vec();
        let config = ClockConfig {
            nodes,
            cluster,
            view: view_too,
            sounding: sounding_too,
            report,
            commits: Arc::default(),
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
        let last = TimeReply { node, term, epoch, leads, ..TimeReply::default() };
        self.takes(100_000, last, clock);
    }

    /// A leader in this term and epoch, with round trips that take so long and a map that was set then.
    fn sees_over(
        &mut self,
        rtt_ns: i64,
        (node, term, epoch): (u64, u64, u64),
        set_raw_ns: i64,
        clock: &SharedMap,
    ) {
        let leads = true;
        let last = TimeReply { node, term, epoch, leads, set_raw_ns, ..TimeReply::default() };
        self.takes(rtt_ns, last, clock);
    }

    fn takes(&mut self, rtt_ns: i64, last: TimeReply, clock: &SharedMap) {
        let now = self.keeper.machine.raw_ns();
        let probe = |back_ns: i64| Probe {
            sent_ns: back_ns - rtt_ns,
            received: clock.at(back_ns - rtt_ns / 2),
            replied: clock.at(back_ns - rtt_ns / 2),
            back_ns,
        };
        let node = last.node;
        let last = TimeReply { cluster_id: CLUSTER.to_vec(), ..last };
        let burst = Burst { probes: (0..8).map(|back| probe(now - back * 1000)).collect(), last };
        let address = address(node);
        self.keeper.take(Sighting { address, seen: Ok(burst) });
        self.keeper.publish();
    }

    /// Shared time as published minus as `clock` has it, ns; `None`: nothing is published.
    fn off_by(&self, clock: &SharedMap) -> Option<i64> {
        let now = self.keeper.machine.raw_ns();
        self.view.load().as_ref().map(|view| view.map.at(now).since(clock.at(now)).as_nanos())
    }

    fn has_listened_for_long(&mut self) {
        self.keeper.first_published_ns = Some(self.keeper.machine.raw_ns() - SETTLING_NS);
    }

    fn told(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.news.try_recv().ok()).map(|news| format!("{news:?}")).collect()
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
    let last =
        TimeReply { cluster_id: vec![9], leads: true, term: 1, node: 1, ..TimeReply::default() };
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
    rig.has_listened_for_long();
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
    assert!(told[0].starts_with("Leader { node: 1"), "{told:?}");
    assert_eq!(told[1], "LeaderLost { node: 1 }");
    assert!(told[2].starts_with("Leader { node: 2"), "{told:?}");
    // Told once, and what was measured of it.
    let [failover] = &told[3..] else { panic!("{told:?}") };
    let phase_us = failover.split("phase_ns: ").nth(1).and_then(|rest| rest.split_once(','));
    let phase_ns: i64 = phase_us.expect("it is in it").0.parse().expect("a number");
    assert!(failover.starts_with("Failover { from: 1, to: 2"), "{told:?}");
    assert!((phase_ns - 2_000_000).abs() < 50_000, "{told:?}");
    // What the old one's clock says once it is back changes nothing.
    rig.sees(1, 2, 1, false, &truth(900_000_000));
    assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 100_000));
}

#[test]
fn a_coarse_first_estimate_is_put_right_at_once() {
    let mut rig = Rig::new();
    rig.sees(1, 1, 1, true, &truth(8_000_000));
    rig.sounding.store(true, Ordering::Relaxed);
    rig.sees(1, 1, 1, true, &truth(0));
    assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 50_000));
    rig.has_listened_for_long();
    rig.sees(1, 1, 1, true, &truth(8_000_000));
    assert!(rig.off_by(&truth(0)).is_some_and(|off| off.abs() < 50_000));
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
    let mut clock = NodeClock::new(MapId { epoch: 0, set_raw_ns: 0 });
    let machine = World::real().clock;
    let raw_ns = || machine.raw_ns();
    let probe = |clock: &SharedMap| {
        let now = raw_ns();
        Probe {
            sent_ns: now - 100_000,
            received: clock.at(now - 50_000),
            replied: clock.at(now - 50_000),
            back_ns: now,
        }
    };
    let map = MapId { epoch: 1, set_raw_ns: 5 };
    clock.observe(map, &[probe(&truth(0))]);
    clock.observe(map, &[probe(&truth(300_000))]);
    let before = clock.filter.estimate(raw_ns()).expect("observed");
    assert!(
        before.map.at(raw_ns()).since(truth(0).at(raw_ns())).as_nanos() < 299_000,
        "noise is filtered"
    );
    clock.observe(map, &[probe(&truth(50_000_000))]);
    let after = clock.filter.estimate(raw_ns()).expect("observed");
    let off_ns = after.map.at(raw_ns()).since(truth(50_000_000).at(raw_ns())).as_nanos();
    assert!(off_ns.abs() < 100_000, "{off_ns}");
}

#[test]
fn a_node_that_leads_again_with_another_map_is_measured_anew() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        rig.sees_over(2_000_000, (1, 1, 1), 5, &truth(0));
    }
    rig.sounding.store(true, Ordering::Relaxed);
    rig.has_listened_for_long();
    // It started again, took the voters' time, and leads the same epoch: 4 ms ahead of where it was, which exchanges that take
    // 20 ms can't refute.
    let ahead = truth(4_000_000);
    for _ in 0..4 {
        rig.sees_over(20_000_000, (1, 2, 1), 9, &ahead);
        let off_ns = rig.off_by(&ahead).expect("it is published").abs();
        let bound_ns = rig.view.load().as_ref().map_or(0, |view| view.bound_ns);
        let term = rig.view.load().as_ref().map_or(0, |view| view.term);
        assert!(term == 1 || off_ns <= bound_ns, "{off_ns} ns off, {bound_ns} ns said");
    }
    let set_off = rig.off_by(&truth(0)).expect("it is published").abs();
    assert!(set_off < 100_000, "it is let in without a step: {set_off}");
}
