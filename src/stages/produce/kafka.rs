//! The sink that is Kafka: librdkafka's producers, one for each lane, batch size and linger that is needed.
//!
//! Promises: never blocks; events of one request are enqueued in their order; what is sent while the
//! [supervisor](super::supervisor) replaces a producer waits for the next one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tracing::info;

use super::backlog::{Ledger, Probe, Queue, Queues};
use super::context::{Context, Ears};
use super::enqueue::{Load, Order, refused};
use super::flights::{Course, Ticket};
use super::options::Options;
use super::supervisor::Calm;
use super::{Completion, Destination, Fate, Fates, Lane, Run, Sink, Waiting};
use crate::event::{Batch, TopicName};
use crate::librdkafka::{Producer, Topic};

type Lines = BTreeMap<Class, Arc<Line>>;

/// What shares a producer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    lane: Lane,
    /// Few: the sizes below the configured one are powers of two.
    batch_bytes: u64,
    /// The cluster's, and those that topics ask for.
    linger: Duration,
    /// Of topics with a name of their own at the brokers, whose quotas go by it.
    client_id: Option<Arc<str>>,
}

/// From how many events on a request is enqueued by the producer's own thread, where no other is in its way. To wake it
/// costs about as much as to enqueue so many.
const MANY: usize = 32;

/// How long a producer that is given up may still report.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Kafka.
pub struct Kafka {
    pub(super) options: Options,
    pub(super) ears: Ears,
    /// `None` once given up.
    lines: RwLock<Option<Lines>>,
    /// Held while producers are replaced.
    pub(super) mending: Mutex<()>,
    pub(super) calm: Calm,
}

/// A producer and its handles of topics.
pub(super) struct Line {
    pub(super) class: Class,
    /// The same for all producers that follow each other in this place.
    pub(super) slot: u32,
    /// Held by senders while they send.
    gate: RwLock<Gate>,
    /// Before the producer, which a handle keeps alive: so the last to go is the producer's own thread.
    ways: RwLock<HashMap<TopicName, Arc<Way>>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) producer: Producer<Context>,
}

/// What those who want to send find.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gate {
    /// The producer takes events.
    Open,
    /// They begin their flight, and the next producer will take them.
    Shut,
    /// They fail.
    Refusing(RDKafkaErrorCode),
    /// Another line has its place.
    Gone,
}

/// A topic of one producer.
pub(super) struct Way {
    pub(super) topic: Topic<Context>,
    queues: Queues,
    pub(super) probe: Probe,
}

impl Line {
    pub(super) fn context(&self) -> &Context {
        self.producer.client().context()
    }

    pub(super) fn gate(&self) -> RwLockWriteGuard<'_, Gate> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_gate(&self, gate: Gate) {
        *self.gate() = gate;
    }

    /// From here on its producer takes no event: those who are sending have ended, who comes later finds `gate`, and what
    /// was left to the producer's thread and not begun has a flight and nothing else.
    pub(super) fn close(&self, gate: Gate) {
        self.set_gate(gate);
        self.producer.recall();
    }

    fn enter(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to a topic.
    pub(super) fn way(&self, to: &Destination) -> Result<Arc<Way>, RDKafkaErrorCode> {
        let wide = |way: &&Arc<Way>| way.queues.len() >= usize::try_from(to.known.partitions).unwrap_or(0);
        if let Some(way) = self.ways.read().unwrap_or_else(PoisonError::into_inner).get(&to.topic).filter(wide) {
            return Ok(Arc::clone(way));
        }
        let topic = self.producer.topic(to.topic.as_str())?;
        let queues = self.ledger.open(&to.topic, to.known.partitions);
        let way = Arc::new(Way { topic, queues, probe: Probe::default() });
        self.ways.write().unwrap_or_else(PoisonError::into_inner).insert(to.topic.clone(), Arc::clone(&way));
        Ok(way)
    }
}

