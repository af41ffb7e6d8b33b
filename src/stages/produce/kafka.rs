//! The sink that is Kafka: librdkafka's producers, one for each lane, batch size and linger that is needed.
//!
//! Promises: never blocks; events of one request are enqueued in their order; a producer that failed for good is
//! replaced at the next send.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tracing::info;

use super::context::{Context, Ears, is_final};
use super::flights::Ticket;
use super::options::Options;
use super::partitions::of_key;
use super::{Completion, Destination, Fate, Fates, Lane, Run, Sink, Waiting};
use crate::event::{Batch, Event, Piece, TopicName};
use crate::librdkafka::{ANY_PARTITION, Cargo, Loading, Producer, Record, Topic};

type Lines = BTreeMap<Class, Arc<Line>>;

/// What shares a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    lane: Lane,
    /// Few: the sizes below the configured one are powers of two.
    batch_bytes: u64,
    /// The cluster's, and those that topics ask for.
    linger: Duration,
}

/// How long a producer that is lost or given up may still report.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Kafka.
pub struct Kafka {
    options: Options,
    ears: Ears,
    /// `None` once given up.
    lines: RwLock<Option<Lines>>,
}

/// A producer and its handles of topics.
struct Line {
    /// Before the producer, which a handle keeps alive: so the last to go is the producer's own thread.
    topics: RwLock<HashMap<TopicName, Arc<Topic<Context>>>>,
    producer: Producer<Context>,
}

impl Line {
    /// Whether every later send fails, and it is time for another producer.
    fn is_lost(&self) -> bool {
        let client = self.producer.client();
        client.fatal_error().is_some() && client.context().may_be_replaced()
    }

    fn topic(&self, name: &TopicName) -> Result<Arc<Topic<Context>>, RDKafkaErrorCode> {
        if let Some(topic) = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(topic));
        }
        let topic = Arc::new(self.producer.topic(name.as_str())?);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(topics.entry(name.clone()).or_insert(topic)))
    }
}

impl Kafka {
    /// A sink with the producer that most topics use. Needs no broker.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties.
    pub fn new(options: Options, ears: Ears) -> KafkaResult<Self> {
        let (batch_bytes, linger) = (options.batch_bytes(None), options.linger(None));
        let kafka = Self { options, ears, lines: RwLock::new(Some(BTreeMap::new())) };
        kafka.line(Class { lane: Lane::Express, batch_bytes, linger })?;
        Ok(kafka)
    }

