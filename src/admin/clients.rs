//! `/admin/clients`: who sends what, how much of it is refused and why, and how much of its quota is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use crate::event::ClientId;
use crate::ingest::rules::Client;
use crate::stages::limit::Nanos;
use crate::telemetry::{Outcome, Pair, RequestResult, Snapshot};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<u64>,
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
        let row = topic_row(&pair, &snapshot, app.sampler.rates(&pair));
        rows.entry(pair.client().clone()).or_default().push((row, snapshot.seen));
    }
    let usage = app.gateway.budget.usage();
    let clients = rows.into_iter().map(|(id, topics)| {
        let held = usage.clients.iter().find(|(client, ..)| *client == id);
        let client = rules.clients.get(&id).map(Arc::as_ref);
        ClientRow {
            keys: rules
                .config
                .clients
                .get(id.as_str())
                .map(|of| keys(of, &rules.auth.uses(id.as_str())))
                .unwrap_or_default(),
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

fn keys(client: &crate::config::Client, uses: &BTreeMap<Arc<str>, u64>) -> Vec<KeyRow> {
    let row = |key: &crate::config::Key| KeyRow {
        label: key.label.clone(),
        expires: key.expires.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
        last_used: uses.get(key.label.as_str()).copied(),
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
