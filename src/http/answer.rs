//! Answers to requests to produce: 200, 202 and 207 with their receipts, refusals with their quotas.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};

use super::body;
use super::problem::{self, Run};
use crate::event::RequestId;
use crate::ingest::outcome::{Accepted, Kind, Receipt};
use crate::ingest::rules::Client;
use crate::ingest::{Gateway, Refused};
use crate::reject::Reject;
use crate::stages::limit::{Nanos, ratelimit};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit");

/// Why a request to produce has no receipts.
#[derive(Debug)]
pub(super) enum Answered {
    /// The caller is told.
    Refused(Reject),
    /// There is nobody to tell.
    Aborted,
}

impl From<Reject> for Answered {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

impl From<Refused> for Answered {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.reject)
    }
}

impl From<body::Error> for Answered {
    fn from(error: body::Error) -> Self {
        match error {
            body::Error::Refused(reject) => Self::Refused(reject),
            body::Error::Aborted => Self::Aborted,
        }
    }
}

/// The answer. `client` has its quotas in the header fields.
pub(super) fn render(
    result: Result<Accepted, Answered>,
    client: Option<&Arc<Client>>,
    app: &Gateway,
    request: RequestId,
) -> Response {
    let mut response = match result {
        Ok(accepted) => accepted_response(&accepted, request),
        Err(Answered::Refused(reject)) => problem::Refused(reject).into_response(),
        Err(Answered::Aborted) => body::Error::Aborted.into_response(),
    };
    if let Some(client) = client {
        quotas(client, app.now(), &mut response);
    }
    response
}

/// `RateLimit-Policy` and `RateLimit` of `client` (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn quotas(client: &Client, now: Nanos, response: &mut Response) {
    let Some((policy, remaining)) = ratelimit::fields(&client.quota, now) else { return };
    response.headers_mut().insert(POLICY, policy);
    response.headers_mut().insert(REMAINING, remaining);
}

fn accepted_response(accepted: &Accepted, request: RequestId) -> Response {
    let kind = accepted.kind();
    let status = match kind {
        Kind::Acked => StatusCode::OK,
        Kind::Spooled => StatusCode::ACCEPTED,
        Kind::Mixed => StatusCode::MULTI_STATUS,
    };
    let failures: Vec<Run<'_>> = accepted.failures.iter().map(Run::from).collect();
    let spooled = &accepted.spooled;
    let waiting = || spooled.iter().map(|&(index, count)| Waiting { index, count }).collect();
    let answer = Answer {
        topic: accepted.topic.as_str(),
        accepted: accepted.accepted,
        spooled: (!spooled.is_empty()).then(|| spooled.iter().map(|(_, count)| *count as usize).sum()),
        request_id: request,
        receipts: (!accepted.minimal && kind != Kind::Spooled).then_some(Rows(&accepted.receipts)),
        waiting: (kind == Kind::Mixed && !spooled.is_empty()).then(waiting),
        failures: (!failures.is_empty()).then_some(failures),
    };
    let mut json = Vec::with_capacity(256);
    // The struct has neither maps with odd keys nor failing serializers.
    let _ = serde_json::to_writer(&mut json, &answer);
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !spooled.is_empty() {
        if let Ok(location) = HeaderValue::try_from(format!("/v1/requests/{request}")) {
            headers.insert(header::LOCATION, location);
        }
        if accepted.asked {
            headers.insert(APPLIED, HeaderValue::from_static("respond-async"));
        }
    }
    response
}

#[derive(Serialize)]
struct Answer<'a> {
    topic: &'a str,
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    spooled: Option<usize>,
    request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Rows<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Vec<Waiting>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Vec<Run<'a>>>,
}

/// A run of events on disk.
#[derive(Serialize)]
struct Waiting {
    index: u32,
    count: u32,
}

struct Rows<'a>(&'a [Receipt]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Row::from))
    }
}

#[derive(Serialize)]
struct Row {
    index: u32,
    count: u32,
    partition: i32,
    offset: Option<i64>,
}

impl From<&Receipt> for Row {
    fn from(receipt: &Receipt) -> Self {
        let Receipt { index, count, partition, offset } = *receipt;
        Self { index, count, partition, offset }
    }
}

#[cfg(test)]
mod tests;
