//! The admin listener: health, metrics, and what operators ask.
//!
//! `/livez`, `/readyz`, `/startupz` and `/metrics` need no key. `/admin/*` needs one as soon as one is configured, and
//! off loopback answers 403 until then. Without a key, on loopback, a request whose Host is neither a loopback name nor
//! the listen address nor one of `admin.hosts` gets 421, so that no web page can reach it by DNS rebinding.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::config::Listen;
use crate::config::live::Live;
use crate::ingest::Gateway;

pub mod clients;
mod guard;
mod health;
mod pages;

pub use clients::Rates;
pub use pages::note_reload;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The path of events.
    pub gateway: Arc<Gateway>,
    /// The config and its reload.
    pub live: Arc<Live>,
    /// What changed within the last seconds.
    pub rates: Arc<Rates>,
    /// Where this listener is bound.
    pub listen: Listen,
}

/// Every route, guarded.
pub fn routes(app: App) -> Router {
    let own = Router::new()
        .route("/admin/config", get(pages::config))
        .route("/admin/clients", get(clients::page))
        .route("/admin/reload", post(pages::reload));
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
        .route("/metrics", get(pages::metrics))
        .merge(own)
        .fallback(pages::not_found)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}
