//! The HTTP edge: from the accepted socket to a request that may be looked at, and back.
//!
//! Owns the sockets, their timers, the layers that every request passes, the reading of bodies under a cap, and the
//! form of refusals. It promises that a connection is never held longer than its timers allow, that a refusal
//! arrives even while the client still sends, and that every refusal of klamm's own is a problem body. It never looks
//! into a body.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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

/// Who is at the other end of the socket; an extension of requests that go through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on this machine.
    Unix,
}

impl Peer {
    /// The peer's address, an IPv4 one as such even where it came through an IPv6 socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests;
