//! Clock probes whose answers come from any node, through filter, map and hold-over.
#![no_main]

use jam_proto::sync::{ClockFilter, Holdover, Probe};
use jam_proto::time::SharedTime;
use jam_proto::wire::v1::TimeReply;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Exchange {
    pause_us: u32,
    took_us: u32,
    received: i64,
    replied: i64,
    may_step: bool,
}

fuzz_target!(|exchanges: Vec<Exchange>| {
    let (mut filter, mut holdover, mut now_ns) = (ClockFilter::default(), Holdover::default(), 0);
    for Exchange { pause_us, took_us, received, replied, may_step } in exchanges {
        let sent_ns = now_ns + i64::from(pause_us) * 1000;
        now_ns = sent_ns + i64::from(took_us) * 1000;
        let reply = TimeReply { received, sent: replied, ..TimeReply::default() };
        let Ok(probe) = Probe::answered(sent_ns, &reply, now_ns) else { continue };
        assert!(probe.rtt_ns() >= 0);
        filter.observe(&[probe]);
        let estimate = filter.estimate(now_ns).expect("something was observed");
        assert!(estimate.bound_ns() >= 0 && estimate.drift_bound_ppb() >= 0);
        estimate.map.raw_at(SharedTime(received));
        holdover.steer(now_ns, &estimate.map, may_step);
    }
});
