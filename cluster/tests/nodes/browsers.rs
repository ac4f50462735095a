//! What a web page may have a browser send to a node on loopback.

use jam_proto::wire::v1::TransferRequest;
use prost::Message;

use crate::cluster::Cluster;

fn status(page: &str) -> &str {
    page.split_whitespace().nth(1).unwrap_or("nothing")
}

/// Asks a leader, as a page would, to hand leadership to another node.
fn ask_to_transfer(cluster: &Cluster, leader: usize) {
    let to = (leader % 3 + 1) as u64;
    let message = TransferRequest { to }.encode_to_vec();
    let mut body = vec![0, 0, 0, 0, message.len() as u8];
    body.extend(message);
    for (headers, wanted) in [
        ("Host: localhost\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n", "403"),
        ("Host: localhost\r\nContent-Type: text/plain\r\n", "415"),
        ("Host: localhost\r\nContent-Type: application/grpc\r\n", "415"),
        ("Host: evil.example\r\nContent-Type: application/grpc-web\r\n", "415"),
    ] {
        let page = cluster.http(leader, "POST /jam.v1.Cluster/Transfer", headers, &body);
        assert_eq!(status(&page), wanted, "{headers} {page}");
    }
}

#[tokio::test]
async fn a_web_page_commands_no_node() {
    let cluster = Cluster::start(3, &["--public-url", "http://jam.example.net:7701"]).await;
    let mut moved = 0;
    // A busy machine may make them elect, but not each time.
    for _ in 0..3 {
        let (leader, _) = cluster.leader().await;
        ask_to_transfer(&cluster, leader);
        moved += usize::from(cluster.leader().await.0 != leader);
    }
    assert!(moved < 3, "the leader moved each time");

    let (leader, _) = cluster.leader().await;
    for (path, headers, wanted) in [
        ("/metrics", "Host: 127.0.0.1:7701\r\n", "200"),
        ("/metrics", "Host: jam.example.net\r\n", "200"),
        ("/metrics", "Host: evil.example\r\n", "421"),
        ("/metrics", "Host: localhost\r\nOrigin: null\r\n", "403"),
        ("/livez", "Host: evil.example\r\n", "200"),
        ("/readyz", "Host: evil.example\r\n", "200"),
        ("/", "Host: localhost\r\n", "404"),
        ("/metric", "Host: localhost\r\n", "404"),
        ("/audio", "Host: localhost\r\n", "404"),
        ("/jam.v1.Cluster/Transfer", "Host: localhost\r\n", "405"),
    ] {
        let page = cluster.http(leader, &format!("GET {path}"), headers, b"");
        assert_eq!(status(&page), wanted, "{path} {headers} {page}");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        let page = cluster.http(leader, &format!("POST {path}"), "Host: localhost\r\n", b"");
        assert_eq!(status(&page), "405", "{page}");
        assert!(page.to_ascii_lowercase().contains("allow: get"), "{page}");
    }
    let page = cluster.http(leader, "GET /metrics", "Host: evil.example\r\n", b"");
    assert!(page.contains("--public-url"), "{page}");
}
