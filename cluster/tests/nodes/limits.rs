//! What a node does no more of, however often it is asked.

use jam_proto::wire::v1::TransferRequest;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use tonic::{Code, Status};

use crate::cluster::{Cluster, wait};

async fn transfer(cluster: &Cluster) -> Result<u64, Status> {
    let (leader, _) = cluster.leader().await;
    let mut client = ClusterClient::new(cluster.channel(leader));
    Ok(client.transfer(TransferRequest { to: 0 }).await?.into_inner().leader)
}

#[tokio::test]
async fn the_leader_is_not_moved_again_and_again() {
    let cluster = Cluster::start(3, &[]).await;
    // As often as an operator needs it, and no more: a loop is refused before it has gone round twice.
    let refused = wait("a refusal", async || match transfer(&cluster).await {
        Ok(_) => None,
        Err(status) if status.code() == Code::ResourceExhausted => Some(status),
        Err(status) => panic!("{status}"),
    })
    .await;
    assert_eq!(refused.metadata().get("jam-error").expect("a code"), "too_soon");
    let said = refused.message();
    assert!(said.contains("nothing was changed; try again in "), "{said}");
    // Another node's leadership does not start the count anew.
    let (leader, _) = cluster.leader().await;
    let other = ClusterClient::new(cluster.channel(leader % 3 + 1));
    let again = other.clone().transfer(TransferRequest { to: 0 }).await.expect_err("refused");
    assert_eq!(again.code(), Code::ResourceExhausted, "{again}");
}

#[tokio::test]
async fn a_stranger_hears_whether_a_node_is_ready_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "what-listeners-show").expect("a file");
    let peers = folder.path().join("peers");
    std::fs::write(&peers, "the-token-of-these-test-nodes").expect("a file");
    let flags = [
        "--token-file",
        file.to_str().expect("text"),
        "--peer-token-file",
        peers.to_str().expect("text"),
    ];
    let mut cluster = Cluster::start_without_waiting(2, &flags);
    let page = |cluster: &Cluster, headers: &str| {
        let page = cluster.http(1, "GET /readyz?verbose", headers, b"");
        page.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
    };
    let known = "Authorization: Bearer what-listeners-show\r\nHost: localhost\r\n";
    let unknown = "Host: localhost\r\n";
    wait("a node that is ready", async || (page(&cluster, unknown) == "ready\n").then_some(()))
        .await;
    assert!(page(&cluster, known).contains("node 1 term "));
    cluster.kill(2);
    let said = wait("a node that is not", async || {
        Some(page(&cluster, unknown)).filter(|page| page != "ready\n")
    })
    .await;
    assert!(said.starts_with("not ready: it ") && said.lines().count() == 1, "{said}");
    assert!(!said.contains(|letter: char| letter.is_ascii_digit()), "{said}");
    assert!(page(&cluster, known).contains("[-] quorum: "));
}
