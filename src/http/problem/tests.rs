use std::borrow::Cow;

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::reject::{Extent, Policy, Reason, Room};

async fn rendered(reject: &Reject) -> (Response, RequestId, String) {
    let request_id = RequestId::new();
    let mut response = render(reject, Problem { request_id, docs_url: "https://docs" });
    let body = std::mem::take(response.body_mut()).collect().await.unwrap().to_bytes();
    (response, request_id, String::from_utf8(body.to_vec()).unwrap())
}

/// The exact body, with the request id as `ID`.
async fn body(reject: &Reject) -> String {
    let (_, id, body) = rendered(reject).await;
    body.replace(&id.to_string(), "ID")
}

fn failure(code: Code, fault: Option<(Reason, Place)>) -> Failure {
    Failure { index: 1, count: 2, code, detail: Cow::Borrowed("words"), fault }
}

fn fault(index: u32, place: Place) -> Fault {
    Fault { index, place, reason: Reason::Malformed, detail: "words".into() }
}

/// One of each code, by [`Code::ALL`].
fn all() -> Vec<Reject> {
    let topic = || "t".to_owned();
    let wait = Duration::from_millis(1200);
    let failures = || vec![failure(Code::KafkaUnavailable, None)];
    Code::ALL
        .iter()
        .map(|code| match code {
            Code::Unauthenticated => Reject::Unauthenticated,
            Code::WebPage => Reject::WebPage,
            Code::ForbiddenTopic => Reject::ForbiddenTopic { topic: topic() },
            Code::UnknownTopic => Reject::UnknownTopic { topic: topic() },
            Code::UnknownRequest => Reject::UnknownRequest,
            Code::NotFound => Reject::NotFound,
            Code::MethodNotAllowed => Reject::MethodNotAllowed,
            Code::BodyTimeout => Reject::BodyTimeout { limit: wait, idle: true },
            Code::TooLarge => Reject::TooLarge { what: Extent::Wire, limit: 8 },
            Code::TooManyEvents => Reject::TooManyEvents { limit: 9 },
            Code::BatchOverBurst => Reject::BatchOverBurst { policy: Policy::Events, limit: 10, got: 11 },
            Code::EventTooLarge => Reject::EventTooLarge { limit: 11, got: 12 },
            Code::UriTooLong => Reject::UriTooLong { limit: 12 },
            Code::UnsupportedMediaType => Reject::UnsupportedMediaType { accept: "application/json".into() },
            Code::UnsupportedEncoding => Reject::UnsupportedEncoding,
            Code::MalformedBody => Reject::MalformedBody { offset: 3, detail: "words".into() },
            Code::NoEvents => Reject::NoEvents,
            Code::BadHeader => Reject::BadHeader { name: "Kafka-Key".into(), detail: "words".into() },
            Code::BadQuery => Reject::BadQuery { detail: "words".into() },
            Code::BadEncoding => Reject::BadEncoding { detail: "words".into() },
            Code::InvalidEvents => Reject::InvalidEvents { faults: vec![fault(0, Place::Offset(1))], of: 2 },
            Code::RateLimited => Reject::RateLimited { violated: vec![Policy::Events], retry_after: wait },
            Code::ShareExhausted => Reject::ShareExhausted,
            Code::HeadersTooLarge => Reject::HeadersTooLarge { limit: (64, 16384) },
            Code::Internal => Reject::Internal,
            Code::KafkaRejected => Reject::KafkaRejected { failures: failures(), of: 2 },
            Code::Overloaded => Reject::Overloaded,
            Code::KafkaUnavailable => Reject::KafkaUnavailable {
                detail: "words".into(),
                failures: failures(),
                retry_after: Duration::from_secs(5),
            },
            Code::SpoolFull => Reject::SpoolFull { what: Room::Client },
            Code::SpoolFailed => Reject::SpoolFailed,
            Code::Draining => Reject::Draining,
            Code::OutcomeUnknown => Reject::OutcomeUnknown { failures: failures(), of: 2 },
        })
        .collect()
}

