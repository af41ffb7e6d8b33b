//! `/metrics`, `/admin/config`, `POST /admin/reload`, and what is not found.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::App;
use crate::config::fault::Faults;
use crate::config::live::Change;
use crate::telemetry::Metrics;

/// The text format that Prometheus reads, compressed where that is accepted.
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let gzip = takes_gzip(&headers);
    // Off the threads that serve events: with thousands of rows it takes some milliseconds.
    let rendered = tokio::task::spawn_blocking(move || {
        let text = app.gateway.metrics.render();
        if gzip { zip(text.as_bytes()) } else { Ok(text.into_bytes()) }
    });
    let Ok(Ok(page)) = rendered.await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered");
    };
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (header::VARY, "accept-encoding")];
    let mut response = (kind, page).into_response();
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    }
    response
}

fn zip(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Whether `Accept-Encoding` (RFC 9110, 12.5.3) names gzip and does not give it the weight 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let refused = |part: &str| part.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        named && !parts.any(refused)
    })
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
        "known: /ui/ /livez /readyz /startupz /metrics /admin/config /admin/clients /admin/stream /admin/tap /admin/session \
         /admin/login /admin/logout /admin/reload",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_weighed_zero() {
        for (line, taken) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip; q=0.001", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("br, zstd", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, line.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), taken, "{line}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
