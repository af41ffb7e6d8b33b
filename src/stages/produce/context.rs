//! What librdkafka calls back: delivery reports become fates, statistics and errors reach those who watch.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::backlog::{Backlog, Ledger, Tally};
use super::flights::Flights;
use super::health::Health;
use super::partitions::Atlas;
use super::statistics::Board;
use super::supervisor::Mends;
use super::watchdog::{Stall, Watchdog};
use super::{Fate, Run};
use crate::librdkafka::{Delivered, Persisted, Report, Reports};

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
    /// Which topics are late.
    pub backlog: Arc<Backlog>,
    /// What the supervisor did.
    pub mends: Arc<Mends>,
    /// Wakes the supervisor.
    pub alarm: Arc<Notify>,
}

/// Of one producer.
pub struct Context {
    /// Its name among the producers.
    name: String,
    pub(super) ears: Ears,
    /// Set where missing rights on the cluster made the producer fail for good.
    denied: AtomicBool,
    /// Set before the first report that is due to the end of this producer, not to its event.
    doomed: AtomicBool,
    /// Events that come back without a fate from a doomed producer and may be persisted: flight and place.
    doubts: Mutex<Vec<(usize, u32)>>,
    /// What waits in the producer.
    ledger: Arc<Ledger>,
    watchdog: Mutex<Watchdog>,
    stall: Mutex<Option<Stall>>,
    /// Topics that librdkafka holds for closed until it reads their metadata again.
    closed: Mutex<BTreeSet<String>>,
    born: Instant,
    /// Room for the runs of one array of reports, kept for the next. Used by one thread, and empty in between.
    room: Mutex<Vec<(usize, Run)>>,
}

impl Context {
    /// A context of the producer `name`, whose queues are those of `ledger`. A partition that stands still for
    /// `patience` is stalled.
    pub fn new(name: String, ears: Ears, ledger: Arc<Ledger>, patience: Duration) -> Self {
        Self {
            name,
            ears,
            denied: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            doubts: Mutex::default(),
            ledger,
            watchdog: Mutex::new(Watchdog::new(patience)),
            stall: Mutex::default(),
            closed: Mutex::default(),
            born: Instant::now(),
            room: Mutex::default(),
        }
    }

    /// Its name among the producers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long there is this producer.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// From now on another producer will take over what comes back for no fault of its own: that is not settled.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Relaxed);
    }

    /// The events that came back without a fate and may be persisted, once.
    pub(super) fn take_doubts(&self) -> Vec<(usize, u32)> {
        std::mem::take(&mut self.doubts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partition that the watchdog found, once.
    pub fn take_stall(&self) -> Option<Stall> {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes what `code` says of a topic.
    pub fn note(&self, topic: &str, code: RDKafkaErrorCode) {
        if code == RDKafkaErrorCode::TopicAuthorizationFailed {
            let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            if !closed.contains(topic) {
                closed.insert(topic.to_owned());
            }
        }
        if matches!(code, RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp) {
            self.ears.backlog.surprised(topic);
        }
    }

    /// The topics for which klamm lacked a right, once.
    pub fn take_closed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner))
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

/// For tests: a stall comes by itself only in years.
#[cfg(test)]
impl Context {
    /// As if the watchdog had found it.
    pub fn find_stalled(&self, topic: &str, partition: i32) {
        *self.stall.lock().unwrap() = Some(Stall { topic: topic.to_owned(), partition });
        self.ears.alarm.notify_one();
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ears { board, atlas, health, alarm, .. } = &self.ears;
        let Some(text) = board.post(&self.name, statistics) else { return };
        for (topic, partitions) in text.leaderless() {
            atlas.leaderless(topic, &partitions);
        }
        for broker in text.throttling() {
            health.complain(&format!("broker {broker} holds producer {} back: a quota is spent", self.name));
        }
        let late = |topic: &str, partition| self.ledger.queue(topic, partition)?.late();
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stall) = watchdog.look(&text, Instant::now(), late) {
            *self.stall.lock().unwrap_or_else(PoisonError::into_inner) = Some(stall);
            alarm.notify_one();
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Always fatal to an idempotent producer, which cannot get its id.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::ClusterAuthorizationFailed) {
            self.denied.store(true, Ordering::Relaxed);
        }
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.ears.health.doubt();
        }
        self.ears.health.complain(reason);
    }
}

impl Delivered for Context {
    fn failed_for_good(&self) {
        self.doom();
        self.ears.alarm.notify_one();
    }

    fn delivered(&self, reports: Reports<'_>) {
        let mut runs = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the table of flights is locked: a report of a failure is told and logged.
        let mut tally = Tally::over(&self.ledger);
        for report in reports {
            tally.count(|| report.topic(), report.partition(), report.error().is_none());
            let Some(fate) = self.fate(&report) else { continue };
            let run = Run::of(report.place() as usize, fate);
            let goes_on = |(token, last): &mut (usize, Run)| *token == report.token() && last.join(&run);
            if !runs.last_mut().is_some_and(goes_on) {
                runs.push((report.token(), run));
            }
        }
        drop(tally);
        if runs.iter().any(|(_, run)| matches!(run.fate, Fate::Acked { .. })) {
            self.ears.health.note_ack();
        }
        self.ears.flights.settle(runs.drain(..));
    }
}

impl Context {
    /// `None` where another producer will send the record again.
    fn fate(&self, report: &Report<'_>) -> Option<Fate> {
        let partition = report.partition();
        let acked = Fate::Acked { partition, offset: report.offset() };
        let Some(code) = report.error() else { return Some(acked) };
        let persisted = report.persisted();
        if persisted != Persisted::Yes && self.doomed.load(Ordering::Relaxed) && goes_again(code) {
            if persisted == Persisted::Possibly {
                self.doubts.lock().unwrap_or_else(PoisonError::into_inner).push((report.token(), report.place()));
            }
            return None;
        }
        Some(self.failed(code, persisted, acked, (report.topic(), partition)))
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
        self.note(topic, code);
        let fate = match persisted {
            Persisted::Yes => acked,
            Persisted::Possibly => Fate::Unknown(code),
            Persisted::No if is_final(code) => Fate::Refused(code),
            Persisted::No => Fate::Failed(code),
        };
        debug!(topic, partition, %fate, "delivery failed");
        if !matches!(fate, Fate::Acked { .. }) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            self.ears.board.failed(topic, code, now);
            self.ears.health.complain(&format!("{topic}/{partition}: {code}"));
        }
        fate
    }
}

/// Whether an event that comes back with `code` from a producer that is being replaced is sent again by the next one.
/// One whose own time is over is not.
fn goes_again(code: RDKafkaErrorCode) -> bool {
    !is_final(code) && code != RDKafkaErrorCode::MessageTimedOut
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

/// Kafka's reason as a label: `message_size_too_large`.
pub fn reason(code: RDKafkaErrorCode) -> String {
    let mut label = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(letter.to_ascii_lowercase());
    }
    label
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_label() {
        assert_eq!(reason(RDKafkaErrorCode::MessageSizeTooLarge), "message_size_too_large");
        assert_eq!(reason(RDKafkaErrorCode::InvalidRecord), "invalid_record");
    }
}
