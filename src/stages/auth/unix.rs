//! The user of the process at the other end of a unix socket.
//!
//! On a unix socket every process has one, so where clients name users this method has the last word.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::chain::{Head, Verdict};
use super::peer::Peer;
use super::principal::Principal;
use crate::config::Client;
use crate::event::ClientId;

/// Clients by the user that stands for them.
#[derive(Debug)]
pub struct Users {
    by_uid: HashMap<u32, Principal>,
}

impl Users {
    /// The users that `clients` name; `None` where they name none.
    pub fn of_clients(clients: &BTreeMap<String, Client>) -> Option<Self> {
        let named = clients.iter().filter_map(|(name, client)| {
            let uid = client.unix.as_ref()?.uid?;
            Some((uid, Principal { client: ClientId::from(name.as_str()), label: Arc::from(format!("uid {uid}")) }))
        });
        let by_uid: HashMap<_, _> = named.collect();
        (!by_uid.is_empty()).then_some(Self { by_uid })
    }

    pub(super) fn verdict(&self, head: &Head<'_>) -> Verdict {
        match head.peer {
            Peer::Tcp(_) => Verdict::Absent,
            Peer::Unix(process) => self.by_uid.get(&process.uid).cloned().map_or(Verdict::Refused, Verdict::Proven),
        }
    }
}