    /// Waits until everything is settled or `deadline` is over. Blocks. Says what is left.
    pub fn flush(&self, deadline: Instant) -> Waiting {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner).clone();
        for line in lines.unwrap_or_default().into_values() {
            let left = deadline.saturating_duration_since(Instant::now());
            // Its word is not needed: what counts is what has a fate.
            let _ = line.producer.flush(left.max(Duration::from_millis(1)));
        }
        self.ears.flights.waiting()
    }

    /// Gives up what is not settled: each such event is settled as failed or unknown, and so is what is sent later.
    /// Blocks for some seconds at most.
    pub fn give_up(&self) {
        let lines = self.lines.write().unwrap_or_else(PoisonError::into_inner).take();
        for line in lines.unwrap_or_default().into_values() {
            line.producer.purge();
            // Waits for the reports of what was purged; what has no fate then gets none.
            let _ = line.producer.flush(LAST_WORDS);
        }
    }

    fn class(&self, to: &Destination, lane: Lane) -> Class {
        let batch_bytes = self.options.batch_bytes(to.known.max_message_bytes);
        Class { lane, batch_bytes, linger: self.options.linger(to.linger) }
    }

    /// What a producer is called in logs and metrics: the linger is named where it is not the cluster's.
    fn name(&self, class: Class) -> String {
        let Class { lane, batch_bytes, linger } = class;
        let usual = linger == self.options.linger(None);
        let linger = if usual { String::new() } else { format!("-{}ms", linger.as_millis()) };
        format!("{}-{batch_bytes}{linger}", lane.name())
    }

    fn line(&self, class: Class) -> KafkaResult<Arc<Line>> {
        let usable = |lines: &Option<Lines>| match lines {
            None => Some(Err(KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue))),
            Some(lines) => lines.get(&class).filter(|line| !line.is_lost()).cloned().map(Ok),
        };
        if let Some(found) = usable(&self.lines.read().unwrap_or_else(PoisonError::into_inner)) {
            return found;
        }
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = usable(&lines) {
            return found;
        }
        let name = self.name(class);
        let context = Context::new(name.clone(), self.ears.clone());
        let producer = Producer::new(&self.options.producer(class.batch_bytes, class.linger), context)?;
        let line = Arc::new(Line { topics: RwLock::default(), producer });
        info!(producer = name, "producer made");
        if let Some(lost) = lines.get_or_insert_default().insert(class, Arc::clone(&line)) {
            if let Some((_, reason)) = lost.producer.client().fatal_error() {
                self.ears.health.complain(&format!("the producer failed for good and is replaced: {reason}"));
            }
            std::thread::spawn(move || {
                // What it has sent may still be answered; dropping it calls that unknown.
                let _ = lost.producer.flush(LAST_WORDS);
            });
        }
        Ok(line)
    }

    /// The line and the handle for a destination.
    fn way(&self, to: &Destination, lane: Lane) -> Result<(Arc<Line>, Arc<Topic<Context>>), RDKafkaErrorCode> {
        let line = self.line(self.class(to, lane));
        let line = line.map_err(|error| {
            self.ears.health.complain(&format!("no producer: {error}"));
            error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
        })?;
        let topic = line.topic(&to.topic)?;
        Ok((line, topic))
    }

    /// Enqueues the events at `places`, which one call can take, to `partition`.
    fn enqueue(
        &self,
        way: (&Line, &Destination),
        load: &mut Loading<'_, Context, Batch>,
        partition: i32,
        places: impl Iterator<Item = u32>,
    ) {
        let mut left: Vec<(u32, RDKafkaErrorCode)> = Vec::new();
        load.produce(partition, places, |place, code| left.push((place, code)));
        for (place, code) in left {
            self.not_taken(way, load, place, code);
        }
    }

    /// Tries an event that was not taken once more where that can help, else fails it.
    fn not_taken(
        &self,
        (line, to): (&Line, &Destination),
        load: &mut Loading<'_, Context, Batch>,
        place: u32,
        code: RDKafkaErrorCode,
    ) {
        // librdkafka may not have heard yet of partitions that were added: its own choice is as good.
        let free = load.cargo().events.get(place as usize).is_some_and(|event| event.partition.is_none());
        let again = match code {
            RDKafkaErrorCode::UnknownPartition if free => enqueue_one(load, ANY_PARTITION, place),
            _ => Err(code),
        };
        if let Err(code) = again {
            let fate = refused(line.producer.client().context().cause(code));
            self.ears.health.complain(&format!("topic {}: {fate}", to.topic));
            self.ears.flights.settle([(load.token(), Run::of(place as usize, fate))]);
        }
    }
}

/// The fate of an event that librdkafka did not take.
fn refused(code: RDKafkaErrorCode) -> Fate {
    if is_final(code) { Fate::Refused(code) } else { Fate::Failed(code) }
}

/// The events of one batch in the order in which they are enqueued: partition by partition, in each as they came.
enum Order {
    /// All of so many, none of them special, to one partition: the usual case costs nothing.
    AsIs(i32, u32),
    /// Partition and place of each event.
    Sorted(Vec<(i32, u32)>),
}

