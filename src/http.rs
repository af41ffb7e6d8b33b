//! The HTTP edge: from the accepted socket to a request that may be looked at, and back.
//!
//! Owns the sockets, their timers, the layers that every request passes, the reading of bodies under a cap, and the
//! form of refusals. It promises that a connection is never held longer than its timers allow, that a refusal
//! arrives even while the client still sends, and that every refusal of klamm's own is a problem body. It never looks
//! into a body.

use std::sync::Arc;

use crate::config::Config;

mod account;
pub mod answer;
pub mod app;
pub mod body;
mod conn;
pub mod front;
pub mod layers;
pub mod listener;
pub mod measure;
pub mod openapi;
pub mod problem;
mod requests;
pub mod routes;
mod topics;

/// The config of the moment: asked once a request, so that limits change without a restart.
pub type Live = Arc<dyn Fn() -> Arc<Config> + Send + Sync>;

#[cfg(test)]
mod tests;
