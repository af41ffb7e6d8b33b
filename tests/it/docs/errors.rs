//! `docs/errors.md` against the table of refusals: a section for each code and reason, with a body that klamm gives.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use klamm::config::{Caps, Config, Decision, Format, KeyRule, Topic};
use klamm::event::RequestId;
use klamm::http::problem::{Problem, render};
use klamm::reject::{Code, Extent, Failure, Policy, Reason, Reject, Room};
use klamm::stages::decode::{Media, Single, accept_post, decode};
use klamm::stages::route::key;
use klamm::stages::validate::{self, Known, OnInvalid};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::Value;

use super::pages::{blocks, read, sections};

/// The refusal that the page shows for a code.
fn example(code: Code) -> Reject {
    let topic = |name: &str| name.to_owned();
    let caps = Caps::default();
    match code {
        Code::Unauthenticated => Reject::Unauthenticated,
        Code::WebPage => Reject::WebPage,
        Code::ForbiddenTopic => Reject::ForbiddenTopic { topic: topic("payments") },
        Code::UnknownTopic => Reject::UnknownTopic { topic: topic("ordres") },
        Code::UnknownRequest => Reject::UnknownRequest,
        Code::NotFound => Reject::NotFound,
        Code::MethodNotAllowed => Reject::MethodNotAllowed,
        Code::BodyTimeout => Reject::BodyTimeout { limit: Config::default().ingest.body_idle.get(), idle: true },
        Code::TooLarge => Reject::TooLarge { what: Extent::Wire, limit: caps.body.get() },
        Code::TooManyEvents => Reject::TooManyEvents { limit: caps.events },
        Code::BatchOverBurst => Reject::BatchOverBurst { policy: Policy::Events, limit: 120, got: 400 },
        Code::EventTooLarge => Reject::EventTooLarge { limit: Topic::default().max_event.get(), got: 1_100_002 },
        Code::UriTooLong => Reject::UriTooLong { limit: caps.uri.len() },
        Code::UnsupportedMediaType => Reject::UnsupportedMediaType { accept: accept_post(&Topic::default().formats) },
        Code::UnsupportedEncoding => Reject::UnsupportedEncoding,
        Code::MalformedBody => refusal("application/json", "[1,2"),
        Code::NoEvents => refusal("application/json", " [] "),
        Code::BadHeader => {
            let headers = HeaderMap::from_iter([("kafka-key".parse().unwrap(), "k".parse().unwrap())]);
            let single = Single::of(&headers).unwrap();
            decode(Media::Json, Bytes::from_static(b"[1,2]"), &single, &caps).unwrap_err()
        }
        Code::BadQuery => Reject::BadQuery { detail: "known parameters: on_invalid, wait, return, respond".into() },
        Code::BadEncoding => Reject::BadEncoding { detail: "the body is not gzip: it is cut off".into() },
        Code::InvalidEvents => refusal("application/x-ndjson", "{\"n\":1}\n{\"n\":\n{\"n\":3}\n"),
        Code::RateLimited => {
            Reject::RateLimited { violated: vec![Policy::Events], retry_after: Duration::from_secs(1) }
        }
        Code::ShareExhausted => Reject::ShareExhausted,
        Code::HeadersTooLarge => Reject::HeadersTooLarge { limit: (caps.headers, caps.headers_bytes.len()) },
        Code::Internal => Reject::Internal,
        Code::KafkaRejected => {
            let words = RDKafkaErrorCode::TopicAuthorizationFailed.to_string();
            Reject::KafkaRejected { failures: vec![failure(code, 2, words)], of: 2 }
        }
        Code::Overloaded => Reject::Overloaded,
        Code::KafkaUnavailable => Reject::KafkaUnavailable {
            detail: "Kafka does not answer; nothing was written".into(),
            failures: Vec::new(),
            retry_after: std::time::Duration::from_secs(5),
        },
        Code::SpoolFull => Reject::SpoolFull { what: Room::Client },
        Code::SpoolFailed => Reject::SpoolFailed,
        Code::Draining => Reject::Draining,
        Code::OutcomeUnknown => {
            let failures = vec![failure(code, 1, "no answer from Kafka yet".to_owned())];
            Reject::OutcomeUnknown { failures, of: 1 }
        }
    }
}

fn failure(code: Code, count: u32, detail: String) -> Failure {
    Failure { index: 0, count, code, detail: detail.into(), fault: None }
}

/// What the body is refused with by a topic that knows no exceptions.
fn refusal(content_type: &str, body: &str) -> Reject {
    judge(&Topic::default(), content_type, body).unwrap_err()
}

