//! Topics that come, grow and go while klamm runs; which policy holds for them; what a client is shown of them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ENVELOPE, Fields, JSON, Poster, code, config, gateway, place, records, rows, soon};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;

/// Posts until `done`, every 50 ms for at most 5 s: as long as a change of a topic may go unseen. Returns how many
/// tries it took.
async fn post_until(poster: &Poster, topic: &str, headers: Fields<'_>, done: impl Fn(u16) -> bool) -> usize {
    let start = Instant::now();
    for tries in 1.. {
        let answer = poster.post(topic, JSON, headers, "1").await;
        if done(answer.status) {
            return tries;
        }
        let text = String::from_utf8_lossy(&answer.body);
        assert!(start.elapsed() < Duration::from_secs(5), "still {} after 5 s: {text}", answer.status);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    0
}

#[tokio::test]
async fn a_missing_topic_is_404_within_a_second_and_usable_within_five_of_its_creation() {
    let gateway = gateway(&["missing"], &["missing-exact: {}", "\"missing-*\": {}"]).await;
    let poster = Poster::new(&gateway, "missing");
    for topic in ["missing-exact", "missing-by-prefix"] {
        // The first asks Kafka, the second is told from memory.
        for _ in 0..2 {
            let start = Instant::now();
            let answer = poster.post(topic, JSON, &[], "1").await;
            let took = start.elapsed();
            assert_eq!((answer.status, code(&answer).as_str()), (404, "unknown_topic"), "{topic}");
            assert!(took < Duration::from_secs(1), "{topic}: {took:?}");
        }
    }
    for topic in ["missing-exact", "missing-by-prefix"] {
        Kafka::shared().create_topic(topic, 2, &[]);
        post_until(&poster, topic, &[], |status| status == 200).await;
        assert_eq!(Kafka::shared().consume(topic).len(), 1, "{topic}: refused ones were not written");
    }
}

#[tokio::test]
async fn added_partitions_are_seen_without_a_restart_and_a_deleted_topic_is_404() {
    const TOPIC: &str = "changing-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let policy = "changing-topic: { partition: allow }";
    let gateway = Gateway::start(&config(&["changing"], &[policy], "metadata_refresh: 1s"));
    gateway.ready().await;
    let poster = Poster::new(&gateway, "changing");
    assert_eq!(place(&poster.post(TOPIC, JSON, &[("kafka-partition", "0")], "1").await), (0, 0));
    let beyond = poster.post(TOPIC, JSON, &[("kafka-partition", "3")], "1").await;
    assert_eq!(rows(&beyond), [(0, "0".to_owned(), "bad_partition".to_owned())]);

    Kafka::shared().add_partitions(TOPIC, 4);
    post_until(&poster, TOPIC, &[("kafka-partition", "3")], |status| status == 200).await;
    assert_eq!(records(TOPIC).keys().copied().collect::<Vec<_>>(), [(0, 0), (3, 0)]);
    let shown = poster.get(&format!("/v1/topics/{TOPIC}")).await.json();
    assert_eq!(shown["partitions"], 4, "{shown}");

    Kafka::shared().delete_topic(TOPIC);
    post_until(&poster, TOPIC, &[], |status| status == 404).await;
}

#[tokio::test]
async fn an_exact_policy_wins_over_the_longest_prefix_and_what_no_policy_names_is_404() {
    for topic in ["prefix-a", "prefix-a-b", "prefix-z"] {
        Kafka::shared().create_topic(topic, 1, &[]);
    }
    let policies =
        ["\"prefix-a*\": { max_event: 10B }", "\"prefix-a-*\": { max_event: 20B }", "prefix-a: { max_event: 30B }"];
    let gateway = gateway(&["prefix"], &policies).await;
    let poster = Poster::new(&gateway, "prefix");
    for (topic, limit) in [("prefix-a", 30), ("prefix-a-b", 20)] {
        let answer = poster.post(topic, JSON, &[], "1".repeat(31)).await;
        assert_eq!((answer.status, answer.json()["limit"].as_u64()), (413, Some(limit)), "{topic}");
        place(&poster.post(topic, JSON, &[], "1".repeat(usize::try_from(limit).unwrap())).await);
    }
    for (topic, expected) in [
        // In Kafka, and granted, but without a policy.
        ("prefix-z", (404, "unknown_topic")),
        // Not granted: the same whether it exists or not.
        ("other-topic", (403, "forbidden_topic")),
        ("formats-all", (403, "forbidden_topic")),
        ("prefix-a%20b", (404, "unknown_topic")),
    ] {
        let answer = poster.post(topic, JSON, &[], "1").await;
        assert_eq!((answer.status, code(&answer).as_str()), expected, "{topic}");
    }
}

#[tokio::test]
async fn a_client_is_shown_its_own_topics_with_their_policies() {
    Kafka::shared().create_topic("shown-orders", 3, &[("max.message.bytes", "65536")]);
    let policies = [
        "shown-orders: { key: { pointer: /id, required: true }, formats: [json, text], tombstones: allow }",
        "\"shown-clicks-*\": { max_event: 5KiB, partition: allow }",
        "other-topic: {}",
    ];
    let gateway = gateway(&["shown", "other"], &policies).await;
    let poster = Poster::new(&gateway, "shown");
    let list = poster.get("/v1/topics").await;
    let clicks = json!({
        "topic": "shown-clicks-*",
        "accept": "application/json, application/x-ndjson, application/jsonl, application/vnd.klamm.v1+json, \
                   application/vnd.klamm.v1+x-ndjson",
        "key": { "required": false },
        "max_event_bytes": 5 * 1024,
        "tombstones": false,
        "partition": true,
        "ack": "kafka",
        "on_outage": "refuse",
    });
    let mut orders = json!({
        "topic": "shown-orders",
        "accept": "application/json, text/plain",
        "key": { "required": true, "pointer": "/id" },
        "max_event_bytes": 1000 * 1024,
        "tombstones": true,
        "partition": false,
        "ack": "kafka",
        "on_outage": "refuse",
    });
    assert_eq!((list.status, list.json()), (200, json!({ "topics": [clicks, orders] })));
    // One alone is shown with what Kafka says.
    orders["max_event_bytes"] = json!(65_536 - 1024);
    orders["partitions"] = json!(3);
    let one = poster.get("/v1/topics/shown-orders").await;
    assert_eq!((one.status, one.json()), (200, orders));

    for (path, expected) in [
        ("/v1/topics/other-topic", (403, "forbidden_topic")),
        ("/v1/topics/shown-nothing", (404, "unknown_topic")),
        ("/v1/topics/shown-clicks-none", (404, "unknown_topic")),
        ("/v1/topics/shown-orders/event", (404, "not_found")),
        ("/v1/topics/shown-orders/events", (405, "method_not_allowed")),
    ] {
        let answer = poster.get(path).await;
        assert_eq!((answer.status, code(&answer).as_str()), expected, "{path}");
    }
    let nobody = Poster { authorization: "Bearer nobody".to_owned(), ..poster.clone() };
    for path in ["/v1/topics", "/v1/topics/shown-orders"] {
        assert_eq!(code(&nobody.get(path).await), "unauthenticated", "{path}");
    }
    assert_eq!(code(&nobody.post("shown-orders", ENVELOPE, &[], "1").await), "unauthenticated");
}

/// A record that Kafka refuses takes its whole record batch along, so it must not get that far.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_asks_of_records_since_klamm_looked_is_known_soon_after_the_first_refusal() {
    const TOPIC: &str = "surprising-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["surprising"], &["surprising-topic: {}"]).await;
    let poster = Poster::new(&gateway, "surprising");
    assert_eq!(poster.post(TOPIC, JSON, &[], "1").await.status, 200);
    Kafka::shared().configure_topic(TOPIC, "cleanup.policy", "compact");
    let first = poster.post(TOPIC, JSON, &[], "1").await;
    assert_eq!((first.status, code(&first).as_str()), (502, "kafka_rejected"));
    soon("klamm refuses it itself", async || (poster.post(TOPIC, JSON, &[], "1").await.status == 422).then_some(()))
        .await;
    assert_eq!(poster.post(TOPIC, JSON, &[("kafka-key", "k")], "1").await.status, 200);
    let shown = poster.get(&format!("/v1/topics/{TOPIC}")).await.json();
    assert_eq!(shown["key"]["required"], true, "{shown}");
}
