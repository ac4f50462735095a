//! A listener's clock: what `client/src/clock/keeper.rs` does, without its tasks. Whoever changes one changes the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_proto::sync::{ClockFilter, Estimate, Holdover, Probe, SharedMap};
use jam_proto::wire::v1::TimeReply;
use jam_world::Clock;

use crate::exchange::Burst;
use crate::judge::Reign;
use crate::machine::Machine;

const WARM_BOUND_NS_MAX: i64 = 5_000_000;
const BURSTS_BEFORE_TRUST: u32 = 2;
const FIRST_BOUND_NS_MAX: i64 = 1_000_000;
const FIRST_BURSTS_MAX: u32 = 4;
const SETTLING_NS: i64 = 5_000_000_000;
const SETTLING_STEP_NS: i64 = 1_000_000;
const SLEWED_OVER_NS: i64 = 2_000_000_000;
const SLEWED_PPB_MAX: i64 = 300_000;
const DISAGREE_NS: i64 = 1_000_000;
/// A player is ready so long after the time is known.
const SOUNDS_AFTER_NS: i64 = 1_000_000_000;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub map: SharedMap,
    pub bound_ns: i64,
    pub reign: Reign,
    /// Not published, but known to whoever publishes.
    pub sounding: bool,
    /// This epoch's time is so new to it that a coarse estimate may still be put right at once.
    pub settling: bool,
}

/// What all links of a listener are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    pub leader: Option<u64>,
    pub searching: bool,
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
    followed_within_ns: i64,
}

/// Whose time counts.
struct Lead {
    node: u64,
    term: u64,
    epoch: u64,
    bursts: u32,
    answers: bool,
}

/// The leader's filter as of its last burst.
pub struct Reference {
    pub filter: ClockFilter,
    pub node: u64,
    pub reign: Reign,
}

/// A listener.
pub struct Listener {
    pub machine: Arc<Machine>,
    pub orders: Orders,
    pub reference: Option<Reference>,
    pub view: Option<View>,
    nodes: BTreeMap<u64, NodeClock>,
    lead: Option<Lead>,
    term_max: u64,
    holdover: Holdover,
    first_published_ns: Option<i64>,
    /// When the epoch of the view was first published.
    epoch_since_ns: i64,
}

impl Listener {
    pub fn new(machine: Arc<Machine>) -> Self {
        Self {
            machine,
            orders: Orders { leader: None, searching: true },
            reference: None,
            view: None,
            nodes: BTreeMap::new(),
            lead: None,
            term_max: 0,
            holdover: Holdover::default(),
            first_published_ns: None,
            epoch_since_ns: 0,
        }
    }

    /// The node doesn't answer.
    pub fn misses(&mut self, node: u64) {
        if self.lead.as_ref().is_some_and(|lead| lead.node == node) {
            self.lost_leader();
        }
    }

    pub fn takes(&mut self, burst: &Burst) {
        let last = &burst.last;
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
            self.lead_by(last);
        } else if self
            .lead
            .as_ref()
            .is_some_and(|lead| lead.node == last.node || last.term > lead.term)
        {
            self.lost_leader();
        }
    }

    fn lead_by(&mut self, last: &TimeReply) {
        let (node, term, epoch) = (last.node, last.term, last.epoch);
        self.term_max = term;
        let is_new = self.lead.as_ref().is_none_or(|lead| {
            !lead.answers || lead.node != node || lead.term != term || lead.epoch != epoch
        });
        let went_on = self.lead.as_ref().filter(|lead| lead.node == node && lead.epoch == epoch);
        let bursts = went_on.map_or(0, |lead| lead.bursts) + 1;
        self.lead = Some(Lead { node, term, epoch, bursts, answers: true });
        if is_new {
            self.orders = Orders { leader: Some(node), searching: false };
        }
        let bumped = self.reference.as_ref().is_none_or(|known| known.reign.0 != epoch);
        if bursts >= BURSTS_BEFORE_TRUST || bumped {
            self.reference = self.nodes.get(&node).map(|clock| Reference {
                filter: clock.filter.clone(),
                node,
                reign: (epoch, term),
            });
        }
    }

    fn lost_leader(&mut self) {
        if let Some(lead) = self.lead.as_mut().filter(|lead| lead.answers) {
            lead.answers = false;
            lead.bursts = 0;
            self.orders = Orders { leader: None, searching: true };
        }
    }

    /// What is known now of whose time.
    pub fn estimate(&self) -> Option<(&Reference, Estimate)> {
        let reference = self.reference.as_ref()?;
        Some((reference, reference.filter.estimate(self.machine.raw_ns())?))
    }

    /// Moves on what is published.
    pub fn publishes(&mut self) {
        let raw_ns = self.machine.raw_ns();
        let Some((reference, estimate)) = self.estimate() else { return };
        let reign = reference.reign;
        let bursts = self.lead.as_ref().map_or(0, |lead| lead.bursts);
        let first_ns = match self.first_published_ns {
            Some(first_ns) => first_ns,
            None if estimate.bound_ns() > FIRST_BOUND_NS_MAX && bursts < FIRST_BURSTS_MAX => {
                return;
            }
            None => *self.first_published_ns.insert(raw_ns),
        };
        let bumped = self.view.is_none_or(|view| view.reign.0 != reign.0);
        if bumped {
            self.epoch_since_ns = raw_ns;
        }
        let sounding = raw_ns - first_ns > SOUNDS_AFTER_NS;
        let off_ns = self.holdover.published().map_or(0, |published| {
            estimate.map.at(raw_ns).since(published.at(raw_ns)).as_nanos().abs()
        });
        let coarse =
            raw_ns - first_ns < SETTLING_NS && off_ns > SETTLING_STEP_NS.max(estimate.bound_ns());
        let steered = self.holdover.steer(raw_ns, &estimate.map, bumped || !sounding || coarse);
        let bound_ns = estimate.bound_ns() + steered.left_ns.abs();
        let settling = raw_ns - self.epoch_since_ns < SETTLING_NS;
        self.view = Some(View { map: steered.map, bound_ns, reign, sounding, settling });
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

    fn leads(&mut self) {
        let slewed_ppb = self.followed_within_ns.saturating_mul(1_000_000_000) / SLEWED_OVER_NS;
        self.filter.loosen(slewed_ppb.min(SLEWED_PPB_MAX));
        self.followed_within_ns = 0;
    }

    fn is_refuted_by(&self, probes: &[Probe]) -> bool {
        let Some(best) = probes.iter().min_by_key(|probe| probe.rtt_ns()) else { return false };
        let Some(estimate) = self.filter.estimate(best.back_ns) else { return false };
        let (from_ns, to_ns) = (best.sent_ns, best.back_ns);
        let early_ns = best.received.since(estimate.map.at(from_ns)).as_nanos();
        let late_ns = estimate.map.at(to_ns).since(best.replied).as_nanos();
        early_ns.min(late_ns) < -(estimate.bound_ns() + DISAGREE_NS)
    }
}
