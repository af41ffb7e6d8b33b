//! The sink that is Kafka: librdkafka's producers, one for each lane and batch size that is needed.
//!
//! Promises: never blocks; events of one request are enqueued in their order; a producer that failed for good is
//! replaced at the next send.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tracing::info;

use super::context::{Context, is_final};
use super::flights::{Flights, Opaque, Ticket};
use super::health::Health;
use super::options::Options;
use super::statistics::Board;
use super::{Completion, Destination, Fate, Lane, Sink, Waiting};
use crate::event::{Batch, Event};

type Producer = ThreadedProducer<Context>;
type Producers = BTreeMap<(Lane, u64), Arc<Producer>>;

/// How long a producer that is lost or given up may still report.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Kafka.
pub struct Kafka {
    options: Options,
    flights: Arc<Flights>,
    health: Arc<Health>,
    board: Arc<Board>,
    /// By lane and batch size in bytes. Few: the sizes below the configured one are powers of two. `None` once given
    /// up.
    producers: RwLock<Option<Producers>>,
}

impl Kafka {
    /// A sink with the producer that most topics use. Needs no broker.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties.
    pub fn new(options: Options, health: Arc<Health>, board: Arc<Board>) -> KafkaResult<Self> {
        let kafka =
            Self { options, flights: Arc::default(), health, board, producers: RwLock::new(Some(BTreeMap::new())) };
        kafka.producer(Lane::Express, kafka.options.batch_bytes(None))?;
        Ok(kafka)
    }

    /// Waits until everything is settled or `deadline` is over. Blocks. Says what is left.
    pub fn flush(&self, deadline: Instant) -> Waiting {
        let producers = self.producers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for producer in producers.unwrap_or_default().into_values() {
            let left = deadline.saturating_duration_since(Instant::now());
            // Its word is not needed: what counts is what has a fate.
            let _ = producer.flush(left.max(Duration::from_millis(1)));
        }
        self.flights.waiting()
    }

    /// Gives up what is not settled: each such event is settled as failed or unknown, and so is what is sent later.
    /// Blocks for some seconds at most.
    pub fn give_up(&self) {
        let producers = self.producers.write().unwrap_or_else(PoisonError::into_inner).take();
        for producer in producers.unwrap_or_default().into_values() {
            producer.purge(PurgeConfig::default().queue().inflight());
            // Serves the reports of what was purged; what has no fate then gets none.
            let _ = producer.flush(LAST_WORDS);
        }
    }

    fn producer(&self, lane: Lane, batch_bytes: u64) -> KafkaResult<Arc<Producer>> {
        let usable = |producers: &Option<Producers>| match producers {
            None => Some(Err(KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue))),
            Some(producers) => producers.get(&(lane, batch_bytes)).filter(|p| !is_lost(p)).cloned().map(Ok),
        };
        if let Some(found) = usable(&self.producers.read().unwrap_or_else(PoisonError::into_inner)) {
            return found;
        }
        let mut producers = self.producers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = usable(&producers) {
            return found;
        }
        let (flights, health, board) = (Arc::clone(&self.flights), Arc::clone(&self.health), Arc::clone(&self.board));
        let context = Context::new(format!("{}-{batch_bytes}", lane.name()), flights, health, board);
        let producer = Arc::new(self.options.producer(batch_bytes).create_with_context::<_, Producer>(context)?);
        info!(lane = lane.name(), batch_bytes, "producer made");
        if let Some(lost) = producers.get_or_insert_default().insert((lane, batch_bytes), Arc::clone(&producer)) {
            if let Some((_, reason)) = lost.client().fatal_error() {
                self.health.complain(&format!("the producer failed for good and is replaced: {reason}"));
            }
            std::thread::spawn(move || {
                // What it has sent may still be answered; dropping it calls that unknown.
                let _ = lost.flush(LAST_WORDS);
            });
        }
        Ok(producer)
    }

    fn enqueue(
        producer: &Producer,
        to: &Destination,
        batch: &Batch,
        event: &Event,
        opaque: Opaque,
    ) -> Result<(), Fate> {
        let mut record: BaseRecord<'_, [u8], [u8], Opaque> = BaseRecord::with_opaque_to(to.topic.as_str(), opaque);
        record.payload = event.value.map(|piece| batch.bytes(piece));
        record.key = event.key.map(|piece| batch.bytes(piece));
        record.partition = event.partition;
        record.timestamp = event.timestamp;
        if event.header_count() > 0 {
            record.headers = Some(headers(batch, event));
        }
        producer.send(record).map_err(|(error, _)| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            refused(producer.context().cause(code))
        })
    }
}

/// Whether every later send fails, and it is time for another producer.
fn is_lost(producer: &Producer) -> bool {
    producer.client().fatal_error().is_some() && producer.context().may_be_replaced()
}

fn headers(batch: &Batch, event: &Event) -> OwnedHeaders {
    batch.headers(event).iter().fold(OwnedHeaders::new_with_capacity(event.header_count()), |headers, header| {
        headers.insert(Header {
            // Decoding took names from text; a header whose name is none would be a bug, not a reason to stop.
            key: std::str::from_utf8(batch.bytes(header.name)).unwrap_or_default(),
            value: header.value.map(|piece| batch.bytes(piece)),
        })
    })
}

/// The fate of an event that librdkafka did not take.
fn refused(code: RDKafkaErrorCode) -> Fate {
    if is_final(code) { Fate::Refused(code) } else { Fate::Failed(code) }
}

impl Sink for Kafka {
    fn send(&self, to: &Destination, lane: Lane, batch: &Batch, done: Box<dyn Completion>) -> Ticket {
        let ticket = self.flights.begin(batch.events.len(), done);
        match self.producer(lane, self.options.batch_bytes(to.known.max_message_bytes)) {
            Ok(producer) => {
                for (place, event) in batch.events.iter().enumerate() {
                    let opaque = ticket.opaque(place);
                    if let Err(fate) = Self::enqueue(&producer, to, batch, event, opaque) {
                        self.health.complain(&format!("topic {}: {fate}", to.topic));
                        self.flights.settle(opaque, fate);
                    }
                }
            }
            Err(error) => {
                self.health.complain(&format!("no producer: {error}"));
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                for place in 0..batch.events.len() {
                    self.flights.settle(ticket.opaque(place), refused(code));
                }
            }
        }
        ticket
    }

    fn so_far(&self, ticket: Ticket) -> Option<Vec<Option<Fate>>> {
        self.flights.so_far(ticket)
    }

    fn waiting(&self) -> Waiting {
        self.flights.waiting()
    }
}

#[cfg(test)]
mod tests;
