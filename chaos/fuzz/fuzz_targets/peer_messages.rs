//! What other nodes send: Raft's messages, who calls whom, a snapshot's head, answers to what was passed on.
#![no_main]

use jam_cluster::forward::answer;
use jam_cluster::raft::bounds::Bounds;
use jam_cluster::raft::incoming_snapshot::check_content;
use jam_cluster::raft::layout;
use jam_cluster::raft::link::{self, HEADER_KEY};
use jam_cluster::raft::network::{SnapshotHead, decode, encode};
use jam_cluster::raft::types::Types;
use jam_proto::wire::peer::v1::{Answer, PeerHeader, RaftMessage};
use libfuzzer_sys::fuzz_target;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};

fuzz_target!(|bytes: &[u8]| {
    let message = RaftMessage { body: bytes.to_vec().into(), leader_lacks_lease: false };
    let bounds = Bounds { from: 2, own_term: 7, committed: None };
    if let Ok(request) = decode::<VoteRequest<Types>>(&message) {
        let _ = bounds.candidate(&request);
    }
    let _ = decode::<VoteResponse<Types>>(&message);
    let _ = decode::<AppendEntriesResponse<Types>>(&message);
    let _ = decode::<StreamAppendResult<Types>>(&message);
    let _ = decode::<SnapshotResponse<Types>>(&message);
    if let Ok(request) = decode::<TransferLeaderRequest<Types>>(&message) {
        let _ = bounds.transfer(&request);
    }
    if let Ok(head) = decode::<SnapshotHead>(&message) {
        let _ = bounds.snapshot(&head.vote, &head.meta);
    }
    let _ = check_content(bytes.to_vec().into());
    if let Ok(append) = decode::<AppendEntriesRequest<Types>>(&message) {
        let _ = bounds.append(&append);
        let again = encode(&append).expect("it was decoded");
        assert!(decode::<AppendEntriesRequest<Types>>(&again).is_ok());
        for entry in &append.entries {
            let stored = layout::encode_entry(entry).expect("it is small");
            let read = layout::decode_entry(&stored).expect("it was encoded");
            assert_eq!(layout::encode_entry(&read).ok(), Some(stored));
        }
    }
    let _ = layout::decode_entry(bytes);
    let _ = (layout::parse_entry_key(bytes), layout::chunk_generation(bytes));
    if let Ok(sent) = Answer::decode(bytes) {
        let _ = answer::from_wire(sent);
    }
    let _ = PeerHeader::decode(bytes);
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(HEADER_KEY, MetadataValue::from_bytes(bytes));
    let nobody = jam_cluster::identity::Identity::fresh(1);
    assert!(link::check(&metadata, &nobody, |_| None).is_err());
});
