//! The counters reconcile: with themselves, with the answers, with what is in Kafka.

use super::{ENVELOPE, JSON, NDJSON, Poster, TEXT, code, config, soon};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::metrics::Metrics;

/// received = acked + rejected + failed + unknown; returns received, acked and rejected.
fn reconciled(metrics: &Metrics, client: &str, topic: &str) -> (f64, f64, f64) {
    let labels = [("client", client), ("topic", topic)];
    let of = |outcome| metrics.sum("klamm_events_total", &[labels[0], labels[1], ("outcome", outcome)]);
    let received = metrics.sum("klamm_events_received_total", &labels);
    let (acked, rejected, failed, unknown) = (of("acked"), of("rejected"), of("failed"), of("unknown"));
    assert_eq!(received, acked + rejected + failed + unknown, "{client} {topic}");
    assert_eq!((failed, unknown), (0.0, 0.0), "{client} {topic}: nothing went wrong");
    (received, acked, rejected)
}

/// A counter of requests for one value of its last label.
fn counted(metrics: &Metrics, name: &str, client: &str, topic: &str, label: (&str, &str)) -> f64 {
    metrics.sum(name, &[("client", client), ("topic", topic), label])
}

#[tokio::test]
async fn after_a_mix_of_everything_the_counters_equal_the_answers_and_the_topics() {
    for topic in ["mixed-one", "mixed-two", "limited-one"] {
        Kafka::shared().create_topic(topic, 3, &[]);
    }
    let policies =
        ["\"mixed-*\": {}", "mixed-two: { key: { pointer: /id, required: true }, max_event: 100B }", "limited-one: {}"];
    let quota = "topics: [\"limited-*\"], limits: { events: 10/m, burst: 1m }";
    let yaml = config(&["mixed", "limited"], &policies, "linger: 5ms").replace("topics: [\"limited-*\"]", quota);
    let mut gateway = Gateway::start(&format!("{yaml}\ncaps: {{ events: 20 }}\n"));
    gateway.ready().await;
    let mixed = Poster::new(&gateway, "mixed");
    let limited = Poster::over(Client::h2c(gateway.ingest()), "limited");
    let nobody = Poster::new(&gateway, "nobody");
    let envelope = r#"{"key":"kk","value":1,"headers":{"h":"vv"}}"#;
    let large = format!(r#"{{"id":1,"x":"{}"}}"#, "x".repeat(90));
    let many = "1\n".repeat(21);
    let (eight, eleven) = ("1\n".repeat(8), "1\n".repeat(11));
    let steps: [(&Poster, &str, &str, &str, u16, &str); 22] = [
        (&mixed, "mixed-one", JSON, "1", 200, ""),
        (&mixed, "mixed-one", JSON, "2", 200, ""),
        (&mixed, "mixed-one", JSON, "[1,22,333,4444,55555]", 200, ""),
        (&mixed, "mixed-one", ENVELOPE, envelope, 200, ""),
        (&mixed, "mixed-one", NDJSON, "1\n{\n3", 422, "invalid_events"),
        (&mixed, "mixed-one?on_invalid=skip", NDJSON, "1\n{\n3", 207, ""),
        (&mixed, "mixed-one?on_invalid=skip", NDJSON, "{\n[", 422, "invalid_events"),
        (&mixed, "mixed-one?on_invalid=never", NDJSON, "1", 400, "bad_query"),
        (&mixed, "mixed-one", JSON, "[1,", 400, "malformed_body"),
        (&mixed, "mixed-one", JSON, "[]", 400, "no_events"),
        (&mixed, "mixed-one", TEXT, "1", 415, "unsupported_media_type"),
        (&mixed, "mixed-one", NDJSON, &many, 413, "too_many_events"),
        (&mixed, "mixed-two", JSON, r#"{"id":1}"#, 200, ""),
        (&mixed, "mixed-two", JSON, r#"[{"id":1},{}]"#, 422, "invalid_events"),
        (&mixed, "mixed-two", JSON, &large, 413, "event_too_large"),
        (&mixed, "mixed-three", JSON, "1", 404, "unknown_topic"),
        (&mixed, "mixed-four", JSON, "1", 404, "unknown_topic"),
        (&mixed, "limited-one", JSON, "1", 403, "forbidden_topic"),
        (&limited, "limited-one", NDJSON, &eight, 200, ""),
        (&limited, "limited-one", NDJSON, &eight, 429, "rate_limited"),
        (&limited, "limited-one", NDJSON, &eleven, 413, "batch_over_burst"),
        (&nobody, "mixed-one", JSON, "1", 401, "unauthenticated"),
    ];
    for (poster, topic, media, body, status, expected) in steps {
        let answer = poster.post(topic, media, &[], body.to_owned()).await;
        let got = if status < 300 { String::new() } else { code(&answer) };
        assert_eq!((answer.status, got.as_str()), (status, expected), "{topic} {media} {body}");
    }

    let metrics = gateway.metrics().await;
    let expected = [
        ("mixed", "mixed-one", (16.0, 10.0, 6.0)),
        ("mixed", "mixed-two", (4.0, 1.0, 3.0)),
        ("limited", "limited-one", (27.0, 8.0, 19.0)),
        ("mixed", "_unknown", (0.0, 0.0, 0.0)),
        ("_anonymous", "_unknown", (0.0, 0.0, 0.0)),
    ];
    for (client, topic, counts) in expected {
        assert_eq!(reconciled(&metrics, client, topic), counts, "{client} {topic}: received, acked, rejected");
        if !topic.starts_with('_') {
            let records = Kafka::shared().consume(topic).len();
            assert_eq!(f64::from(u32::try_from(records).unwrap()), counts.1, "{topic}: acked is what is there");
        }
    }
    assert_eq!(metrics.sum("klamm_events_received_total", &[]), 47.0, "and no other row has any");

    for (client, topic, code) in [
        ("mixed", "mixed-one", "bad_query"),
        ("mixed", "mixed-one", "malformed_body"),
        ("mixed", "mixed-one", "no_events"),
        ("mixed", "mixed-one", "unsupported_media_type"),
        ("mixed", "mixed-one", "too_many_events"),
        ("mixed", "mixed-two", "invalid_events"),
        ("mixed", "mixed-two", "event_too_large"),
        ("mixed", "_unknown", "forbidden_topic"),
        ("limited", "limited-one", "rate_limited"),
        ("limited", "limited-one", "batch_over_burst"),
        ("_anonymous", "_unknown", "unauthenticated"),
    ] {
        let count = counted(&metrics, "klamm_refusals_total", client, topic, ("code", code));
        assert_eq!(count, 1.0, "{client} {topic} {code}");
    }
    assert_eq!(counted(&metrics, "klamm_refusals_total", "mixed", "mixed-one", ("code", "invalid_events")), 2.0);
    assert_eq!(counted(&metrics, "klamm_refusals_total", "mixed", "_unknown", ("code", "unknown_topic")), 2.0);
    assert_eq!(metrics.sum("klamm_refusals_total", &[]), 15.0, "a refused request is one refusal");

    for (client, topic, result, count) in [
        ("mixed", "mixed-one", "ok", 4.0),
        ("mixed", "mixed-one", "partial", 1.0),
        ("mixed", "mixed-one", "refused", 7.0),
        ("mixed", "mixed-two", "ok", 1.0),
        ("mixed", "mixed-two", "refused", 2.0),
        ("mixed", "_unknown", "refused", 3.0),
        ("limited", "limited-one", "ok", 1.0),
        ("limited", "limited-one", "refused", 2.0),
        ("_anonymous", "_unknown", "refused", 1.0),
    ] {
        let found = counted(&metrics, "klamm_requests_total", client, topic, ("result", result));
        assert_eq!(found, count, "{client} {topic} {result}");
    }
    assert_eq!(metrics.sum("klamm_requests_total", &[]), 22.0, "every request is one result");
    // 1, 2, fifteen digits, key + value + header, and the good ones of the 422 and of the 207.
    let bytes = metrics.sum("klamm_event_bytes_total", &[("client", "mixed"), ("topic", "mixed-one")]);
    assert_eq!(bytes, 1.0 + 1.0 + 15.0 + 6.0 + 2.0 + 2.0);
    assert_eq!(metrics.sum("klamm_admission_bytes", &[("scope", "used")]), 0.0, "idle, nothing is held");
    assert_eq!(gateway.terminate(), 0, "{}", gateway.log());
}

#[tokio::test]
async fn names_that_kafka_does_not_have_get_no_rows_of_their_own() {
    let gateway = Gateway::start(&config(&["guesser"], &["\"guesser-*\": {}"], "linger: 5ms"));
    gateway.ready().await;
    let poster = Poster::new(&gateway, "guesser");
    for n in 0..20 {
        // Refused before Kafka is asked, and after.
        let answer = poster.post(&format!("guesser-{n}?return=all"), JSON, &[], "1").await;
        assert_eq!(code(&answer), "bad_query");
        let answer = poster.post(&format!("guesser-{n}"), JSON, &[], "1").await;
        assert_eq!(code(&answer), "unknown_topic");
    }
    let page = Client::new(gateway.admin()).get("/metrics", &[]).await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(!page.contains("guesser-"), "{}", page.lines().find(|line| line.contains("guesser-")).unwrap_or_default());
    let metrics = Metrics::parse(&page);
    assert_eq!(counted(&metrics, "klamm_refusals_total", "guesser", "_unknown", ("code", "unknown_topic")), 20.0);
    assert_eq!(counted(&metrics, "klamm_refusals_total", "guesser", "_unknown", ("code", "bad_query")), 20.0);
}

#[tokio::test]
async fn two_clients_of_one_topic_have_a_row_each() {
    const TOPIC: &str = "shared-by-two";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let yaml = config(&["shared", "guest"], &["shared-by-two: {}"], "linger: 5ms");
    let gateway = Gateway::start(&yaml.replace("\"guest-*\"", "shared-by-two"));
    gateway.ready().await;
    let (own, guest) = (Poster::new(&gateway, "shared"), Poster::new(&gateway, "guest"));
    for n in 0..10 {
        let (a, b) = tokio::join!(own.post(TOPIC, JSON, &[], "[1,2]"), guest.post(TOPIC, JSON, &[], n.to_string()));
        assert_eq!((a.status, b.status), (200, 200));
    }
    soon("both rows", async || {
        let metrics = gateway.metrics().await;
        let rows = [reconciled(&metrics, "shared", TOPIC), reconciled(&metrics, "guest", TOPIC)];
        (rows == [(20.0, 20.0, 0.0), (10.0, 10.0, 0.0)]).then_some(())
    })
    .await;
    assert_eq!(Kafka::shared().consume(TOPIC).len(), 30);
}
