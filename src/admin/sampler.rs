//! The live page's clock: once a second it reads every counter and says what changed.
//!
//! Owns ten minutes of history, in the memory that `admin.history` grants. Requests do nothing for it: it reads the
//! counters that the metrics are made of. A frame is written once, whoever watches, and not at all while nobody does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use crate::config::live::Live;
use crate::event::{ClientId, TopicName};
use crate::ingest::Gateway;
use crate::stages::produce::statistics::{Board, Topics};
use crate::telemetry::histogram::SECONDS;
use crate::telemetry::{BrokerStats, Pair, ProducerStats, Window};

mod curve;
mod detail;
mod row;
mod track;

pub(super) use detail::Subject;

use curve::{Curves, SPAN};
use row::{Flow, Row, TURNS, Table, round};
use track::{SLOT, Track};

/// Between two readings.
const PERIOD: Duration = Duration::from_secs(1);
/// Frames that wait for a viewer; who is further behind is cut.
const FRAMES: usize = 16;

/// What `klamm dev` can be tried with: the page shows it while nothing was sent.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Example {
    /// A topic.
    pub topic: &'static str,
    /// A key that may write to it.
    pub key: &'static str,
}

/// What the sampler reads.
pub struct Sources {
    /// The path of events.
    pub gateway: Arc<Gateway>,
    /// The config and its reload.
    pub live: Arc<Live>,
    /// librdkafka's statistics.
    pub board: Arc<Board>,
    /// Where events are taken.
    pub ingest: String,
    /// In `klamm dev` alone.
    pub example: Option<Example>,
}

/// See the module.
pub struct Sampler {
    sources: Sources,
    /// Tells this process from the one before, in the ids of frames.
    born: u64,
    // std Mutex: held for a reading of all counters (a few milliseconds at 2,000 pairs), never across await.
    state: Mutex<State>,
    frames: broadcast::Sender<Bytes>,
}

struct State {
    /// Of the last reading; 0 before the first.
    tick: u64,
    tracks: HashMap<(ClientId, TopicName), Track>,
    clients: Table,
    topics: Table,
    client_curves: Curves,
    topic_curves: Curves,
    points: VecDeque<Point>,
    head: Head,
    /// What each producer sent to each partition, of the last [`track::RATE`] seconds; the newest last.
    sent: VecDeque<Vec<Arc<Topics>>>,
}

/// A point of the curves of the whole: the time in seconds, events, bytes, refusals, failures in a second, 50th and 99th
/// percentile in seconds, parts of budget and queue in use, bytes in the spool.
type Point = [Option<f64>; 10];

