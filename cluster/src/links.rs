//! Connections to other nodes: one long-lived channel to each address, opened when it is needed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jam_world::World;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status};

use crate::credential::Credential;
use crate::refusal::{Refusal, code_of};
use crate::request;

/// On a request that another node passed on. It is served here or refused, never passed on again. It comes in only with
/// the credential of a node, and at its door (`api/admission.rs`).
pub const FORWARDED_KEY: &str = "jam-forwarded";

/// A peer on the same continent answers a handshake well within it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How soon a peer that froze or was cut off is given up, and connected to anew: within the sum of these. TCP
/// alone would go on sending into the void for minutes, with ever longer pauses.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two pings, ms.
    pub ping_every_ms: u64,
    /// For the answer to one, ms.
    pub answer_ms: u64,
}

/// Only what is sent in this time has an unknown outcome; what comes later is refused.
const PATIENCE: Patience = Patience { ping_every_ms: 250, answer_ms: 500 };

/// A channel to a node. It connects when it is first used, and again whenever it has to. The error says that
/// the address is none.
pub fn channel(world: &World, address: &str, patience: Patience) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| format!("'{address}' is no address: {error}"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_millis(patience.ping_every_ms))
        .keep_alive_timeout(Duration::from_millis(patience.answer_ms))
        .keep_alive_while_idle(true);
    Ok(world.channel(endpoint))
}

/// Channels to the other nodes. A channel connects again by itself.
#[derive(Debug)]
pub struct Links {
    world: World,
    credential: Credential,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Links {
    /// With what each call carries.
    pub fn new(world: &World, credential: Credential) -> Self {
        Self { world: world.clone(), credential, channels: Mutex::default() }
    }

    /// The shared channel to `address`.
    pub fn to(&self, address: &str) -> Result<Channel, Refusal> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = self.own(address)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// A channel of one's own to `address`, which nothing else queues on.
    pub fn own(&self, address: &str) -> Result<Channel, Refusal> {
        channel(&self.world, address, PATIENCE).map_err(Refusal::Internal)
    }

    /// A request to a peer, with the credential and marked as passed on.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(FORWARDED_KEY, MetadataValue::from_static("1"));
        self.credential.sign(metadata);
        request::sign(metadata);
        request
    }

    /// What each call carries.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// Whether a request was passed on by another node.
pub fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED_KEY)
}

/// What a failed call says about its request.
#[derive(Debug, PartialEq)]
pub enum Failed {
    /// It was refused for good, with this reason.
    Refused(Refusal),
    /// It was not taken, and never will be: another node may take it.
    NotTaken(Refusal),
    /// It may have been carried out.
    Lost,
}

impl From<Failed> for Status {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) | Failed::NotTaken(refusal) => refusal.into(),
            Failed::Lost => Refusal::Unknown.into(),
        }
    }
}

/// Judges a failed call to a peer.
pub fn judge(status: &Status) -> Failed {
    match code_of(status) {
        Some(code) => judge_code(status.code(), code, status.message()),
        None if never_sent(status) => Failed::NotTaken(Refusal::NoQuorum),
        // The peer speaks another language: no use in asking again.
        None if status.code() == Code::Unimplemented => Failed::Refused(Refusal::Unavailable(
            "the leader runs another version of jamd".to_owned(),
        )),
        None => Failed::Lost,
    }
}

/// Judges a refusal by its stable code.
pub fn judge_code(grpc: Code, code: &str, message: &str) -> Failed {
    match code {
        "not_leader" => Failed::NotTaken(Refusal::NotLeader),
        // A leader that has lost the majority. Another one may have been elected, so this node judges for itself.
        "no_quorum" => Failed::NotTaken(Refusal::NoQuorum),
        "no_leader" => Failed::NotTaken(Refusal::NoLeader),
        "unavailable" => Failed::NotTaken(Refusal::Unavailable(message.to_owned())),
        // What is wrong is between the nodes, not between them and whoever asked.
        "peer_token" => Failed::NotTaken(Refusal::Unavailable(format!(
            "the leader refuses this node's calls, so try another node: {message}"
        ))),
        "unknown" => Failed::Lost,
        code => Failed::Refused(Refusal::Relayed {
            grpc,
            code: code.to_owned(),
            message: message.to_owned(),
        }),
    }
}

fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_down_never_got_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let links = Links::new(&World::real(), Credential::default());
        let channel = links.to(&address).expect("a channel");
        let mut rooms = jam_proto::wire::v1::rooms_client::RoomsClient::new(channel);
        let request = links.request(jam_proto::wire::v1::ListRoomsRequest {});
        assert!(is_forwarded(&request));
        let status = rooms.list_rooms(request).await.expect_err("nobody is there");
        assert_eq!(judge(&status), Failed::NotTaken(Refusal::NoQuorum));
    }

    #[test]
    fn what_may_have_been_done_is_not_called_refused() {
        assert_eq!(judge(&Refusal::Unknown.into()), Failed::Lost);
        assert_eq!(judge(&Status::unavailable("connection reset")), Failed::Lost);
        assert_eq!(judge(&Refusal::NotLeader.into()), Failed::NotTaken(Refusal::NotLeader));
    }

    #[test]
    fn a_refusal_is_passed_on_as_it_was() {
        let status = Status::from(Refusal::Limit("too long".to_owned()));
        let Failed::Refused(refusal) = judge(&status) else { panic!("refused for good") };
        let relayed = Status::from(refusal);
        assert_eq!(relayed.code(), status.code());
        assert_eq!((code_of(&relayed), relayed.message()), (Some("limit"), "too long"));
    }
}
