//! What can change while klamm runs: keys, clients, quotas, topics, caps. One immutable snapshot, swapped on reload.
//!
//! A request keeps the snapshot that it began with. Quotas that a reload does not change keep their state.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::config::Config;
use crate::event::{ClientId, TopicName};
use crate::stages::acl::Grants;
use crate::stages::admission::Share;
use crate::stages::auth::Chain;
use crate::stages::limit::Quota;
use crate::stages::route::policy::{Policy, Topics};
use crate::telemetry::Pair;

/// The snapshot.
pub struct Rules {
    /// What it is made from.
    pub config: Arc<Config>,
    /// Who sends.
    pub auth: Chain,
    /// What each may do.
    pub clients: HashMap<ClientId, Arc<Client>, RandomState>,
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
    routes: RwLock<HashMap<TopicName, Arc<Route>, RandomState>>,
}

/// What the config says of a client's requests to one topic: found once, then by one look-up a request.
pub struct Route {
    /// The topic.
    pub topic: TopicName,
    /// Under which policy.
    pub policy: Arc<Policy>,
    /// Where it is counted.
    pub pair: Arc<Pair>,
}

impl Client {
    /// The route to `topic`, where the client has gone it before.
    pub fn route(&self, topic: &str) -> Option<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// Keeps a route, for as long as these rules hold. Only to topics that Kafka has, so that their number is bounded.
    pub fn keep(&self, route: Route) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(route.topic.clone(), Arc::new(route));
    }
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
            let client =
                Client { id: id.clone(), grants: Grants::new(&client.topics), quota, share, routes: RwLock::default() };
            (id, Arc::new(client))
        });
        let clients = clients.collect();
        let auth = Chain::new(&config.clients);
        if let Some(before) = before {
            auth.remember(&before.auth);
        }
        let topics = Topics::new(&config.topics);
        Self { config, auth, clients, topics }
    }
}
