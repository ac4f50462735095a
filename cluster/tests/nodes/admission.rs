//! What strangers and nodes may ask of a node: every call between nodes, made from outside.

use std::path::Path;

use futures_util::stream;
use jam_proto::command::Command;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, LogEntry, PauseUnheard, ReplaceNode, SetDerived};
use jam_proto::wire::peer::v1 as peer;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{FetchRequest, ReplaceRequest, TransferRequest};
use peer::blobs_client::BlobsClient;
use peer::forward_client::ForwardClient;
use peer::peer_client::PeerClient;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::cluster::{Cluster, Session, create, wait};

const TOKEN: &str = "the-token-of-these-test-nodes";

/// What a stranger, or somebody with a peer token, puts into calls.
#[derive(Clone)]
struct Caller {
    peer_token: Option<&'static str>,
    forwarded: bool,
}

impl Caller {
    fn sign(&self, metadata: &mut MetadataMap) {
        if let Some(token) = self.peer_token {
            metadata.insert("jam-peer-token", token.parse().expect("ASCII"));
        }
        if self.forwarded {
            metadata.insert("jam-forwarded", "1".parse().expect("ASCII"));
        }
    }

    fn channel(
        &self,
        cluster: &Cluster,
        node: usize,
    ) -> InterceptedService<Channel, impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone>
    {
        let caller = self.clone();
        InterceptedService::new(cluster.channel(node), move |mut request: Request<()>| {
            caller.sign(request.metadata_mut());
            Ok(request)
        })
    }

    /// Proposes at whichever node leads, and answers with what code it was refused.
    async fn refused(&self, cluster: &Cluster, op: &Op) -> (String, String) {
        wait("an answer of a leader", async || {
            let (leader, _) = cluster.leader().await;
            let entry = Some(LogEntry { op: Some(op.clone()), ..LogEntry::default() });
            let request = peer::ProposeRequest {
                cluster_id: cluster.status(leader).await.ok()?.cluster_id.into(),
                proposals: vec![peer::Proposal { timeout_ms: 5000, entry, request: String::new() }],
            };
            let reply = ForwardClient::new(self.channel(cluster, leader)).propose(request).await;
            match reply.ok()?.into_inner().answers.pop()?.answer? {
                peer::answer::Answer::Refused(refused) => {
                    let elsewhere = ["not_leader", "no_quorum"].contains(&refused.code.as_str());
                    (!elsewhere).then_some((refused.code, refused.message))
                }
                taken => panic!("{op:?} was taken: {taken:?}"),
            }
        })
        .await
    }
}

async fn refusal<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Option<Status> {
    call.await.err()
}

/// The outcome of each call that only nodes make.
async fn call_everything(
    caller: &Caller,
    cluster: &Cluster,
    node: usize,
) -> Vec<(&'static str, Option<Status>)> {
    let cluster_id = cluster.status(node).await.expect("it answers").cluster_id;
    let mut peers = PeerClient::new(caller.channel(cluster, node));
    let mut forward = ForwardClient::new(caller.channel(cluster, node));
    let mut blobs = BlobsClient::new(caller.channel(cluster, node));
    let message = peer::RaftMessage::default;
    let epoch = ClockEpoch { epoch: u64::MAX, ..ClockEpoch::default() };
    let entry = LogEntry { op: Some(Op::ClockEpoch(epoch)), ..LogEntry::default() };
    let propose = peer::ProposeRequest {
        cluster_id: cluster_id.clone().into(),
        proposals: vec![peer::Proposal {
            timeout_ms: 1000,
            entry: Some(entry),
            request: String::new(),
        }],
    };
    let barrier = peer::BarrierRequest { cluster_id: cluster_id.into() };
    let hold = peer::HoldRequest { id: vec![1; 32].into(), bytes: 1, from: 1 };
    let read = FetchRequest { id: vec![1; 32], ..FetchRequest::default() };
    let marked = Caller { forwarded: true, ..caller.clone() };
    let transfer = TransferRequest { to: 0 };
    vec![
        ("hello", refusal(peers.hello(peer::HelloRequest::default())).await),
        ("adopt", refusal(peers.adopt(peer::AdoptRequest::default())).await),
        ("join", refusal(peers.join(peer::JoinRequest::default())).await),
        ("vote", refusal(peers.vote(message())).await),
        ("pre-vote", refusal(peers.pre_vote(message())).await),
        ("append", refusal(peers.append(message())).await),
        ("stream", refusal(peers.stream_append(stream::iter([message()]))).await),
        ("snapshot", {
            let chunks = stream::iter([peer::SnapshotChunk::default()]);
            refusal(peers.install_snapshot(chunks)).await
        }),
        ("transfer", refusal(peers.transfer_leader(message())).await),
        ("propose", refusal(forward.propose(propose)).await),
        ("barrier", refusal(forward.barrier(barrier)).await),
        ("hold", refusal(blobs.hold(hold)).await),
        ("read", refusal(blobs.read(read)).await),
        (
            "doubt",
            refusal(blobs.doubt(jam_proto::wire::v1::DoubtRequest { id: vec![1; 32] })).await,
        ),
        ("forwarded", {
            let mut operators = ClusterClient::new(marked.channel(cluster, node));
            refusal(operators.transfer(transfer)).await
        }),
    ]
}

