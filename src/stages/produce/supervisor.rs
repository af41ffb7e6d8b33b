//! Replaces producers that failed for good or have stalled, and sends again what has no fate.
//!
//! While a line is mended, what is sent to it begins its flight and waits. The old producer gets a moment for the
//! answers that are on their way and gives up the rest; then every event of the line that has no fate goes to the new
//! producer, flight by flight in the order of their beginning, so that events of one key keep their order. What the
//! old one had sent and not heard of may be doubled: it is counted, and its fate is `Unknown` where the second sending
//! fails too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use tracing::{info, warn};

use super::backlog::TURN;
use super::context::is_final;
use super::enqueue::{enqueue_rest, refused};
use super::flights::Unsettled;
use super::kafka::{Gate, Kafka, Line};
use super::watchdog::Stall;
use super::{Fate, Run};

/// How long a producer lives at least before another takes its place: where missing rights are the cause, the next one
/// fails the same way.
const REBIRTH: Duration = Duration::from_secs(1);
/// What a producer that is to go may still hear.
const LAST_ANSWERS: Duration = Duration::from_millis(700);
/// How long the reports of what is purged may take, before it is said that they do.
const PURGE: Duration = Duration::from_secs(5);
/// Flights that are sent again while senders wait for it. More are sent before, while they do not.
const FEW: usize = 16;
/// Between two replacements of a line for stalls: at first, and at most.
const CALM: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
/// How long Kafka may take to say who leads a partition.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to say that there is a topic, and for how many topics of a line it is asked in one turn.
const REOPEN: (Duration, usize) = (Duration::from_millis(300), 4);

/// Why a producer is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// It failed for good.
    Fatal(RDKafkaErrorCode, String),
    /// It does not serve a partition though it could.
    Stalled(Stall),
}

impl Why {
    /// Why it is no use to send the same again with a new producer.
    fn hopeless(&self) -> Option<RDKafkaErrorCode> {
        match self {
            Why::Fatal(code, _) => Some(*code).filter(|code| is_final(*code)),
            Why::Stalled(_) => None,
        }
    }
}

/// What the supervisor did, for the metrics.
#[derive(Default)]
pub struct Mends {
    fatal: AtomicU64,
    stalled: AtomicU64,
    resent: AtomicU64,
    doubtful: AtomicU64,
}

impl Mends {
    /// Producers replaced, by reason.
    pub fn replaced(&self) -> [(&'static str, u64); 2] {
        [("fatal", self.fatal.load(Ordering::Relaxed)), ("stalled", self.stalled.load(Ordering::Relaxed))]
    }

    /// Events sent again, by whether they may be doubled by that.
    pub fn resent(&self) -> [(&'static str, u64); 2] {
        let (all, maybe) = (self.resent.load(Ordering::Relaxed), self.doubtful.load(Ordering::Relaxed));
        [("no", all.saturating_sub(maybe)), ("maybe", maybe)]
    }
}

/// When a line may be replaced for a stall again.
#[derive(Default)]
pub struct Calm(Mutex<HashMap<u32, (Instant, Duration)>>);

impl Calm {
    /// Whether `line` may be replaced at `now`; it then is. After one replacement at least a minute passes, and twice as
    /// long after each further one, up to ten minutes; ten minutes without one and the count begins anew.
    fn allows(&self, line: u32, now: Instant) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, most) = CALM;
        let next = match lines.get(&line) {
            Some((last, span)) if now.duration_since(*last) < *span => return false,
            Some((last, span)) if now.duration_since(*last) < *span + most => (*span * 2).min(most),
            _ => first,
        };
        lines.insert(line, (now, next));
        true
    }
}

