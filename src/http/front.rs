//! The way from a connection to its answer: posts of events go straight, everything else through axum's router.
//!
//! The router boxes a future and clones a service for each layer and route, which cost as much as all that klamm itself
//! did for a request with one event (docs/performance.md). Both ways pass the same [`Edge`] and end in the same
//! handler, and both are measured.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request};
use tower::ServiceExt;

use super::app::App;
use super::layers::{self, Edge};
use super::{measure, routes};
use crate::stages::auth::Peer;
use crate::telemetry::{Metrics, Route};

/// What a listener serves. Clones are handles of the same.
#[derive(Clone)]
pub struct Front {
    /// With all its layers.
    router: Router,
    straight: Option<Arc<Straight>>,
}

struct Straight {
    edge: Edge,
    app: App,
    metrics: Arc<Metrics>,
}

impl Front {
    /// The ingest listener's.
    pub fn new(app: App, edge: Edge) -> Self {
        let metrics = Arc::clone(&app.gateway.metrics);
        let router = layers::apply(routes::routes(app.clone()), edge.clone());
        let router = measure::measured(router, Arc::clone(&metrics));
        Self { router, straight: Some(Arc::new(Straight { edge, app, metrics })) }
    }

    /// Answers one request of `peer`.
    ///
    /// # Cancellation
    /// The handler is dropped wherever it is; it accounts for that itself.
    pub async fn serve<B>(&self, mut request: Request<B>, peer: Peer) -> Response
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        match &self.straight {
            Some(straight) if is_post_of_events(&request) => straight.produce(request, peer).await,
            _ => {
                request.extensions_mut().insert(peer);
                let Ok(response) = self.router.clone().oneshot(request.map(Body::new)).await;
                response
            }
        }
    }
}

/// A router that has its layers already.
impl From<Router> for Front {
    fn from(router: Router) -> Self {
        Self { router, straight: None }
    }
}

impl Straight {
    async fn produce<B>(&self, request: Request<B>, peer: Peer) -> Response
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let began = Instant::now();
        let produce = |request: Request<B>, ids| async move {
            let (head, body) = request.into_parts();
            let topic = topic_of(head.uri.path()).unwrap_or_default();
            routes::produce(&self.app, &ids, peer, topic, &head, body).await
        };
        let response = self.edge.around(request, Some(peer), produce).await;
        self.metrics.fixed.http(Route::Produce, response.status().as_u16(), began.elapsed());
        response
    }
}

fn is_post_of_events<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && topic_of(request.uri().path()).is_some()
}

/// The topic in `/v1/topics/{topic}/events`; `None` for other paths, and for topics that need decoding.
fn topic_of(path: &str) -> Option<&str> {
    let topic = path.strip_prefix("/v1/topics/")?.strip_suffix("/events")?;
    (!topic.is_empty() && !topic.contains(['/', '%'])).then_some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_straight_way_is_for_plain_names_alone() {
        assert_eq!(topic_of("/v1/topics/orders/events"), Some("orders"));
        for path in [
            "/v1/topics/events",
            "/v1/topics//events",
            "/v1/topics/a/b/events",
            "/v1/topics/a%2Fb/events",
            "/v1/topics/orders",
            "/v1/topics/orders/events/",
            "/V1/topics/orders/events",
        ] {
            assert_eq!(topic_of(path), None, "{path}");
        }
    }
}
