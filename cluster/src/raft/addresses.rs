//! Where a node is reached, as the membership has it.
//!
//! Records of the first releases have one address, which is a text. A record with two is a text as well, since openraft's
//! membership is read by its positions and has no room for another field: `2 CLIENTS PEERS`, the version and the addresses. No address has a space
//! in it.

use std::fmt;

use serde::{Deserialize, Serialize};

const VERSION: &str = "2";

/// The addresses of a node's doors. They are equal if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Addresses {
    /// For clients.
    pub clients: String,
    /// For other nodes.
    pub peers: String,
}

impl Addresses {
    /// Of a node with one door.
    pub fn one(address: String) -> Self {
        Self { clients: address.clone(), peers: address }
    }

    /// As a node says them; `clients` is empty if it has one door.
    pub fn told(clients: &str, peers: &str) -> Self {
        let clients = if clients.is_empty() { peers } else { clients };
        Self { clients: clients.to_owned(), peers: peers.to_owned() }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, peers } = self;
        if clients == peers {
            out.write_str(peers)
        } else {
            write!(out, "{clients} (nodes: {peers})")
        }
    }
}

impl From<String> for Addresses {
    fn from(record: String) -> Self {
        let mut parts = record.split(' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(VERSION), Some(clients), Some(peers), None) => Self::told(clients, peers),
            _ => Self::one(record),
        }
    }
}

impl From<Addresses> for String {
    fn from(addresses: Addresses) -> Self {
        let Addresses { clients, peers } = addresses;
        if clients == peers { clients } else { format!("{VERSION} {clients} {peers}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::PeerNode;

    /// As the first releases have it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OldNode {
        address: String,
        place: u64,
        incarnation: [u8; 16],
    }

    #[test]
    fn a_record_of_the_first_releases_is_read_and_written() {
        let address = "10.0.0.1:7701".to_owned();
        let old = OldNode { address: address.clone(), place: 3, incarnation: [7; 16] };
        let bytes = postcard::to_stdvec(&old).expect("bytes");
        let node: PeerNode = postcard::from_bytes(&bytes).expect("a node");
        let addresses = Addresses::one(address);
        assert_eq!(node, PeerNode { addresses, place: 3, incarnation: [7; 16] });
        assert_eq!(
            postcard::to_stdvec(&node).expect("bytes"),
            bytes,
            "one door needs no new record"
        );
    }

    #[test]
    fn a_record_has_both_addresses() {
        let addresses = Addresses { clients: "a:1".to_owned(), peers: "[::1]:2".to_owned() };
        let node = PeerNode { addresses, place: 3, incarnation: [7; 16] };
        let bytes = postcard::to_stdvec(&node).expect("bytes");
        assert_eq!(postcard::from_bytes::<PeerNode>(&bytes), Ok(node));
    }
}
