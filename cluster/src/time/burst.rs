//! Which probes of a burst count.

use jam_proto::sync::Probe;
use jam_proto::wire::v1::TimeReply;

/// The term and the clock epoch that a node leads in.
pub type Reign = (u64, u64);

/// Probes in a burst: its fastest one counts.
pub const BURST: usize = 8;

/// A burst of probes to one leader. It ends at the first reply of a node that doesn't lead at that moment; what it answered
/// before that, with its lease, counts.
#[derive(Debug, Default)]
pub struct Burst {
    probes: Vec<Probe>,
    reign: Reign,
    asked: usize,
}

impl Burst {
    /// Takes the answer to a probe; whether another one is to be sent.
    pub fn take(&mut self, probe: Probe, reply: &TimeReply) -> bool {
        if !reply.leads {
            return false;
        }
        if (reply.term, reply.epoch) != self.reign {
            // It began to lead anew in the middle: what was measured before is of another time.
            self.probes.clear();
            self.reign = (reply.term, reply.epoch);
        }
        self.probes.push(probe);
        self.asked += 1;
        self.asked < BURST
    }

    /// What was measured, and in which reign; `None`: that node was not the reference at any of its replies.
    pub fn measured(self) -> Option<(Vec<Probe>, Reign)> {
        (!self.probes.is_empty()).then_some((self.probes, self.reign))
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::time::SharedTime;

    use super::*;

    fn probe(sent_ns: i64) -> Probe {
        Probe { sent_ns, received: SharedTime(0), replied: SharedTime(0), back_ns: sent_ns + 1 }
    }

    fn reply(term: u64, leads: bool) -> TimeReply {
        TimeReply { term, epoch: 1, leads, ..TimeReply::default() }
    }

    #[test]
    fn a_lease_that_flaps_ends_a_burst_and_spoils_none() {
        let mut burst = Burst::default();
        assert!(burst.take(probe(1), &reply(3, true)));
        assert!(burst.take(probe(2), &reply(3, true)));
        assert!(!burst.take(probe(3), &reply(3, false)));
        assert_eq!(burst.measured(), Some((vec![probe(1), probe(2)], (3, 1))));
        let mut burst = Burst::default();
        assert!(!burst.take(probe(1), &reply(3, false)));
        assert_eq!(burst.measured(), None);
    }

    #[test]
    fn what_was_measured_in_another_term_is_dropped() {
        let mut burst = Burst::default();
        burst.take(probe(1), &reply(3, true));
        burst.take(probe(2), &reply(5, true));
        assert_eq!(burst.measured(), Some((vec![probe(2)], (5, 1))));
    }

    #[test]
    fn a_burst_has_eight_probes() {
        let mut burst = Burst::default();
        let sent = (1..).take_while(|sent_ns| burst.take(probe(*sent_ns), &reply(3, true))).count();
        assert_eq!(sent + 1, BURST);
        assert_eq!(burst.measured().map(|(probes, _)| probes.len()), Some(BURST));
    }
}
