//! From the last byte of the body to the producer's queue. Nothing here awaits.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::forecast::lane_of;
use super::gate::Pass;
use super::replies::Word;
use super::request::Prefer;
use super::settlement::Settlement;
use super::spooling::custody::Custody;
use super::spooling::{self, Parcel, Resort, Spooling};
use super::tally::Tally;
use super::{Gateway, Refused, ids};
use crate::event::{Batch, RequestId, TopicName};
use crate::reject::{Fault, Reject};
use crate::stages::admission::Permit;
use crate::stages::decode::{decode, inflate};
use crate::stages::limit::{Charge, Quota};
use crate::stages::produce::options::EVENT_OVERHEAD;
use crate::stages::produce::{Fates, Ticket};
use crate::stages::route::key;
use crate::stages::spool::Receipt;
use crate::stages::validate::{self, Known};
use crate::tasks::detach;
use crate::telemetry::Outcome;

/// A request whose good events are with the producer, or with the spool.
pub struct Sent {
    /// Where they went.
    pub topic: TopicName,
    /// By which way.
    pub way: Way,
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
    /// Whether the caller asked for an answer before Kafka's.
    pub asked: bool,
}

/// The way of events to Kafka.
pub enum Way {
    /// Straight.
    Kafka {
        /// Receives every fate once the last is known.
        reply: oneshot::Receiver<Word>,
        /// Shows the fates that are known before that.
        ticket: Ticket,
        /// Where they may yet go to the spool.
        custody: Option<Arc<Custody>>,
    },
    /// By the spool.
    Spool {
        /// Told once they are on disk, or why they are not.
        kept: oneshot::Receiver<Result<(), Reject>>,
        /// The request, as the book knows it.
        request: RequestId,
        /// Whether the caller waits for Kafka all the same.
        patient: bool,
    },
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
    pub fn runs(&self, places: Range<usize>) -> impl Iterator<Item = (u32, u32)> {
        let (whole, parts) = match self {
            Self::All(_) => (Some((places.start as u32, places.len() as u32)).filter(|run| run.1 > 0), &[][..]),
            Self::Some(indices) => (None, indices.get(places).unwrap_or_default()),
        };
        let parts = parts.chunk_by(|a, b| a + 1 == *b);
        whole.into_iter().chain(parts.filter_map(|run| Some((*run.first()?, run.len() as u32))))
    }
}

/// Takes the events of `body` over: from here on their fate is the producer's or the spool's, not the caller's.
///
/// # Errors
/// Everything of the table that needs the body. Nothing was written then, and every decoded event is counted rejected.
pub fn accept(app: &Gateway, pass: Pass, request: RequestId, body: Bytes) -> Result<Sent, Refused> {
    let (client, pair) = (Arc::clone(&pass.client), Arc::clone(&pass.pair));
    take(app, pass, request, body).map_err(|reject| Refused { reject, client: Some(client), pair })
}

fn take(app: &Gateway, pass: Pass, request: RequestId, body: Bytes) -> Result<Sent, Reject> {
    let Pass { config, client, to, policy, wishes, mut permit, pair, resort, kafka_away } = pass;
    let caps = &config.caps;

    let body = inflate(wishes.coding, body, caps, &mut |more| permit.grow(more))?;
    let mut batch = decode(wishes.media, body, &wishes.single, caps)?;
    key::assign(&policy.key, wishes.media.is_json(), &mut batch);
    let bytes = batch.size();
    let mut tally = Tally::open(Arc::clone(&pair), batch.received(), bytes);
    app.metrics.fixed.batch_events.record(batch.received() as f64);

    let charge = client.quota.batch(batch.received() as u64, bytes, app.now())?;
    let known = Known {
        partitions: to.known.partitions,
        max_event: to.known.max_event(policy.topic.max_event.get()),
        needs_key: to.known.needs_key(),
        times: to.known.safe_times(SystemTime::now()),
    };
    validate::check(&policy.topic, &known, caps, &mut batch)?;
    validate::verdict(&batch, wishes.on_invalid)?;

    // Nothing overtakes events of the same client that wait for the same topic.
    let queued = app.spooling.as_ref().filter(|spooling| spooling.holds(&client.id, &to.topic));
    let straight = resort != Resort::Always && !kafka_away && queued.is_none();
    let key = wishes.idempotency_key.as_deref();
    let ids = ids::base(request, &client.id, &to.topic, key);
    if ids::wanted(policy.topic.event_ids, &wishes, resort != Resort::Never || !straight) {
        ids::stamp(&mut batch, ids);
    }

    // What is held until the last event is settled; so far it was the body, what it inflated to, and a guess at this.
    let cost = batch.held() + EVENT_OVERHEAD * batch.events.len() as u64;
    if let Err(reject) = permit.settle(cost) {
        client.quota.refund(charge);
        return Err(reject);
    }

    let indices = Indices::of(&batch);
    let faults = std::mem::take(&mut batch.faults);
    let batch = Arc::new(batch);
    let parcel = app.spooling.as_ref().filter(|_| resort != Resort::Never || !straight).map(|spooling| {
        let (client, topic, batch) = (client.id.clone(), to.topic.clone(), Arc::clone(&batch));
        (spooling, Parcel { client, topic, request, ids, received: SystemTime::now(), batch })
    });
    let way = match parcel {
        Some((spooling, parcel)) if !straight => {
            let receipt = match spooling.append(&parcel, None, &Fates::default()) {
                Ok(receipt) => receipt,
                Err(reject) => {
                    client.quota.refund(charge);
                    return Err(reject);
                }
            };
            tally.settle(Outcome::Rejected, faults.len());
            tally.sent();
            let (tell, kept) = oneshot::channel();
            let quota = Arc::clone(&client.quota);
            let keep = Keep { spooling: Arc::clone(spooling), parcel, tally, charge, quota, tell, _permit: permit };
            detach("spool-receipt", keep.run(receipt));
            Way::Spool { kept, request, patient: resort != Resort::Always && !kafka_away }
        }
        parcel => {
            let lane = lane_of(&permit);
            let custody = parcel.map(|(spooling, parcel)| Custody::new(Arc::clone(spooling), parcel));
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
                custody: custody.clone(),
                began: Instant::now(),
                _permit: permit,
            };
            let ticket = app.sink.send(&to, lane, batch, Box::new(settlement));
            Way::Kafka { reply, ticket, custody }
        }
    };

    let wait = wishes.wait(config.ingest.wait.get());
    let Prefer { minimal, respond_async: asked, .. } = wishes.prefer;
    Ok(Sent { topic: to.topic, way, indices, faults, bytes, wait, minimal, asked })
}

/// What is done when the spool has the events of a request, or not, whether the caller still waits or not.
struct Keep {
    spooling: Arc<Spooling>,
    parcel: Parcel,
    tally: Tally,
    charge: Charge,
    quota: Arc<Quota>,
    tell: oneshot::Sender<Result<(), Reject>>,
    /// Given back with this: the store has its copy on disk.
    _permit: Permit,
}

impl Keep {
    async fn run(mut self, receipt: Receipt) {
        let events = self.parcel.batch.events.len();
        let kept = receipt.await.map(drop).map_err(spooling::reject);
        if kept.is_ok() {
            self.tally.spooled(events);
        } else {
            self.tally.settle(Outcome::Failed, events);
            self.spooling.book.forget(self.parcel.request);
            self.quota.refund(self.charge);
        }
        // The caller may be gone.
        let _ = self.tell.send(kept);
    }
}
