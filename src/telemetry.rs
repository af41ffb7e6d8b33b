//! What klamm says about itself: metrics, log lines, one line for each request.
//!
//! [`Metrics`] owns every series of `/metrics`. The counters of clients and topics live in the [`registry`], which
//! bounds their number and can be read back; the rest goes through the `metrics` crate ([`fixed`]) or is computed at
//! the scrape ([`Scrape`]). There is no global recorder, so that several gateways fit in one process. All names stand
//! in [`names`]. Nothing here ever writes a payload or a secret, and no label comes from outside the config but
//! through the registry.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::event::{ClientId, TopicName};

pub mod access;
pub mod export;
pub mod fixed;
pub mod histogram;
pub mod logs;
pub mod memory;
pub mod names;
pub mod process;
pub mod registry;
pub mod tap;
pub mod trail;

#[cfg(test)]
mod tests;

pub use access::{AccessLog, Entry};
pub use export::{Batches, BrokerStats, ProducerStats, Scrape, Window};
pub use fixed::{ConnectionEvent, Fixed, Route};
pub use logs::{LogHandle, LogStyle};
pub use memory::Memory;
pub use registry::{Outcome, Pair, RequestResult, Snapshot};
pub use tap::Tap;

use registry::Registry;

/// Gives values that are computed at the scrape.
pub type Hook = Box<dyn Fn(&mut Scrape) + Send + Sync>;

/// Every metric of one gateway.
pub struct Metrics {
    /// Those that do not belong to a client or a topic.
    pub fixed: Fixed,
    /// What history may take.
    pub memory: Arc<Memory>,
    /// Requests as they are answered, for whoever watches.
    pub tap: Arc<Tap>,
    registry: Registry,
    hooks: RwLock<Vec<Hook>>,
    started: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics with at most `pairs` pairs of client and topic, and `history` bytes for what happened of late. The uptime
    /// counts from here.
    pub fn new(pairs: usize, history: usize) -> Arc<Self> {
        let fixed = Fixed::new();
        let memory = Memory::new(history);
        let registry = Registry::new(pairs, fixed.folded(), Arc::clone(&memory));
        let (tap, hooks) = (Arc::default(), RwLock::default());
        Arc::new(Self { fixed, memory, tap, registry, hooks, started: Instant::now() })
    }

    /// How long there have been these metrics.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The counters of `client` and `topic`. Hold on to them: this takes a lock. Over the limit of pairs they are
    /// those of the client's `_other` topic.
    ///
    /// Both must be known (in the config, the topic also in Kafka): see [`unknown_topic`](Self::unknown_topic).
    pub fn pair(&self, client: &ClientId, topic: &TopicName) -> Arc<Pair> {
        self.registry.pair(client, topic)
    }

    /// The counters of `client` for topics that are not in the config or not in Kafka.
    pub fn unknown_topic(&self, client: &ClientId) -> Arc<Pair> {
        self.registry.unknown_topic(client)
    }

    /// The counters of requests before, or without, authentication.
    pub fn anonymous(&self) -> Arc<Pair> {
        self.registry.anonymous()
    }

    /// Every pair there is, by client and topic; `_anonymous` first.
    pub fn pairs(&self) -> Vec<Arc<Pair>> {
        self.registry.pairs()
    }

    /// Another number whenever [`pairs`](Self::pairs) may give others than before: cheaper to ask often.
    pub fn pairs_version(&self) -> u64 {
        self.registry.version()
    }

    /// Drops what a reload took away. `keep` is asked for each client with `None`, and for each topic of the clients
    /// that stay with `Some`; the rows `_other` and `_unknown` stay with their client. Whoever still holds a dropped
    /// pair may go on counting into it, unseen.
    pub fn retain(&self, keep: impl Fn(&str, Option<&str>) -> bool) {
        self.registry.retain(keep);
    }

    /// Adds values that are computed at each scrape. A hook must not hold these metrics strongly: they own it.
    pub fn on_scrape(&self, hook: Hook) {
        self.hooks.write().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// Everything, in the text format that Prometheus reads (version 0.0.4).
    pub fn render(&self) -> String {
        let mut scrape = Scrape::default();
        scrape.put(&names::UPTIME_SECONDS, &[], self.uptime().as_secs_f64());
        process::collect(&mut scrape);
        for hook in self.hooks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(&mut scrape);
        }
        let mut page = self.fixed.render();
        export::pairs(&self.registry.pairs(), &mut page);
        scrape.write(&mut page);
        page
    }

    /// Moves recorded samples into their buckets. Due every 5 s: between scrapes they pile up otherwise.
    pub fn upkeep(&self) {
        self.fixed.upkeep();
    }
}
