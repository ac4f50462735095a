//! What a node serves to plain HTTP: whether it lives, whether it is ready, what it counts, and songs.

mod audio;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{StatusCode, header};
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::metrics::{Metrics, Page};
use crate::presence::Presence;
use crate::raft::contact::Contact;
use crate::segments::Segments;
use crate::server::Who;
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
}

/// The pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/audio/{track}", get(audio::original))
        .route("/audio/{track}/cover", get(audio::cover))
        .route("/audio/{track}/waveform", get(audio::waveform))
        .route("/audio/{track}/{quality}/manifest", get(audio::manifest))
        .route("/audio/{track}/{quality}/{index}/{hash}", get(audio::segment))
        .with_state(pages)
}

/// Ready: this node hears a live leader, so that it can take edits and what it sends is current. Who has shown no token
/// is told whether, and why not, and nothing else of the cluster.
async fn ready(
    State(pages): State<Pages>,
    who: Option<Extension<Who>>,
    RawQuery(query): RawQuery,
) -> Response {
    let standing = pages.group.standing();
    let contact = pages.group.contact();
    let epoch = pages.group.read(|shard| shard.epoch().epoch);
    let checks = [
        ("running", "it is stopping", !*pages.stopping.borrow()),
        ("leader", "it knows no leader", standing.leader.is_some()),
        ("leader heard", "it hears no leader", contact.is_live()),
        ("clock", "it has no shared time yet", epoch > 0 && pages.clock.epoch() == epoch),
    ];
    let fault = checks.iter().find(|(_, _, ok)| !ok);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|item| item.starts_with("verbose")));
    let is_stranger = who.is_some_and(|who| who.0 == Who::Stranger);
    let mut text = String::new();
    if verbose && !is_stranger {
        for (name, _, ok) in checks {
            text += &format!("[{}] {name}{}\n", if ok { '+' } else { '-' }, more(name, contact));
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
    let status = match fault {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    text += &match fault {
        None => "ready\n".to_owned(),
        Some((_, why, _)) if verbose && is_stranger => format!("not ready: {why}\n"),
        Some(_) => "not ready\n".to_owned(),
    };
    answer(status, text)
}

/// What the line of a check says besides.
fn more(check: &str, contact: Contact) -> String {
    match contact {
        Contact::Stale(silent) if check == "leader heard" => format!(
            ": none for {:.1} s, so this node may be cut off from its peers",
            silent.as_secs_f64()
        ),
        _ => String::new(),
    }
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
