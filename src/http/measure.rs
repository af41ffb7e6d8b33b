//! Counts and times every answer by its route.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::telemetry::{Metrics, Route};

/// Wraps a router with all its routes.
pub fn measured(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(from_fn_with_state(metrics, measure))
}

async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or(Route::Other, |path| Route::of(path.as_str()));
    let response = next.run(request).await;
    metrics.fixed.http(route, response.status().as_u16(), began.elapsed());
    response
}
