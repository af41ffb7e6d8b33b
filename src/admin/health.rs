//! `/livez`, `/readyz`, `/startupz`. Liveness never depends on Kafka; readiness does.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};

use super::App;
use crate::shutdown::Phase;

/// The process runs.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The listeners are bound: this one answers.
pub(super) async fn startupz() -> &'static str {
    "ok\n"
}

/// Requests can be served. `?verbose` says what each check found, and what Kafka complained of.
pub(super) async fn readyz(State(app): State<App>, uri: Uri) -> Response {
    let checks = checks(&app);
    let ready = checks.iter().all(|check| check.passed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose =
        uri.query().is_some_and(|query| query.split('&').any(|q| q == "verbose" || q.starts_with("verbose=")));
    let mut text = String::new();
    if verbose {
        for Check { name, passed, detail } in &checks {
            let mark = if *passed { '+' } else { '-' };
            text.push_str(&format!("[{mark}] {name}: {detail}\n"));
        }
        for complaint in app.gateway.health.complaints() {
            text.push_str(&format!("[!] kafka: {complaint}\n"));
        }
        let unsafe_clusters = app
            .live
            .current()
            .kafka
            .iter()
            .filter(|(_, c)| c.unsafe_)
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>();
        for name in unsafe_clusters {
            text.push_str(&format!("[!] kafka.{name} is unsafe: acknowledged events may be lost or doubled\n"));
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    ([(header::CACHE_CONTROL, "no-store")], (status, text)).into_response()
}

struct Check {
    name: &'static str,
    passed: bool,
    detail: &'static str,
}

fn checks(app: &App) -> [Check; 3] {
    let health = &app.gateway.health;
    let phase = *app.gateway.phase.borrow();
    let reload = app.live.status();
    let spooling = app.gateway.is_spooling();
    [
        Check {
            name: "kafka",
            passed: health.is_up() || spooling,
            detail: match (health.is_up(), health.has_met()) {
                (true, _) => "answers",
                (false, _) if spooling => "kafka down, spooling",
                (false, true) => "no broker answers",
                (false, false) => "has not answered since the start",
            },
        },
        Check {
            name: "phase",
            passed: phase == Phase::Serving,
            detail: match phase {
                Phase::Serving => "serving",
                Phase::LameDuck => "stopping, still serving",
                Phase::Draining => "draining",
                Phase::Closing => "closing",
            },
        },
        Check {
            // The old config goes on serving: a broken file is shown and takes nobody out of service.
            name: "config",
            passed: true,
            detail: if reload.last_reload_ok {
                "as loaded"
            } else {
                "the last reload failed; the one before is in use"
            },
        },
    ]
}
