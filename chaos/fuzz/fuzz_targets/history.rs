//! A run's history of any text: what is read is written as it was, shown, and judged without a panic.
#![no_main]

use jam_chaos::history::History;
use jam_chaos::promises::all::{Bounds, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(history) = History::read(bytes) else { return };
    let mut written = Vec::new();
    history.write(&mut written).expect("into memory");
    assert_eq!(History::read(written.as_slice()).expect("just written"), history);
    let judged = judge(&history, &Bounds::default());
    judged.explain(&history);
});
