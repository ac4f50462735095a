//! One token for all clients, until accounts arrive.

use std::sync::Arc;

use http::{HeaderMap, header};

/// What requests must present. Kept as its hash, so that comparing takes the same time for all
/// wrong ones, whatever their length.
#[derive(Clone)]
pub struct Token(Option<Arc<blake3::Hash>>);

impl Token {
    /// `None`: anybody may come in (the node listens on loopback only).
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| Arc::new(blake3::hash(token.as_bytes()))))
    }

    /// Whether these headers hold it, or none is wanted.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        // Comparing two blake3 hashes takes constant time.
        given.is_some_and(|given| blake3::hash(given) == **wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token::new(Some("open sesame"));
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            headers
        };
        assert!(token.admits(&with("Bearer open sesame")));
        for wrong in ["Bearer open", "open sesame", "Bearer open sesame ", "Basic open sesame"] {
            assert!(!token.admits(&with(wrong)), "{wrong}");
        }
        assert!(!token.admits(&HeaderMap::new()));
        assert!(Token::new(None).admits(&HeaderMap::new()));
    }
}
