//! Where the client behind a request came from, as the log may hold it.
//!
//! When the table of sessions is full, those of the origin that holds most are closed first. That needs to know which
//! sessions came from the same place, and not which place that is: the log gets a keyed digest of the address. Who has
//! the log and the cluster's id can try all addresses, so the digest hides an address from a reader, not from a search.

use std::net::{IpAddr, Ipv6Addr};

use jam_proto::ids::Origin;
use jam_proto::level::FeatureLevel;
use tonic::Request;

use crate::server::RemoteAddress;

/// Keeps these digests apart from all others that are made with the cluster's id.
const CONTEXT: &str = "jam 2026-11-30 where a session's client came from";

/// The bytes of an OpenSession's `origin`. Empty while the feature level in force does not have it, and for a request
/// that came over no connection.
pub fn of_request<T>(request: &Request<T>, cluster_id: &[u8], level: FeatureLevel) -> Vec<u8> {
    let remote = request.extensions().get::<RemoteAddress>();
    match remote {
        Some(RemoteAddress(address)) if level >= FeatureLevel::GUARDED => {
            digest(address.ip(), cluster_id).to_wire()
        }
        _ => Vec::new(),
    }
}

/// Where a request comes from, for this node alone: an address of IPv4, or the /64 of one of IPv6.
pub fn line<T>(request: &Request<T>) -> Option<IpAddr> {
    let remote = request.extensions().get::<RemoteAddress>()?;
    Some(match remote.0.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    })
}

/// Where the client of a stream comes from, for what no log holds; `None`: it came over no connection.
pub fn of_stream<T>(request: &Request<T>, cluster_id: &[u8]) -> Option<Origin> {
    let RemoteAddress(address) = request.extensions().get()?;
    Some(digest(address.ip(), cluster_id))
}

/// One origin for each IPv4 address and for each IPv6 /64, which is what one line gets.
fn digest(address: IpAddr, cluster_id: &[u8]) -> Origin {
    let key = blake3::derive_key(CONTEXT, cluster_id);
    let hash = match address.to_canonical() {
        IpAddr::V4(address) => blake3::keyed_hash(&key, &address.octets()),
        IpAddr::V6(address) => blake3::keyed_hash(&key, &address.octets()[..8]),
    };
    let mut origin = Origin::default();
    let bytes = origin.0.len();
    origin.0.copy_from_slice(&hash.as_bytes()[..bytes]);
    origin
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn of(address: &str, cluster_id: &[u8]) -> Origin {
        digest(address.parse().expect("an address"), cluster_id)
    }

    #[test]
    fn one_line_is_one_origin() {
        assert_ne!(of("192.0.2.1", b"a"), of("192.0.2.2", b"a"));
        assert_eq!(of("192.0.2.1", b"a"), of("::ffff:192.0.2.1", b"a"));
        assert_eq!(of("2001:db8::1", b"a"), of("2001:db8::ffff:2", b"a"));
        assert_ne!(of("2001:db8::1", b"a"), of("2001:db8:0:1::1", b"a"));
        assert_ne!(of("192.0.2.1", b"a"), of("192.0.2.1", b"b"), "another cluster");
    }

    #[test]
    fn the_log_gets_it_from_its_feature_level_on() {
        let address: SocketAddr = "192.0.2.1:80".parse().expect("an address");
        let mut request = Request::new(());
        assert_eq!(of_request(&request, b"a", FeatureLevel::GUARDED), b"", "over no connection");
        request.extensions_mut().insert(RemoteAddress(address));
        assert_eq!(of_request(&request, b"a", FeatureLevel::FIRST), b"");
        let origin = of_request(&request, b"a", FeatureLevel::GUARDED);
        assert_eq!(origin, of("192.0.2.1", b"a").to_wire());
    }
}
