//! What can change while klamm runs: keys, clients, quotas, topics, caps. One immutable snapshot, swapped on reload.
//!
//! A request keeps the snapshot that it began with. Quotas that a reload does not change keep their state.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::event::ClientId;
use crate::stages::acl::Grants;
use crate::stages::admission::Share;
use crate::stages::auth::Chain;
use crate::stages::limit::Quota;
use crate::stages::route::policy::Topics;

/// The snapshot.
pub struct Rules {
    /// What it is made from.
    pub config: Arc<Config>,
    /// Who sends.
    pub auth: Chain,
    /// What each may do.
    pub clients: HashMap<ClientId, Arc<Client>>,
    /// The policies of the topics.
    pub topics: Topics,
}

/// One client.
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// Where it may write.
    pub grants: Grants,
    /// How much.
    pub quota: Arc<Quota>,
    /// How much of it may wait for Kafka.
    pub share: Share,
}

impl Rules {
    /// The rules of `config`, with the quota state of `before` where it still applies.
    pub fn new(config: Arc<Config>, before: Option<&Rules>) -> Self {
        let clients = config.clients.iter().map(|(name, client)| {
            let id = ClientId::from(name.as_str());
            let quotas = client.limits.over(&config.defaults.limits);
            let quota = before
                .and_then(|rules| rules.clients.get(&id))
                .map(|client| &client.quota)
                .filter(|quota| quota.same_as(&quotas))
                .map_or_else(|| Arc::new(Quota::new(&quotas)), Arc::clone);
            let share = Share::new(id.clone(), client.share);
            let client = Client { id: id.clone(), grants: Grants::new(&client.topics), quota, share };
            (id, Arc::new(client))
        });
        let clients = clients.collect();
        let auth = Chain::new(&config.clients);
        let topics = Topics::new(&config.topics);
        Self { config, auth, clients, topics }
    }
}