fn token_file(folder: &Path) -> String {
    let path = folder.join("peer-token");
    std::fs::write(&path, format!("{TOKEN}\n")).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn strangers_make_no_call_between_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(3, &["--peer-token-file", &token_file(folder.path())]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, epoch) = cluster.leader().await;
    let before = cluster.status(leader).await.expect("it answers");
    for peer_token in [None, Some("a-token-of-another-cluster")] {
        let stranger = Caller { peer_token, forwarded: false };
        for (call, refused) in call_everything(&stranger, &cluster, leader).await {
            let status = refused.unwrap_or_else(|| panic!("{call} was taken"));
            assert_eq!(status.code(), Code::Unauthenticated, "{call}: {status:?}");
            assert_eq!(status.metadata().get("jam-error").expect("a code"), "peer_token", "{call}");
        }
    }
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    assert_eq!(reply.rejection, None);
    let after = cluster.status(leader).await.expect("it answers");
    assert_eq!(cluster.leader().await.1, epoch, "no clock epoch was slipped in");
    assert!(after.term - before.term < 1000, "nor a term: {} to {}", before.term, after.term);

    let node = Caller { peer_token: Some(TOKEN), forwarded: false };
    for (call, refused) in call_everything(&node, &cluster, leader).await {
        let code = refused.map_or(Code::Ok, |status| status.code());
        assert_ne!(code, Code::Unauthenticated, "{call} with the token");
    }
}

#[tokio::test]
async fn nodes_pass_on_only_what_a_follower_may_pass_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, &["--peer-token-file", &token_file(folder.path())]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, epoch) = cluster.leader().await;
    let other = leader % 3 + 1;
    let node = Caller { peer_token: Some(TOKEN), forwarded: false };
    let replace = ReplaceNode { node: other as u64, holder: other as u64 };
    let pause = PauseUnheard { room: room.as_str().to_owned(), ..PauseUnheard::default() };
    for (op, wanted) in [
        (Op::ClockEpoch(ClockEpoch { epoch: u64::MAX, ..Default::default() }), "forbidden"),
        (Op::SetDerived(SetDerived { track: vec![1; 32], derived: Vec::new() }), "forbidden"),
        (Op::PauseUnheard(pause), "forbidden"),
        (Op::RegisterTrack(Default::default()), "invalid"),
        (Op::ReplaceNode(replace), "invalid"),
        (Op::ReplaceNode(ReplaceNode { node: 9, holder: 9 }), "node_unknown"),
    ] {
        let (code, sentence) = node.refused(&cluster, &op).await;
        assert_eq!(code, wanted, "{op:?}: {sentence}");
    }
    assert_eq!(cluster.leader().await.1, epoch, "nothing of it was applied");
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    assert_eq!(reply.rejection, None);

    // Whichever node is asked: the leader finds out that the third one is gone.
    let gone = other % 3 + 1;
    // Nor is the id of a replacement a place, or 0.
    for no_place in [0, 100, u64::MAX] {
        let mut client = ClusterClient::new(cluster.channel(other));
        let refused =
            client.replace(ReplaceRequest { node: no_place }).await.expect_err("no place");
        assert_eq!(refused.metadata().get("jam-error").expect("a code"), "invalid", "{refused:?}");
        assert!(refused.message().contains("places are 1 to 99"), "{refused:?}");
    }
    let request = ReplaceRequest { node: gone as u64 };
    let mut client = ClusterClient::new(cluster.channel(other));
    let refused = client.replace(request).await.expect_err("it is up");
    assert_eq!(refused.metadata().get("jam-error").expect("a code"), "invalid", "{refused:?}");
    cluster.kill(gone);
    let replaced = wait("a replacement", async || {
        let mut client = ClusterClient::new(cluster.channel(other));
        Some(client.replace(request).await.ok()?.into_inner())
    });
    assert!(replaced.await.replacement > 99, "ids above all places");
}