impl Kafka {
    /// Measures queues and mends lines, for ever. Runs as a task; cancelled, what is being mended is mended to its end.
    pub async fn supervise(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.ears.alarm.notified() => {}
                () = tokio::time::sleep(TURN) => {}
            }
            let kafka = Arc::clone(&self);
            // It ends with a panic only where a context's code panics: the next turn tries again.
            let _ = tokio::task::spawn_blocking(move || kafka.tend(Instant::now())).await;
        }
    }

    /// One turn of [`Kafka::supervise`]. Blocks for as long as mending takes.
    pub(super) fn tend(&self, now: Instant) {
        let _mending = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = self.all_lines();
        self.measure(&lines, now);
        std::thread::scope(|scope| {
            for line in &lines {
                if let Some(why) = self.trouble_of(line, now) {
                    scope.spawn(move || self.mend(line, &why));
                } else {
                    reopen(line);
                }
            }
        });
    }

    fn trouble_of(&self, line: &Line, now: Instant) -> Option<Why> {
        if let Some((code, reason)) = line.producer.client().fatal_error() {
            return Some(Why::Fatal(code, reason));
        }
        let stall = line.context().take_stall()?;
        // The question alone may mend it: its answer tells librdkafka, too, who leads.
        let leads = line.producer.client().fetch_metadata(Some(&stall.topic), PATIENCE).is_ok_and(|metadata| {
            let of_topic = metadata.topics().iter().flat_map(|topic| topic.partitions());
            of_topic.into_iter().any(|partition| partition.id() == stall.partition && partition.leader() >= 0)
        });
        (leads && self.calm.allows(line.slot, now)).then_some(Why::Stalled(stall))
    }

    /// Puts another producer in the place of the one of `line`.
    fn mend(&self, line: &Arc<Line>, why: &Why) {
        let began = Instant::now();
        let hopeless = why.hopeless();
        line.close(hopeless.map_or(Gate::Shut, Gate::Refusing));
        line.context().doom();
        self.tell(line, why);
        line.producer.flush(LAST_ANSWERS);
        line.producer.purge();
        while !line.producer.flush(PURGE) {
            warn!(producer = line.context().name(), "a producer that is replaced still holds events");
            if self.is_given_up() {
                return line.set_gate(Gate::Gone);
            }
        }
        // Every report is in: what has no fate now will not get one from this producer.
        let doubts = line.context().take_doubts();
        self.ears.mends.doubtful.fetch_add(doubts.len() as u64, Ordering::Relaxed);
        let doubtful = doubts.len();
        self.ears.flights.doubt(doubts);
        if let Some(code) = hopeless {
            self.settle_all(line, refused(code));
        }
        std::thread::sleep(REBIRTH.saturating_sub(line.context().age()));
        let Some(next) = self.successor(line) else { return };
        let resent = self.send_again(line, &next);
        self.ears.mends.resent.fetch_add(resent, Ordering::Relaxed);
        let reason = match why {
            Why::Fatal(..) => &self.ears.mends.fatal,
            Why::Stalled(_) => &self.ears.mends.stalled,
        };
        reason.fetch_add(1, Ordering::Relaxed);
        let took_ms = began.elapsed().as_millis();
        info!(producer = next.context().name(), took_ms, resent, doubtful, "producer replaced");
    }

    fn tell(&self, line: &Line, why: &Why) {
        let name = line.context().name();
        self.ears.health.complain(&match why {
            Why::Fatal(_, reason) => format!("producer {name} failed for good and is replaced: {reason}"),
            Why::Stalled(Stall { topic, partition }) => {
                format!("producer {name} does not serve {topic}/{partition} and is replaced")
            }
        });
    }

    /// Another line in the place of `line`, which nobody finds yet. `None` where the sink was given up meanwhile, and
    /// everything is settled.
    fn successor(&self, line: &Line) -> Option<Arc<Line>> {
        loop {
            match self.make(line.class.clone(), line.slot, Arc::clone(&line.ledger)) {
                Ok(next) => return Some(next),
                Err(error) => {
                    self.ears.health.complain(&format!("no producer: {error}"));
                    self.settle_all(line, Fate::Failed(RDKafkaErrorCode::Fail));
                }
            }
            if self.is_given_up() {
                line.set_gate(Gate::Gone);
                self.settle_all(line, Fate::Failed(RDKafkaErrorCode::PurgeQueue));
                return None;
            }
            std::thread::sleep(REBIRTH);
        }
    }

    /// Sends everything of `line` that has no fate to `next`, and puts that in its place. Returns how many events.
    fn send_again(&self, line: &Arc<Line>, next: &Arc<Line>) -> u64 {
        let (mut resent, mut after) = (0, 0);
        let mut gate = None;
        loop {
            let flights = self.ears.flights.unsettled(line.slot, after);
            if flights.len() <= FEW && gate.is_none() {
                // Nobody sends from here on: what there is now is the last.
                gate = Some(line.gate());
                continue;
            }
            for flight in &flights {
                after = flight.ticket.serial();
                resent += self.resend(next, flight);
            }
            if gate.is_some() {
                break;
            }
        }
        // Before the gate says so: who then looks for the line finds the new one.
        if !self.replace(line, next) {
            next.producer.purge();
            next.producer.flush(LAST_ANSWERS);
            self.settle_all(line, Fate::Failed(RDKafkaErrorCode::PurgeQueue));
        }
        if let Some(mut gate) = gate {
            *gate = Gate::Gone;
        }
        resent
    }

    fn resend(&self, next: &Line, flight: &Unsettled) -> u64 {
        let open = flight.open.iter().filter(|open| **open).count() as u64;
        if flight.began.elapsed() > self.options.cluster.delivery_timeout.get() {
            self.settle_rest(flight, Fate::Failed(RDKafkaErrorCode::MessageTimedOut));
            return 0;
        }
        match next.way(&flight.to) {
            Ok(way) => enqueue_rest(next.context(), &way, flight),
            Err(code) => self.settle_rest(flight, refused(code)),
        }
        open
    }

    /// Settles everything of `line` that has no fate. Nothing of it may be with a producer.
    pub(super) fn settle_all(&self, line: &Line, fate: Fate) {
        for flight in self.ears.flights.unsettled(line.slot, 0) {
            self.settle_rest(&flight, fate);
        }
    }

    fn settle_rest(&self, flight: &Unsettled, fate: Fate) {
        let open = flight.open.iter().enumerate().filter(|(_, open)| **open);
        self.ears.flights.settle(open.map(|(place, _)| (flight.ticket.token(), Run::of(place, fate))));
    }
}

