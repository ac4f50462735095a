//! What shows that a listener has fetched sound, on whichever node.
//!
//! How far ahead commands are announced depends on who listens, and the leader hears of that from the listeners themselves.
//! A node that has given a whole segment adds a receipt, the listener's reports carry it, and the leader can tell that a
//! node of its cluster made it. It is a keyed hash of the hour, so no node keeps or tells anything. It does not say who
//! fetched: who passes it on saves another one the fetch of one segment, and no more. Without peer tokens all nodes are on
//! one machine, and the key comes from the cluster's id.

use jam_proto::time::{FLICKS_PER_SECOND, SharedTime};

use crate::credential::PeerTokens;

/// Keeps these hashes apart from all others.
const CONTEXT: &str = "jam 2026-11-30 a listener has fetched sound";
/// A song that was fetched a day ago may be played from a listener's disk.
const HOURS_KEPT: i64 = 24;
/// The hour, then the hash.
const HOUR_BYTES: usize = 8;

/// Makes receipts and knows them.
#[derive(Clone, Debug)]
pub struct Receipts {
    /// The first one makes them, and each is accepted.
    keys: Vec<[u8; 32]>,
}

impl Receipts {
    /// Those of a cluster.
    pub fn new(tokens: Option<&PeerTokens>, cluster_id: &[u8]) -> Self {
        let key = |secret: &[u8]| blake3::derive_key(CONTEXT, secret);
        let keys = match tokens {
            Some(tokens) => tokens.all().iter().map(|token| key(token.as_bytes())).collect(),
            None => vec![key(cluster_id)],
        };
        Self { keys }
    }

    /// For a listener that has a whole segment.
    pub fn issue(&self, now: SharedTime) -> Vec<u8> {
        let hour = hour(now).to_le_bytes();
        let key = self.keys.first().copied().unwrap_or_default();
        [hour.as_slice(), blake3::keyed_hash(&key, &hour).as_bytes()].concat()
    }

    /// Whether a node of this cluster issued it within the last day.
    pub fn is_good(&self, receipt: &[u8], now: SharedTime) -> bool {
        let Some((hour_bytes, hash)) = receipt.split_first_chunk::<HOUR_BYTES>() else {
            return false;
        };
        let Ok(hash) = <[u8; blake3::OUT_LEN]>::try_from(hash) else { return false };
        let issued = i64::from_le_bytes(*hour_bytes);
        // Another node's time may be a little ahead.
        let is_of_late = (hour(now) - HOURS_KEPT..=hour(now) + 1).contains(&issued);
        let is_ours = |key: &[u8; 32]| blake3::keyed_hash(key, hour_bytes) == hash;
        is_of_late && self.keys.iter().any(is_ours)
    }
}

fn hour(time: SharedTime) -> i64 {
    time.0.div_euclid(3600 * FLICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * FLICKS_PER_SECOND;

    fn receipts(tokens: &[&str]) -> Receipts {
        let tokens: PeerTokens = tokens.join("\n").parse().expect("tokens");
        Receipts::new(Some(&tokens), b"cluster")
    }

    #[test]
    fn every_node_of_the_cluster_knows_them_for_a_day() {
        let [old, new] = ["an-old-token-of-nodes", "a-new-token-of-nodes"];
        let issued = receipts(&[old]).issue(SharedTime(50 * HOUR));
        for (tokens, hours, is_good) in [
            (&[old][..], 50, true),
            (&[old], 49, true),
            (&[old], 74, true),
            (&[old], 75, false),
            (&[old], 48, false),
            (&[new, old], 50, true),
            (&[new], 50, false),
        ] {
            let now = SharedTime(hours * HOUR);
            assert_eq!(receipts(tokens).is_good(&issued, now), is_good, "{tokens:?} {hours}");
        }
        assert!(!Receipts::new(None, b"cluster").is_good(&issued, SharedTime(50 * HOUR)));
    }

    #[test]
    fn what_is_made_up_is_worth_nothing() {
        let (receipts, now) = (receipts(&["a-token-of-the-nodes"]), SharedTime(50 * HOUR));
        let issued = receipts.issue(now);
        assert!(receipts.is_good(&issued, now));
        assert!(!receipts.is_good(&[], now));
        assert!(!receipts.is_good(&issued[1..], now));
        for at in 0..issued.len() {
            let mut forged = issued.clone();
            forged[at] ^= 1;
            assert!(!receipts.is_good(&forged, now), "{at}");
        }
    }
}
