//! The live page's clock: once a second it reads every counter and says what changed.
//!
//! Owns ten minutes of history, in the memory that `admin.history` grants. Requests do nothing for it: it reads the
//! counters that the metrics are made of, and what did not move costs no more than the look. A frame is written once,
//! whoever watches, and not at all while nobody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use crate::config::live::Live;
use crate::ingest::Gateway;
use crate::stages::produce::statistics::Board;
use crate::telemetry::Pair;
use crate::telemetry::histogram::SECONDS;

mod curve;
mod detail;
mod head;
mod heat;
mod roster;
mod row;
mod sent;
mod state;
mod track;

pub(super) use detail::{Known, Subject};

use curve::SPAN;
use head::Head;
use row::{Row, TURNS};
use state::{Point, State};
use track::Track;

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
    // std Mutex: held for a reading of all counters (one or two milliseconds at 2,000 pairs), never across await.
    state: Mutex<State>,
    frames: broadcast::Sender<Bytes>,
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
        let state = State::new(&sources.gateway.metrics.memory);
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
        state.read(&self.sources, at);
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
                kafka: self.kafka(),
            };
            // Everybody may have left meanwhile.
            let _ = self.frames.send(self.event("tick", state.tick, &frame));
        }
    }

    /// Events and bytes a second of `pair`.
    pub(super) fn rates(&self, pair: &Pair) -> (f64, f64) {
        let state = self.state();
        let [events, bytes, ..] = state.roster.track(pair).map(Track::rates).unwrap_or_default();
        (events, bytes)
    }

    /// What a viewer begins with (all there is, or, if it has seen `last`, what came since), and the frames from then on.
    pub(super) fn join(&self, last: Option<&str>) -> (Bytes, broadcast::Receiver<Bytes>) {
        let mut state = self.state();
        if self.frames.receiver_count() == 0 {
            // It begins with all there is: frames need not repeat that.
            state.clients.note_sent();
            state.topics.note_sent();
        }
        let frames = self.frames.subscribe();
        let seen = last.and_then(|id| self.tick_of(id));
        let seen = seen.filter(|tick| (state.tick.saturating_sub(SPAN as u64)..=state.tick).contains(tick));
        let rows = seen.and_then(|tick| Some((state.clients.since(tick)?, state.topics.since(tick)?)));
        let missed = seen.filter(|_| rows.is_some()).map_or(SPAN, |tick| (state.tick - tick) as usize);
        let full = rows.is_none();
        let (clients, topics) = rows.unwrap_or_else(|| (state.clients.all().collect(), state.topics.all().collect()));
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
            "kafka": self.kafka(),
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

    fn kafka(&self) -> Value {
        self.sources.board.view(|producers| head::kafka(producers.values()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// In milliseconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
