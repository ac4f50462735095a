//! A snapshot of the shard, as the disk or another node has it, and a batch applied to it.
#![no_main]

use jam_fuzz::parts;
use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::{LogBatch, ShardSnapshot};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes);
    let Ok(snapshot) = ShardSnapshot::decode(parts.next().unwrap_or_default()) else { return };
    let Ok(mut shard) = Shard::from_wire(&snapshot) else { return };
    assert_eq!(Shard::from_wire(&shard.to_wire()).as_ref(), Ok(&shard));
    let Ok(batch) = LogBatch::decode(parts.next().unwrap_or_default()) else { return };
    for entry in &batch.entries {
        shard.apply(1, entry);
    }
});
