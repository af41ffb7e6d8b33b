//! `/admin/clients`: who sends what, how much of it is refused and why, and how much of its quota is left.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use crate::event::{ClientId, TopicName};
use crate::ingest::rules::Client;
use crate::stages::limit::Nanos;
use crate::telemetry::{Metrics, Outcome, Pair, RequestResult, Snapshot};

/// Rates are over about this long.
const WINDOW: usize = 10;
/// Between two readings.
pub const PERIOD: Duration = Duration::from_secs(1);

type Reading = HashMap<(ClientId, TopicName), (u64, u64)>;

/// The counters of the last seconds, so that rates can be told. Bounded by the pairs of the metrics.
#[derive(Default)]
pub struct Rates {
    readings: Mutex<VecDeque<(Instant, Reading)>>,
}

impl Rates {
    /// Reads the counters; due every [`PERIOD`].
    pub fn read(&self, metrics: &Metrics) {
        let mut reading = Reading::new();
        for pair in metrics.pairs() {
            let snapshot = pair.snapshot();
            reading.insert((pair.client().clone(), pair.topic().clone()), (snapshot.received, snapshot.bytes));
        }
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.push_back((Instant::now(), reading));
        if readings.len() > WINDOW {
            readings.pop_front();
        }
    }

    /// Events and bytes a second of `pair`, which holds `snapshot` now.
    fn of(&self, pair: &Pair, snapshot: &Snapshot) -> (f64, f64) {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((then, reading)) = readings.front() else { return (0.0, 0.0) };
        let seconds = then.elapsed().as_secs_f64();
        // A pair that is new since counts from 0.
        let (events, bytes) = reading.get(&(pair.client().clone(), pair.topic().clone())).copied().unwrap_or_default();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (rate(snapshot.received, events), rate(snapshot.bytes, bytes))
    }
}

/// The page.
#[derive(Serialize)]
pub(super) struct Page {
    clients: Vec<ClientRow>,
}

#[derive(Serialize)]
struct ClientRow {
    client: String,
    keys: Vec<KeyRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
    quotas: BTreeMap<&'static str, QuotaRow>,
    buffered_bytes: u64,
    share_bytes: u64,
    topics: Vec<TopicRow>,
}

#[derive(Serialize)]
struct KeyRow {
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
struct QuotaRow {
    limit: u64,
    remaining: u64,
    reset_seconds: u64,
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    events_per_second: f64,
    bytes_per_second: f64,
    received: u64,
    bytes: u64,
    outcomes: BTreeMap<&'static str, u64>,
    requests: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<&'static str, u64>,
}

/// The handler.
pub(super) async fn page(State(app): State<App>) -> Json<Page> {
    let rules = app.gateway.rules.load();
    let mut rows: BTreeMap<ClientId, Vec<(TopicRow, Option<u64>)>> = BTreeMap::new();
    for client in rules.clients.keys() {
        rows.insert(client.clone(), Vec::new());
    }
    for pair in app.gateway.metrics.pairs() {
        let snapshot = pair.snapshot();
        let row = topic_row(&pair, &snapshot, app.rates.of(&pair, &snapshot));
        rows.entry(pair.client().clone()).or_default().push((row, snapshot.seen));
    }
    let usage = app.gateway.budget.usage();
    let clients = rows.into_iter().map(|(id, topics)| {
        let held = usage.clients.iter().find(|(client, ..)| *client == id);
        let client = rules.clients.get(&id).map(Arc::as_ref);
        ClientRow {
            keys: rules.config.clients.get(id.as_str()).map(keys).unwrap_or_default(),
            last_seen: topics.iter().filter_map(|(_, seen)| *seen).max(),
            quotas: client.map(|client| quotas(client, app.gateway.now())).unwrap_or_default(),
            buffered_bytes: held.map_or(0, |(_, held, _)| *held),
            share_bytes: held.map_or(0, |(.., share)| *share),
            topics: topics.into_iter().map(|(row, _)| row).collect(),
            client: id.to_string(),
        }
    });
    Json(Page { clients: clients.collect() })
}

fn keys(client: &crate::config::Client) -> Vec<KeyRow> {
    let row = |key: &crate::config::Key| KeyRow {
        label: key.label.clone(),
        expires: key.expires.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
    };
    client.keys.iter().map(row).collect()
}

fn quotas(client: &Client, now: Nanos) -> BTreeMap<&'static str, QuotaRow> {
    let rows = client.quota.standing(now).map(|standing| {
        let row = QuotaRow { limit: standing.quota, remaining: standing.remaining, reset_seconds: standing.reset };
        (standing.policy.name(), row)
    });
    rows.collect()
}

fn topic_row(pair: &Pair, snapshot: &Snapshot, (events_per_second, bytes_per_second): (f64, f64)) -> TopicRow {
    TopicRow {
        topic: pair.topic().to_string(),
        events_per_second,
        bytes_per_second,
        received: snapshot.received,
        bytes: snapshot.bytes,
        outcomes: Outcome::ALL.into_iter().map(|o| (o.name(), snapshot.outcome(o))).collect(),
        requests: RequestResult::ALL.into_iter().map(|r| (r.name(), snapshot.result(r))).collect(),
        refusals: snapshot.refusals.iter().map(|(code, count)| (code.name(), *count)).collect(),
    }
}
