//! Any bytes as a batch of the log, applied to a shard twice over.
#![no_main]

use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::LogBatch;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(batch) = LogBatch::decode(bytes) else { return };
    let mut shard = Shard::default();
    for entry in batch.entries.iter().chain(&batch.entries) {
        let before = shard.last_stamp();
        shard.apply(1, entry);
        assert!(shard.last_stamp() > before || before.0 == i64::MAX);
    }
    assert_eq!(Shard::from_wire(&shard.to_wire()).as_ref(), Ok(&shard));
});
