//! The methods of authentication, asked in order.
//!
//! A new method is one file beside this one, one arm in [`Method`] and one line in [`Chain::new`]. A method that signs the
//! body adds an arm to [`Verdict`] too (the head claims an identity, the signature is due once the body is there), and the
//! principal carries what is due to the stage that has the body.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use time::OffsetDateTime;

use super::api_key::Keys;
use super::local::Local;
use super::unix::Users;
use super::{Peer, Principal};
use crate::config::Client;
use crate::reject::Reject;
use crate::units::host_name;

/// What methods may look at before the body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The header fields of the request.
    pub headers: &'a HeaderMap,
    /// Who is at the other end.
    pub peer: Peer,
}

/// One way to say who one is.
#[derive(Debug)]
pub enum Method {
    /// A bearer token known by its digest.
    ApiKey(Keys),
    /// The user of the process at the other end.
    Unix(Users),
    /// Nothing but to be on this machine.
    Local(Local),
}

/// What one method says of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is no credential of its kind: the next method may look.
    Absent,
    /// There is one and it is good.
    Proven(Principal),
    /// There is one and it is not good: no other method is asked.
    Refused,
}

impl Method {
    fn verdict(&self, head: &Head<'_>, now: OffsetDateTime) -> Verdict {
        match self {
            Method::ApiKey(keys) => keys.verdict(head.headers, now),
            Method::Unix(users) => users.verdict(head),
            Method::Local(local) => local.verdict(head),
        }
    }

    /// Whether it asks for nothing that the sender has to know: then a web page in a browser of this machine could send
    /// in its user's name.
    fn is_ambient(&self) -> bool {
        match self {
            Method::ApiKey(_) => false,
            Method::Unix(_) | Method::Local(_) => true,
        }
    }
}

/// Every method of the config, in the order in which they are asked.
#[derive(Debug)]
pub struct Chain {
    methods: Vec<Method>,
}

impl Chain {
    /// The methods that the credentials of `clients` call for.
    pub fn new(clients: &BTreeMap<String, Client>) -> Self {
        let users = Users::of_clients(clients).map(Method::Unix);
        let local = Local::of_clients(clients).map(Method::Local);
        Self { methods: [Method::ApiKey(Keys::of_clients(clients))].into_iter().chain(users).chain(local).collect() }
    }

    /// When each credential of `client` that was ever used last was, by its label, in seconds since the epoch.
    pub fn uses(&self, client: &str) -> BTreeMap<Arc<str>, u64> {
        let uses = |method: &Method| match method {
            Method::ApiKey(keys) => keys.uses(client),
            // They have no credentials that could be told apart.
            Method::Unix(_) | Method::Local(_) => BTreeMap::new(),
        };
        self.methods.iter().flat_map(uses).collect()
    }

    /// Takes over from the chain before a reload when each credential was last used.
    pub fn remember(&self, before: &Self) {
        for (method, before) in self.methods.iter().zip(&before.methods) {
            match (method, before) {
                (Method::ApiKey(keys), Method::ApiKey(before)) => keys.remember(before),
                (Method::ApiKey(_) | Method::Unix(_) | Method::Local(_), _) => {}
            }
        }
    }

    /// Who sends.
    ///
    /// # Errors
    /// [`Reject::Unauthenticated`], the same for no, an unknown, a wrong and an expired credential, and
    /// [`Reject::WebPage`].
    pub fn identify(&self, head: &Head<'_>, now: OffsetDateTime) -> Result<Principal, Reject> {
        for method in &self.methods {
            match method.verdict(head, now) {
                Verdict::Absent => {}
                Verdict::Proven(_) if method.is_ambient() && is_of_a_web_page(head) => {
                    return Err(Reject::WebPage);
                }
                Verdict::Proven(principal) => return Ok(principal),
                Verdict::Refused => return Err(Reject::Unauthenticated),
            }
        }
        Err(Reject::Unauthenticated)
    }
}

/// Whether a browser may have sent it for a page. No page can keep `Origin` and `Sec-Fetch-Site` back (RFC 6454, Fetch
/// Metadata), but a GET of a page whose own name was made to lead here (DNS rebinding) has neither: its Host gives it away.
fn is_of_a_web_page(head: &Head<'_>) -> bool {
    head.headers.contains_key(header::ORIGIN) || head.headers.contains_key("sec-fetch-site") || has_foreign_host(head)
}

/// Whether the Host is a name that a DNS server can answer for. No browser reaches a unix socket.
fn has_foreign_host(head: &Head<'_>) -> bool {
    let host = head.headers.get(header::HOST).filter(|_| matches!(head.peer, Peer::Tcp(_)));
    host.is_some_and(|host| {
        let name = host.to_str().map_or("", host_name);
        !name.eq_ignore_ascii_case("localhost") && name.parse::<IpAddr>().is_err()
    })
}

#[cfg(test)]
mod tests;