impl Order {
    /// `sticky` chooses for events without a key, at most once.
    fn of(batch: &Batch, partitions: i32, sticky: impl FnOnce() -> i32) -> Self {
        let free = |event: &Event| event.partition.is_none() && event.key.is_none() && is_plain(event);
        if batch.events.iter().all(free) {
            return Self::AsIs(sticky(), batch.events.len() as u32);
        }
        let (mut sticky, mut chosen) = (Some(sticky), ANY_PARTITION);
        let places = batch.events.iter().zip(0..).map(|(event, place)| {
            let partition = match (event.partition, event.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => of_key(batch.bytes(key), partitions),
                (None, None) => {
                    if let Some(choose) = sticky.take() {
                        chosen = choose();
                    }
                    chosen
                }
            };
            (partition, place)
        });
        let mut places: Vec<_> = places.collect();
        // By partition, then by place; mostly sorted already.
        places.sort_unstable();
        Self::Sorted(places)
    }
}

/// Runs of `places` for one partition that one call can take: plain events, or one that is not.
fn runs<'a>(batch: &'a Batch, places: &'a [(i32, u32)]) -> impl Iterator<Item = (i32, &'a [(i32, u32)])> {
    let plain = |&(_, place): &(i32, u32)| batch.events.get(place as usize).is_some_and(is_plain);
    let runs = places.chunk_by(move |a, b| a.0 == b.0 && plain(a) && plain(b));
    runs.filter_map(|run| run.first().map(|&(partition, _)| (partition, run)))
}

/// Whether the batch call can take it: it knows neither headers nor times.
fn is_plain(event: &Event) -> bool {
    event.header_count() == 0 && event.timestamp.is_none()
}

impl Cargo for Batch {
    fn record(&self, place: u32) -> Record<'_> {
        let event = self.events.get(place as usize);
        let bytes = |piece: Option<Piece>| piece.map(|piece| self.bytes(piece));
        Record { value: event.and_then(|event| bytes(event.value)), key: event.and_then(|event| bytes(event.key)) }
    }
}

/// Enqueues one event by itself.
fn enqueue_one(load: &mut Loading<'_, Context, Batch>, partition: i32, place: u32) -> Result<(), RDKafkaErrorCode> {
    let batch = Arc::clone(load.cargo());
    let Some(event) = batch.events.get(place as usize) else { return Ok(()) };
    let headers = batch.headers(event).iter();
    let headers = headers.map(|header| (batch.bytes(header.name), header.value.map(|value| batch.bytes(value))));
    load.produce_one(partition, place, event.timestamp, headers)
}

impl Sink for Kafka {
    fn send(&self, to: &Destination, lane: Lane, batch: Arc<Batch>, done: Box<dyn Completion>) -> Ticket {
        let flights = &self.ears.flights;
        let (line, topic) = match self.way(to, lane) {
            Ok(way) => way,
            Err(code) => {
                let count = batch.events.len();
                let ticket = flights.begin(batch, done, None);
                if count > 0 {
                    flights.settle([(ticket.token(), Run { place: 0, count, fate: refused(code) })]);
                }
                return ticket;
            }
        };
        let mut hold = None;
        let sticky = || {
            let partitions = self.ears.atlas.of(&to.topic);
            let stick = self.options.stick(self.options.linger(to.linger));
            let (partition, held) = partitions.choose(to.known.partitions, batch.size(), Instant::now(), &stick);
            hold = Some(held);
            partition
        };
        let order = Order::of(&batch, to.known.partitions, sticky);
        // Before the first event is enqueued: its report may come before the last one is.
        let ticket = flights.begin(Arc::clone(&batch), done, hold);
        let mut load = topic.load(batch, ticket.token());
        let way = (&*line, to);
        match order {
            Order::AsIs(partition, count) => self.enqueue(way, &mut load, partition, 0..count),
            Order::Sorted(places) => {
                let batch = Arc::clone(load.cargo());
                for (partition, run) in runs(&batch, &places) {
                    match run {
                        [(_, place)] if !batch.events.get(*place as usize).is_some_and(is_plain) => {
                            if let Err(code) = enqueue_one(&mut load, partition, *place) {
                                self.not_taken(way, &mut load, *place, code);
                            }
                        }
                        _ => self.enqueue(way, &mut load, partition, run.iter().map(|&(_, place)| place)),
                    }
                }
            }
        }
        ticket
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
