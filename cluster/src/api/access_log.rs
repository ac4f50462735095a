//! What the log says of requests, and the id under which each is served.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::field::display;

use crate::refusal::ERROR_KEY;
use crate::request::{self, RequestIds};
use crate::server::Who;

/// Raft's calls: many, and each is one of openraft's own steps.
const RAFT_PATHS: &str = "/jam.peer.v1.Peer/";
const SERVICES: [&str; 8] = [
    "jam.v1.Rooms",
    "jam.v1.Time",
    "jam.v1.Songs",
    "jam.v1.Segments",
    "jam.v1.Cluster",
    "jam.peer.v1.Blobs",
    "jam.peer.v1.Clocks",
    "jam.peer.v1.Forward",
];
const PAGES: [&str; 4] = ["livez", "readyz", "metrics", "audio"];

/// Serves a request that may come in, under an id.
pub(super) async fn serve(ids: &RequestIds, who: Who, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with(RAFT_PATHS) {
        return next.run(request).await;
    }
    let (began, path) = (Instant::now(), shown(path).to_owned());
    let passed_on = (who == Who::Node).then(|| request::of(request.headers())).flatten();
    let id = passed_on.unwrap_or_else(|| ids.next());
    let response = request::scope(Some(id), next.run(request)).await;
    let (id, took_ms) = (display(id), began.elapsed().as_millis() as u64);
    let (status, headers) = (response.status().as_u16(), response.headers());
    let text = |key: &str| headers.get(key).and_then(|value| value.to_str().ok());
    match text(ERROR_KEY) {
        // Said by the node where a client asked; the others only pass it on.
        Some(code) if who == Who::Guest => {
            tracing::info!(request = id, path, code, took_ms, "a request was refused");
        }
        code => tracing::debug!(request = id, path, status, code, took_ms, "answered"),
    }
    response
}

/// What a log may have of a path: no more than the name of a service and its method, or a page's first segment. The rest may
/// be anything.
pub(super) fn shown(path: &str) -> &str {
    let is_name =
        |part: &str| part.len() <= 32 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(service), Some(method), None) if SERVICES.contains(&service) && is_name(method) => {
            path
        }
        (Some(page), rest, _) if PAGES.contains(&page) => match rest {
            None => path,
            Some(_) => &path[..=page.len()],
        },
        _ => "(no path of this node)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::wire::peer::v1::{blobs_server, clocks_server, forward_server};
    use jam_proto::wire::v1::{
        cluster_server, rooms_server, segments_server, songs_server, time_server,
    };

    #[test]
    fn nothing_of_a_path_that_may_be_private_is_shown() {
        for (path, wanted) in [
            ("/jam.v1.Rooms/Submit", "/jam.v1.Rooms/Submit"),
            ("/metrics", "/metrics"),
            ("/audio/0123456789abcdef/160/manifest", "/audio"),
            ("/j/ABCDEFGHJK", "(no path of this node)"),
            ("/a-token", "(no path of this node)"),
            ("/jam.v1.Rooms/a-token", "(no path of this node)"),
            ("/jam.v1.Rooms/Submit/ABCDEFGHJK", "(no path of this node)"),
            ("", "(no path of this node)"),
        ] {
            assert_eq!(shown(path), wanted, "{path}");
        }
    }

    #[test]
    fn every_service_is_known() {
        for name in [
            blobs_server::SERVICE_NAME,
            clocks_server::SERVICE_NAME,
            cluster_server::SERVICE_NAME,
            forward_server::SERVICE_NAME,
            rooms_server::SERVICE_NAME,
            segments_server::SERVICE_NAME,
            songs_server::SERVICE_NAME,
            time_server::SERVICE_NAME,
        ] {
            assert!(SERVICES.contains(&name), "{name}");
        }
    }
}
