//! The counters of each client and topic.
//!
//! Owns one [`Pair`] for each (client, topic), pre-bound: counting is an atomic addition, no look-up. Invariant: at
//! most `limit` pairs with a topic of their own; over it the topic folds first, into the client's `_other`, so that
//! a known client always keeps rows of its own. `_other` and `_unknown` are at most one more each for a client. Not
//! handles of the `metrics` crate: those cannot be read back (`/admin/clients` does), and its exporter cannot drop
//! series (a reload does).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::Counter;

use super::histogram::{Histogram, Reading};
use super::memory::Memory;
use super::trail::Trail;
use crate::event::{ClientId, TopicName};
use crate::reject::Code;

/// The client of requests that are not authenticated. No client of the config begins with `_`.
pub const ANONYMOUS: &str = "_anonymous";
/// The topic of pairs over the limit.
pub const OTHER: &str = "_other";
/// The topic of requests for topics that are not in the config or not in Kafka.
pub const UNKNOWN: &str = "_unknown";

/// The final fate of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// In Kafka, acknowledged by all in-sync replicas.
    Acked,
    /// Refused after its body decoded, by klamm or for good by Kafka.
    Rejected,
    /// Not in Kafka.
    Failed,
    /// Possibly in Kafka.
    Unknown,
}

impl Outcome {
    /// All four.
    pub const ALL: [Outcome; 4] = [Outcome::Acked, Outcome::Rejected, Outcome::Failed, Outcome::Unknown];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Acked => "acked",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        }
    }
}

/// How a request to produce was answered, by whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestResult {
    /// Every event was acknowledged.
    Ok,
    /// Every event is in the spool (202).
    Spooled,
    /// Its events have different fates (207).
    Partial,
    /// The client's fault.
    Refused,
    /// klamm's or Kafka's fault; nothing was written.
    Unavailable,
    /// Whether the events were written is unknown.
    Unknown,
}

impl RequestResult {
    /// All of them.
    pub const ALL: [RequestResult; 6] = [
        RequestResult::Ok,
        RequestResult::Spooled,
        RequestResult::Partial,
        RequestResult::Refused,
        RequestResult::Unavailable,
        RequestResult::Unknown,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            RequestResult::Ok => "ok",
            RequestResult::Spooled => "spooled",
            RequestResult::Partial => "partial",
            RequestResult::Refused => "refused",
            RequestResult::Unavailable => "unavailable",
            RequestResult::Unknown => "unknown",
        }
    }

    /// Of a request that was answered with `code`.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::Internal | Code::OutcomeUnknown => Self::Unknown,
            Code::ShareExhausted
            | Code::KafkaRejected
            | Code::Overloaded
            | Code::KafkaUnavailable
            | Code::SpoolFull
            | Code::SpoolFailed
            | Code::Draining => Self::Unavailable,
            Code::Unauthenticated
            | Code::WebPage
            | Code::ForbiddenTopic
            | Code::UnknownTopic
            | Code::UnknownRequest
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BodyTimeout
            | Code::TooLarge
            | Code::TooManyEvents
            | Code::BatchOverBurst
            | Code::EventTooLarge
            | Code::UriTooLong
            | Code::UnsupportedMediaType
            | Code::UnsupportedEncoding
            | Code::MalformedBody
            | Code::NoEvents
            | Code::BadHeader
            | Code::BadQuery
            | Code::BadEncoding
            | Code::InvalidEvents
            | Code::RateLimited
            | Code::HeadersTooLarge => Self::Refused,
        }
    }
}

/// The counters of one client and topic. Invariant, once idle: received + recovered = acked + rejected + failed + unknown
/// + spooled.
#[derive(Debug)]
pub struct Pair {
    client: ClientId,
    topic: TopicName,
    received: AtomicU64,
    bytes: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    recovered: AtomicU64,
    /// What the drain settles may be counted off before it is counted in.
    spooled: AtomicI64,
    drained: AtomicU64,
    results: [AtomicU64; RequestResult::ALL.len()],
    refusals: [AtomicU64; Code::ALL.len()],
    ack: Histogram,
    // The client's, shared by all its pairs.
    trail: Arc<Trail>,
}

fn add<const N: usize>(counters: &[AtomicU64; N], place: usize, n: u64) {
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(n, Relaxed);
    }
}