/// What the first screen says above its tables.
#[derive(Debug, Clone, Default, Serialize)]
struct Head {
    phase: &'static str,
    kafka_up: bool,
    /// How long Kafka has not answered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<u64>,
    complaints: Vec<String>,
    #[serde(rename = "unsafe")]
    unsafe_: bool,
    brokers: Brokers,
    total: Option<Row>,
    budget: Part,
    queue: Part,
    queue_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<Spool>,
    reload: Reload,
    history: Part,
    tap_payload: bool,
    uptime: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Brokers {
    up: usize,
    known: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Part {
    used: u64,
    of: u64,
}

impl Part {
    fn ratio(&self) -> f64 {
        self.used as f64 / (self.of as f64).max(1.0)
    }
}

#[derive(Debug, Clone, Serialize)]
struct Spool {
    active: bool,
    events: u64,
    parked: u64,
    bytes: u64,
    disk: Part,
    oldest: f64,
    room: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Reload {
    ok: bool,
    generation: u64,
    /// In seconds since the epoch.
    at: Option<i64>,
}

#[derive(Serialize)]
struct Frame<'a> {
    tick: u64,
    at: u64,
    head: &'a Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<&'a Point>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<Row>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    gone_clients: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    gone_topics: &'a [String],
    kafka: Value,
}

impl Sampler {
    /// Has read nothing yet.
    pub fn new(sources: Sources) -> Arc<Self> {
        let memory = &sources.gateway.metrics.memory;
        let state = State {
            tick: 0,
            tracks: HashMap::new(),
            clients: Table::default(),
            topics: Table::default(),
            client_curves: Curves::new(Arc::clone(memory)),
            topic_curves: Curves::new(Arc::clone(memory)),
            points: VecDeque::new(),
            head: Head::default(),
            sent: VecDeque::new(),
        };
        let (frames, _) = broadcast::channel(FRAMES);
        Arc::new(Self { sources, born: now(), state: Mutex::new(state), frames })
    }

    /// Reads once a second. Runs as a task; may be cancelled at any time.
    pub async fn run(self: Arc<Self>) {
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            clock.tick().await;
            self.read(now());
        }
    }

    /// One reading, at `at` milliseconds since the epoch.
    fn read(&self, at: u64) {
        let mut state = self.state();
        let state = &mut *state;
        state.tick += 1;
        state.read_pairs(&self.sources);
        state.head = self.head(state);
        state.point(at);
        if self.frames.receiver_count() > 0 {
            let frame = Frame {
                tick: state.tick,
                at,
                head: &state.head,
                point: state.points.back(),
                clients: state.clients.due(state.tick),
                topics: state.topics.due(state.tick),
                gone_clients: state.clients.gone(),
                gone_topics: state.topics.gone(),
                kafka: kafka(&self.sources.board.read()),
            };
            // Everybody may have left meanwhile.
            let _ = self.frames.send(self.event("tick", state.tick, &frame));
        }
    }

    /// Events and bytes a second of `pair`.
    pub(super) fn rates(&self, pair: &Pair) -> (f64, f64) {
        let state = self.state();
        let track = state.tracks.get(&(pair.client().clone(), pair.topic().clone()));
        let [events, bytes, ..] = track.map(Track::rates).unwrap_or_default();
        (events, bytes)
    }

    /// What a viewer begins with (all there is, or, if it has seen `last`, what came since), and the frames from then on.
    pub(super) fn join(&self, last: Option<&str>) -> (Bytes, broadcast::Receiver<Bytes>) {
        let state = self.state();
        let frames = self.frames.subscribe();
        let seen = last.and_then(|id| self.tick_of(id));
        let seen = seen.filter(|tick| (state.tick.saturating_sub(SPAN as u64)..=state.tick).contains(tick));
        let rows = seen.and_then(|tick| Some((state.clients.since(tick)?, state.topics.since(tick)?)));
        let missed = seen.filter(|_| rows.is_some()).map_or(SPAN, |tick| (state.tick - tick) as usize);
        let full = rows.is_none();
        let (clients, topics) = rows.unwrap_or_else(|| (state.clients.all(), state.topics.all()));
        let points: Vec<_> = state.points.iter().skip(state.points.len().saturating_sub(missed)).collect();
        let Sources { live, ingest, example, .. } = &self.sources;
        let config = live.current();
        let cluster = config.kafka.iter().next().map(|(name, cluster)| (name.clone(), cluster.bootstrap.clone()));
        let (cluster, bootstrap) = cluster.unwrap_or_default();
        let exact = config.topics.keys().find(|name| !name.ends_with('*'));
        let hello = json!({
            "full": full,
            "tick": state.tick,
            "at": now(),
            "version": env!("CARGO_PKG_VERSION"),
            "instance": hostname(),
            "ingest": ingest,
            "cluster": cluster,
            "bootstrap": bootstrap,
            "example": example,
            "topic": exact,
            "slowest": SECONDS.last(),
            "limits": { "span": SPAN, "turns": TURNS },
            "head": state.head,
            "points": points,
            "clients": clients,
            "topics": topics,
            "kafka": kafka(&self.sources.board.read()),
        });
        (self.event("hello", state.tick, &hello), frames)
    }

    /// An event of the stream.
    fn event(&self, name: &str, tick: u64, data: &impl Serialize) -> Bytes {
        let mut text = format!("id: {}-{tick}\nevent: {name}\ndata: ", self.born).into_bytes();
        // Maps have names as keys, and JSON has no line ends.
        let _ = serde_json::to_writer(&mut text, data);
        text.extend_from_slice(b"\n\n");
        text.into()
    }

    /// The tick of an event's id, if this process gave it.
    fn tick_of(&self, id: &str) -> Option<u64> {
        let (born, tick) = id.split_once('-')?;
        (born.parse() == Ok(self.born)).then(|| tick.parse().ok())?
    }

    fn head(&self, state: &State) -> Head {
        let Sources { gateway, live, board, .. } = &self.sources;
        let mut total = Flow::default();
        state.tracks.values().for_each(|track| total.add(track));
        let usage = gateway.budget.usage();
        let producers = board.read();
        let config = live.current();
        let status = live.status();
        let (used, of) = gateway.metrics.memory.usage();
        Head {
            phase: phase(gateway),
            kafka_up: gateway.health.is_up(),
            outage: gateway.health.outage().map(|outage| outage.as_secs()),
            complaints: gateway.health.complaints(),
            unsafe_: config.kafka.values().any(|cluster| cluster.unsafe_),
            brokers: brokers(&producers),
            total: Some(total.row("")),
            budget: Part { used: usage.used, of: usage.total },
            queue: Part {
                used: producers.iter().map(|producer| producer.queue_bytes.get()).sum(),
                of: producers.iter().map(|producer| producer.queue_limit.get()).max().unwrap_or_default(),
            },
            queue_records: producers.iter().map(|producer| producer.queue_messages).sum(),
            spool: spool(gateway, config.spool.total.get()),
            reload: Reload {
                ok: status.last_reload_ok,
                generation: status.generation,
                at: status.last_reload_at.map(|at| at.unix_timestamp()),
            },
            history: Part { used: used as u64, of: of as u64 },
            tap_payload: gateway.metrics.tap.shows_payload(),
            uptime: gateway.metrics.uptime().as_secs(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read_pairs(&mut self, sources: &Sources) {
        let Sources { gateway, board, .. } = sources;
        let tick = self.tick;
        for pair in gateway.metrics.pairs() {
            let key = (pair.client().clone(), pair.topic().clone());
            self.tracks.entry(key).or_insert_with(|| Track::new(Arc::clone(&pair))).read(&pair, tick);
        }
        self.tracks.retain(|_, track| track.tick == tick);
        if self.sent.len() > track::RATE {
            self.sent.pop_front();
        }
        self.sent.push_back(board.topics());

        let (mut clients, mut topics) = (HashMap::<&ClientId, Flow>::new(), HashMap::<&TopicName, Flow>::new());
        let rules = gateway.rules.load();
        // Whoever is configured has a row; so has what was ever met.
        for client in rules.clients.keys() {
            clients.entry(client).or_default();
        }
        for ((client, topic), track) in self.tracks.iter().filter(|(_, track)| track.is_told()) {
            clients.entry(client).or_default().add(track);
            topics.entry(topic).or_default().add(track);
        }
        let usage = gateway.budget.usage();
        let held: HashMap<&ClientId, (u64, u64)> =
            usage.clients.iter().map(|(client, held, share)| (client, (*held, *share))).collect();
        let waiting: HashMap<&TopicName, u64> = usage.topics.iter().map(|(topic, held)| (topic, *held)).collect();
        let now = gateway.now();
        let client_rows = clients.into_iter().map(|(id, flow)| {
            let rule = rules.clients.get(id);
            let room = rule.map(|client| {
                let left = |s: &crate::stages::limit::Standing| s.remaining as f64 / (s.quota as f64).max(1.0);
                client.quota.standing(now).map(|s| (s.policy.name(), round(left(&s), 1000.0))).collect()
            });
            let (bytes, share) = held.get(id).copied().unzip();
            Row { room, held: bytes.unwrap_or_default(), share, ..flow.row(id.as_str()) }
        });
        let client_rows: Vec<Row> = client_rows.collect();
        let topic_rows = topics.into_iter().map(|(id, flow)| Row {
            held: waiting.get(id).copied().unwrap_or_default(),
            partitions: gateway.catalog.peek(id).map(|known| known.partitions),
            spread: spread(&self.partition_rates(id.as_str())),
            // That of a client, which writes to others too.
            seen: None,
            ..flow.row(id.as_str())
        });
        let topic_rows: Vec<Row> = topic_rows.collect();
        if tick.is_multiple_of(SLOT) {
            self.client_curves.push(client_rows.iter());
            self.topic_curves.push(topic_rows.iter());
        }
        self.clients.update(client_rows, tick);
        self.topics.update(topic_rows, tick);
    }

    fn point(&mut self, at: u64) {
        let Some(total) = &self.head.total else { return };
        if self.points.len() == SPAN {
            self.points.pop_front();
        }
        let spool = self.head.spool.as_ref().map(|spool| spool.bytes as f64);
        let part = |part: &Part| Some(round(part.ratio(), 10_000.0));
        self.points.push_back([
            Some((at / 1000) as f64),
            Some(total.events_per_second),
            Some(total.bytes_per_second),
            Some(total.refusals_per_second),
            Some(total.failures_per_second),
            total.p50.seconds(),
            total.p99.seconds(),
            part(&self.head.budget),
            part(&self.head.queue),
            spool,
        ]);
    }

    /// By partition of `topic`, records sent in a second, over the last [`track::RATE`] seconds.
    fn partition_rates(&self, topic: &str) -> BTreeMap<i32, f64> {
        let (Some(old), Some(new)) = (self.sent.front(), self.sent.back()) else { return BTreeMap::new() };
        let seconds = (self.sent.len() - 1).max(1) as f64;
        let sum = |all: &[Arc<Topics>]| {
            let mut sums = BTreeMap::<i32, u64>::new();
            for (partition, stats) in all.iter().filter_map(|topics| topics.get(topic)).flat_map(|t| &t.partitions) {
                *sums.entry(*partition).or_default() += stats.records;
            }
            sums
        };
        let old = sum(old);
        let rate = |partition: &i32, records: u64| {
            // What was not there before, or began anew, has no rate yet.
            old.get(partition).map_or(0.0, |before| records.saturating_sub(*before) as f64 / seconds)
        };
        sum(new).into_iter().map(|(partition, records)| (partition, rate(&partition, records))).collect()
    }
}

/// How many times the mean the busiest partition has; `None` where nothing is sent.
fn spread(rates: &BTreeMap<i32, f64>) -> Option<f64> {
    let sum: f64 = rates.values().sum();
    let most = rates.values().copied().fold(0.0, f64::max);
    (sum > 0.0).then(|| round(most * rates.len() as f64 / sum, 100.0))
}

fn phase(gateway: &Gateway) -> &'static str {
    use crate::shutdown::Phase;
    match *gateway.phase.borrow() {
        Phase::Serving => "serving",
        Phase::LameDuck => "stopping, still serving",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
    }
}

/// A broker is up if one of the producers is connected to it.
fn brokers(producers: &[ProducerStats]) -> Brokers {
    let mut up = BTreeMap::<&str, bool>::new();
    for broker in producers.iter().flat_map(|producer| &producer.brokers) {
        *up.entry(&broker.name).or_default() |= broker.up;
    }
    Brokers { up: up.values().filter(|up| **up).count(), known: up.len() }
}

fn spool(gateway: &Gateway, total: u64) -> Option<Spool> {
    let state = gateway.spooling.as_ref()?.store.state();
    Some(Spool {
        active: gateway.is_spooling(),
        events: state.events,
        parked: state.parked,
        bytes: state.bytes,
        disk: Part { used: state.disk, of: total },
        oldest: round(state.oldest.unwrap_or_default().as_secs_f64(), 10.0),
        room: state.room,
    })
}

/// The producers and their brokers: times in seconds, sizes in bytes.
fn kafka(producers: &[ProducerStats]) -> Value {
    let window = |window: Window<Duration>| json!({ "avg": window.avg.as_secs_f64(), "p99": window.p99.as_secs_f64() });
    let broker = |broker: &BrokerStats| {
        json!({
            "name": broker.name,
            "up": broker.up,
            "rtt": window(broker.rtt),
            "queue": window(broker.queue),
            "send": window(broker.send),
            "throttle": window(broker.throttle),
            "errors": broker.tx_errors,
            "retries": broker.tx_retries,
        })
    };
    let producer = |producer: &ProducerStats| {
        json!({
            "name": producer.name,
            "queue_records": producer.queue_messages,
            "queue_bytes": producer.queue_bytes.get(),
            "queue_limit": producer.queue_limit.get(),
            "batch": { "avg": producer.batch.avg.get(), "p99": producer.batch.p99.get() },
            "brokers": producer.brokers.iter().map(broker).collect::<Vec<_>>(),
        })
    };
    producers.iter().map(producer).collect()
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// In milliseconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_spread_is_one_and_a_hot_partition_is_seen() {
        let rates = |rates: &[f64]| (0..).zip(rates.iter().copied()).collect::<BTreeMap<i32, f64>>();
        assert_eq!(spread(&rates(&[5.0, 5.0, 5.0, 5.0])), Some(1.0));
        assert_eq!(spread(&rates(&[20.0, 0.0, 0.0, 0.0])), Some(4.0));
        assert_eq!((spread(&rates(&[0.0, 0.0])), spread(&rates(&[]))), (None, None));
    }
}
