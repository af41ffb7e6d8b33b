//! Refusals as RFC 9457 problem bodies.
//!
//! Owns the form of every refusal: type, members, headers. What a refusal means is `reject`'s. Handlers return
//! [`Refused`]; the outermost layer knows the request id and calls [`finish`]. Bodies are written in one pass, without
//! a tree of values.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use serde::{Serialize, Serializer};

use crate::event::RequestId;
use crate::reject::{Code, Failure, Fault, Place, Reject};

/// Quota refusals have a type of their own (draft-ietf-httpapi-ratelimit-headers, section 5).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
/// What `Content-Encoding` may be.
const CODINGS: &str = "gzip, zstd, br";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// A refusal that is not rendered yet: the answer of a handler, or an `Err` of one. [`finish`] gives it its body.
#[derive(Debug, Clone)]
pub struct Refused(pub Reject);

impl From<Reject> for Refused {
    fn from(reject: Reject) -> Self {
        Self(reject)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.0.code().row().status.into_response();
        response.extensions_mut().insert(Refusal(Arc::new(self.0)));
        response
    }
}

/// The extension by which a response is known as a refusal; it stays for logs and metrics.
#[derive(Debug, Clone)]
pub struct Refusal(pub Arc<Reject>);

/// What a problem body needs beside the refusal itself.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// klamm's own id of the request: the `instance`.
    pub request_id: RequestId,
    /// The config key `docs_url`.
    pub docs_url: &'a str,
}

/// Renders `reject` as a whole response.
pub fn render(reject: &Reject, problem: Problem<'_>) -> Response {
    let mut response = Refused(reject.clone()).into_response();
    write(reject, problem, &mut response);
    response
}

/// Gives a [`Refused`] response its body and headers; the headers that it has already (`Allow`, `RateLimit`) stay.
/// Any other response is left as it is.
pub fn finish(response: &mut Response, problem: Problem<'_>) {
    if let Some(Refusal(reject)) = response.extensions().get::<Refusal>().cloned() {
        write(&reject, problem, response);
    }
}

fn write(reject: &Reject, problem: Problem<'_>, response: &mut Response) {
    set_headers(reject, response.headers_mut());
    *response.body_mut() = Body::from(body(reject, problem));
}

fn set_headers(reject: &Reject, headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = reject.retry_after() {
        headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
    }
    match reject {
        Reject::Unauthenticated => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"klamm\""));
        }
        Reject::UnsupportedMediaType { accept } => {
            if let Ok(accept) = HeaderValue::from_str(accept) {
                headers.insert(ACCEPT_POST, accept);
            }
        }
        Reject::UnsupportedEncoding => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
        }
        // Over HTTP/2 the connection's task takes this header away again.
        Reject::Ambiguous { .. } | Reject::BodyTimeout { .. } | Reject::Draining => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Reject::WebPage
        | Reject::ForbiddenTopic { .. }
        | Reject::UnknownTopic { .. }
        | Reject::UnknownRequest
        | Reject::NotFound
        | Reject::MethodNotAllowed
        | Reject::TooLarge { .. }
        | Reject::TooManyEvents { .. }
        | Reject::BatchOverBurst { .. }
        | Reject::EventTooLarge { .. }
        | Reject::UriTooLong { .. }
        | Reject::MalformedBody { .. }
        | Reject::NoEvents
        | Reject::BadHeader { .. }
        | Reject::BadQuery { .. }
        | Reject::BadEncoding { .. }
        | Reject::InvalidEvents { .. }
        | Reject::RateLimited { .. }
        | Reject::ShareExhausted
        | Reject::HeadersTooLarge { .. }
        | Reject::Internal
        | Reject::KafkaRejected { .. }
        | Reject::Overloaded
        | Reject::KafkaUnavailable { .. }
        | Reject::SpoolFull { .. }
        | Reject::SpoolFailed
        | Reject::OutcomeUnknown { .. } => {}
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): rounded up, so that nobody comes too early, and never 0.
pub fn whole_seconds(wait: Duration) -> u64 {
    let up = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(up).max(1)
}

