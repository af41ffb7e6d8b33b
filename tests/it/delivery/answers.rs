//! The form of answers: receipts, 207, and what `Prefer` and the query change in them.

use serde_json::json;

use super::{ENVELOPE, Fields, JSON, NDJSON, Poster, code, config, gateway, records, rows, soon};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;

#[tokio::test]
async fn a_200_has_topic_count_request_id_and_runs() {
    const TOPIC: &str = "plain200-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["plain200"], &["plain200-topic: {}"]).await;
    let poster = Poster::new(&gateway, "plain200");
    let answer = poster.post(TOPIC, JSON, &[], "[1,2,3]").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let mut body = answer.json();
    let id = body["request_id"].take();
    assert_eq!(id.as_str().map(str::len), Some(36), "{id}");
    let run = json!({ "index": 0, "count": 3, "partition": 0, "offset": 0 });
    assert_eq!(body, json!({ "topic": TOPIC, "accepted": 3, "request_id": null, "receipts": [run] }));
}

#[tokio::test]
async fn skip_writes_the_good_events_and_says_of_each_bad_one_why() {
    const TOPIC: &str = "skip-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["skip"], &["skip-topic: { key: { pointer: /id, required: true } }"]).await;
    let poster = Poster::new(&gateway, "skip");
    let lines = "{\"id\":0}\n{\"id\":1}\n{\"id\":\n{\"di\":3}\n{\"id\":4}\nfive";
    let answer = poster.post("skip-topic?on_invalid=skip", NDJSON, &[], lines).await;
    let mut body = answer.json();
    assert_eq!((answer.status, answer.header("content-type")), (207, Some("application/json")), "{body}");
    body["request_id"].take();
    let failures = body["failures"].take();
    assert_eq!(
        body,
        json!({
            "topic": TOPIC,
            "accepted": 3,
            "request_id": null,
            "receipts": [
                { "index": 0, "count": 2, "partition": 0, "offset": 0 },
                { "index": 4, "count": 1, "partition": 0, "offset": 2 },
            ],
            "failures": null,
        })
    );
    let failure = |index, detail: &str, reason: &str, place: (&str, serde_json::Value)| {
        let mut row = json!({
            "index": index, "count": 1, "code": "invalid_events", "retryable": false, "detail": detail, "reason": reason,
        });
        row[place.0] = place.1;
        row
    };
    assert_eq!(
        failures,
        json!([
            failure(2, "not JSON: EOF while parsing a value", "malformed", ("offset", json!(24))),
            failure(3, "the topic requires a key", "key_required", ("pointer", json!("/id"))),
            failure(5, "not JSON: expected ident", "malformed", ("offset", json!(44))),
        ])
    );
    let values: Vec<_> = records(TOPIC).into_values().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"{\"id\":0}", b"{\"id\":1}", b"{\"id\":4}"]);

    let all_good = poster.post("skip-topic?on_invalid=skip", NDJSON, &[], "{\"id\":5}").await;
    assert_eq!((all_good.status, all_good.json().get("failures")), (200, None));
    let all_bad = poster.post("skip-topic?on_invalid=skip", NDJSON, &[], "1\n2").await;
    assert_eq!(rows(&all_bad).len(), 2);
    for query in ["on_invalid=dead-letter", "on_invalid=drop", "on-invalid=skip", "wait=-1", "return=nothing"] {
        let answer = poster.post(&format!("skip-topic?{query}"), NDJSON, &[], "{\"id\":6}").await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, "bad_query"), "{query}");
    }
    assert_eq!(Kafka::shared().consume(TOPIC).len(), 4);
}

#[tokio::test]
async fn return_minimal_leaves_the_receipts_out_and_the_failures_in() {
    const TOPIC: &str = "minimal-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["minimal"], &["minimal-topic: {}"]).await;
    let poster = Poster::new(&gateway, "minimal");
    let minimal: Fields<'_> = &[("prefer", "return=minimal")];
    for (topic, headers) in [
        ("minimal-topic", minimal),
        ("minimal-topic?return=minimal", &[]),
        ("minimal-topic?return=minimal", &[("prefer", "return=representation, wait=5")]),
    ] {
        let answer = poster.post(topic, JSON, headers, "[1,2]").await;
        let body = answer.json();
        assert_eq!((answer.status, body["accepted"].as_u64()), (200, Some(2)), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 3, "topic, accepted and request_id: {body}");
    }
    let answer = poster.post("minimal-topic?on_invalid=skip", NDJSON, minimal, "1\n{").await;
    let body = answer.json();
    assert_eq!((answer.status, body.get("receipts")), (207, None), "{body}");
    assert_eq!(body["failures"][0]["index"], 1, "{body}");
    let bad = poster.post(TOPIC, JSON, &[("prefer", "wait=soon")], "1").await;
    assert_eq!(code(&bad), "bad_header");
}

#[tokio::test]
async fn a_wait_that_is_over_is_504_and_the_event_arrives_and_counts_as_acked() {
    const TOPIC: &str = "waits-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    // Long enough that nothing is acknowledged before a wait of no time is over.
    let gateway = Gateway::start(&config(&["waits"], &["waits-topic: {}"], "linger: 1s"));
    gateway.ready().await;
    let poster = Poster::new(&gateway, "waits");
    let by_header = poster.post(TOPIC, JSON, &[("prefer", "wait=0")], "[1,2]").await;
    let by_query = poster.post("waits-topic?wait=0", ENVELOPE, &[], r#"{"value":3}"#).await;
    for (answer, count) in [(&by_header, 2), (&by_query, 1)] {
        let body = answer.json();
        assert_eq!((answer.status, code(answer).as_str()), (504, "outcome_unknown"), "{body}");
        let run = json!({
            "index": 0, "count": count, "code": "outcome_unknown", "retryable": true,
            "detail": "no answer from Kafka yet",
        });
        assert_eq!(body["errors"], json!([run]), "{body}");
    }
    let outcome = async |outcome| {
        let metrics = gateway.metrics().await;
        metrics.sum("klamm_events_total", &[("client", "waits"), ("topic", TOPIC), ("outcome", outcome)])
    };
    soon("all three are acked", async || (outcome("acked").await == 3.0).then_some(())).await;
    assert_eq!(outcome("unknown").await, 0.0);
    let requests = [("client", "waits"), ("result", "unknown")];
    assert_eq!(gateway.metrics().await.sum("klamm_requests_total", &requests), 2.0);
    assert_eq!(Kafka::shared().consume(TOPIC).len(), 3);
}
