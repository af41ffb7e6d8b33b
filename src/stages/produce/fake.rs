//! A sink for tests: keeps what it is sent, and settles as it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::flights::{Flights, Ticket};
use super::{Completion, Destination, Fate, Fates, Lane, Run, Sink, Waiting};
use crate::event::Batch;

/// Decides the fate of the event at a place of a request; `None` leaves it open until
/// [`Fake::settle`].
pub type Verdict = Box<dyn Fn(usize) -> Option<Fate> + Send + Sync>;

/// A record as it would stand in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// As asked for.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch, as asked for.
    pub timestamp: Option<i64>,
}

/// The fake.
pub struct Fake {
    flights: Flights,
    records: Mutex<Vec<Record>>,
    verdict: Verdict,
}

impl Fake {
    /// Acknowledges everything: partition 0, one offset after the other.
    pub fn obliging() -> Self {
        let next = std::sync::atomic::AtomicI64::new(0);
        Self::deciding(Box::new(move |_| {
            let offset = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some(Fate::Acked { partition: 0, offset: Some(offset) })
        }))
    }

    /// Does as `verdict` says.
    pub fn deciding(verdict: Verdict) -> Self {
        Self { flights: Flights::default(), records: Mutex::default(), verdict }
    }

    /// Settles an event that was left open.
    pub fn settle(&self, ticket: Ticket, place: usize, fate: Fate) {
        self.flights.settle([(ticket.token(), Run::of(place, fate))]);
    }

    /// What it was sent.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Fake {
    fn send(&self, to: &Destination, _: Lane, batch: Arc<Batch>, done: Box<dyn Completion>) -> Ticket {
        let ticket = self.flights.begin(Arc::clone(&batch), done, None, None);
        for (place, event) in batch.events.iter().enumerate() {
            let bytes = |piece| batch.bytes(piece).to_vec();
            self.lock().push(Record {
                topic: to.topic.to_string(),
                key: event.key.map(bytes),
                value: event.value.map(bytes),
                headers: batch.headers(event).iter().map(|h| (bytes(h.name), h.value.map(bytes))).collect(),
                partition: event.partition,
                timestamp: event.timestamp,
            });
            if let Some(fate) = (self.verdict)(place) {
                self.flights.settle([(ticket.token(), Run::of(place, fate))]);
            }
        }
        ticket
    }

    fn so_far(&self, ticket: Ticket) -> Option<Fates> {
        self.flights.so_far(ticket)
    }

    fn waiting(&self) -> Waiting {
        self.flights.waiting()
    }
}
