//! All that is sent, made before the start: which head and which body a request has, by its number.

use std::net::SocketAddr;

use anyhow::Result;

use super::body::{Bodies, Body};
use super::target::{self, Head};
use super::{Options, Protocol};

/// Shared by the threads of a load; nothing in it changes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: SocketAddr,
    heads: Vec<Head>,
    /// The same as HTTP/1.1 has them; empty for HTTP/2.
    h1_heads: Vec<Vec<u8>>,
    pub(super) bodies: Bodies,
    accept: Vec<u16>,
    /// Ids are written into each request before it is sent.
    pub(super) numbered: bool,
}

impl Plan {
    pub(super) fn new(options: &Options, numbered: bool) -> Result<Self> {
        let (address, heads) = target::heads(options)?;
        let h1_heads = match options.protocol {
            Protocol::H1 => heads.iter().map(Head::to_h1).collect(),
            Protocol::H2c => Vec::new(),
        };
        let bodies = Bodies::new(options, numbered)?;
        Ok(Self { address, heads, h1_heads, bodies, accept: options.accept.clone(), numbered })
    }

    pub(super) fn accepts(&self, status: u16) -> bool {
        self.accept.contains(&status)
    }

    pub(super) fn body(&self, request: u64) -> &Body {
        self.bodies.of(request)
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of its length; there is one head at least")]
    pub(super) fn head(&self, request: u64) -> &Head {
        &self.heads[(request % self.heads.len() as u64) as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "as many as heads where the protocol is HTTP/1.1")]
    pub(super) fn h1_head(&self, request: u64) -> &[u8] {
        &self.h1_heads[(request % self.heads.len() as u64) as usize]
    }
}
