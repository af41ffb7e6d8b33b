//! The routes of the ingest listener. Handlers only translate: what happens to events is `ingest`'s.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::request::Parts;

use super::account::Account;
use super::answer::{self, Answered};
use super::app::App;
use super::body::{self, read_capped};
use super::layers::ids::Ids;
use super::{layers, openapi, requests, topics};
use crate::event::RequestId;
use crate::ingest::Gateway;
use crate::ingest::accept::accept;
use crate::ingest::gate::{Asked, gate};
use crate::ingest::outcome::{Accepted, outcome};
use crate::stages::auth::Peer;

/// Every route, without the layers around them.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::show))
        .route("/v1/topics/{topic}/events", post(produce_by_router))
        .route("/v1/requests/{id}", get(requests::show))
        .route("/openapi.json", get(openapi::show))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .with_state(app)
}

/// A post of events whose path had to be decoded; the others come by [`super::front`].
async fn produce_by_router(
    State(app): State<App>,
    Extension(ids): Extension<Ids>,
    Extension(peer): Extension<Peer>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // A path that is no UTF-8 names no topic.
    let topic = topic.map(|Path(topic)| topic).unwrap_or_default();
    produce(&app, &ids, peer, &topic, &head, body).await
}

/// `POST /v1/topics/{topic}/events`.
pub(super) async fn produce<B>(app: &App, ids: &Ids, peer: Peer, topic: &str, head: &Parts, body: B) -> Response
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut account = Account::open(app, ids, topic, &head.headers);
    let asked = Asked { topic, query: head.uri.query(), headers: &head.headers, peer };
    let result = walk(&app.gateway, ids.own, asked, body, &mut account).await;
    account.close(&result);
    answer::render(result, account.client(), &app.gateway, ids.own)
}

/// The path of the request's events.
async fn walk<B>(
    app: &Gateway,
    request: RequestId,
    asked: Asked<'_>,
    body: B,
    account: &mut Account<'_>,
) -> Result<Accepted, Answered>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut pass = gate(app, asked).await.map_err(|refused| account.refused(refused))?;
    account.identified(&pass.client, &pass.pair);
    let limits = body::Limits {
        cap: pass.config.caps.body.get(),
        idle: pass.config.ingest.body_idle.get(),
        total: pass.config.ingest.body_timeout.get(),
    };
    let body = read_capped(body, limits, |bytes| pass.permit.admit(bytes)).await?;
    account.body(&body);
    let sent = accept(app, pass, request, body)?;
    account.sent(&sent);
    Ok(outcome(app, sent).await?)
}
