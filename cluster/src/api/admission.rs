//! Who may come in. One layer in front of all that a node serves, and one pure function that judges.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::access_log::{self, shown};
use super::auth::Token;
use super::browsers::{self, HostNames, has_grpc_content};
use crate::config::Access;
use crate::credential::{LogLimit, PEER_TOKEN_KEY, PeerTokens};
use crate::links::FORWARDED_KEY;
use crate::refusal::Refusal;
use crate::request::RequestIds;
use crate::server::{Answer, Caller, Full, RemoteAddress, Who};

/// The services that only other nodes call: `Peer`, `Forward`, `Clocks` and `Blobs`.
const PEER_PATHS: &str = "/jam.peer.";
/// The service for operators, most of whose calls ask all nodes.
const CLUSTER_PATHS: &str = "/jam.v1.Cluster/";
/// What one of those counts for, of the requests that a connection may make.
const CLUSTER_PRICE: u32 = 20;

const MISSING: &str = "a node takes calls from other nodes only with a peer token: start the node that calls with the \
                       --peer-token-file of this cluster";
const UNKNOWN: &str = "this node does not know the peer token that it was given: give both nodes the same \
                       --peer-token-file, and while tokens change give every node both of them";
const NO_CLIENT_TOKEN: &str = "this node has no --peer-token-file and asks nodes for the client token: start the node that \
                               calls with the same --token-file, or give all nodes a --peer-token-file";
const OTHER_DOOR: &str = "nodes have a door of their own here (--peer-listen): the address of this node in --peers must be \
                          that of its --peer-advertise";
const NOT_LOOPBACK: &str =
    "this node has no --peer-token-file, so it takes calls from nodes on its own machine only";

/// Who comes in at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Clients and nodes: the node has one door.
    All,
    /// Clients: nodes have another door.
    Clients,
    /// Nodes.
    Nodes,
}

/// What a call must present to pass for another node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRule {
    /// A known peer token.
    Token,
    /// A known peer token, or none: while the nodes of a cluster get theirs.
    TokenOrNone,
    /// It comes from this machine: the node listens on loopback and has no peer tokens.
    Loopback,
}

/// The peer token that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerToken {
    /// None came.
    Missing,
    /// One that this node does not know.
    Unknown,
    /// One that this node knows.
    Known,
}

/// What a request says of where it comes from, and what it presents.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Of its URI.
    pub path: &'a str,
    /// It says that another node passed it on.
    pub is_forwarded: bool,
    /// It comes from this machine.
    pub from_loopback: bool,
    /// It has the client token, or this node wants none.
    pub has_token: bool,
    /// What it has of the peer tokens.
    pub peer_token: PeerToken,
}

/// Whether a request may come in. A call between nodes is judged by its peer token, and all else by the client token: neither stands
/// in for the other. The mark of a request that was passed on counts as much as the peer services, since a node does for
/// it what it does for nodes only; were it ignored instead, two nodes without a common token could pass a request to and fro.
///
/// # Errors
/// Why it may not.
pub fn judge(serves: Serves, rule: PeerRule, arrival: Arrival<'_>) -> Result<Who, Refusal> {
    let is_nodes = arrival.is_forwarded || arrival.path.starts_with(PEER_PATHS);
    match serves {
        Serves::Nodes => {
            return judge_node(rule, arrival).map(|()| Who::Node).map_err(Refusal::PeerToken);
        }
        Serves::Clients if is_nodes => return Err(Refusal::Forbidden(OTHER_DOOR.to_owned())),
        Serves::Clients | Serves::All => {}
    }
    let client = if arrival.has_token { Who::Guest } else { Who::Stranger };
    if matches!(arrival.path, "/livez" | "/readyz") {
        return Ok(client);
    }
    if is_nodes {
        return judge_node(rule, arrival).map(|()| Who::Node).map_err(Refusal::PeerToken);
    }
    if arrival.has_token { Ok(client) } else { Err(Refusal::Unauthenticated) }
}

