//! A saved clock of any numbers: not believed, or gone on with.
#![no_main]

use jam_cluster::time::awake::Awake;
use jam_cluster::time::clock::NodeClock;
use jam_cluster::time::saved::Saved;
use jam_proto::sync::{Doubt, Succession};
use jam_proto::time::SharedTime;
use jam_world::World;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    raw_ns: i64,
    ahead_ns: i64,
    shared: i64,
    drift: f64,
    epoch: u64,
    term: u64,
    since: i64,
    doubt: (i64, i64),
    /// Since it was saved.
    passed_ns: u64,
}

fuzz_target!(|input: Input| {
    let Input { raw_ns, ahead_ns, shared, drift, epoch, term, since, doubt, passed_ns } = input;
    let doubt = Doubt::new(doubt.0, doubt.1);
    let reference = Succession { epoch, term, since: SharedTime(since), doubt };
    let saved = Saved {
        boot_id: "boot".to_owned(),
        raw_ns,
        boottime_ahead_ns: ahead_ns,
        shared,
        drift,
        set_raw_ns: raw_ns,
        epoch,
        error_bound_ns: doubt.bound_ns,
        drift_bound_ppb: doubt.drift_ppb,
        term,
        reference: reference.into(),
        last_epoch: epoch,
    };
    let Ok(text) = saved.to_text() else { return };
    let Ok(saved) = Saved::parse(&text) else { return };
    let machine = World::real().clock;
    // A machine is up for a hundred years at most.
    let raw_ns = saved.raw_ns.saturating_add_unsigned(passed_ns).min(i64::MAX / 2);
    let now = Awake { raw_ns, ahead_ns };
    let clock = NodeClock::resume(machine, Some(&saved), "boot", now);
    clock.at(raw_ns);
    clock.now();
    clock.error_bound_ns();
    clock.hear(&reference);
    clock.open(&reference, SharedTime(0), (1, 1), &[], raw_ns);
    clock.to_save("boot", now);
});
