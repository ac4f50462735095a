//! What a node serves to plain HTTP: whether it lives, whether it is ready, what it counts, and songs.

mod audio;
mod ready;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use jam_world::LostLines;
use tokio::sync::watch;

use crate::api::browsers::has_grpc_content;
use crate::blobs::Blobs;
use crate::metrics::{Metrics, Page};
use crate::presence::Presence;
use crate::segments::Segments;
use crate::shard::Group;
use crate::time::clock::NodeClock;
use crate::watch::WatchHub;
pub use audio::{Range, parse_range, parse_track};

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
    /// Songs in segments.
    pub segments: Arc<Segments>,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
    /// Of the log, if it is counted.
    pub lost_lines: Option<LostLines>,
}

/// The pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready::ready))
        .route("/metrics", get(metrics))
        .route("/audio/{track}", get(audio::original))
        .route("/audio/{track}/cover", get(audio::cover))
        .route("/audio/{track}/waveform", get(audio::waveform))
        .route("/audio/{track}/{quality}/manifest", get(audio::manifest))
        .route("/audio/{track}/{quality}/{index}/{hash}", get(audio::segment))
        .with_state(pages)
}

/// What no service and no page has.
pub async fn unknown_path(headers: HeaderMap) -> Response {
    if has_grpc_content(&headers) {
        return tonic::Status::unimplemented("this node has no such service").into_http();
    }
    answer(StatusCode::NOT_FOUND, "there is nothing under this path\n".to_owned())
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
    gauge(
        "jam_leader_heard",
        "1 while this node hears a live leader; 0: it may be cut off, and what it sends may be old.",
        flag(pages.group.contact().is_live()),
    );
    gauge(
        "jam_committed_index",
        "Last log index known here as committed.",
        standing.committed as f64,
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
    pages.segments.tell(&mut page);
    pages.metrics.write(&mut page);
    if let Some(lost) = &pages.lost_lines {
        let help = "Log lines that could not be written.";
        page.one("jam_log_lines_lost_total", "counter", help, lost.count());
    }
    let mut response = answer(StatusCode::OK, page.0);
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
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