fn judge_node(rule: PeerRule, arrival: Arrival<'_>) -> Result<(), &'static str> {
    match (rule, arrival.peer_token) {
        (PeerRule::Token | PeerRule::TokenOrNone, PeerToken::Known) => Ok(()),
        (PeerRule::Token | PeerRule::TokenOrNone, PeerToken::Unknown) => Err(UNKNOWN),
        // By the client token, where there is one, as in the release before.
        (PeerRule::TokenOrNone, PeerToken::Missing) if arrival.has_token => Ok(()),
        (PeerRule::Token | PeerRule::TokenOrNone, PeerToken::Missing) => Err(MISSING),
        (PeerRule::Loopback, _) if !arrival.from_loopback => Err(NOT_LOOPBACK),
        (PeerRule::Loopback, _) if arrival.has_token => Ok(()),
        (PeerRule::Loopback, _) => Err(NO_CLIENT_TOKEN),
    }
}

/// The layer: what a node asks of requests.
pub struct Admission {
    serves: Serves,
    token: Token,
    rule: PeerRule,
    /// Hashes of the peer tokens, so that comparing takes the same time for all wrong ones.
    peer_tokens: Vec<blake3::Hash>,
    host_names: HostNames,
    log_limit: LogLimit,
    requests: RequestIds,
}

impl Admission {
    /// As the flags say. Logs what is open for the time being.
    pub fn new(access: &Access, serves: Serves) -> Self {
        let rule = match (&access.peer_tokens, access.peer_token_optional) {
            (None, _) => PeerRule::Loopback,
            (Some(_), true) => PeerRule::TokenOrNone,
            (Some(_), false) => PeerRule::Token,
        };
        match rule {
            PeerRule::Token => {}
            _ if serves == Serves::Clients => {}
            PeerRule::TokenOrNone => tracing::warn!(
                "--peer-token-optional: whoever may listen passes for a node; restart without it once all nodes have a \
                 --peer-token-file"
            ),
            PeerRule::Loopback => tracing::warn!(
                "there is no --peer-token-file: every program on this machine passes for a node of this cluster"
            ),
        }
        let peer_tokens = access.peer_tokens.as_ref().map_or(&[][..], PeerTokens::all);
        Self {
            serves,
            token: Token::new(access.token.as_deref()),
            rule,
            peer_tokens: peer_tokens.iter().map(|token| blake3::hash(token.as_bytes())).collect(),
            host_names: access.host_names.clone(),
            log_limit: LogLimit::default(),
            requests: RequestIds::default(),
        }
    }

    fn judge(&self, request: &Request, from: Option<RemoteAddress>) -> Result<Who, Refusal> {
        let is_forwarded = request.headers().contains_key(FORWARDED_KEY);
        let path = request.uri().path();
        let judged = judge(
            self.serves,
            self.rule,
            Arrival {
                path,
                is_forwarded,
                from_loopback: from.is_some_and(|from| from.is_loopback()),
                has_token: self.token.admits(request.headers()),
                peer_token: self.peer_token(request.headers()),
            },
        );
        if let Err(Refusal::PeerToken(reason)) = judged
            && self.log_limit.allows(Instant::now())
        {
            let path = shown(path);
            tracing::warn!(path, reason, "refused a call as from another node");
        }
        judged
    }

    fn peer_token(&self, headers: &HeaderMap) -> PeerToken {
        let Some(given) = headers.get(PEER_TOKEN_KEY) else { return PeerToken::Missing };
        let given = blake3::hash(given.as_bytes());
        // Comparing two blake3 hashes takes constant time, and all of them are compared.
        let known = self.peer_tokens.iter().fold(false, |known, token| known | (*token == given));
        if known { PeerToken::Known } else { PeerToken::Unknown }
    }
}

/// Turns away what a web page may have sent, and who has not the token for what it asks. Each request waits here for its turn
/// among those of its connection.
pub async fn check(
    State(admission): State<Arc<Admission>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions_mut().remove::<Caller>();
    let from = caller.as_ref().map(|caller| RemoteAddress(caller.from));
    let is_grpc = has_grpc_content(request.headers());
    let refused = |refusal: Refusal, status| match is_grpc {
        true => Status::from(refusal).into_http(),
        false => plain(status, &refusal.to_string()),
    };
    let (who, refusal) = match browsers::check(&request, &admission.host_names) {
        Err((status, sentence)) => (Who::Stranger, Some(plain(status, &sentence))),
        Ok(()) => match admission.judge(&request, from) {
            Ok(who) => (who, None),
            Err(refusal) => {
                let status = match refusal {
                    Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
                    _ => StatusCode::UNAUTHORIZED,
                };
                (Who::Stranger, Some(refused(refusal, status)))
            }
        },
    };
    let open = match caller.map(|caller| caller.visit.enter(who, price(request.uri().path()))) {
        None => None,
        Some(Ok((open, wait))) => {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            Some(open)
        }
        Some(Err(Full)) => {
            let full = "this node has all the connections that it takes; try another one";
            let full = Refusal::Unavailable(full.to_owned());
            return refused(full, StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    let response = match refusal {
        Some(refusal) => refusal,
        None => {
            let extensions = request.extensions_mut();
            extensions.insert(who);
            if let Some(from) = from {
                extensions.insert(from);
            }
            access_log::serve(&admission.requests, who, request, next).await
        }
    };
    match open {
        Some(open) => response.map(|body| Answer::holding(body, open)),
        None => response,
    }
}

fn price(path: &str) -> u32 {
    if path.starts_with(CLUSTER_PATHS) { CLUSTER_PRICE } else { 1 }
}

fn plain(status: StatusCode, sentence: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{sentence}\n")));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // Only the services refuse a method here.
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAFT: &str = "/jam.peer.v1.Peer/Append";
    const FORWARD: &str = "/jam.peer.v1.Forward/Propose";
    const BLOBS: &str = "/jam.peer.v1.Blobs/Read";
    const HELLO: &str = "/jam.peer.v1.Peer/Hello";
    const ROOMS: &str = "/jam.v1.Rooms/Submit";
    const METRICS: &str = "/metrics";

    /// What is said of a request: `ok`, or the code of the refusal.
    fn said(rule: PeerRule, path: &str, far: bool, token: bool, peer_token: PeerToken) -> String {
        let arrival = Arrival {
            path,
            is_forwarded: false,
            from_loopback: !far,
            has_token: token,
            peer_token,
        };
        let judged = judge(Serves::All, rule, arrival);
        if !path.starts_with(PEER_PATHS) {
            // With the mark, it is judged as a call between nodes.
            let marked = judge(Serves::All, rule, Arrival { is_forwarded: true, ..arrival });
            let open = matches!(path, "/livez" | "/readyz");
            let node = judge(Serves::All, rule, Arrival { path: RAFT, ..arrival });
            assert_eq!(marked, if open { judged.clone() } else { node }, "{arrival:?}");
        }
        let who = match (path.starts_with(PEER_PATHS), token) {
            (true, _) => Who::Node,
            (false, true) => Who::Guest,
            (false, false) => Who::Stranger,
        };
        judged.map_or_else(
            |refusal| refusal.code().to_owned(),
            |came| {
                assert_eq!(came, who, "{arrival:?}");
                "ok".to_owned()
            },
        )
    }

    #[test]
    fn a_door_is_for_those_whom_it_serves() {
        for (path, is_forwarded) in [
            (RAFT, false),
            (FORWARD, false),
            (BLOBS, false),
            (HELLO, false),
            (ROOMS, true),
            (ROOMS, false),
            (METRICS, false),
            ("/readyz", false),
        ] {
            let is_nodes = is_forwarded || path.starts_with(PEER_PATHS);
            for (has_token, peer_token) in
                [(true, PeerToken::Known), (true, PeerToken::Missing), (false, PeerToken::Known)]
            {
                let arrival =
                    Arrival { path, is_forwarded, from_loopback: true, has_token, peer_token };
                let at = |serves| judge(serves, PeerRule::Token, arrival);
                let nodes = at(Serves::Nodes).map_err(|refusal| refusal.code().to_owned());
                let known = peer_token == PeerToken::Known;
                assert_eq!(nodes, known.then_some(Who::Node).ok_or("peer_token".to_owned()));
                match is_nodes {
                    true => assert!(matches!(at(Serves::Clients), Err(Refusal::Forbidden(_)))),
                    false => assert_eq!(at(Serves::Clients), at(Serves::All)),
                }
            }
        }
    }

    #[test]
    fn who_may_come_in() {
        use PeerRule::{Loopback, Token, TokenOrNone};
        use PeerToken::{Known, Missing, Unknown};
        for path in [RAFT, FORWARD, BLOBS, HELLO] {
            for (rule, far, token, peer_token, wanted) in [
                (Token, true, false, Missing, "peer_token"),
                (Token, false, false, Missing, "peer_token"),
                (Token, true, true, Missing, "peer_token"),
                (Token, true, true, Unknown, "peer_token"),
                (Token, true, false, Known, "ok"),
                (TokenOrNone, true, false, Missing, "peer_token"),
                (TokenOrNone, true, true, Missing, "ok"),
                (TokenOrNone, true, true, Unknown, "peer_token"),
                (TokenOrNone, true, false, Known, "ok"),
                (Loopback, true, true, Missing, "peer_token"),
                (Loopback, true, true, Unknown, "peer_token"),
                (Loopback, false, false, Missing, "peer_token"),
                (Loopback, false, true, Missing, "ok"),
                (Loopback, false, true, Unknown, "ok"),
            ] {
                assert_eq!(said(rule, path, far, token, peer_token), wanted, "{rule:?} {path}");
            }
        }
        for rule in [Token, TokenOrNone, Loopback] {
            for peer_token in [Known, Missing, Unknown] {
                for path in [ROOMS, METRICS] {
                    assert_eq!(said(rule, path, true, true, peer_token), "ok");
                    let none = said(rule, path, true, false, peer_token);
                    assert_eq!(none, "unauthenticated", "a peer token opens no other door");
                }
                for path in ["/livez", "/readyz"] {
                    assert_eq!(said(rule, path, true, false, peer_token), "ok");
                }
            }
        }
    }
}