impl Pair {
    fn new(client: ClientId, topic: &str, trail: Arc<Trail>) -> Self {
        Self {
            client,
            topic: topic.into(),
            received: AtomicU64::default(),
            bytes: AtomicU64::default(),
            outcomes: Default::default(),
            recovered: AtomicU64::default(),
            spooled: AtomicI64::default(),
            drained: AtomicU64::default(),
            results: Default::default(),
            refusals: [const { AtomicU64::new(0) }; Code::ALL.len()],
            ack: Histogram::default(),
            trail,
        }
    }

    /// The client, or [`ANONYMOUS`].
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// The topic, or [`OTHER`] or [`UNKNOWN`].
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Counts `n` events of a body that decoded.
    pub fn received(&self, n: u64) {
        self.received.fetch_add(n, Relaxed);
    }

    /// Counts `n` bytes of key, value and headers of the same.
    pub fn bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Relaxed);
    }

    /// Counts the fate of `n` received events: for each event once, when it is final.
    pub fn outcome(&self, outcome: Outcome, n: u64) {
        add(&self.outcomes, outcome as usize, n);
    }

    /// Counts `n` received events that wait in the spool from now on.
    pub fn spooled(&self, n: u64) {
        self.spooled.fetch_add(n as i64, Relaxed);
    }

    /// Counts `n` events that waited in the spool when klamm started.
    pub fn recovered(&self, n: u64) {
        self.recovered.fetch_add(n, Relaxed);
        self.spooled(n);
    }

    /// Counts the fate of `n` events of the spool, which do not wait there any more.
    pub fn drained(&self, outcome: Outcome, n: u64) {
        self.outcome(outcome, n);
        self.drained.fetch_add(n, Relaxed);
        self.spooled.fetch_sub(n as i64, Relaxed);
    }

    /// Counts a request refused with `code`.
    pub fn refused(&self, code: Code) {
        add(&self.refusals, code.index(), 1);
    }

    /// Counts an answered request.
    pub fn request(&self, result: RequestResult) {
        add(&self.results, result as usize, 1);
    }

    /// Counts how long it took from the last byte of the body to the answer. Waits that ran out belong in it: without
    /// them the tail is cut off.
    pub fn ack(&self, took: Duration) {
        self.ack.record(took);
    }

    /// Notes that the client sent a request at `unix_seconds`.
    pub fn seen(&self, unix_seconds: u64) {
        self.trail.note_seen(unix_seconds);
    }

    /// What its client did last.
    pub fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// A number that is another one as soon as anything was counted: cheaper than a [`Snapshot`], for those who look often.
    pub fn stamp(&self) -> u64 {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let single = [&self.received, &self.bytes, &self.recovered, &self.drained].map(load);
        let many = self.outcomes.iter().chain(&self.results).chain(&self.refusals).map(load);
        // What leaves the spool is counted in twice elsewhere: the sum rises all the same.
        let rest = [self.spooled.load(Relaxed) as u64, self.ack.stamp(), self.trail.seen().unwrap_or(0)];
        single.into_iter().chain(many).chain(rest).fold(0, u64::wrapping_add)
    }

    /// What has been counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let refusals = Code::ALL.iter().copied().zip(self.refusals.iter().map(load));
        Snapshot {
            received: load(&self.received),
            bytes: load(&self.bytes),
            outcomes: self.outcomes.each_ref().map(load),
            recovered: load(&self.recovered),
            spooled: self.spooled.load(Relaxed).try_into().unwrap_or(0),
            drained: load(&self.drained),
            results: self.results.each_ref().map(load),
            refusals: refusals.filter(|(_, count)| *count > 0).collect(),
            ack: self.ack.read(),
            seen: self.trail.seen(),
        }
    }
}

/// What a [`Pair`] held at one moment. Read one counter after the other: while requests pass they may be a few apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Events of bodies that decoded.
    pub received: u64,
    /// Bytes of key, value and headers of the same.
    pub bytes: u64,
    /// Their fates, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Events that waited in the spool when klamm started.
    pub recovered: u64,
    /// Events that wait in the spool.
    pub spooled: u64,
    /// Events that left the spool with their fate.
    pub drained: u64,
    /// Requests, in the order of [`RequestResult::ALL`].
    pub results: [u64; RequestResult::ALL.len()],
    /// Refused requests, for the codes that occurred.
    pub refusals: Vec<(Code, u64)>,
    /// From the hand-over to the producer to the last delivery report.
    pub ack: Reading,
    /// When the client (with any topic) last sent a request, in seconds since the epoch.
    pub seen: Option<u64>,
}

impl Snapshot {
    /// Events with this fate.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).copied().unwrap_or_default()
    }

    /// Requests with this result.
    pub fn result(&self, result: RequestResult) -> u64 {
        self.results.get(result as usize).copied().unwrap_or_default()
    }
}

