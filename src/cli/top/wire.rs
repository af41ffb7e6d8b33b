//! The events of `/admin/stream`, as far as this screen shows them.
//!
//! Lenient: what a klamm of another version leaves out is empty, and what it adds is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A time that something took: `None` where nothing did.
pub(super) type Took = Option<Time>;

/// Seconds, or the word for more than the last bucket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Time {
    /// Seconds.
    Within(f64),
    /// `"over"`.
    Beyond(String),
}

/// `hello` and `tick`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame {
    pub(super) full: bool,
    /// In milliseconds since the epoch, by klamm's clock.
    pub(super) at: u64,
    pub(super) version: String,
    pub(super) instance: String,
    pub(super) cluster: String,
    pub(super) bootstrap: Vec<String>,
    /// The last bucket's bound in seconds.
    pub(super) slowest: Option<f64>,
    pub(super) head: Head,
    pub(super) points: Vec<Point>,
    pub(super) point: Option<Point>,
    pub(super) clients: Vec<Row>,
    pub(super) topics: Vec<Row>,
    pub(super) gone_clients: Vec<String>,
    pub(super) gone_topics: Vec<String>,
    pub(super) kafka: Vec<Producer>,
}

/// A point of a curve, by place: see `Point` of the sampler.
pub(super) type Point = Vec<Option<f64>>;

/// What the first lines say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    pub(super) phase: String,
    pub(super) kafka_up: bool,
    pub(super) outage: Option<u64>,
    #[serde(rename = "unsafe")]
    pub(super) is_unsafe: bool,
    pub(super) brokers: Brokers,
    pub(super) total: Row,
    pub(super) budget: Part,
    pub(super) queue: Part,
    pub(super) queue_records: u64,
    pub(super) spool: Option<Spool>,
    pub(super) reload: Reload,
    pub(super) history: Part,
    /// In seconds.
    pub(super) uptime: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Brokers {
    pub(super) up: usize,
    pub(super) known: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    pub(super) used: u64,
    pub(super) of: u64,
}

impl Part {
    /// From 0 to 1.
    pub(super) fn ratio(&self) -> f64 {
        self.used as f64 / (self.of as f64).max(1.0)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Spool {
    pub(super) active: bool,
    pub(super) events: u64,
    pub(super) parked: u64,
    pub(super) disk: Part,
    pub(super) room: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reload {
    pub(super) ok: bool,
}

/// A client, a topic, or one of the two within the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) id: String,
    /// Events, bytes, requests, refusals, failures in a second.
    #[serde(rename = "ev")]
    pub(super) events_rate: f64,
    #[serde(rename = "by")]
    pub(super) bytes_rate: f64,
    #[serde(rename = "rq")]
    pub(super) requests_rate: f64,
    #[serde(rename = "rf")]
    pub(super) refusals_rate: f64,
    #[serde(rename = "fl")]
    pub(super) failures_rate: f64,
    pub(super) p50: Took,
    pub(super) p99: Took,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) codes: BTreeMap<String, u64>,
    /// In seconds since the epoch.
    pub(super) seen: Option<u64>,
    pub(super) held: u64,
    pub(super) share: Option<u64>,
    pub(super) room: BTreeMap<String, f64>,
    pub(super) partitions: Option<i32>,
    pub(super) spread: Option<f64>,
}

impl Row {
    /// Refused requests since the start.
    pub(super) fn refused(&self) -> u64 {
        self.codes.values().sum()
    }

    /// The scarcest quota: its name and what is left of it.
    pub(super) fn scarcest(&self) -> Option<(&str, f64)> {
        let all = self.room.iter().map(|(name, left)| (name.as_str(), *left));
        all.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Producer {
    pub(super) brokers: Vec<Broker>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Broker {
    pub(super) throttle: Window,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    pub(super) avg: f64,
    pub(super) p99: f64,
}

/// `page`: of a client or of a topic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    pub(super) client: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) known: bool,
    pub(super) allowed: Option<Vec<String>>,
    pub(super) topics: Vec<Row>,
    pub(super) clients: Vec<Row>,
    pub(super) keys: Vec<Key>,
    pub(super) quotas: Option<Vec<Quota>>,
    /// Only when it has a new point.
    pub(super) curve: Option<Curve>,
    /// Both only when there are new ones.
    pub(super) requests: Option<Vec<Request>>,
    pub(super) problems: Option<Vec<Problem>>,
    pub(super) partitions: Vec<Partition>,
    pub(super) batches: Vec<Batch>,
    pub(super) errors: Vec<Trouble>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Key {
    pub(super) label: String,
    pub(super) used: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) burst: u64,
    pub(super) left: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Curve {
    pub(super) points: Vec<Point>,
}

/// A request that was answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    /// In milliseconds since the epoch.
    pub(super) at: u64,
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Seconds.
    pub(super) took: f64,
}

/// The latest answer with a code.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) at: u64,
    pub(super) body: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Partition {
    pub(super) id: i32,
    pub(super) leader: Option<i32>,
    pub(super) rate: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Batch {
    pub(super) bytes: Window,
    pub(super) records: Window,
}

/// What brokers answered that was no acknowledgement.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trouble {
    pub(super) error: String,
    pub(super) count: u64,
    pub(super) last: u64,
}
