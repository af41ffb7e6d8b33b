//! The page of one client or one topic: what the tables leave out.

use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::row::{Flow, Row, round};
use super::{Sampler, State};
use crate::telemetry::trail::{Problem, Request, Steps};

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) enum Subject {
    /// A client, or `_anonymous`.
    Client(String),
    /// A topic, or `_other` or `_unknown`.
    Topic(String),
}

/// What a viewer of a page was sent already. Default: nothing.
#[derive(Debug, Default)]
pub(in crate::admin) struct Known {
    /// The version of the client's last requests.
    requests: Option<u64>,
    /// When the curves that it has were lengthened.
    curves: Option<u64>,
}

impl Known {
    fn lacks_curves(&mut self, state: &State) -> bool {
        self.curves.replace(state.lengthened) != Some(state.lengthened)
    }
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
    /// The page of `subject` as an event. `known` is what the viewer has: that is left out, and what is sent is noted there.
    pub(in crate::admin) fn page(&self, subject: &Subject, known: &mut Known) -> bytes::Bytes {
        let state = self.state();
        let page = match subject {
            Subject::Client(id) => self.client(&state, id, known),
            Subject::Topic(id) => self.topic(&state, id, known),
        };
        self.event("page", state.tick, &page)
    }

    fn client(&self, state: &State, id: &str, known: &mut Known) -> Value {
        let tracks: Vec<_> = state.roster.tracks().filter(|track| track.pair.client().as_str() == id).collect();
        let topics = tracks.iter().filter(|track| track.is_told()).map(|track| {
            let mut flow = Flow::default();
            flow.add(track);
            flow.row(track.pair.topic().as_str())
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
        let trail = tracks.first().map(|track| track.pair.trail());
        let newest = trail.map_or(0, |trail| trail.version());
        let mut page = json!({
            "client": id,
            "known": config.is_some() || !tracks.is_empty(),
            "allowed": config.map(|client| &client.topics),
            "topics": topics,
            "keys": keys,
            "quotas": quotas,
        });
        if known.requests != Some(newest) {
            let Steps { version: read, requests, problems } = trail.map(|trail| trail.read()).unwrap_or_default();
            known.requests = Some(read);
            add(&mut page, "requests", requests.iter().map(Line::from).map(|line| json!(line)).collect());
            add(&mut page, "problems", problems.iter().map(problem).collect());
        }
        if known.lacks_curves(state) {
            add(&mut page, "curve", json!(state.client_curves.draw(id, state.lengthened)));
        }
        page
    }

    fn topic(&self, state: &State, id: &str, known: &mut Known) -> Value {
        let tracks = state.roster.tracks().filter(|track| track.pair.topic().as_str() == id && track.is_told());
        let clients = tracks.map(|track| {
            let mut flow = Flow::default();
            flow.add(track);
            flow.row(track.pair.client().as_str())
        });
        let clients: Vec<Row> = clients.collect();
        let rates = state.sent.rates(id);
        let stats = state.sent.latest(id);
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
        let mut page = json!({
            "topic": id,
            "known": policy || !clients.is_empty(),
            "clients": clients,
            "partitions": partitions.collect::<Vec<_>>(),
            "batches": batches.collect::<Vec<_>>(),
            "errors": errors.collect::<Vec<_>>(),
            "policy": config.topics.get(id),
        });
        if known.lacks_curves(state) {
            add(&mut page, "curve", json!(state.topic_curves.draw(id, state.lengthened)));
            add(&mut page, "heat", json!(state.heat.draw(id)));
        }
        page
    }
}

fn add(page: &mut Value, name: &str, value: Value) {
    if let Some(page) = page.as_object_mut() {
        page.insert(name.to_owned(), value);
    }
}