/// Every pair.
#[derive(Debug)]
pub(super) struct Registry {
    limit: usize,
    folded: Counter,
    memory: Arc<Memory>,
    anonymous: Arc<Pair>,
    // std RwLock: held for a look-up or an insertion, never across await; written only when a pair is new.
    clients: RwLock<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    rows: HashMap<ClientId, Client>,
    /// Invariant: the topics of all clients together, `_other` and `_unknown` not counted.
    pairs: usize,
    /// Rises with each pair that comes or goes.
    version: u64,
}

#[derive(Debug)]
struct Client {
    topics: HashMap<TopicName, Arc<Pair>>,
    other: Option<Arc<Pair>>,
    unknown: Option<Arc<Pair>>,
    trail: Arc<Trail>,
}

impl Client {
    fn new(memory: &Arc<Memory>) -> Self {
        let trail = Arc::new(Trail::new(Arc::clone(memory)));
        Self { topics: HashMap::new(), other: None, unknown: None, trail }
    }
}

impl Registry {
    pub(super) fn new(limit: usize, folded: Counter, memory: Arc<Memory>) -> Self {
        let trail = Arc::new(Trail::new(Arc::clone(&memory)));
        let anonymous = Arc::new(Pair::new(ANONYMOUS.into(), UNKNOWN, trail));
        Self { limit, folded, memory, anonymous, clients: RwLock::default() }
    }

    pub(super) fn anonymous(&self) -> Arc<Pair> {
        self.anonymous.clone()
    }

    pub(super) fn pair(&self, id: &ClientId, topic: &TopicName) -> Arc<Pair> {
        {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            let client = clients.rows.get(id);
            if let Some(pair) = client.and_then(|client| client.topics.get(topic)) {
                return pair.clone();
            }
            if clients.pairs >= self.limit
                && let Some(other) = client.and_then(|client| client.other.as_ref())
            {
                self.folded.increment(1);
                return other.clone();
            }
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let room = clients.pairs < self.limit;
        let client = clients.rows.entry(id.clone()).or_insert_with(|| Client::new(&self.memory));
        // Looked up again: another thread may have been quicker.
        if let Some(pair) = client.topics.get(topic) {
            return pair.clone();
        }
        if !room {
            self.folded.increment(1);
            let trail = client.trail.clone();
            let other = client.other.get_or_insert_with(|| Arc::new(Pair::new(id.clone(), OTHER, trail))).clone();
            clients.version += 1;
            return other;
        }
        let pair = Arc::new(Pair::new(id.clone(), topic.as_str(), client.trail.clone()));
        client.topics.insert(topic.clone(), pair.clone());
        clients.pairs += 1;
        clients.version += 1;
        pair
    }

    pub(super) fn unknown_topic(&self, id: &ClientId) -> Arc<Pair> {
        {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(pair) = clients.rows.get(id).and_then(|client| client.unknown.as_ref()) {
                return pair.clone();
            }
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let client = clients.rows.entry(id.clone()).or_insert_with(|| Client::new(&self.memory));
        let trail = client.trail.clone();
        let unknown = client.unknown.get_or_insert_with(|| Arc::new(Pair::new(id.clone(), UNKNOWN, trail))).clone();
        clients.version += 1;
        unknown
    }

    /// Another number whenever [`Registry::pairs`] may give others than before.
    pub(super) fn version(&self) -> u64 {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).version
    }

    pub(super) fn pairs(&self) -> Vec<Arc<Pair>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let of = |client: &Client| {
            let pairs = client.topics.values().chain(&client.other).chain(&client.unknown);
            pairs.cloned().collect::<Vec<_>>()
        };
        let mut pairs: Vec<_> = clients.rows.values().flat_map(of).collect();
        drop(clients);
        pairs.sort_by(|a, b| (&a.client, &a.topic).cmp(&(&b.client, &b.topic)));
        pairs.insert(0, self.anonymous());
        pairs
    }

    pub(super) fn retain(&self, keep: impl Fn(&str, Option<&str>) -> bool) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.rows.retain(|id, client| {
            let stays = keep(id.as_str(), None);
            // What waits in the spool has yet to be counted.
            let waits = |pair: &Pair| pair.spooled.load(Relaxed) > 0;
            client.topics.retain(|topic, pair| stays && keep(id.as_str(), Some(topic.as_str())) || waits(pair));
            stays || !client.topics.is_empty()
        });
        clients.pairs = clients.rows.values().map(|client| client.topics.len()).sum();
        clients.version += 1;
    }
}

#[cfg(test)]
mod tests;
