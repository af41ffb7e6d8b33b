//! `/metrics`, `/admin/config`, `POST /admin/reload`, and what is not found.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::App;
use crate::config::fault::Faults;
use crate::config::live::Change;
use crate::telemetry::Metrics;

/// The text format that Prometheus reads.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let text = app.gateway.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The config in use, secrets masked, and how the last reload went.
pub(super) async fn config(State(app): State<App>) -> Response {
    let status = app.live.status();
    Json(json!({ "config": app.live.current().masked(), "reload": status })).into_response()
}

/// Reloads the config now.
pub(super) async fn reload(State(app): State<App>) -> Response {
    let live = app.live.clone();
    let result = tokio::task::spawn_blocking(move || live.reload(OffsetDateTime::now_utc())).await;
    if let Ok(result) = &result {
        note_reload(&app.gateway.metrics, result);
    }
    match result {
        Ok(Ok(change)) => {
            until_in_force(&app).await;
            Json(json!({ "ok": true, "change": change })).into_response()
        }
        Ok(Err(faults)) => {
            let faults: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
            let body = json!({ "ok": false, "detail": "the config in use stays", "faults": faults });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the reload failed"),
    }
}

/// Waits until requests go by the config that was loaded last: who hears that a key is in use may use it. Given up
/// after a second, which only a process that is stopping needs.
async fn until_in_force(app: &App) {
    for _ in 0..200 {
        if Arc::ptr_eq(&app.gateway.rules.load().config, &app.live.current()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts and logs how a reload went, whoever asked for it.
pub fn note_reload(metrics: &Metrics, result: &Result<Change, Faults>) {
    match result {
        Ok(change) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            metrics.fixed.reloaded(Some(now));
            info!(changed = ?change.changed, "config reloaded");
            if !change.needs_restart.is_empty() {
                warn!(keys = ?change.needs_restart, "these keys change only with a restart");
            }
        }
        Err(faults) => {
            metrics.fixed.reloaded(None);
            for fault in &faults.0 {
                error!("config not reloaded, the one in use stays: {fault}");
            }
        }
    }
}

/// Any other path.
pub(super) async fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "known: /livez /readyz /startupz /metrics /admin/config /admin/clients /admin/reload",
    )
}

/// A problem body without a code of the ingest contract.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = (status, Json(body)).into_response();
    let kind = http::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
