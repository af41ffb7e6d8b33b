//! The configuration: every key, typed, with its default and its meaning.
//!
//! One file a section. [`load`](load::load) makes a [`Config`] of defaults < file < environment < flags and reports
//! every fault at once; [`live`] keeps the current one and swaps it on reload. What these two give out is valid.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod accounts;
pub mod caps;
pub mod clients;
pub mod fault;
pub mod ingest;
pub mod kafka;
pub mod live;
pub mod load;
mod overlay;
mod secrets;
pub mod service;
pub mod spool;
pub mod topics;
mod tree;
mod typed;
pub mod validate;
mod yaml;

pub use caps::{Budget, Caps};
pub use clients::{Client, ClientLimits, Defaults, Key, Quotas, User};
pub use fault::{Fault, Faults};
pub use ingest::{Admin, Ingest, Listen, Mode, Socket};
pub use kafka::Cluster;
pub use overlay::environment;
pub use secrets::Properties;
pub use service::{Access, Log, LogFormat, Metrics, MetricsKey, Shutdown};
pub use spool::Spool;
pub use topics::{Ack, DeadLetter, Decision, EventIds, Format, KeyRule, OnOutage, Topic};
pub use yaml::print as to_yaml;

/// Every key with its default, unit and meaning, as `klamm config init` prints it.
pub const TEMPLATE: &str = include_str!("../config/klamm.yaml");

/// Everything that can be configured. `config/klamm.yaml` is the same with its defaults.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The listener for events.
    pub ingest: Ingest,
    /// The listener for operators.
    pub admin: Admin,
    /// What happens at SIGTERM, and for how long.
    pub shutdown: Shutdown,
    /// One entry a Kafka cluster, by a name of your choice. For now exactly one, `default`.
    pub kafka: BTreeMap<String, Cluster>,
    /// Bytes in flight: how much may wait for Kafka, and whose it may be.
    pub budget: Budget,
    /// What is kept on disk until Kafka has it.
    pub spool: Spool,
    /// The largest sizes and counts accepted from clients.
    pub caps: Caps,
    /// What holds for every client that does not say otherwise.
    pub defaults: Defaults,
    /// Who may write what, and how much. By name: `[a-zA-Z0-9._-]`, at most 64 characters, not starting with `_`.
    pub clients: BTreeMap<String, Client>,
    /// The topics: exact names, or prefixes as `clicks-*`; an exact name wins, then the longest prefix.
    pub topics: BTreeMap<String, Topic>,
    /// What is logged, and how.
    pub log: Log,
    /// How many series the metrics may have, and who may read them.
    pub metrics: Metrics,
    /// Base of the links in problem bodies; `errors.md#<code>` is added. Default: this project's docs.
    pub docs_url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ingest: Ingest::default(),
            admin: Admin::default(),
            shutdown: Shutdown::default(),
            kafka: BTreeMap::new(),
            budget: Budget::default(),
            spool: Spool::default(),
            caps: Caps::default(),
            defaults: Defaults::default(),
            clients: BTreeMap::new(),
            topics: BTreeMap::new(),
            log: Log::default(),
            metrics: Metrics::default(),
            docs_url: concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs").to_owned(),
        }
    }
}

/// The drain's part of the budget: one in so many.
const DRAIN_SHARE: u64 = 8;

impl Config {
    /// The part of `budget.total` that the spool's drain has for itself, in bytes; the rest is for requests.
    pub fn drain_bytes(&self) -> u64 {
        if self.spool.is_on() { self.budget.total.get() / DRAIN_SHARE } else { 0 }
    }

    /// As JSON for people: secrets are `***`, digests their first 8 digits.
    pub fn masked(&self) -> serde_json::Value {
        secrets::masked(self)
    }
}

/// The JSON Schema (draft 2020-12) of the configuration file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

#[cfg(test)]
mod tests;
