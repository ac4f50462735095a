//! From clock probes to an estimate of another machine's shared time.

use super::map::SharedMap;
use crate::time::SharedTime;

/// One exchange with a node: sent and came back by our raw clock, received and answered by its shared time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Our raw clock just before sending, ns.
    pub sent_ns: i64,
    /// The node's shared time on receipt.
    pub received: SharedTime,
    /// The node's shared time on reply.
    pub replied: SharedTime,
    /// Our raw clock just after the reply came, ns.
    pub back_ns: i64,
}

/// What is known of shared time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// From our raw clock to shared time.
    pub map: SharedMap,
    /// One standard deviation of the offset, by the filter's own account, ns.
    pub sigma_ns: i64,
    /// The smallest round trip seen lately, ns. Half of it bounds what asymmetry may hide.
    pub rtt_min_ns: i64,
}

impl Estimate {
    /// The honest bound on the offset's error: what noise explains and what asymmetry could hide, ns.
    pub fn bound_ns(&self) -> i64 {
        3 * self.sigma_ns + self.rtt_min_ns / 2
    }
}

/// Offset and drift of one node's shared time against our raw clock.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {}

impl ClockFilter {
    /// Takes one burst of probes (or a single one): its minimum-RTT probe is what counts.
    pub fn observe(&mut self, _burst: &[Probe]) {
        todo!()
    }
    /// What is known, `None` before the first burst.
    pub fn estimate(&self, _raw_now_ns: i64) -> Option<Estimate> {
        todo!()
    }
}
