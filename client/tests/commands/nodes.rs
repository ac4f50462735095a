//! Finding nodes: those that are gone, those that drop packets, and those that elect a leader.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::fake::{FakeNode, Fault};
use crate::user::User;

/// An address that drops packets: nobody takes the connections that wait there, and there is place for no more.
struct Hole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Hole {
    fn dig() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
        socket.listen(0).expect("listening");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("bound");
        let wait = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let waiting = std::iter::from_fn(wait).take(8).collect();
        Self { listener, _waiting: waiting }
    }

    fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_listens_it_fails_at_once_and_names_each_address_once() {
    let mut user = User::of(&[]);
    user.servers = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:1".into();
    // It would take an hour if it waited for the deadline.
    let nobody = user.jam_within("3600", &["rooms"]).await;
    assert_eq!((nobody.code(), nobody.error().as_str()), (1, "unreachable"));
    assert_eq!(
        nobody.message(),
        "no node answers (127.0.0.1:1, 127.0.0.1:2: nothing listens there); check --servers and that the nodes run"
    );
    user.servers = "nowhere.invalid:1".into();
    let nobody = user.jam_within("3600", &["rooms"]).await;
    assert!(nobody.message().contains("nowhere.invalid:1: the name does not resolve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_is_named_while_it_is_tried() {
    let hole = Hole::dig();
    let mut user = User::of(&[]);
    user.servers = hole.address();
    let mut command = user.command("1", &["rooms"]);
    let text = command.env("JAM_JSON", "").stdout(Stdio::null());
    let ran = text.output().expect("jam runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains(&format!("no answer yet from {}", hole.address())), "{said}");
    assert!(said.contains(&format!("({}: no answer)", hole.address())), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_does_not_keep_from_a_good_one() {
    let (hole, node) = (Hole::dig(), FakeNode::start().await);
    let mut user = User::of(&[&node]);
    user.servers = format!("{},{}", hole.address(), user.servers);
    assert_eq!(user.jam(&["create", "Friday"]).await.code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_waits_for_an_election_and_not_for_a_majority_that_is_gone() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    node.set_fault(Fault::Elects(3));
    assert_eq!(user.jam(&["create", "Friday"]).await.code(), 0);
    assert_eq!((node.rooms(), node.submits()), (1, 4));
    // If the election does not end before the deadline, the edit was not applied and never will be.
    node.set_fault(Fault::Elects(u32::MAX));
    let refused = user.jam_within("0.5", &["create", "Saturday"]).await;
    assert_eq!((refused.code(), refused.error().as_str()), (1, "no_quorum"));
    node.set_fault(Fault::NoQuorum);
    let before = node.submits();
    let refused = user.jam_within("3600", &["create", "Sunday"]).await;
    assert_eq!((refused.error().as_str(), node.submits() - before), ("no_quorum", 1));
}
