//! `GET /v1/requests/{id}`: what became of a request whose events the spool took.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;
use uuid::Uuid;

use super::app::App;
use super::problem::Refused;
use super::topics::{admitted, answered};
use crate::event::RequestId;
use crate::ingest::spooling::book::{self, Page, Run};
use crate::reject::Reject;
use crate::stages::auth::{Head, Peer};

#[derive(Serialize)]
struct Shown<'a> {
    request_id: RequestId,
    topic: &'a str,
    events: u32,
    counts: Counts,
    receipts: Vec<Row>,
}

/// By state.
#[derive(Default, Serialize)]
struct Counts {
    spooled: u32,
    acked: u32,
    dead_lettered: u32,
    unknown: u32,
}

#[derive(Serialize)]
struct Row {
    index: u32,
    count: u32,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
}

impl<'a> Shown<'a> {
    fn new(request_id: RequestId, page: &'a Page) -> Self {
        let mut counts = Counts::default();
        let receipts = page.runs.iter().map(|run| counts.add(run)).collect();
        let events = page.runs.iter().map(|run| run.count).sum();
        Self { request_id, topic: page.topic.as_str(), events, counts, receipts }
    }
}

impl Counts {
    fn add(&mut self, run: &Run) -> Row {
        let Run { index, count, state } = *run;
        let (sum, state, partition, offset) = match state {
            book::State::Spooled => (&mut self.spooled, "spooled", None, None),
            book::State::Acked { partition, offset } => (&mut self.acked, "acked", Some(partition), offset),
            book::State::DeadLettered => (&mut self.dead_lettered, "dead_lettered", None, None),
            book::State::Unknown => (&mut self.unknown, "unknown", None, None),
        };
        *sum += count;
        Row { index, count, state, partition, offset }
    }
}

/// Answered only to the client that sent it: what is another's looks as if it were not there.
pub(super) async fn show(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let rules = app.gateway.rules.load_full();
    let client = match admitted(&app, &rules, &Head { headers: &headers, peer }) {
        Ok(client) => client,
        Err(refusal) => return *refusal,
    };
    let request = id.ok().and_then(|Path(id)| Uuid::try_parse(&id).ok()).map(RequestId::from);
    let page = request.and_then(|request| Some((request, app.gateway.spooling.as_ref()?.book.find(request)?)));
    let response = match page.filter(|(_, page)| page.client == client.id) {
        Some((request, page)) => Json(Shown::new(request, &page)).into_response(),
        None => Refused(Reject::UnknownRequest).into_response(),
    };
    answered(&app, &client, response)
}
