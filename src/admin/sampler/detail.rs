//! The page of one client or one topic: what the tables leave out.

use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::row::{Flow, Row, round};
use super::{Sampler, State};
use crate::stages::produce::statistics::TopicStats;
use crate::telemetry::trail::{Problem, Request, Steps};

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) enum Subject {
    /// A client, or `_anonymous`.
    Client(String),
    /// A topic, or `_other` or `_unknown`.
    Topic(String),
}

/// A request among the last ones of its client.
#[derive(Serialize)]
pub(in crate::admin) struct Line<'a> {
    at: u64,
    id: String,
    topic: &'a str,
    status: u16,
    code: Option<&'static str>,
    events: u64,
    bytes: u64,
    /// Seconds.
    took: f64,
}

impl<'a> From<&'a Request> for Line<'a> {
    fn from(request: &'a Request) -> Self {
        Self {
            at: request.at,
            id: request.id.to_string(),
            topic: request.topic.as_str(),
            status: request.status,
            code: request.code.map(|code| code.name()),
            events: request.events,
            bytes: request.bytes,
            took: round(request.took.as_secs_f64(), 1e6),
        }
    }
}

fn problem(problem: &Problem) -> Value {
    json!({ "code": problem.code.name(), "at": problem.at, "body": problem.body })
}

impl Sampler {
    /// The page of `subject` as an event. `version` is that of the requests which the viewer has, and is set to the new
    /// one; they are left out while it stays.
    pub(in crate::admin) fn page(&self, subject: &Subject, version: &mut Option<u64>) -> bytes::Bytes {
        let state = self.state();
        let page = match subject {
            Subject::Client(id) => self.client(&state, id, version),
            Subject::Topic(id) => self.topic(&state, id),
        };
        self.event("page", state.tick, &page)
    }

    fn client(&self, state: &State, id: &str, version: &mut Option<u64>) -> Value {
        let tracks: Vec<_> = state.tracks.iter().filter(|((client, _), _)| client.as_str() == id).collect();
        let topics = tracks.iter().filter(|(_, track)| track.is_told()).map(|((_, topic), track)| {
            let mut flow = Flow::default();
            flow.add(track);
            flow.row(topic.as_str())
        });
        let topics: Vec<Row> = topics.collect();
        let gateway = &self.sources.gateway;
        let rules = gateway.rules.load();
        let uses = rules.auth.uses(id);
        let config = rules.config.clients.get(id);
        let keys = config.iter().flat_map(|client| &client.keys).map(|key| {
            let expires = key.expires.and_then(|at| at.format(&Rfc3339).ok());
            json!({ "label": key.label, "expires": expires, "used": uses.get(key.label.as_str()) })
        });
        let keys: Vec<Value> = keys.collect();
        let now = gateway.now();
        let quotas = rules.clients.get(id).map(|client| {
            let row = |s: crate::stages::limit::Standing| {
                json!({ "name": s.policy.name(), "burst": s.quota, "left": s.remaining, "window": s.window, "reset": s.reset })
            };
            client.quota.standing(now).map(row).collect::<Vec<_>>()
        });
        let trail = tracks.first().map(|(_, track)| track.pair.trail());
        let newest = trail.map_or(0, |trail| trail.version());
        let mut page = json!({
            "client": id,
            "known": config.is_some() || !tracks.is_empty(),
            "allowed": config.map(|client| &client.topics),
            "topics": topics,
            "keys": keys,
            "quotas": quotas,
            "curve": state.client_curves.draw(id),
        });
        if *version != Some(newest) {
            let Steps { version: read, requests, problems } = trail.map(|trail| trail.read()).unwrap_or_default();
            *version = Some(read);
            if let Some(page) = page.as_object_mut() {
                let lines = requests.iter().map(Line::from).map(|line| json!(line)).collect();
                page.insert("requests".to_owned(), lines);
                page.insert("problems".to_owned(), problems.iter().map(problem).collect());
            }
        }
        page
    }

    fn topic(&self, state: &State, id: &str) -> Value {
        let tracks = state.tracks.iter().filter(|((_, topic), track)| topic.as_str() == id && track.is_told());
        let clients = tracks.map(|((client, _), track)| {
            let mut flow = Flow::default();
            flow.add(track);
            flow.row(client.as_str())
        });
        let clients: Vec<Row> = clients.collect();
        let rates = state.partition_rates(id);
        let latest = state.sent.back().map(Vec::as_slice).unwrap_or_default();
        let stats: Vec<&TopicStats> = latest.iter().filter_map(|topics| topics.get(id)).collect();
        let leader =
            |partition: &i32| stats.iter().filter_map(|topic| topic.partitions.get(partition)).map(|p| p.leader).max();
        let partitions = rates.iter().map(
            |(partition, rate)| json!({ "id": partition, "leader": leader(partition), "rate": round(*rate, 10.0) }),
        );
        let batches = stats.iter().map(|topic| json!({ "bytes": topic.batch_bytes, "records": topic.batch_records }));
        let errors = self.sources.board.errors(id).into_iter();
        let errors = errors.map(|(error, row)| json!({ "error": error, "count": row.count, "last": row.last }));
        let config = self.sources.live.current();
        let policy = self.sources.gateway.rules.load().topics.find(id).is_some();
        json!({
            "topic": id,
            "known": policy || !clients.is_empty(),
            "clients": clients,
            "curve": state.topic_curves.draw(id),
            "partitions": partitions.collect::<Vec<_>>(),
            "batches": batches.collect::<Vec<_>>(),
            "errors": errors.collect::<Vec<_>>(),
            "policy": config.topics.get(id),
        })
    }
}