/// Code, status, retryable, type (`docs` or the IANA fragment), headers beyond those of every refusal, members beyond
/// those of every refusal.
type Line = (&'static str, u16, bool, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CLOSE: (&str, &str) = ("connection", "close");
const TABLE: &[Line] = &[
    ("unauthenticated", 401, false, "docs", &[("www-authenticate", "Bearer realm=\"klamm\"")], &[]),
    ("web_page", 403, false, "docs", &[], &[]),
    ("forbidden_topic", 403, false, "docs", &[], &[]),
    ("unknown_topic", 404, false, "docs", &[], &[]),
    ("unknown_request", 404, false, "docs", &[], &[]),
    ("not_found", 404, false, "docs", &[], &[]),
    ("method_not_allowed", 405, false, "docs", &[], &[]),
    ("body_timeout", 408, true, "docs", &[CLOSE], &[]),
    ("too_large", 413, false, "docs", &[], &["limit"]),
    ("too_many_events", 413, false, "docs", &[], &["limit"]),
    ("batch_over_burst", 413, false, "docs", &[], &["limit"]),
    ("event_too_large", 413, false, "docs", &[], &["limit"]),
    ("uri_too_long", 414, false, "docs", &[], &[]),
    ("unsupported_media_type", 415, false, "docs", &[("accept-post", "application/json")], &[]),
    ("unsupported_encoding", 415, false, "docs", &[("accept-encoding", "gzip, zstd, br")], &[]),
    ("malformed_body", 400, false, "docs", &[], &[]),
    ("no_events", 400, false, "docs", &[], &[]),
    ("bad_header", 400, false, "docs", &[], &[]),
    ("bad_query", 400, false, "docs", &[], &[]),
    ("bad_encoding", 400, false, "docs", &[], &[]),
    ("invalid_events", 422, false, "docs", &[], &["errors"]),
    ("rate_limited", 429, true, "quota-exceeded", &[("retry-after", "2")], &["violated-policies"]),
    ("share_exhausted", 429, true, "quota-exceeded", &[("retry-after", "1")], &[]),
    ("headers_too_large", 431, false, "docs", &[], &[]),
    ("internal", 500, true, "docs", &[], &[]),
    ("kafka_rejected", 502, false, "docs", &[], &["errors"]),
    ("overloaded", 503, true, "temporary-reduced-capacity", &[("retry-after", "1")], &[]),
    ("kafka_unavailable", 503, true, "docs", &[("retry-after", "5")], &["errors"]),
    ("spool_full", 503, true, "docs", &[("retry-after", "5")], &[]),
    ("spool_failed", 503, true, "docs", &[("retry-after", "1")], &[]),
    ("draining", 503, true, "docs", &[("retry-after", "1"), CLOSE], &[]),
    ("outcome_unknown", 504, true, "docs", &[], &["errors"]),
];

#[tokio::test]
async fn every_refusal_is_rendered_as_the_table_says() {
    assert_eq!(TABLE.len(), Code::ALL.len());
    for (reject, (code, status, retryable, link, headers, members)) in all().iter().zip(TABLE) {
        let (response, id, body) = rendered(reject).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(response.status().as_u16(), *status, "{code}");
        let link = match *link {
            "docs" => format!("https://docs/errors.md#{code}"),
            fragment => format!("https://iana.org/assignments/http-problem-types#{fragment}"),
        };
        assert_eq!(body["type"], link.as_str());
        assert_eq!(body["title"], reject.code().row().title);
        assert_eq!(body["status"], *status);
        assert_eq!(body["detail"], reject.detail().as_str());
        assert_eq!(body["instance"], format!("urn:uuid:{id}").as_str());
        assert_eq!(body["code"], *code);
        assert_eq!(body["retryable"], *retryable, "{code}");
        let common = ["type", "title", "status", "detail", "instance", "code", "retryable"];
        let extra: Vec<_> = body.as_object().unwrap().keys().filter(|key| !common.contains(&key.as_str())).collect();
        assert_eq!(extra, *members, "{code}");

        let mut expected = vec![("cache-control", "no-store"), ("content-type", "application/problem+json")];
        expected.extend(*headers);
        expected.sort_unstable();
        let mut found: Vec<_> =
            response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{code}");
    }
}

#[tokio::test]
async fn a_plain_refusal_reads_so() {
    assert_eq!(
        body(&Reject::TooLarge { what: Extent::Inflated, limit: 8 }).await,
        r#"{"type":"https://docs/errors.md#too_large","title":"The body is too large","status":413,"detail":"a body may be at most 8 bytes after inflation","instance":"urn:uuid:ID","code":"too_large","retryable":false,"limit":8}"#
    );
}

#[tokio::test]
async fn spent_quotas_are_named() {
    let violated = vec![Policy::Requests, Policy::Bytes];
    assert_eq!(
        body(&Reject::RateLimited { violated, retry_after: Duration::ZERO }).await,
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"This client's quota is spent","status":429,"detail":"spent: requests, bytes","instance":"urn:uuid:ID","code":"rate_limited","retryable":true,"violated-policies":["requests","bytes"]}"#
    );
    let by_peer = Reject::RateLimited { violated: Vec::new(), retry_after: Duration::ZERO };
    assert!(!body(&by_peer).await.contains("violated-policies"));
}

