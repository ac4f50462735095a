//! What a node serves to plain HTTP: whether it lives, whether it is ready, what it counts, and songs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use jam_proto::ids::TrackId;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::metrics::{Metrics, Page};
use crate::presence::Presence;
use crate::shard::Group;
use crate::time::clock::NodeClock;
use crate::watch::WatchHub;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// The group.
    pub group: Group,
    /// Shared time.
    pub clock: Arc<NodeClock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Listeners.
    pub presence: Arc<Presence>,
    /// Watchers.
    pub hub: Arc<WatchHub>,
    /// Songs.
    pub blobs: Arc<Blobs>,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
}

/// The pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/audio/{track}", get(audio))
        .with_state(pages)
}

/// Ready: this node can take edits, by itself or through the leader.
async fn ready(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let standing = pages.group.standing();
    let epoch = pages.group.read(|shard| shard.epoch().epoch);
    let checks = [
        ("running", !*pages.stopping.borrow()),
        ("leader", standing.leader.is_some()),
        ("clock", epoch > 0 && pages.clock.epoch() == epoch),
    ];
    let ready = checks.iter().all(|(_, ok)| *ok);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|item| item.starts_with("verbose")));
    let mut text = String::new();
    if verbose {
        for (name, ok) in checks {
            text += &format!("[{}] {name}\n", if ok { '+' } else { '-' });
        }
        text += &format!(
            "node {} term {} leader {} applied {} epoch {epoch} clock_bound_ns {}\n",
            standing.id,
            standing.term,
            standing.leader.unwrap_or(0),
            standing.applied,
            pages.clock.error_bound_ns(),
        );
    }
    text += if ready { "ready\n" } else { "not ready\n" };
    answer(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let standing = pages.group.standing();
    let mut page = Page::default();
    let mut gauge = |name: &str, help: &str, value: f64| page.one(name, "gauge", help, value);
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    gauge("jam_term", "Raft term.", standing.term as f64);
    gauge(
        "jam_leader",
        "Id of the leader that this node knows; 0: none.",
        standing.leader.unwrap_or(0) as f64,
    );
    gauge(
        "jam_leads",
        "1 while this node leads with a live lease.",
        flag(standing.leads_with_lease),
    );
    gauge("jam_applied_index", "Last log index applied here.", standing.applied as f64);
    gauge(
        "jam_snapshot_index",
        "Last log index in this node's snapshot.",
        standing.snapshot as f64,
    );
    gauge("jam_purged_index", "Last log index that the log lacks.", standing.purged as f64);
    gauge("jam_members", "Nodes of the cluster, learners included.", standing.members.len() as f64);
    gauge("jam_clock_epoch", "Clock epoch that this node follows.", pages.clock.epoch() as f64);
    gauge(
        "jam_clock_error_bound_seconds",
        "How far this node's shared time may be from the leader's.",
        pages.clock.error_bound_ns() as f64 / 1e9,
    );
    gauge(
        "jam_clock_drift_ppm",
        "By how much shared time runs faster than this machine's raw clock.",
        pages.clock.drift() * 1e6,
    );
    gauge("jam_watchers", "Streams of events served here.", pages.hub.watchers() as f64);
    gauge("jam_listeners", "Listeners that report to this node.", pages.presence.total() as f64);
    pages.blobs.tell(&mut page);
    pages.metrics.write(&mut page);
    let mut response = answer(StatusCode::OK, page.0);
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A song's original bytes, whole or from a range. They never change under their name.
async fn audio(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(track) = parse_track(&name) else {
        return answer(
            StatusCode::BAD_REQUEST,
            "a song's name is its BLAKE3 hash, 64 hex digits\n".to_owned(),
        );
    };
    let committed = pages.group.read(|shard| shard.track(&track).map(|track| track.bytes));
    let lacking =
        || answer(StatusCode::NOT_FOUND, "this node does not have this song\n".to_owned());
    let Some(total) = committed else { return lacking() };
    let wanted = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (first, last) = match wanted.map(|range| parse_range(range, total)) {
        None | Some(Range::Whole) => (0, total),
        Some(Range::Part { first, end }) => (first, end),
        Some(Range::Unsatisfiable) => {
            let mut response = answer(StatusCode::RANGE_NOT_SATISFIABLE, String::new());
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{total}"));
            return response;
        }
    };
    let Some(song) = pages.blobs.song(&track).await else { return lacking() };
    let mut response = Response::new(Body::from_stream(song.bytes(first, last - first)));
    insert(&mut response, header::CONTENT_LENGTH, &(last - first).to_string());
    insert(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::ETAG, &format!("\"{track}\""));
    insert(&mut response, header::CACHE_CONTROL, "private, max-age=31536000, immutable");
    if (first, last) != (0, total) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {first}-{}/{total}", last - 1);
        insert(&mut response, header::CONTENT_RANGE, &range);
    }
    response
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it: also when the header is of a kind that we may ignore (RFC 9110, 14.2).
    Whole,
    /// The bytes from `first` to before `end`: at least one.
    Part {
        /// The first byte.
        first: u64,
        /// Behind the last one.
        end: u64,
    },
    /// None of it.
    Unsatisfiable,
}

/// Reads a `Range` header for a song of `total` bytes.
pub fn parse_range(range: &str, total: u64) -> Range {
    let part = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let parsed = part.map(|(first, last)| (first.trim().parse::<u64>().ok(), last.trim(), first));
    let (first, end) = match parsed {
        Some((Some(first), "", _)) => (first, total),
        Some((Some(first), last, _)) => match last.parse::<u64>() {
            Ok(last) if last >= first => (first, last.saturating_add(1).min(total)),
            _ => return Range::Whole,
        },
        Some((None, last, "")) => match last.parse::<u64>() {
            Ok(0) => return Range::Unsatisfiable,
            Ok(suffix) => (total.saturating_sub(suffix), total),
            Err(_) => return Range::Whole,
        },
        _ => return Range::Whole,
    };
    if first >= total { Range::Unsatisfiable } else { Range::Part { first, end } }
}

/// Reads a song's name: its BLAKE3 hash, 64 hex digits.
pub fn parse_track(name: &str) -> Option<TrackId> {
    let mut id = [0; 32];
    if name.len() != 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(name.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(TrackId(id))
}

fn answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    insert(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    // All that comes here is our own ASCII.
    if let Ok(value) = header::HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, end| Range::Part { first, end };
        for (range, meant) in [
            ("bytes=0-", part(0, 100)),
            ("bytes=10-19", part(10, 20)),
            ("bytes=90-500", part(90, 100)),
            ("bytes=-10", part(90, 100)),
            ("bytes=-500", part(0, 100)),
            ("bytes=100-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-4", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=+1-2", part(1, 3)),
        ] {
            assert_eq!(parse_range(range, 100), meant, "{range}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Unsatisfiable);
    }

    #[test]
    fn tracks_are_named_by_their_hash() {
        let track = TrackId([0xab; 32]);
        assert_eq!(parse_track(&track.to_string()), Some(track));
        assert_eq!(parse_track("zz"), None);
        assert_eq!(parse_track(&"+1".repeat(32)), None);
    }
}
