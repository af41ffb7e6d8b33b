//! The routes of the ingest listener. Handlers only translate: what happens to events is `ingest`'s.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::request::Parts;

use super::account::Account;
use super::answer::{self, Answered};
use super::app::App;
use super::body::{self, read_capped};
use super::{layers, openapi, topics};
use crate::ingest::Gateway;
use crate::ingest::accept::accept;
use crate::ingest::gate::{Asked, gate};
use crate::ingest::outcome::{Accepted, outcome};

/// Every route, without the layers around them.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::show))
        .route("/v1/topics/{topic}/events", post(produce))
        .route("/openapi.json", get(openapi::show))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .with_state(app)
}

/// `POST /v1/topics/{topic}/events`.
async fn produce(State(app): State<App>, topic: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // A path that is no UTF-8 names no topic.
    let topic = topic.map(|Path(topic)| topic).unwrap_or_default();
    let mut account = Account::open(&app, &head, &topic);
    let result = walk(&app.gateway, &topic, &head, body, &mut account).await;
    account.close(&result);
    answer::render(result, account.client(), &app.gateway, account.request_id())
}

/// The path of the request's events.
async fn walk(
    app: &Gateway,
    topic: &str,
    head: &Parts,
    body: Body,
    account: &mut Account,
) -> Result<Accepted, Answered> {
    let asked = Asked { topic, query: head.uri.query(), headers: &head.headers };
    let mut pass = gate(app, asked).await.map_err(|refused| account.refused(refused))?;
    account.identified(&pass.client, &pass.pair);
    let limits = body::Limits {
        cap: pass.config.caps.body.get(),
        idle: pass.config.ingest.body_idle.get(),
        total: pass.config.ingest.body_timeout.get(),
    };
    let body = read_capped(body, limits, |bytes| pass.permit.grow(bytes)).await?;
    let sent = accept(app, pass, body)?;
    account.sent(&sent);
    Ok(outcome(app, sent).await?)
}
