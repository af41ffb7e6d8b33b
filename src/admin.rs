//! The admin listener: health, metrics, the live page, and what operators ask.
//!
//! `/livez`, `/readyz`, `/startupz`, `/metrics` and the files of the live page need no key (`metrics.key` can change that
//! for the metrics). `/admin/*` needs one as soon as one is configured, as a Bearer or by a session of the live page's
//! login, and off loopback answers 403 until then. Without a key, on loopback, a request whose Host is neither a loopback
//! name nor the listen address nor one of `admin.hosts` gets 421, so that no web page can reach it by DNS rebinding.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::config::Listen;
use crate::config::live::Live;
use crate::http::layers::peer::Proxies;
use crate::ingest::Gateway;

mod access;
pub mod clients;
mod guard;
mod health;
mod login;
mod pages;
pub mod sampler;
mod stream;
mod ui;

pub use access::Access;
pub use pages::note_reload;
pub use sampler::Sampler;
pub use stream::{Seats, VIEWERS};

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The path of events.
    pub gateway: Arc<Gateway>,
    /// The config and its reload.
    pub live: Arc<Live>,
    /// What changed of late.
    pub sampler: Arc<Sampler>,
    /// Sessions and wrong keys.
    pub access: Arc<Access>,
    /// Viewers of the live page.
    pub seats: Seats,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    /// Where this listener is bound.
    pub listen: Listen,
}

/// Every route, guarded.
pub fn routes(app: App) -> Router {
    let own = Router::new()
        .route("/admin/config", get(pages::config))
        .route("/admin/clients", get(clients::page))
        .route("/admin/reload", post(pages::reload))
        .route("/admin/stream", get(stream::stream))
        .route("/admin/tap", get(stream::tap))
        .route("/admin/session", get(login::session))
        .route("/admin/login", post(login::login))
        .route("/admin/logout", post(login::logout));
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
        .route("/metrics", get(pages::metrics))
        .route("/ui", get(ui::enter))
        .route("/ui/", get(ui::index))
        .route("/ui/{file}", get(ui::file))
        .merge(own)
        .fallback(pages::not_found)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}
