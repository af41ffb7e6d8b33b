//! What was seen of a load, without its warm-up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Conditions, Latency, Usage};

/// What was seen, without the warm-up: the requests that fell due (closed loop: were sent) after it.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What was measured, in seconds.
    pub seconds: f64,
    /// A quota of the target refused requests (429 `rate_limited`): the figures are the quota's, not the target's.
    pub quota: bool,
    /// Ended by hand before its time.
    pub stopped: bool,
    /// Why these figures must not be believed; empty = valid.
    pub invalid: Vec<String>,
    /// Answers with an accepted status.
    pub accepted: Answers,
    /// Accepted answers that came within the measured time, whenever they fell due: the base of rates and of cost.
    pub served: Served,
    /// All other answers by status and problem code (empty where the body names none).
    pub refused: Vec<Refused>,
    /// Requests without an answer, by reason: `connect`, `cut`, `malformed`, `unanswered` (within `last_answers` after the end), `missed`
    /// (fell due, but until the end no connection was free to send them). Their latency is at least what is recorded.
    pub errors: BTreeMap<String, Answers>,
    /// The schedule and how well the tool kept it.
    pub schedule: Schedule,
    /// What the tool itself used.
    pub generator: Generator,
    /// What the measured process used, if one was named.
    pub target: Option<Usage>,
    /// Its batches to Kafka, if its metrics were named and tell.
    pub batches: Option<Batches>,
    /// Where and how it was measured.
    pub conditions: Conditions,
}

/// Answers of one sort.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Answers {
    /// Requests.
    pub requests: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of their bodies on the wire.
    pub bytes: u64,
    /// From the intended time to the last byte of the answer.
    pub latency: Latency,
}

/// Accepted answers that came within the measured time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of their bodies on the wire.
    pub bytes: u64,
}

/// Answers of one status and code that are not accepted.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// `code` of the problem document (RFC 9457 extension), or empty.
    pub code: String,
    /// How many, and how fast.
    #[serde(flatten)]
    pub answers: Answers,
}

/// The schedule and how well it was kept.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Schedule {
    /// Requests per second that were asked for; none in a closed loop.
    pub rate: Option<f64>,
    /// Requests that fell due.
    pub due: u64,
    /// Those of them that no connection was free to send until the end.
    pub missed: u64,
    /// From the intended time, or from when a connection became free if that is later, to the first byte written: the
    /// tool's own lateness.
    pub lateness: Latency,
}

/// What the tool itself used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Generator {
    /// CPU time in microseconds, user and system.
    pub cpu_us: u64,
    /// The busiest thread's share of a core, 0 to 1.
    pub busiest: f64,
    /// A thread was busy more than 85 % of its time: in a closed loop the rate is "at least".
    pub saturated: bool,
}

/// Batches to Kafka as the measured gateway counts them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Batches {
    /// Mean records of a batch; none where its metrics do not tell.
    pub records: Option<f64>,
    /// Mean bytes of a batch, as sent (compressed).
    pub bytes: f64,
}

impl Answers {
    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.events += other.events;
        self.bytes += other.bytes;
        self.latency.merge(&other.latency);
    }
}

impl Run {
    /// Accepted events per second.
    pub fn events_per_second(&self) -> f64 {
        self.per_second(self.served.events)
    }

    /// Accepted requests per second.
    pub fn requests_per_second(&self) -> f64 {
        self.per_second(self.served.requests)
    }

    /// Bytes of accepted bodies per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second(self.served.bytes)
    }

    /// CPU-microseconds of the measured process per accepted event.
    pub fn cpu_per_event(&self) -> Option<f64> {
        let target = self.target.as_ref()?;
        (self.served.events > 0).then(|| target.cpu_us as f64 / self.served.events as f64)
    }

    /// Requests that were not accepted: refused, without an answer, or never sent.
    pub fn failed(&self) -> u64 {
        let refused: u64 = self.refused.iter().map(|refused| refused.answers.requests).sum();
        refused + self.errors.values().map(|answers| answers.requests).sum::<u64>()
    }

    /// The share of requests that were not accepted, 0 to 1; 1 if there were none at all.
    pub fn error_share(&self) -> f64 {
        let all = self.accepted.requests + self.failed();
        if all == 0 { 1.0 } else { self.failed() as f64 / all as f64 }
    }

    fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}
