//! From the last byte of the body to the producer's queue. Nothing here awaits.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::gate::Pass;
use super::settlement::Settlement;
use super::tally::Tally;
use super::{Gateway, Refused};
use crate::event::{Batch, TopicName};
use crate::reject::{Fault, Reject};
use crate::stages::decode::{decode, inflate};
use crate::stages::produce::options::EVENT_OVERHEAD;
use crate::stages::produce::{Fates, Lane, Ticket};
use crate::stages::route::key;
use crate::stages::validate::{self, Known};
use crate::telemetry::Outcome;

/// A request whose good events are with the producer.
pub struct Sent {
    /// Where they went.
    pub topic: TopicName,
    /// Receives every fate once the last is known.
    pub reply: oneshot::Receiver<Fates>,
    /// Shows the fates that are known before that.
    pub ticket: Ticket,
    /// Which events of the request were sent.
    pub indices: Indices,
    /// The others, skipped.
    pub faults: Vec<Fault>,
    /// Of key, value and headers, of all that was received.
    pub bytes: u64,
    /// How long the caller waits.
    pub wait: Duration,
    /// Whether the caller wants no receipts.
    pub minimal: bool,
}

/// Which event of the request stands at which place of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indices {
    /// All of so many, in order: the usual case costs nothing.
    All(usize),
    /// Some were skipped.
    Some(Vec<u32>),
}

impl Indices {
    fn of(batch: &Batch) -> Self {
        if batch.faults.is_empty() {
            Self::All(batch.events.len())
        } else {
            Self::Some(batch.events.iter().map(|event| event.index).collect())
        }
    }

    /// How many were sent.
    pub fn count(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Some(indices) => indices.len(),
        }
    }

    /// The indices in the request of the events at `places`, as runs: the first of each, and how many.
    pub fn runs(&self, places: Range<usize>) -> Vec<(u32, u32)> {
        match self {
            Self::All(_) if places.is_empty() => Vec::new(),
            Self::All(_) => vec![(places.start as u32, places.len() as u32)],
            Self::Some(indices) => {
                let runs = indices.get(places).unwrap_or_default().chunk_by(|a, b| a + 1 == *b);
                runs.filter_map(|run| Some((*run.first()?, run.len() as u32))).collect()
            }
        }
    }
}

/// Takes the events of `body` over: from here on their fate is the producer's, not the caller's.
///
/// # Errors
/// Everything of the table that needs the body. Nothing was written then, and every decoded event is counted rejected.
pub fn accept(app: &Gateway, pass: Pass, body: Bytes) -> Result<Sent, Refused> {
    let (client, pair) = (Arc::clone(&pass.client), Arc::clone(&pass.pair));
    take(app, pass, body).map_err(|reject| Refused { reject, client: Some(client), pair })
}

fn take(app: &Gateway, pass: Pass, body: Bytes) -> Result<Sent, Reject> {
    let Pass { config, client, to, policy, wishes, mut permit, pair } = pass;
    let caps = &config.caps;

    let body = inflate(wishes.coding, body, caps, &mut |more| permit.grow(more))?;
    let mut batch = decode(wishes.media, body, &wishes.single, caps)?;
    key::assign(&policy.key, wishes.media.is_json(), &mut batch);
    let bytes = batch.size();
    let mut tally = Tally::open(Arc::clone(&pair), batch.received(), bytes);
    app.metrics.fixed.batch_events.record(batch.received() as f64);

    let charge = client.quota.batch(batch.received() as u64, bytes, app.now())?;
    let known = Known { partitions: to.known.partitions, max_event: to.known.max_event(policy.topic.max_event.get()) };
    validate::check(&policy.topic, known, caps, &mut batch)?;
    validate::verdict(&batch, wishes.on_invalid)?;

    // What is held until the last event is settled; so far it was the body, and what it inflated to.
    let cost = batch.held() + EVENT_OVERHEAD * batch.events.len() as u64;
    if let Err(reject) = permit.grow(cost.saturating_sub(permit.held())) {
        client.quota.refund(charge);
        return Err(reject);
    }
    permit.release(permit.held() - cost);

    // Order across the change of lane: a heavy client stays one until nothing of it is under way.
    let lane = if permit.is_heavy() { Lane::Bulk } else { Lane::Express };
    let indices = Indices::of(&batch);
    let faults = std::mem::take(&mut batch.faults);
    tally.settle(Outcome::Rejected, faults.len());
    tally.sent();
    let (caller, reply) = oneshot::channel();
    let settlement = Settlement {
        tally,
        charge,
        quota: Arc::clone(&client.quota),
        pair,
        caller,
        replies: Arc::clone(&app.replies),
        began: Instant::now(),
        _permit: permit,
    };
    let ticket = app.sink.send(&to, lane, Arc::new(batch), Box::new(settlement));

    let limit = config.ingest.wait.get();
    let wait = wishes.prefer.wait.map_or(limit, |wait| wait.min(limit));
    Ok(Sent { topic: to.topic, reply, ticket, indices, faults, bytes, wait, minimal: wishes.prefer.minimal })
}
