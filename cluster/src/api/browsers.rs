//! What keeps web pages out: any page may have a browser send requests to a node on loopback, or to one whose address
//! its own name is made to mean (DNS rebinding).
//!
//! A page can't send gRPC's content type to another origin without asking first, nor leave out `Origin` where it writes,
//! nor choose `Host`: each of these is checked, and nothing here is made for browsers yet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};

/// All services of gRPC have names that begin so.
const RPC_PATHS: &str = "/jam.";

/// The names, besides `localhost` and IP addresses, that a node is asked for by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(BTreeSet<String>);

impl HostNames {
    /// Of the hosts in these `HOST:PORT`s.
    pub fn of<'a>(authorities: impl IntoIterator<Item = &'a str>) -> Self {
        let parsed =
            authorities.into_iter().filter_map(|authority| authority.parse::<Authority>().ok());
        Self(parsed.map(|authority| authority.host().to_ascii_lowercase()).collect())
    }

    fn allow(&self, authority: &Authority) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        literal.unwrap_or(&host).parse::<IpAddr>().is_ok()
            || host == "localhost"
            || self.0.contains(&host)
    }
}

/// Refuses a request that a web page may have made.
///
/// # Errors
/// The HTTP status and a sentence.
pub fn check<B>(request: &Request<B>, names: &HostNames) -> Result<(), (StatusCode, String)> {
    if request.headers().contains_key(header::ORIGIN) {
        let sentence = "nothing here is made for web pages: a request with an Origin is refused";
        return Err((StatusCode::FORBIDDEN, sentence.to_owned()));
    }
    match request.uri().path() {
        path if path.starts_with(RPC_PATHS) => check_rpc(request),
        "/livez" | "/readyz" => Ok(()),
        _ => check_host(request, names),
    }
}

fn check_rpc<B>(request: &Request<B>) -> Result<(), (StatusCode, String)> {
    if request.method() != Method::POST {
        let sentence = "this is a gRPC service: it takes POST";
        return Err((StatusCode::METHOD_NOT_ALLOWED, sentence.to_owned()));
    }
    if request.version() == Version::HTTP_2 && has_grpc_content(request.headers()) {
        return Ok(());
    }
    let sentence = "this is a gRPC service: it takes HTTP/2 with the content type application/grpc";
    Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence.to_owned()))
}

/// Whether the content is gRPC's own, and not `application/grpc-web`, which is made for browsers.
pub fn has_grpc_content(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let rest = content.and_then(|content| content.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn check_host<B>(request: &Request<B>, names: &HostNames) -> Result<(), (StatusCode, String)> {
    let named = request.headers().get_all(header::HOST).into_iter();
    let named = named.map(|host| Authority::try_from(host.as_bytes()).ok());
    let asked: Vec<Option<Authority>> =
        named.chain(request.uri().authority().cloned().map(Some)).collect();
    let allowed =
        |asked: &Option<Authority>| asked.as_ref().is_some_and(|asked| names.allow(asked));
    if !asked.is_empty() && asked.iter().all(allowed) {
        return Ok(());
    }
    let sentence = "this node does not know the host name that it was asked for by; ask by its IP address, or start jamd \
                    with --public-url http://NAME:PORT";
    Err((StatusCode::MISDIRECTED_REQUEST, sentence.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::wire::peer::v1::{blobs_server, forward_server, peer_server};
    use jam_proto::wire::v1::{
        cluster_server, rooms_server, segments_server, songs_server, time_server,
    };

    fn names() -> HostNames {
        HostNames::of(["node1:7701", "Jam.Example.net"])
    }

    fn judged(version: Version, uri: &str, headers: &[(&'static str, &str)]) -> u16 {
        let method = if uri.contains(RPC_PATHS) { Method::POST } else { Method::GET };
        let mut request = Request::builder().version(version).uri(uri).method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        check(&request, &names()).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn what_a_page_may_send_is_refused() {
        let grpc = ("content-type", "application/grpc");
        let text = ("content-type", "text/plain");
        let origin = ("origin", "http://evil.example");
        let ip = ("host", "127.0.0.1:7701");
        let call = "/jam.v1.Cluster/Transfer";
        for (version, uri, headers, wanted) in [
            (Version::HTTP_2, call, &[grpc][..], 200),
            (Version::HTTP_2, call, &[("content-type", "application/grpc+proto")], 200),
            // Clients and peers call by any name that they were given.
            (Version::HTTP_2, "http://any.name:1/jam.v1.Cluster/Transfer", &[grpc], 200),
            (Version::HTTP_2, call, &[grpc, origin], 403),
            (Version::HTTP_2, call, &[text], 415),
            (Version::HTTP_2, call, &[("content-type", "application/grpc-web")], 415),
            (Version::HTTP_2, call, &[], 415),
            (Version::HTTP_11, call, &[grpc, ip], 415),
            (Version::HTTP_11, call, &[text, ip], 415),
            (Version::HTTP_11, "/metrics", &[ip], 200),
            (Version::HTTP_11, "/metrics", &[("host", "[::1]:7701")], 200),
            (Version::HTTP_11, "/metrics", &[("host", "LocalHost:7701")], 200),
            (Version::HTTP_11, "/metrics", &[("host", "node1")], 200),
            (Version::HTTP_11, "/metrics", &[("host", "jam.example.net:80")], 200),
            (Version::HTTP_2, "http://node1:7701/metrics", &[], 200),
            (Version::HTTP_11, "/metrics", &[ip, origin], 403),
            (Version::HTTP_11, "/livez", &[ip, origin], 403),
            (Version::HTTP_11, "/metrics", &[("host", "evil.example:7701")], 421),
            (Version::HTTP_11, "/metrics", &[("host", "127.0.0.1.evil.example")], 421),
            (Version::HTTP_11, "/metrics", &[ip, ("host", "evil.example")], 421),
            (Version::HTTP_11, "http://evil.example/metrics", &[ip], 421),
            (Version::HTTP_11, "/metrics", &[("host", "evil.example\u{e4}")], 421),
            (Version::HTTP_11, "/metrics", &[], 421),
            (Version::HTTP_2, "http://evil.example/metrics", &[], 421),
            (Version::HTTP_11, "/livez", &[("host", "evil.example")], 200),
            (Version::HTTP_10, "/readyz", &[], 200),
        ] {
            assert_eq!(judged(version, uri, headers), wanted, "{version:?} {uri} {headers:?}");
        }
    }

    #[test]
    fn a_service_takes_nothing_but_post() {
        let request = Request::get("/jam.v1.Cluster/Status").body(()).expect("a request");
        let refused = check(&request, &names()).expect_err("a GET");
        assert_eq!(refused.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn every_service_is_known_by_its_name() {
        for name in [
            blobs_server::SERVICE_NAME,
            cluster_server::SERVICE_NAME,
            forward_server::SERVICE_NAME,
            peer_server::SERVICE_NAME,
            rooms_server::SERVICE_NAME,
            segments_server::SERVICE_NAME,
            songs_server::SERVICE_NAME,
            time_server::SERVICE_NAME,
        ] {
            assert!(format!("/{name}").starts_with(RPC_PATHS), "{name}");
        }
    }
}
