//! One token for everybody, until accounts arrive.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use tonic::Status;

use crate::refusal::Refusal;

/// What requests must present. Kept as its hash, so that comparing takes the same time for all
/// wrong ones, whatever their length.
#[derive(Clone)]
pub struct Token(Option<Arc<blake3::Hash>>);

impl Token {
    /// `None`: anybody may come in (the node listens on loopback only).
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| Arc::new(blake3::hash(token.as_bytes()))))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        // Comparing two blake3 hashes takes constant time.
        given.is_some_and(|given| blake3::hash(given) == **wanted)
    }
}

/// Turns away who has no token, from all but the probes of whoever runs the node.
pub async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/livez" | "/readyz");
    if open || token.admits(request.headers()) {
        return next.run(request).await;
    }
    if is_grpc(&request) {
        return Status::from(Refusal::Unauthenticated).into_http();
    }
    let mut response = Response::new(Body::from(format!("{}\n", Refusal::Unauthenticated)));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Whether the answer must be one of gRPC's.
pub fn is_grpc(request: &Request) -> bool {
    let content = request.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    content.is_some_and(|content| content.starts_with(b"application/grpc"))
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
