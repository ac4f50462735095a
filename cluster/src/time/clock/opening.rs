//! How a leadership begins: whether the node's own time is continued, another node's is, or a new epoch is opened.

use jam_proto::sync::readings::{self, CRYSTALS_APART_PPB, Found, Reading};
use jam_proto::sync::{Doubt, SharedMap, Succession, floor};
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1::ClockEpoch;
use jam_proto::wire::peer::v1::ReadClockReply;

use super::super::slewed::SlewedMap;
use super::NodeClock;
use super::state::{CONTINUED_BOUND_NS_MAX, Lead, State};

/// How far the time of a leader that begins anew may be from that of those before, where no epoch is left to say it: 52 days.
/// The log sums bounds up, and sums of many of these are still none of the unknown ones.
pub(super) const LOST_BOUND_NS: i64 = 1 << 52;

impl NodeClock {
    /// Whether this node would go on with its own time if it led now, after the leaders of `succession`. If not, the voters
    /// are asked for theirs before [`Self::open`].
    pub fn continues(&self, succession: &Succession, last_stamp: SharedTime) -> bool {
        self.notices_sleep();
        let mut state = **self.state.load();
        state.hear(succession);
        state.continues(succession, last_stamp, self.raw_ns()).is_some()
    }

    /// What this clock says to another node that asks for its time. Looks for a sleep first.
    pub fn told(&self) -> ReadClockReply {
        self.notices_sleep();
        self.state.load().reading(self.raw_ns()).to_wire()
    }

    /// Opens a leadership: what its `ClockEpoch` says. `succession` are the leaders until now, all of them,
    /// `last_stamp` is the last one given, and `others` is what the voters say of time, if they were asked.
    ///
    /// A map on its way to a better one stays where it is: from here on it is the reference, which runs at one rate. If it
    /// can't be continued the best of the others' is, or else the map starts anew at the floor; nothing may be stamped until
    /// the entry is committed and [`Self::lead`] called. From here to [`Self::step_down`] nobody disciplines the map.
    pub fn open(
        &self,
        succession: &Succession,
        last_stamp: SharedTime,
        (term, node): (u64, u64),
        others: &[Reading],
        raw_ns: i64,
    ) -> ClockEpoch {
        self.change(|state| {
            #[cfg(feature = "planted")]
            if jam_proto::planted::Bug::WallClockTime.is_planted() {
                state.map = SlewedMap::settled(self.wall_clock_map(raw_ns));
            }
            state.hear(succession);
            state.lead = Lead::Opening;
            let begun = match state.continues(succession, last_stamp, raw_ns) {
                Some(doubt) => Begun::Continued(doubt),
                // One that slept while it led opens the same term anew. Its time of that term and epoch is known to
                // everybody by these two, so it may not become another node's: the epoch ends.
                None => {
                    let adopts = succession.term < term;
                    begin_with_others(state, succession, last_stamp, others, raw_ns, adopts)
                }
            };
            let (shared, drift) = (state.map.at(raw_ns), state.map.drift());
            match begun {
                Begun::Continued(doubt) => {
                    state.map = SlewedMap::settled(SharedMap { raw_ns, shared, drift });
                    ClockEpoch {
                        epoch: succession.epoch,
                        term,
                        node,
                        floor: last_stamp.0,
                        error_bound_ns: doubt.bound_ns,
                        drift_bound_ppb: doubt.drift_ppb,
                        since: shared.0,
                    }
                }
                Begun::Anew(floor) => {
                    state.set(SharedMap { raw_ns, shared: floor, drift });
                    // Of no epoch until it is committed: should another node win, this map is worth nothing.
                    state.epoch = 0;
                    state.doubt = Doubt::UNKNOWN;
                    let epoch = succession.epoch.saturating_add(1);
                    // After the last epoch there is none. A log of an older build may hold that one: its leaders go on in
                    // it, and say how little they know of the time of those before.
                    let error_bound_ns = if epoch == succession.epoch { LOST_BOUND_NS } else { 0 };
                    ClockEpoch {
                        epoch,
                        term,
                        node,
                        floor: floor.0,
                        error_bound_ns,
                        drift_bound_ppb: 0,
                        since: floor.0,
                    }
                }
            }
        })
    }

    #[cfg(feature = "planted")]
    fn wall_clock_map(&self, raw_ns: i64) -> SharedMap {
        let wall = self.machine.wall().duration_since(std::time::UNIX_EPOCH);
        let wall_ns = wall.map_or(0, |wall| wall.as_nanos() as i64);
        let shared = SharedTime(jam_proto::time::Flicks::from_nanos(wall_ns).0);
        SharedMap { raw_ns, shared, drift: 0.0 }
    }
}

/// How a leadership begins.
enum Begun {
    /// With the time of the epoch in force, this far off.
    Continued(Doubt),
    /// With a new epoch, at this floor.
    Anew(SharedTime),
}

/// The node's own time can't be continued: with another node's if it `adopts` one, or else a new epoch where time was by what
/// is known.
fn begin_with_others(
    state: &mut State,
    succession: &Succession,
    last_stamp: SharedTime,
    others: &[Reading],
    raw_ns: i64,
    adopts: bool,
) -> Begun {
    let mut all = others.to_vec();
    all.push(state.reading(raw_ns));
    let known = match readings::judge(&all, succession, last_stamp, raw_ns) {
        Found::Now(reading, doubt) if adopts && doubt.bound_ns < CONTINUED_BOUND_NS_MAX => {
            // The crystals' rates are known if this map followed the epoch in force.
            let followed = state.epoch == succession.epoch
                && state.doubt_at(raw_ns).drift_ppb <= CRYSTALS_APART_PPB;
            let drift = if followed { state.map.drift() } else { 0.0 };
            state.adopt(&reading, drift);
            return Begun::Continued(doubt);
        }
        Found::Now(reading, _) => reading.shared,
        Found::AtLeast(shared) => shared,
        Found::Nothing => last_stamp,
    };
    Begun::Anew(floor::cut(known.max(last_stamp), last_stamp))
}
