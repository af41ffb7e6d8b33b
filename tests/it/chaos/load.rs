//! The load of the chaos runs: several clients, single events and batches, keyed streams whose requests follow one
//! another, each request in the ledger before it is sent.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::event::{Id, Values};
use super::ledger::{Ledger, Order, Run, SILENCE};
use crate::support::client::{Answer, Client};
use crate::support::keys;

/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that a paced sender has on the way at once; when they hang it sends no more.
const AT_ONCE: usize = 48;
/// A stream rests so long between an answer and its next request; after a refusal longer.
const REST: Duration = Duration::from_millis(25);
const REST_AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// How a sender goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// On a schedule, whatever became of the requests before.
    Every(Duration),
    /// The next request of the stream after the answer to the last.
    OneByOne(u32),
    /// As `Every`, while the flood is let loose.
    Flood(Duration),
}

/// One sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) client: usize,
    pub(super) topic: usize,
    pub(super) events: u32,
    pub(super) pace: Pace,
    /// Asks for 202 from the spool.
    pub(super) respond_async: bool,
}

/// Names behind the numbers of the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) clients: &'static [&'static str],
    pub(super) topics: &'static [&'static str],
}

/// The key of a stream.
pub(super) fn key_of(stream: u32) -> String {
    format!("stream-{stream}")
}

/// Senders at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

struct Shared {
    ledger: Arc<Ledger>,
    values: Values,
    stop: AtomicBool,
    pause: AtomicBool,
    flood: Arc<AtomicBool>,
    in_flight: AtomicUsize,
    accepted: AtomicUsize,
}

impl Load {
    /// Starts `senders` against `address`.
    pub(super) fn start(address: &str, names: Names, senders: &[Sender], ledger: Arc<Ledger>, values: Values) -> Self {
        let (stop, pause, flood) = (AtomicBool::new(false), AtomicBool::new(false), Arc::default());
        let (in_flight, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { ledger, values, stop, pause, flood, in_flight, accepted });
        let mut tasks = JoinSet::new();
        for sender in senders {
            let post = Arc::new(Post::new(address, names, *sender, Arc::clone(&shared)));
            match sender.pace {
                Pace::Every(period) | Pace::Flood(period) => tasks.spawn(paced(post, period)),
                Pace::OneByOne(stream) => tasks.spawn(one_by_one(post, stream)),
            };
        }
        Self { shared, senders: tasks }
    }

    /// Requests sent and not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Requests answered 200 or 202 so far.
    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// While it is true the senders of [`Pace::Flood`] send.
    pub(super) fn flood(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.flood)
    }

    /// Sends nothing until [`Load::go_on`]; returns when every request is answered.
    pub(super) async fn pause(&self) {
        self.shared.pause.store(true, Ordering::SeqCst);
        // A sender that had looked just before.
        tokio::time::sleep(Duration::from_millis(50)).await;
        while self.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn go_on(&self) {
        self.shared.pause.store(false, Ordering::SeqCst);
    }

    /// Ends it; returns when every request is answered or given up.
    pub(super) async fn stop(mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender that does not panic");
        }
    }
}

async fn paced(post: Arc<Post>, period: Duration) {
    let mut clock = tokio::time::interval(period);
    // As many as were due, not a burst of all that were missed.
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut on_the_way = JoinSet::new();
    loop {
        clock.tick().await;
        while on_the_way.try_join_next().is_some() {}
        if post.shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let is_idle = match post.sender.pace {
            Pace::Flood(_) => !post.shared.flood.load(Ordering::SeqCst),
            Pace::Every(_) | Pace::OneByOne(_) => post.shared.pause.load(Ordering::SeqCst),
        };
        if on_the_way.len() < AT_ONCE && !is_idle {
            let post = Arc::clone(&post);
            on_the_way.spawn(async move { post.request(None).await });
        }
    }
    while on_the_way.join_next().await.is_some() {}
}

async fn one_by_one(post: Arc<Post>, stream: u32) {
    while !post.shared.stop.load(Ordering::SeqCst) {
        let mut rest = REST;
        if !post.shared.pause.load(Ordering::SeqCst) && !matches!(post.request(Some(stream)).await, 200 | 202) {
            rest = REST_AFTER_REFUSAL;
        }
        tokio::time::sleep(rest).await;
    }
}

/// What one sender needs for a request.
struct Post {
    sender: Sender,
    client: Client,
    path: String,
    authorization: String,
    shared: Arc<Shared>,
}

impl Post {
    fn new(address: &str, names: Names, sender: Sender, shared: Arc<Shared>) -> Self {
        let path = format!("/v1/topics/{}/events", names.topics[sender.topic]);
        let authorization = format!("Bearer {}", keys::fixed(names.clients[sender.client]).text);
        Self { sender, client: Client::new(address), path, authorization, shared }
    }

    /// One request from the first line in the ledger to the second; its status.
    async fn request(&self, stream: Option<u32>) -> u16 {
        let Sender { client, topic, events, respond_async, .. } = self.sender;
        self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let number = self.shared.ledger.sent(Order { client, topic, stream, events });
        let key = stream.map(key_of);
        let (content_type, body) = self.body(number, key.as_deref());
        let mut headers = vec![("authorization", self.authorization.as_str()), ("content-type", content_type)];
        if let (Some(key), 1) = (&key, events) {
            headers.push(("kafka-key", key));
        }
        headers.push(("prefer", if respond_async { "respond-async, return=minimal" } else { "return=minimal" }));
        let call = self.client.try_post(&self.path, &headers, body);
        let answer = tokio::time::timeout(PATIENCE, call).await.ok().and_then(Result::ok);
        let (status, failed) = answer.as_ref().map_or((SILENCE, Vec::new()), |answer| (answer.status, failed(answer)));
        self.shared.ledger.answered(number, status, &failed);
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        if matches!(status, 200 | 202) {
            self.shared.accepted.fetch_add(1, Ordering::SeqCst);
        }
        status
    }

    /// One event as JSON, several as NDJSON; several with a key as envelopes.
    fn body(&self, request: u64, key: Option<&str>) -> (&'static str, Bytes) {
        let values = (0..self.sender.events).map(|index| self.shared.values.of(Id { request, index }));
        let mut text = String::with_capacity(200 * self.sender.events as usize);
        for value in values {
            let value = std::str::from_utf8(&value).expect("a value of text");
            let written = match key {
                Some(key) if self.sender.events > 1 => writeln!(text, r#"{{"key":"{key}","value":{value}}}"#),
                _ => writeln!(text, "{value}"),
            };
            written.expect("a string takes text");
        }
        let content_type = match (key, self.sender.events) {
            (_, 1) => "application/json",
            (Some(_), _) => "application/vnd.klamm.v1+x-ndjson",
            (None, _) => "application/x-ndjson",
        };
        (content_type, text.into())
    }
}

/// The runs of a 207 that failed.
fn failed(answer: &Answer) -> Vec<Run> {
    if answer.status != 207 {
        return Vec::new();
    }
    let body = answer.json();
    let runs = body["failures"].as_array().expect("failures").iter().map(|run| {
        let number = |name: &str| u32::try_from(run[name].as_u64().expect("a number")).expect("a small one");
        let status = match run["code"].as_str().expect("a code") {
            "kafka_unavailable" => 503,
            "kafka_rejected" => 502,
            "outcome_unknown" => 504,
            code => panic!("a 207 with {code}"),
        };
        (number("index"), number("count"), status)
    });
    runs.collect()
}
