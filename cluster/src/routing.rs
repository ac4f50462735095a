//! Which requests a node serves when: those of its peers at once, since that is how a cluster forms, and all others
//! once it belongs to one.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use http::StatusCode;
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::api::admission::{self, Admission};
use crate::api::browsers::has_grpc_content;
use crate::formation::Local;
use crate::refusal::Refusal;

/// All that a node serves, behind who may come in. `main` is set once the node belongs to a cluster.
pub fn routes(local: &Local, main: Arc<OnceLock<Router>>, admission: Admission) -> Router {
    Routes::new(local.peer_service())
        .into_axum_router()
        .fallback(move |request: Request| {
            let main = Arc::clone(&main);
            async move {
                match main.get() {
                    Some(router) => match router.clone().oneshot(request).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    },
                    None => not_yet(&request),
                }
            }
        })
        .layer(middleware::from_fn_with_state(Arc::new(admission), admission::check))
}

fn not_yet(request: &Request) -> Response {
    let sentence = "this node waits for its peers to form a cluster; start the other nodes";
    if has_grpc_content(request.headers()) {
        return Status::from(Refusal::Unavailable(sentence.to_owned())).into_http();
    }
    let (status, text) = match request.uri().path() {
        "/livez" => (StatusCode::OK, "ok"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, sentence),
    };
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}
