//! What librdkafka calls back: delivery reports become fates, statistics and errors reach those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use tracing::{debug, error, info, warn};

use super::Fate;
use super::flights::{Flights, Opaque};
use super::health::Health;
use super::statistics::Board;
use crate::librdkafka::{self, Persisted};

/// How long a producer lives at least before another takes its place.
const REBIRTH: Duration = Duration::from_secs(1);

/// Of one producer.
pub struct Context {
    /// Its name among the producers.
    name: String,
    flights: Arc<Flights>,
    health: Arc<Health>,
    board: Arc<Board>,
    /// Set where missing rights on the cluster made the producer fail for good.
    denied: AtomicBool,
    born: Instant,
}

impl Context {
    /// A context that settles into `flights`.
    pub fn new(name: String, flights: Arc<Flights>, health: Arc<Health>, board: Arc<Board>) -> Self {
        Self { name, flights, health, board, denied: AtomicBool::new(false), born: Instant::now() }
    }

    /// Whether a producer that fails for good may be replaced by now. Where missing rights are the cause, the next one
    /// fails the same way: so at most one a second.
    pub fn may_be_replaced(&self) -> bool {
        self.born.elapsed() > REBIRTH
    }

    /// What is behind `code`: a producer that has failed for good gives each event a code that only says so.
    pub fn cause(&self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        match code {
            RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue if self.denied.load(Ordering::Relaxed) => {
                RDKafkaErrorCode::ClusterAuthorizationFailed
            }
            code => code,
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.board.post(&self.name, statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Always fatal to an idempotent producer, which cannot get its id.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::ClusterAuthorizationFailed) {
            self.denied.store(true, Ordering::Relaxed);
        }
        self.health.complain(reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Opaque;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Opaque) {
        let fate = match result {
            Ok(message) => {
                self.health.note_ack();
                acked(message)
            }
            Err((error, message)) => {
                let code = self.cause(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
                let fate = match librdkafka::persisted(message) {
                    Persisted::Yes => acked(message),
                    Persisted::Possibly => Fate::Unknown(code),
                    Persisted::No if is_final(code) => Fate::Refused(code),
                    Persisted::No => Fate::Failed(code),
                };
                let (topic, partition) = (message.topic(), message.partition());
                debug!(topic, partition, %fate, "delivery failed");
                if !matches!(fate, Fate::Acked { .. }) {
                    self.health.complain(&format!("{topic}/{partition}: {code}"));
                }
                fate
            }
        };
        self.flights.settle(opaque, fate);
    }
}

fn acked(message: &impl Message) -> Fate {
    // A broker that had the record already answers without an offset.
    let offset = Some(message.offset()).filter(|offset| *offset >= 0);
    Fate::Acked { partition: message.partition(), offset }
}

/// Whether sending the same again cannot help.
pub fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRequiredAcks
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnsupportedForMessageFormat
    )
}

/// librdkafka's own log lines as ours. Never a payload: librdkafka logs none.
pub fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(target: "librdkafka", facility, "{text}");
        }
        // Connection errors come once a second and broker; `Health::complain` says them once a minute.
        RDKafkaLogLevel::Error => debug!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Notice => info!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{text}"),
    }
}
