//! The path of an event, in the one place that knows the order of the stages.
//!
//! 1. [`gate`](gate::gate), before the body: who, may they, one request of their quota, does the topic exist, a
//!    permit for bytes, would it wait in vain.
//! 2. [`accept`](accept::accept), from the last byte of the body to the producer's queue, without awaiting anything:
//!    inflate, decode, key, charge, validate, grow the permit, send; or append to the spool ([`spooling`]), whose
//!    [`drain`](spooling::drain) sends.
//! 3. [`settlement`]: the producer's reports become counters, always; [`replies`] and [`outcome`](outcome::outcome):
//!    and an answer, while the caller waits.
//!
//! Every event that [`accept`](accept::accept) decodes is counted under exactly one outcome, whatever the caller sees.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub mod accept;
pub mod forecast;
pub mod gate;
pub mod ids;
pub mod outcome;
pub mod replies;
pub mod request;
pub mod rules;
pub mod settlement;
pub mod spooling;
pub mod tally;

pub use rules::Rules;

use crate::reject::Reject;
use crate::shutdown::Phase;
use crate::stages::admission::Budget;
use crate::stages::limit::Clock;
use crate::stages::produce::Sink;
use crate::stages::produce::backlog::Backlog;
use crate::stages::produce::catalog::Catalog;
use crate::stages::produce::health::Health;
use crate::telemetry::{Metrics, Pair};

/// What every request needs. Built once by `boot`.
pub struct Gateway {
    /// What can change while klamm runs.
    pub rules: ArcSwap<Rules>,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// Fates that callers have yet to be told.
    pub replies: Arc<replies::Replies>,
    /// The spool, where there is one.
    pub spooling: Option<Arc<spooling::Spooling>>,
    /// What Kafka says about its topics.
    pub catalog: Arc<Catalog>,
    /// Whether Kafka answers.
    pub health: Arc<Health>,
    /// Which topics wait for it for long.
    pub backlog: Arc<Backlog>,
    /// Who sent what, and what became of it.
    pub metrics: Arc<Metrics>,
    /// Where klamm is between start and stop.
    pub phase: watch::Receiver<Phase>,
    /// The quotas' clock.
    pub clock: Clock,
}

/// A request that is refused, and on whose account.
pub struct Refused {
    /// Why.
    pub reject: Reject,
    /// Who, once that is known: its quotas stand in the answer.
    pub client: Option<Arc<rules::Client>>,
    /// Where it is counted.
    pub pair: Arc<Pair>,
}
