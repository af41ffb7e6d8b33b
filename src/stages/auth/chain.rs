//! The methods of authentication, asked in order.
//!
//! A new method is one file beside this one, one arm in [`Method`] and one line in [`Chain::new`]. A method that signs the
//! body adds an arm to [`Verdict`] too (the head claims an identity, the signature is due once the body is there), and the
//! principal carries what is due to the stage that has the body.

use std::collections::BTreeMap;

use http::HeaderMap;
use time::OffsetDateTime;

use super::Principal;
use super::api_key;
use crate::config::Client;
use crate::reject::Reject;

/// What methods may look at before the body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The header fields of the request.
    pub headers: &'a HeaderMap,
}

/// One way to say who one is.
#[derive(Debug)]
pub enum Method {
    /// A bearer token known by its digest.
    ApiKey(api_key::Keys),
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
            Method::ApiKey(keys) => keys.verdict(head, now),
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
        Self { methods: vec![Method::ApiKey(api_key::Keys::of_clients(clients))] }
    }

    /// Who sends.
    ///
    /// # Errors
    /// [`Reject::Unauthenticated`], the same for no, an unknown, a wrong and an expired credential.
    pub fn identify(&self, head: &Head<'_>, now: OffsetDateTime) -> Result<Principal, Reject> {
        for method in &self.methods {
            match method.verdict(head, now) {
                Verdict::Absent => {}
                Verdict::Proven(principal) => return Ok(principal),
                Verdict::Refused => return Err(Reject::Unauthenticated),
            }
        }
        Err(Reject::Unauthenticated)
    }
}
