//! The client that requests without a credential belong to, where they come from this machine.

use std::collections::BTreeMap;

use super::chain::{Head, Verdict};
use super::principal::Principal;
use crate::config::Client;
use crate::event::ClientId;

/// The one client that is `local`.
#[derive(Debug)]
pub struct Local(Principal);

impl Local {
    /// The first of `clients` that is; validation refuses a second.
    pub fn of_clients(clients: &BTreeMap<String, Client>) -> Option<Self> {
        let (name, _) = clients.iter().find(|(_, client)| client.local)?;
        Some(Self(Principal { client: ClientId::from(name.as_str()), label: "local".into() }))
    }

    pub(super) fn verdict(&self, head: &Head<'_>) -> Verdict {
        if head.peer.is_local() { Verdict::Proven(self.0.clone()) } else { Verdict::Absent }
    }
}
