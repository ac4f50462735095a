//! `/readyz`: whether this node can take edits, and whether what it sends is current.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;

use super::{Pages, answer};
use crate::raft::contact::Contact;
use crate::server::Who;
use crate::shard::{Group, Standing};

/// One thing that must hold.
struct Check {
    name: &'static str,
    holds: bool,
    /// Why not, for whoever has shown no token: in words without numbers.
    fault: &'static str,
    /// Why not, for the others.
    reason: String,
}

/// 200 if the node is ready. Whoever has shown no token is told whether, and why not, and nothing else of the cluster.
pub(super) async fn ready(
    State(pages): State<Pages>,
    who: Option<Extension<Who>>,
    RawQuery(query): RawQuery,
) -> Response {
    let standing = pages.group.standing();
    let epoch = pages.group.read(|shard| shard.epoch().epoch);
    let checks = checks(&pages, &standing, epoch);
    let fault = checks.iter().find(|check| !check.holds);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|item| item.starts_with("verbose")));
    let is_stranger = who.is_some_and(|who| who.0 == Who::Stranger);
    let mut text = String::new();
    if verbose && !is_stranger {
        for check in &checks {
            text += &match check.holds {
                true => format!("[+] {}\n", check.name),
                false => format!("[-] {}: {}\n", check.name, check.reason),
            };
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
        Some(check) if verbose && is_stranger => format!("not ready: {}\n", check.fault),
        Some(_) => "not ready\n".to_owned(),
    };
    answer(status, text)
}

fn checks(pages: &Pages, standing: &Standing, epoch: u64) -> [Check; 4] {
    let check = |name, holds, fault, reason| Check { name, holds, fault, reason };
    let (stopping, contact) = (*pages.stopping.borrow(), pages.group.contact());
    let stops = "it is stopping";
    let behind = "it has not applied what was committed when it started";
    let no_time = "it has no shared time yet";
    let has_time = epoch > 0 && pages.clock.epoch() == epoch;
    [
        check("running", !stopping, stops, stops.to_owned()),
        check(
            "quorum",
            contact.is_live(),
            "it hears no leader that has a majority",
            no_quorum(&pages.group, contact, standing),
        ),
        check("caught up", pages.group.has_caught_up(), behind, behind.to_owned()),
        check("clock", has_time, no_time, no_time.to_owned()),
    ]
}

/// Why this node is not in contact with a majority.
fn no_quorum(group: &Group, contact: Contact, standing: &Standing) -> String {
    let Contact::Stale(silent) = contact else { return String::new() };
    let why = if group.lacks_majority() {
        "no majority of the nodes answers: start the others, or look whether this one is cut off"
    } else if standing.leader == Some(standing.id) {
        "this node leads, and no majority confirms it"
    } else if standing.leader.is_some() {
        "the leader that it hears has lost its majority"
    } else {
        "a majority answers and elects a leader"
    };
    format!("no leader with a lease was heard for {:.1} s; {why}", silent.as_secs_f64())
}