#[tokio::test]
async fn bad_events_are_listed_with_their_place() {
    let faults = vec![fault(0, Place::Offset(7)), fault(4, Place::Pointer("/a\"b".into()))];
    assert_eq!(
        body(&Reject::InvalidEvents { faults, of: 5 }).await,
        r#"{"type":"https://docs/errors.md#invalid_events","title":"Some events are not valid","status":422,"detail":"2 of 5 events are not valid; nothing was written","instance":"urn:uuid:ID","code":"invalid_events","retryable":false,"errors":[{"index":0,"offset":7,"reason":"malformed","detail":"words"},{"index":4,"pointer":"/a\"b","reason":"malformed","detail":"words"}]}"#.replace("/a\"b", "/a\\\"b")
    );
}

#[tokio::test]
async fn failed_runs_are_listed_with_their_fate() {
    let failures = vec![
        failure(Code::OutcomeUnknown, None),
        failure(Code::InvalidEvents, Some((Reason::Tombstone, Place::Pointer("/value".into())))),
    ];
    let body = body(&Reject::OutcomeUnknown { failures, of: 4 }).await;
    let (_, errors) = body.split_once("\"errors\":").unwrap();
    assert_eq!(
        errors,
        r#"[{"index":1,"count":2,"code":"outcome_unknown","retryable":true,"detail":"words"},{"index":1,"count":2,"code":"invalid_events","retryable":false,"detail":"words","reason":"tombstone","pointer":"/value"}]}"#
    );
}

#[tokio::test]
async fn a_refusal_without_runs_has_no_errors() {
    let reject =
        Reject::KafkaUnavailable { detail: "away".into(), failures: Vec::new(), retry_after: Duration::from_secs(5) };
    assert!(!body(&reject).await.contains("errors\":"));
}

#[test]
fn waits_are_rounded_up_and_never_zero() {
    let second = Duration::from_secs(1);
    for (wait, seconds) in [
        (Duration::ZERO, 1),
        (Duration::from_nanos(1), 1),
        (second, 1),
        (second + Duration::from_nanos(1), 2),
        (Duration::from_millis(2500), 3),
        (Duration::MAX, u64::MAX),
    ] {
        assert_eq!(whole_seconds(wait), seconds, "{wait:?}");
    }
}

#[test]
fn headers_that_a_response_has_already_stay() {
    let mut response = Refused(Reject::MethodNotAllowed).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    finish(&mut response, Problem { request_id: RequestId::new(), docs_url: "" });
    assert_eq!(response.headers()[header::ALLOW], "POST");
    let mut success = "hello".into_response();
    finish(&mut success, Problem { request_id: RequestId::new(), docs_url: "" });
    assert_eq!(success.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
}
