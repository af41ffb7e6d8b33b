//! What librdkafka calls back: delivery reports become fates, statistics and errors reach those who watch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use super::flights::Flights;
use super::health::Health;
use super::partitions::Atlas;
use super::statistics::Board;
use super::{Fate, Run};
use crate::librdkafka::{Delivered, Persisted, Report, Reports};

/// How long a producer lives at least before another takes its place.
const REBIRTH: Duration = Duration::from_secs(1);

/// What all producers of a sink tell.
#[derive(Clone, Default)]
pub struct Ears {
    /// Where fates go.
    pub flights: Arc<Flights>,
    /// Who keeps an eye on Kafka.
    pub health: Arc<Health>,
    /// Where statistics are posted.
    pub board: Arc<Board>,
    /// Who must know of partitions without a leader.
    pub atlas: Arc<Atlas>,
}

/// Of one producer.
pub struct Context {
    /// Its name among the producers.
    name: String,
    ears: Ears,
    /// Set where missing rights on the cluster made the producer fail for good.
    denied: AtomicBool,
    born: Instant,
    /// Room for the runs of one array of reports, kept for the next. Used by one thread, and empty in between.
    room: Mutex<Vec<(usize, Run)>>,
}

impl Context {
    /// A context of the producer `name`.
    pub fn new(name: String, ears: Ears) -> Self {
        Self { name, ears, denied: AtomicBool::new(false), born: Instant::now(), room: Mutex::default() }
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
        let Ears { board, atlas, .. } = &self.ears;
        board.post(&self.name, statistics, |topic, partitions| atlas.leaderless(topic, partitions));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Always fatal to an idempotent producer, which cannot get its id.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::ClusterAuthorizationFailed) {
            self.denied.store(true, Ordering::Relaxed);
        }
        self.ears.health.complain(reason);
    }
}

impl Delivered for Context {
    fn delivered(&self, reports: Reports<'_>) {
        let mut runs = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the table of flights is locked: a report of a failure is told and logged.
        for report in reports {
            let run = Run::of(report.place() as usize, self.fate(&report));
            let goes_on = |(token, last): &mut (usize, Run)| *token == report.token() && last.join(&run);
            if !runs.last_mut().is_some_and(goes_on) {
                runs.push((report.token(), run));
            }
        }
        if runs.iter().any(|(_, run)| matches!(run.fate, Fate::Acked { .. })) {
            self.ears.health.note_ack();
        }
        self.ears.flights.settle(runs.drain(..));
    }
}

impl Context {
    fn fate(&self, report: &Report<'_>) -> Fate {
        let partition = report.partition();
        let acked = Fate::Acked { partition, offset: report.offset() };
        let Some(code) = report.error() else { return acked };
        self.failed(code, report.persisted(), acked, (report.topic(), partition))
    }

    /// The fate of a record that was not simply delivered.
    pub(super) fn failed(
        &self,
        code: RDKafkaErrorCode,
        persisted: Persisted,
        acked: Fate,
        (topic, partition): (&str, i32),
    ) -> Fate {
        let code = self.cause(code);
        let fate = match persisted {
            Persisted::Yes => acked,
            Persisted::Possibly => Fate::Unknown(code),
            Persisted::No if is_final(code) => Fate::Refused(code),
            Persisted::No => Fate::Failed(code),
        };
        debug!(topic, partition, %fate, "delivery failed");
        if !matches!(fate, Fate::Acked { .. }) {
            self.ears.health.complain(&format!("{topic}/{partition}: {code}"));
        }
        fate
    }
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
