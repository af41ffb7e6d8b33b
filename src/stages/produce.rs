//! Into Kafka: the producer, what became of each event, and what Kafka says about its topics.
//!
//! [`Sink::send`] takes the events of one request, never blocks, and settles its [`Completion`] exactly once, when
//! every event has its [`Fate`]. The completion belongs to the sink from then on: a caller that goes away changes
//! nothing. No policy lives here: which topic, whose budget and what to answer is decided above.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use crate::event::{Batch, TopicName};

pub mod backlog;
pub mod catalog;
pub mod context;
mod enqueue;
#[cfg(test)]
pub mod fake;
pub mod fates;
pub mod flights;
pub mod health;
pub mod kafka;
pub mod options;
pub mod partitions;
#[cfg(test)]
pub mod reference;
pub mod statistics;
pub mod supervisor;
pub mod watchdog;

pub use fates::{Fates, Run};
pub use flights::Ticket;

/// What became of one event. Final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In Kafka, acknowledged by all in-sync replicas.
    Acked {
        /// Where.
        partition: i32,
        /// Where in the partition; `None` where the broker had it already (a retry of ours) and did not say.
        offset: Option<i64>,
    },
    /// Kafka refused it for good; it is not in Kafka.
    Refused(RDKafkaErrorCode),
    /// Not delivered, and certainly not in Kafka.
    Failed(RDKafkaErrorCode),
    /// Sent, and never answered: it may or may not be in Kafka.
    Unknown(RDKafkaErrorCode),
}

/// Who is told when every event of a request has its fate.
pub trait Completion: Send {
    /// Called once, from any thread; must not block. `fates` has one for each event of the batch.
    fn settled(self: Box<Self>, fates: Fates);
}

/// Where a request's events go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The topic.
    pub topic: TopicName,
    /// What Kafka says about it.
    pub known: catalog::Known,
    /// How long its records wait for others; `None` is as long as the cluster's.
    pub linger: Option<Duration>,
    /// What its producer calls itself at the brokers; `None` is as the cluster's do.
    pub client_id: Option<Arc<str>>,
    /// How long the events may take: those of a partition whose queue will not clear in time fail at once.
    pub patience: Duration,
}

/// Requests of the same lane queue up behind each other on the way to a broker; those of another do not.
///
/// A broker answers a few batches of a connection at a time, whoever's they are. So each lane has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// For everybody.
    Express,
    /// For clients whose events queue up.
    Bulk,
}

impl Lane {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Express => "express",
            Lane::Bulk => "bulk",
        }
    }
}

/// Somewhere to send events: Kafka, or a fake in tests.
pub trait Sink: Send + Sync {
    /// Hands all events of `batch` over, in their order, without blocking. It is kept until the last of them is settled.
    fn send(&self, to: &Destination, lane: Lane, batch: Arc<Batch>, done: Box<dyn Completion>) -> Ticket;

    /// The fates that are already known; `None` once all are (the completion has them).
    fn so_far(&self, ticket: Ticket) -> Option<Fates>;

    /// How many requests still wait for a fate, and how many events.
    fn waiting(&self) -> Waiting;
}

/// What a sink has taken and not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Requests with at least one event without a fate.
    pub requests: usize,
    /// Events without a fate.
    pub events: usize,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Acked { partition, offset: Some(offset) } => write!(f, "{partition}@{offset}"),
            Fate::Acked { partition, offset: None } => write!(f, "{partition}"),
            Fate::Refused(code) => write!(f, "refused: {code}"),
            Fate::Failed(code) => write!(f, "not delivered: {code}"),
            Fate::Unknown(code) => write!(f, "unknown: {code}"),
        }
    }
}
