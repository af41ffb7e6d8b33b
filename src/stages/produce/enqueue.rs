//! From a request's events to the queues of a producer.
//!
//! Small requests are enqueued by who sends them; large ones by the producer's own thread
//! ([`Producer::delegate`](crate::librdkafka::Producer::delegate)). Promises: never blocks; the events of a request are
//! enqueued in their order; each that librdkafka does not take gets its fate.

use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use super::backlog::is_hopeless;
use super::context::{Context, is_final};
use super::flights::{Ticket, Unsettled};
use super::kafka::Way;
use super::partitions::of_key;
use super::{Destination, Fate, Run};
use crate::event::{Batch, Event, Piece};
use crate::librdkafka::{ANY_PARTITION, Cargo, Loading, Record};

/// The events of a flight that has begun.
pub(super) struct Load {
    pub(super) way: Arc<Way>,
    pub(super) to: Destination,
    pub(super) batch: Arc<Batch>,
    pub(super) order: Order,
    pub(super) ticket: Ticket,
}

impl Load {
    /// Enqueues them. Those of a partition whose queue will not clear in time fail at once.
    pub(super) fn enqueue(self, context: &Context) {
        let Self { way, to, batch, order, ticket } = self;
        let mut entry = Entry::new(context, &way, &to, &batch, ticket);
        let hopeless =
            |partition| way.queue(partition).is_some_and(|queue| is_hopeless(queue, &way.probe, to.patience));
        let fate = Fate::Failed(RDKafkaErrorCode::TimedOutQueue);
        match order {
            Order::AsIs(partition, count) if hopeless(partition) && count > 0 => {
                context.ears.flights.settle([(ticket.token(), Run { place: 0, count: count as usize, fate })]);
            }
            Order::AsIs(partition, count) => entry.plain(partition, 0..count),
            Order::Sorted(places) => {
                for (partition, run) in runs(&batch, &places) {
                    if hopeless(partition) {
                        let failed = run.iter().map(|(_, place)| Run::of(*place as usize, fate));
                        context.ears.flights.settle(failed.map(|run| (ticket.token(), run)));
                    } else {
                        entry.run(partition, run);
                    }
                }
            }
        }
    }
}

/// Enqueues those events of `flight` that have no fate.
pub(super) fn enqueue_rest(context: &Context, way: &Way, flight: &Unsettled) {
    let Unsettled { ticket, batch, to, sticky, open, .. } = flight;
    let mut places = Order::of(batch, to.known.partitions, || sticky.unwrap_or(ANY_PARTITION)).into_places();
    places.retain(|(_, place)| open.get(*place as usize).is_some_and(|open| *open));
    let mut entry = Entry::new(context, way, to, batch, *ticket);
    for (partition, run) in runs(batch, &places) {
        entry.run(partition, run);
    }
}

/// The way of one flight's events into one producer.
struct Entry<'a> {
    context: &'a Context,
    way: &'a Way,
    to: &'a Destination,
    load: Loading<'a, Context, Batch>,
}

impl<'a> Entry<'a> {
    fn new(context: &'a Context, way: &'a Way, to: &'a Destination, batch: &Arc<Batch>, ticket: Ticket) -> Self {
        Self { context, way, to, load: way.topic.load(Arc::clone(batch), ticket.token()) }
    }

    /// Enqueues a run of events for one partition.
    fn run(&mut self, partition: i32, run: &[(i32, u32)]) {
        match run {
            [(_, place)] if !self.load.cargo().events.get(*place as usize).is_some_and(is_plain) => {
                let queue = self.way.queue(partition);
                queue.inspect(|queue| queue.give(1));
                if let Err(code) = self.special(partition, *place) {
                    queue.inspect(|queue| queue.settle(1, 0));
                    self.not_taken(*place, code);
                }
            }
            _ => self.plain(partition, run.iter().map(|&(_, place)| place)),
        }
    }

    /// Enqueues the events at `places`, which one call can take, to `partition`.
    fn plain(&mut self, partition: i32, places: impl ExactSizeIterator<Item = u32>) {
        let queue = self.way.queue(partition);
        // Before their reports may come.
        queue.inspect(|queue| queue.give(places.len()));
        let mut left: Vec<(u32, RDKafkaErrorCode)> = Vec::new();
        self.load.produce(partition, places, |place, code| left.push((place, code)));
        queue.filter(|_| !left.is_empty()).inspect(|queue| queue.settle(left.len(), 0));
        for (place, code) in left {
            self.not_taken(place, code);
        }
    }

    /// Enqueues one event by itself.
    fn special(&mut self, partition: i32, place: u32) -> Result<(), RDKafkaErrorCode> {
        let batch = Arc::clone(self.load.cargo());
        let Some(event) = batch.events.get(place as usize) else { return Ok(()) };
        let headers = batch.headers(event).iter();
        let headers = headers.map(|header| (batch.bytes(header.name), header.value.map(|value| batch.bytes(value))));
        self.load.produce_one(partition, place, event.timestamp, headers)
    }

    /// Tries an event that was not taken once more where that can help, leaves it where the next producer will take it,
    /// else fails it.
    fn not_taken(&mut self, place: u32, code: RDKafkaErrorCode) {
        // librdkafka may not have heard yet of partitions that were added: its own choice is as good.
        let free = self.load.cargo().events.get(place as usize).is_some_and(|event| event.partition.is_none());
        let again = match code {
            RDKafkaErrorCode::UnknownPartition if free => self.special(ANY_PARTITION, place),
            _ => Err(code),
        };
        let Err(code) = again.map_err(|code| self.context.cause(code)) else { return };
        let ears = &self.context.ears;
        if code == RDKafkaErrorCode::Fatal {
            return ears.alarm.notify_one();
        }
        let fate = refused(code);
        self.context.note(self.to.topic.as_str(), code);
        ears.health.complain(&format!("topic {}: {fate}", self.to.topic));
        ears.flights.settle([(self.load.token(), Run::of(place as usize, fate))]);
    }
}

/// The fate of an event that librdkafka did not take.
pub(super) fn refused(code: RDKafkaErrorCode) -> Fate {
    if is_final(code) { Fate::Refused(code) } else { Fate::Failed(code) }
}

/// The events of one batch in the order in which they are enqueued: partition by partition, in each as they came.
pub(super) enum Order {
    /// All of so many, none of them special, to one partition: the usual case costs nothing.
    AsIs(i32, u32),
    /// Partition and place of each event.
    Sorted(Vec<(i32, u32)>),
}

impl Order {
    /// `sticky` chooses for events without a key, at most once.
    pub(super) fn of(batch: &Batch, partitions: i32, sticky: impl FnOnce() -> i32) -> Self {
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

    pub(super) fn into_places(self) -> Vec<(i32, u32)> {
        match self {
            Self::AsIs(partition, count) => (0..count).map(|place| (partition, place)).collect(),
            Self::Sorted(places) => places,
        }
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