impl Way {
    pub(super) fn queue(&self, partition: i32) -> Option<&Queue> {
        let queue = usize::try_from(partition).ok().and_then(|partition| self.queues.get(partition));
        queue.map(|queue| &**queue)
    }
}

impl Kafka {
    /// A sink with the producer that most topics use. Needs no broker.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties.
    pub fn new(options: Options, ears: Ears) -> KafkaResult<Self> {
        let (batch_bytes, linger) = (options.batch_bytes(None), options.linger(None));
        let kafka = Self {
            options,
            ears,
            lines: RwLock::new(Some(BTreeMap::new())),
            mending: Mutex::default(),
            calm: Calm::default(),
        };
        kafka.line(Class { lane: Lane::Express, batch_bytes, linger, client_id: None })?;
        Ok(kafka)
    }

    /// Waits until everything is settled or `deadline` is over. Blocks. Says what is left.
    pub fn flush(&self, deadline: Instant) -> Waiting {
        loop {
            for line in self.all_lines() {
                let left = deadline.saturating_duration_since(Instant::now());
                // Its word is not needed: what counts is what has a fate.
                let _ = line.producer.flush(left.max(Duration::from_millis(1)));
            }
            let waiting = self.ears.flights.waiting();
            if waiting == Waiting::default() || Instant::now() >= deadline {
                return waiting;
            }
            // It waits for a producer to be replaced.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Gives up what is not settled: each such event is settled as failed or unknown, and so is what is sent later.
    /// Blocks for some seconds at most.
    pub fn give_up(&self) {
        let lines = self.lines.write().unwrap_or_else(PoisonError::into_inner).take();
        // Who replaces a producer finds out that there is no place for the next one.
        let _mending = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.unwrap_or_default().into_values() {
            line.close(Gate::Gone);
            line.producer.purge();
            // Waits for the reports of what was purged. What then has no fate came back to be sent again.
            if line.producer.flush(LAST_WORDS) {
                self.ears.flights.doubt(line.context().take_doubts());
                self.settle_all(&line, Fate::Failed(RDKafkaErrorCode::PurgeQueue));
            }
        }
    }

    fn class(&self, to: &Destination, lane: Lane) -> Class {
        let batch_bytes = self.options.batch_bytes(to.known.max_message_bytes);
        Class { lane, batch_bytes, linger: self.options.linger(to.linger), client_id: to.client_id.clone() }
    }

    /// What a producer is called in logs and metrics: linger and client id are named where they are not the cluster's.
    fn name(&self, class: &Class) -> String {
        let Class { lane, batch_bytes, linger, client_id } = class;
        let usual = *linger == self.options.linger(None);
        let linger = if usual { String::new() } else { format!("-{}ms", linger.as_millis()) };
        let client_id = client_id.as_ref().map_or_else(String::new, |id| format!("-{id}"));
        format!("{}-{batch_bytes}{linger}{client_id}", lane.name())
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(super) fn all_lines(&self) -> Vec<Arc<Line>> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Puts `next` in the place of `line`; false once given up.
    pub(super) fn replace(&self, line: &Line, next: &Arc<Line>) -> bool {
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        let place = lines.as_mut().and_then(|lines| lines.get_mut(&line.class));
        place.map(|place| *place = Arc::clone(next)).is_some()
    }

    /// A line that nobody finds yet.
    pub(super) fn make(&self, class: Class, slot: u32, ledger: Arc<Ledger>) -> KafkaResult<Arc<Line>> {
        let name = self.name(&class);
        let patience = self.options.cluster.stall_timeout.get();
        let context = Context::new(name.clone(), self.ears.clone(), Arc::clone(&ledger), patience);
        let producer = Producer::new(
            &self.options.producer(class.batch_bytes, class.linger, class.client_id.as_deref()),
            context,
        )?;
        info!(producer = name, "producer made");
        let gate = RwLock::new(Gate::Open);
        Ok(Arc::new(Line { class, slot, gate, ways: RwLock::default(), ledger, producer }))
    }

    fn line(&self, class: Class) -> KafkaResult<Arc<Line>> {
        let given_up = || KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue);
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lines.as_ref().ok_or_else(given_up)?.get(&class) {
            return Ok(Arc::clone(found));
        }
        drop(lines);
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.as_mut().ok_or_else(given_up)?;
        if let Some(found) = lines.get(&class) {
            return Ok(Arc::clone(found));
        }
        let line = self.make(class.clone(), lines.len() as u32, Arc::default())?;
        lines.insert(class, Arc::clone(&line));
        Ok(line)
    }

    /// The line and the way for a destination.
    fn way(&self, to: &Destination, lane: Lane) -> Result<(Arc<Line>, Arc<Way>), RDKafkaErrorCode> {
        let line = self.line(self.class(to, lane));
        let line = line.map_err(|error| {
            self.ears.health.complain(&format!("no producer: {error}"));
            error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
        })?;
        let way = line.way(to)?;
        Ok((line, way))
    }

    /// Measures the queues of `lines`, and notes for each lane which topics are late.
    pub(super) fn measure(&self, lines: &[Arc<Line>], now: Instant) {
        for lane in [Lane::Express, Lane::Bulk] {
            let of_lane = lines.iter().filter(|line| line.class.lane == lane);
            self.ears.backlog.note(lane, of_lane.flat_map(|line| line.ledger.measure(now)));
        }
    }

    /// Fails a whole request.
    fn fail(&self, batch: Arc<Batch>, done: Box<dyn Completion>, code: RDKafkaErrorCode) -> Ticket {
        let count = batch.events.len();
        let ticket = self.ears.flights.begin(batch, done, None, None);
        if count > 0 {
            self.ears.flights.settle([(ticket.token(), Run { place: 0, count, fate: refused(code) })]);
        }
        ticket
    }
}

impl Sink for Kafka {
    fn send(&self, to: &Destination, lane: Lane, batch: Arc<Batch>, done: Box<dyn Completion>) -> Ticket {
        let flights = &self.ears.flights;
        loop {
            let (line, way) = match self.way(to, lane) {
                Ok(way) => way,
                Err(code) => return self.fail(batch, done, code),
            };
            let gate = line.enter();
            let open = match *gate {
                Gate::Open => true,
                Gate::Shut => false,
                Gate::Refusing(code) => return self.fail(batch, done, code),
                Gate::Gone => continue,
            };
            let mut hold = None;
            let sticky = || {
                let partitions = self.ears.atlas.of(&to.topic);
                let (now, stick) = (Instant::now(), self.options.stick(self.options.linger(to.linger)));
                let late = |at: usize| way.queues.get(at).is_some_and(|queue| queue.late().is_some());
                let (partition, held) = partitions.choose(to.known.partitions, batch.size(), now, &stick, late);
                hold = Some(held);
                partition
            };
            let order = Order::of(&batch, to.known.partitions, sticky);
            let course = Course { line: line.slot, to: to.clone(), began: Instant::now() };
            // Before the first event is enqueued: its report may come before the last one is.
            let ticket = flights.begin(Arc::clone(&batch), done, hold, Some(course));
            if !open {
                return ticket;
            }
            let many = batch.events.len() >= MANY;
            let load = Load { way, to: to.clone(), batch, order, ticket };
            if many || !line.producer.is_idle() {
                line.producer.delegate(move |context| load.enqueue(context));
            } else {
                load.enqueue(line.context());
            }
            return ticket;
        }
    }

    fn so_far(&self, ticket: Ticket) -> Option<Fates> {
        self.ears.flights.so_far(ticket)
    }

    fn waiting(&self) -> Waiting {
        self.ears.flights.waiting()
    }
}

#[cfg(test)]
mod tests;
