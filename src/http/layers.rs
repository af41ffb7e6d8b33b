//! What every request passes before its route, and every answer after it.
//!
//! From the outside in: request id, limits of the head, the guard per peer ([`peer`]), a net for panics. Owns the
//! form of what leaves: every refusal gets its problem body here. The order is `Edge::around`'s alone.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use tracing::error;

use self::ids::{Ids, X_REQUEST_ID};
use self::peer::Guard;
use super::Live;
use super::problem::{self, Problem, Refused};
use crate::reject::Reject;
use crate::stages::auth::Peer;

pub mod head;
pub mod ids;
pub mod peer;

/// What stands around every request.
#[derive(Clone)]
pub struct Edge {
    live: Live,
    guard: Option<Arc<Guard>>,
}

impl Edge {
    /// With the limits of the moment, and a guard where peers are to be limited.
    pub fn new(live: Live, guard: Option<Arc<Guard>>) -> Self {
        Self { live, guard }
    }

    /// The answer of `inner`, or a refusal before it. One function instead of a middleware a step: each of those boxes
    /// a future for every request.
    pub(super) async fn around<B, F: Future<Output = Response>>(
        &self,
        request: Request<B>,
        peer: Option<Peer>,
        inner: impl FnOnce(Request<B>, Ids) -> F,
    ) -> Response {
        let config = (self.live)();
        let ids = Ids::of(request.headers());
        let is_head = request.method() == Method::HEAD;
        let guarded = |()| self.guard.as_ref().map_or(Ok(()), |guard| guard.check(peer, request.headers()));
        let mut response = match head::check(&request, &config.caps).and_then(guarded) {
            // What the handler held is dropped with it; locks shared with others are poison-tolerant.
            Ok(()) => match AssertUnwindSafe(inner(request, ids.clone())).catch_unwind().await {
                Ok(response) => response,
                Err(panic) => {
                    error!(request_id = %ids.own, panic = words(panic.as_ref()), "a handler panicked");
                    Refused(Reject::Internal).into_response()
                }
            },
            Err(reject) => Refused(reject).into_response(),
        };
        problem::finish(&mut response, Problem { request_id: ids.own, docs_url: &config.docs_url });
        if is_head {
            empty(&mut response);
        }
        if let Some(id) = ids.echo() {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        response
    }
}

/// Wraps a router with all its routes (later ones would not be covered).
pub fn apply(router: Router, edge: Edge) -> Router {
    router.layer(from_fn_with_state(edge, middleware))
}

async fn middleware(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let inner = |mut request: Request, ids: Ids| {
        request.extensions_mut().insert(ids);
        next.run(request)
    };
    let peer = request.extensions().get::<Peer>().copied();
    edge.around(request, peer, inner).await
}

/// The answer to HEAD: the headers of the whole, without it.
fn empty(response: &mut Response) {
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// The fallback for paths that are not there.
pub async fn not_found() -> Refused {
    Refused(Reject::NotFound)
}

/// The fallback for methods that a path does not take; axum adds `Allow`. OPTIONS gets just that.
pub async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Refused(Reject::MethodNotAllowed).into_response()
}

#[cfg(test)]
mod tests;