/// The body of `reject`: JSON.
pub fn body(reject: &Reject, problem: Problem<'_>) -> Vec<u8> {
    let code = reject.code();
    let row = code.row();
    let members = Members {
        r#type: Type { code, docs_url: problem.docs_url },
        title: row.title,
        status: row.status.as_u16(),
        detail: reject.detail(),
        instance: Instance(problem.request_id),
        code: code.name(),
        retryable: row.retryable,
        limit: limit_of(reject),
        violated_policies: violated(reject),
        errors: Errors::of(reject),
    };
    // Strings and numbers into memory: there is nothing that could fail.
    serde_json::to_vec(&members).unwrap_or_default()
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: Type<'a>,
    title: &'static str,
    status: u16,
    detail: String,
    instance: Instance,
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Errors<'a>>,
}

struct Type<'a> {
    code: Code,
    docs_url: &'a str,
}

impl Serialize for Type<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.code {
            Code::RateLimited | Code::ShareExhausted => serializer.serialize_str(QUOTA_EXCEEDED),
            Code::Overloaded => serializer.serialize_str(REDUCED_CAPACITY),
            code => serializer.collect_str(&format_args!("{}/errors.md#{code}", self.docs_url)),
        }
    }
}

struct Instance(RequestId);

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:uuid:{}", self.0))
    }
}

/// The limit that a 413 ran into.
fn limit_of(reject: &Reject) -> Option<u64> {
    match reject {
        Reject::TooLarge { limit, .. } | Reject::BatchOverBurst { limit, .. } | Reject::EventTooLarge { limit, .. } => {
            Some(*limit)
        }
        Reject::TooManyEvents { limit } => Some(*limit as u64),
        _ => None,
    }
}

/// Left out for the guard per peer: it is no policy of the client's.
fn violated(reject: &Reject) -> Option<Vec<&'static str>> {
    match reject {
        Reject::RateLimited { violated, .. } if !violated.is_empty() => {
            Some(violated.iter().map(|policy| policy.name()).collect())
        }
        _ => None,
    }
}

/// `errors[]`: one row a bad event, or one a run of events with the same fate.
enum Errors<'a> {
    Faults(&'a [Fault]),
    Failures(&'a [Failure]),
}

impl<'a> Errors<'a> {
    fn of(reject: &'a Reject) -> Option<Self> {
        match reject {
            Reject::InvalidEvents { faults, .. } => Some(Errors::Faults(faults)),
            Reject::KafkaRejected { failures, .. }
            | Reject::KafkaUnavailable { failures, .. }
            | Reject::OutcomeUnknown { failures, .. } => {
                Some(failures.as_slice()).filter(|runs| !runs.is_empty()).map(Errors::Failures)
            }
            _ => None,
        }
    }
}

impl Serialize for Errors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Errors::Faults(faults) => serializer.collect_seq(faults.iter().map(Row::from)),
            Errors::Failures(failures) => serializer.collect_seq(failures.iter().map(Run::from)),
        }
    }
}

/// One bad event.
#[derive(Serialize)]
struct Row<'a> {
    index: u32,
    #[serde(flatten)]
    place: Where<'a>,
    reason: &'static str,
    detail: &'a str,
}

impl<'a> From<&'a Fault> for Row<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self {
            index: fault.index,
            place: Where::from(&fault.place),
            reason: fault.reason.name(),
            detail: &fault.detail,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Where<'a> {
    Pointer(&'a str),
    Offset(u64),
}

impl<'a> From<&'a Place> for Where<'a> {
    fn from(place: &'a Place) -> Self {
        match place {
            Place::Pointer(pointer) => Where::Pointer(pointer),
            Place::Offset(offset) => Where::Offset(*offset),
        }
    }
}

/// A run of events with the same unhappy fate, as it stands in `errors[]` and in the `failures` of a 207:
/// `{index, count, code, retryable, detail}`, and `reason` with `pointer` or `offset` where klamm found fault.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    index: u32,
    count: u32,
    code: &'static str,
    retryable: bool,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    place: Option<Where<'a>>,
}

impl<'a> From<&'a Failure> for Run<'a> {
    fn from(failure: &'a Failure) -> Self {
        let (reason, place) = match &failure.fault {
            Some((reason, place)) => (Some(reason.name()), Some(Where::from(place))),
            None => (None, None),
        };
        Self {
            index: failure.index,
            count: failure.count,
            code: failure.code.name(),
            retryable: failure.code.row().retryable,
            detail: &failure.detail,
            reason,
            place,
        }
    }
}

#[cfg(test)]
mod tests;
