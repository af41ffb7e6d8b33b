//! `GET /v1/topics` and `GET /v1/topics/{topic}`: what a client may write to, and how.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;

use super::answer;
use super::app::App;
use super::problem::Refused;
use crate::config::{Ack, Decision, OnOutage, Topic};
use crate::event::TopicName;
use crate::ingest::gate::{unwritable, writable};
use crate::ingest::rules::{Client, Rules};
use crate::reject::Reject;
use crate::stages::auth::{Head, Peer};
use crate::stages::decode::accept_post;
use crate::stages::produce::catalog::Known;
use crate::stages::route::policy::{Policy, Topics};

/// The policy of a topic as its clients see it.
#[derive(Serialize)]
struct Shown<'a> {
    /// A name, or a prefix as `clicks-*`.
    topic: &'a str,
    accept: String,
    key: Key<'a>,
    max_event_bytes: u64,
    tombstones: bool,
    partition: bool,
    ack: Ack,
    on_outage: OnOutage,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
}

#[derive(Serialize)]
struct Key<'a> {
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(name: &'a str, topic: &'a Topic, known: Option<Known>) -> Self {
        let max_event = topic.max_event.get();
        Self {
            topic: name,
            accept: accept_post(&topic.formats),
            key: Key {
                required: topic.key.required || known.is_some_and(|known| known.needs_key()),
                pointer: topic.key.pointer.as_deref(),
            },
            max_event_bytes: known.map_or(max_event, |known| known.max_event(max_event)),
            tombstones: topic.tombstones == Decision::Allow,
            partition: topic.partition == Decision::Allow,
            ack: topic.ack,
            on_outage: topic.on_outage,
            partitions: known.map(|known| known.partitions),
        }
    }
}

#[derive(Serialize)]
struct List<'a> {
    topics: Vec<Shown<'a>>,
}

/// The topics of the config that the client may write to.
pub(super) async fn list(State(app): State<App>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    let rules = app.gateway.rules.load();
    let client = match admitted(&app, &rules, &Head { headers: &headers, peer }) {
        Ok(client) => client,
        Err(refusal) => return *refusal,
    };
    let own = own(&client, &rules.topics);
    let topics = own.iter().map(|(name, policy)| Shown::new(name, &policy.topic, None)).collect();
    answered(&app, &client, Json(List { topics }).into_response())
}

/// One of them, with what Kafka says about it.
pub(super) async fn show(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    topic: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let rules = app.gateway.rules.load_full();
    let client = match admitted(&app, &rules, &Head { headers: &headers, peer }) {
        Ok(client) => client,
        Err(refusal) => return *refusal,
    };
    let name = topic.map(|Path(topic)| topic).unwrap_or_default();
    let response = match writable(&rules, &client, &name) {
        Ok(policy) => match known(&app, &name).await {
            Ok(known) => Json(Shown::new(&name, &policy.topic, Some(known))).into_response(),
            Err(reject) => Refused(reject).into_response(),
        },
        Err(reject) => Refused(reject).into_response(),
    };
    answered(&app, &client, response)
}

/// Who asks; that costs one request of its quota. Not for posts of events, which the gate looks at.
pub(super) fn admitted(app: &App, rules: &Rules, head: &Head<'_>) -> Result<Arc<Client>, Box<Response>> {
    let client = app.gateway.identify(rules, head).map_err(|refused| {
        refused.pair.refused(refused.reject.code());
        Box::new(Refused(refused.reject).into_response())
    })?;
    match client.quota.request(app.gateway.now()) {
        Ok(()) => Ok(client),
        Err(reject) => {
            app.gateway.metrics.unknown_topic(&client.id).refused(reject.code());
            Err(Box::new(answered(app, &client, Refused(reject).into_response())))
        }
    }
}

/// What the client's grants and the config have in common: of a prefix in a prefix, the longer.
fn own(client: &Client, topics: &Topics) -> BTreeMap<String, Arc<Policy>> {
    let mut own = BTreeMap::new();
    for pattern in client.grants.patterns() {
        let Some(granted) = pattern.strip_suffix('*') else {
            own.extend(topics.find(pattern).map(|policy| (pattern.clone(), policy)));
            continue;
        };
        for (name, policy) in topics.entries() {
            let narrower = if name.starts_with(granted) {
                name
            } else if name.strip_suffix('*').is_some_and(|prefix| granted.starts_with(prefix)) {
                pattern.as_str()
            } else {
                continue;
            };
            own.insert(narrower.to_owned(), Arc::clone(policy));
        }
    }
    own
}

async fn known(app: &App, name: &str) -> Result<Known, Reject> {
    let topic = TopicName::from(name);
    app.gateway.catalog.find(&topic).await.map_err(|refusal| unwritable(&app.gateway, &refusal, &topic))
}

pub(super) fn answered(app: &App, client: &Arc<Client>, mut response: Response) -> Response {
    answer::quotas(client, app.gateway.now(), &mut response);
    response
}
