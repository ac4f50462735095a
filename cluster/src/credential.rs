//! What nodes present to each other, so that nobody else passes for one of them.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// The metadata that holds the peer token of a call between nodes.
pub const PEER_TOKEN_KEY: &str = "jam-peer-token";

/// A token that somebody made up may be guessed; 16 random characters may not.
const PEER_TOKEN_CHARS_MIN: usize = 16;
/// Between two lines in the log about the same refusal.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The tokens by which the nodes of a cluster know each other. The first one is sent, all of them are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerTokens(Vec<String>);

impl PeerTokens {
    /// The one that is sent.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    /// All that are accepted.
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for PeerTokens {
    type Err = String;

    /// Reads the text of a `--peer-token-file`: one token a line. Blank lines and lines that begin with `#` don't count.
    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim);
        let tokens: Vec<String> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        let fits = |token: &String| {
            token.len() >= PEER_TOKEN_CHARS_MIN && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if tokens.is_empty() || !tokens.iter().all(fits) {
            return Err(format!(
                "it must hold one token a line, each of at least {PEER_TOKEN_CHARS_MIN} visible ASCII characters; \
                 `openssl rand -hex 32` makes one"
            ));
        }
        Ok(Self(tokens))
    }
}

impl fmt::Debug for PeerTokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} peer tokens", self.0.len())
    }
}

/// What a node's calls to other nodes carry. Clones share how often a refusal is logged.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    token: Option<MetadataValue<Ascii>>,
    peer_token: Option<MetadataValue<Ascii>>,
    log_limit: Arc<LogLimit>,
}

impl Credential {
    /// With the client token, which nodes without a peer token ask of each other, and the first of the peer tokens.
    ///
    /// # Errors
    /// If no header can hold a token.
    pub fn new(token: Option<&str>, peer_tokens: Option<&PeerTokens>) -> Result<Self, String> {
        let value = |text: String| {
            let value = text.parse::<MetadataValue<Ascii>>();
            let mut value = value.map_err(|_| "a token must be visible ASCII".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        Ok(Self {
            token: token.map(|token| value(format!("Bearer {token}"))).transpose()?,
            peer_token: peer_tokens.map(|tokens| value(tokens.first().to_owned())).transpose()?,
            log_limit: Arc::default(),
        })
    }

    /// Puts it into a call.
    pub fn sign(&self, metadata: &mut MetadataMap) {
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        if let Some(peer_token) = &self.peer_token {
            metadata.insert(PEER_TOKEN_KEY, peer_token.clone());
        }
    }

    /// Logs, at most once a minute, that the node at `address` refused a call for what it carries or for who calls: a node of another
    /// cluster, or one that has lost its folder.
    pub fn log_refusal(&self, address: &str, status: &Status) {
        let is_refusal = matches!(status.code(), Code::Unauthenticated | Code::FailedPrecondition);
        if is_refusal && self.log_limit.allows(Instant::now()) {
            tracing::warn!(
                address,
                reason = status.message(),
                "another node refuses this node's calls"
            );
        }
    }
}

/// Lets one line a minute into the log.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Option<Instant>>);

impl LogLimit {
    /// Whether a line may be logged now. If so, the next minute begins.
    pub fn allows(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY);
        if allowed {
            *last = Some(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an-old-token-of-this-cluster";
    const NEW: &str = "a-new-token-of-this-cluster";

    #[test]
    fn a_token_a_line() {
        let text = format!("# made in May\n\n  {NEW}\n{OLD}\n\n# the end");
        let tokens: PeerTokens = text.parse().expect("two tokens");
        assert_eq!((tokens.first(), tokens.all().len()), (NEW, 2));
        assert!(!format!("{tokens:?}").contains(NEW), "a log must not tell it");
        for wrong in ["", "# nothing", "too-short", "with a space in its middle"] {
            let refusal = wrong.parse::<PeerTokens>().expect_err(wrong);
            assert!(refusal.contains("openssl rand"), "{refusal}");
        }
    }

    #[test]
    fn a_call_carries_the_first_one() {
        let tokens: PeerTokens = format!("{NEW}\n{OLD}").parse().expect("two tokens");
        let credential = Credential::new(Some("for clients"), Some(&tokens)).expect("ASCII");
        let mut metadata = MetadataMap::new();
        credential.sign(&mut metadata);
        assert_eq!(metadata.get(PEER_TOKEN_KEY).expect("it is there"), NEW);
        assert_eq!(metadata.get("authorization").expect("it is there"), "Bearer for clients");
        assert!(!format!("{credential:?}").contains(NEW), "a log must not tell it");
    }

    #[test]
    fn the_log_gets_a_line_a_minute() {
        let limit = LogLimit::default();
        let began = Instant::now();
        assert!(limit.allows(began));
        assert!(!limit.allows(began + LOG_EVERY / 2));
        assert!(limit.allows(began + LOG_EVERY));
    }
}