/// Has librdkafka ask for the topics of which it was told that klamm may not write to them: until it reads of them again,
/// it would refuse their events by itself, though the right is given by now.
fn reopen(line: &Line) {
    let (patience, most) = REOPEN;
    for topic in line.context().take_closed().iter().take(most) {
        // What is in the answer is for librdkafka.
        let _ = line.producer.client().fetch_metadata(Some(topic), patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_replace_a_line_once_a_minute_then_ever_less_often() {
        let (calm, start) = (Calm::default(), Instant::now());
        let mut at = Vec::new();
        for second in 0..4000 {
            if calm.allows(0, start + Duration::from_secs(second)) {
                at.push(second);
            }
        }
        assert_eq!(at, [0, 60, 180, 420, 900, 1500, 2100, 2700, 3300, 3900]);
        assert!(calm.allows(1, start), "another line");
        let later = start + Duration::from_secs(3900 + 1300);
        assert!(calm.allows(0, later) && calm.allows(0, later + Duration::from_secs(60)));
    }

    #[test]
    fn missing_rights_are_no_reason_to_send_again() {
        let fatal = |code| Why::Fatal(code, String::new()).hopeless();
        let denied = RDKafkaErrorCode::ClusterAuthorizationFailed;
        assert_eq!(fatal(denied), Some(denied));
        assert_eq!(fatal(RDKafkaErrorCode::OutOfOrderSequenceNumber), None);
    }
}
