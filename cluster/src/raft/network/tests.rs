use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_world::{Listener, Net, World};

use super::*;
use crate::credential::Credential;
use crate::identity::{Folder, Id, Stage, Step};
use crate::raft::addresses::Addresses;

fn network(links: Links, own: Identity, own_term: u64) -> Network {
    let lease = Lease::default();
    Network { links, own, own_term: Arc::new(move || own_term), reach: Arc::default(), lease }
}

/// Nobody is there, and how often somebody was called.
#[derive(Debug, Default)]
struct Nobody(AtomicUsize);

impl Net for Nobody {
    fn dial(&self, _: String) -> BoxFuture<'static, io::Result<jam_world::Stream>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async { Err(io::ErrorKind::ConnectionRefused.into()) }.boxed()
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
    }
}

/// Openraft waits in the stream of requests after a failure: it must be asked before the node is called again.
#[tokio::test]
async fn a_node_that_is_down_is_called_no_sooner_than_there_is_a_request()
-> Result<(), Box<dyn std::error::Error>> {
    let nobody = Arc::<Nobody>::default();
    let world = World { net: nobody.clone(), ..World::real() };
    let folder = tempfile::tempdir()?;
    let own = Folder::open(&world, folder.path(), 1)?;
    let own =
        own.step(|_| Some(Step::Into { stage: Stage::Joining, cluster: Id([7; 16]), node: 1 }))?;
    let links = Links::new(&world, Credential::default());
    let node =
        PeerNode { addresses: Addresses::one("nobody:1".into()), place: 2, incarnation: [2; 16] };
    let mut peer = network(links, own, 1).new_client(2, &node).await;
    let option = || RPCOption::new(Duration::from_secs(1));

    let silent = futures_util::stream::pending::<AppendEntriesRequest<Types>>();
    let mut waiting = Box::pin(peer.stream_append(silent, option()));
    for _ in 0..100 {
        assert!(waiting.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(waiting);
    assert_eq!(nobody.0.load(Ordering::Relaxed), 0);

    let request = AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let one = futures_util::stream::iter([request]).chain(futures_util::stream::pending());
    assert!(peer.stream_append(one, option()).await.is_err());
    assert_eq!(nobody.0.load(Ordering::Relaxed), 1);
    Ok(())
}

/// A node whose term was forged under an older build would hand it on in its answers.
#[tokio::test]
async fn an_answer_with_a_term_that_no_election_reaches_is_none()
-> Result<(), Box<dyn std::error::Error>> {
    let world = World { net: Arc::<Nobody>::default(), ..World::real() };
    let links = Links::new(&world, Credential::default());
    let own = Identity { node: Some(1), ..Identity::fresh(1) };
    let node =
        PeerNode { addresses: Addresses::one("nobody:1".into()), place: 2, incarnation: [2; 16] };
    let peer = network(links, own, 9).new_client(2, &node).await;
    let answer = |term| encode(&VoteResponse::<Types>::new(Vote::new(term, 2), None, false));
    assert!(peer.read::<VoteResponse<Types>>(&answer(10)?).is_ok());
    let refusal = peer.read::<VoteResponse<Types>>(&answer(u64::MAX)?).err().ok_or("forged")?;
    assert!(refusal.message().contains("cluster replace"), "{refusal}");
    Ok(())
}