/// Decodes and validates as the path of an event does.
fn judge(topic: &Topic, content_type: &str, body: &str) -> Result<(), Reject> {
    let caps = Caps::default();
    let content_type = content_type.parse().unwrap();
    let formats = [Format::Json, Format::Ndjson, Format::Envelope];
    let media = Media::choose(Some(&content_type), &formats).unwrap();
    let mut batch = decode(media, Bytes::copy_from_slice(body.as_bytes()), &Single::default(), &caps)?;
    key::assign(&key::Rule::of(&topic.key).unwrap(), media.is_json(), &mut batch);
    let known = Known { partitions: 4, max_event: u64::MAX, needs_key: false, times: i64::MIN..=i64::MAX };
    validate::check(topic, &known, &caps, &mut batch)?;
    validate::verdict(&batch, OnInvalid::Refuse)
}

async fn body_of(reject: &Reject) -> Value {
    let config = Config::default();
    let problem = Problem { request_id: RequestId::new(), docs_url: &config.docs_url };
    let body = render(reject, problem).into_body().collect().await.unwrap().to_bytes();
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    body["instance"] = Value::Null;
    body
}

#[tokio::test]
async fn every_code_has_a_section_that_names_its_status_and_shows_a_body_that_klamm_gives() {
    let page = read("docs/errors.md");
    let sections: Vec<_> =
        sections(&page, "###").into_iter().filter(|(name, _)| !name.starts_with("reason-")).collect();
    let names: Vec<_> = sections.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, Code::ALL.iter().map(|code| code.name()).collect::<Vec<_>>());
    for (code, (_, text)) in Code::ALL.iter().zip(&sections) {
        let row = code.row();
        let retry = if row.retryable { "retryable" } else { "not retryable" };
        assert!(text.contains(&format!("Status **{}**, {retry}", row.status.as_u16())), "{code}");
        let in_table =
            format!("| [{code}](#{code}) | {} | {} |", row.status.as_u16(), if row.retryable { "yes" } else { "no" });
        assert!(page.contains(&in_table), "{in_table}");

        let reject = example(*code);
        assert_eq!(text.contains("`Retry-After`"), reject.retry_after().is_some(), "{code}");
        let mut shown: Value = serde_json::from_str(&blocks(text, "json")[0]).unwrap();
        let instance = shown["instance"].take();
        assert!(instance.as_str().unwrap().starts_with("urn:uuid:"), "{code}");
        assert_eq!(shown, body_of(&reject).await, "{code}");
    }
}

/// A topic and a body that is refused for this reason.
fn culprit(reason: Reason) -> (Topic, &'static str, String) {
    const ENVELOPE: &str = "application/vnd.klamm.v1+json";
    const NDJSON: &str = "application/x-ndjson";
    let plain = Topic::default;
    let keyed = || Topic {
        key: KeyRule { pointer: Some("/order_id".into()), required: true },
        tombstones: Decision::Refuse,
        ..Topic::default()
    };
    let (topic, kind, body) = match reason {
        Reason::Malformed => (plain(), NDJSON, "{\"n\":"),
        Reason::TooDeep => (plain(), NDJSON, &*format!("{}{}", "[".repeat(130), "]".repeat(130))),
        Reason::UnknownMember => (plain(), ENVELOPE, r#"{"keyz":1,"value":1}"#),
        Reason::MissingValue => (plain(), ENVELOPE, r#"{"key":"k"}"#),
        Reason::Tombstone => (plain(), ENVELOPE, r#"{"key":"k","value":null}"#),
        Reason::KeyRequired => (keyed(), NDJSON, r#"{"amount":1}"#),
        Reason::BadKey => (keyed(), NDJSON, r#"{"order_id":{}}"#),
        Reason::BadHeaders => (plain(), ENVELOPE, r#"{"value":1,"headers":["x"]}"#),
        Reason::BadPartition => (plain(), ENVELOPE, r#"{"value":1,"partition":2}"#),
        Reason::BadTimestamp => (plain(), ENVELOPE, r#"{"value":1,"timestamp":"noon"}"#),
        Reason::TooLarge => (plain(), "application/json", &*format!("[\"{}\",1]", "x".repeat(1_100_000))),
    };
    (topic, kind, body.to_owned())
}

#[tokio::test]
async fn every_reason_has_a_section_that_shows_a_row_that_klamm_gives() {
    let sections = sections(&read("docs/errors.md"), "###");
    let sections: Vec<_> =
        sections.iter().filter_map(|(name, text)| Some((name.strip_prefix("reason-")?, text))).collect();
    let names: Vec<_> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>());
    for (reason, (name, text)) in Reason::ALL.iter().zip(sections) {
        assert!(text.contains("**422**"), "{name}");
        let (topic, content_type, body) = culprit(*reason);
        let reject = judge(&topic, content_type, &body).unwrap_err();
        let shown: Value = serde_json::from_str(&blocks(text, "json")[0]).unwrap();
        assert_eq!(shown, body_of(&reject).await["errors"][0], "{name}");
    }
}
