//! Topics with a small `max.message.bytes`: batches fit, what cannot fit is refused before Kafka sees it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::Texts;
use super::{BINARY, ENVELOPE_NDJSON, JSON, NDJSON, Poster, code, gateway, place, places, rows};
use crate::support::kafka::Kafka;

/// So many bytes that no codec makes smaller.
fn noise(texts: &mut Texts, count: usize) -> Vec<u8> {
    (0..count).map(|_| u8::try_from(texts.below(256)).unwrap()).collect()
}

#[tokio::test]
async fn a_topic_of_64_kib_takes_ten_thousand_incompressible_events_and_none_fails() {
    const TOPIC: &str = "small-noise";
    const REQUESTS: usize = 10;
    const EACH: usize = 1000;
    Kafka::shared().create_topic(TOPIC, 3, &[("max.message.bytes", "65536")]);
    let gateway = gateway(&["small"], &["\"small-*\": {}"]).await;
    let poster = Poster::new(&gateway, "small");
    let mut texts = Texts::new(64, true);
    let mut sent = Vec::new();
    let bodies: Vec<String> = (0..REQUESTS)
        .map(|_| {
            let mut body = String::new();
            for _ in 0..EACH {
                let event = noise(&mut texts, 1024);
                let _ = writeln!(body, r#"{{"value_base64":"{}"}}"#, STANDARD.encode(&event));
                sent.push(event);
            }
            body
        })
        .collect();
    // All at once, so that batches fill up.
    let posts: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let poster = poster.clone();
            tokio::spawn(async move { places(&poster.post(TOPIC, ENVELOPE_NDJSON, &[], body).await) })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap().len(), EACH);
    }
    let mut found: Vec<_> = Kafka::shared().consume(TOPIC).into_iter().map(|record| record.value.unwrap()).collect();
    found.sort_unstable();
    sent.sort_unstable();
    assert!(found == sent, "{} events sent, {} found, or other ones", sent.len(), found.len());
    let metrics = gateway.metrics().await;
    for (outcome, count) in [("acked", 10_000.0), ("failed", 0.0), ("rejected", 0.0), ("unknown", 0.0)] {
        assert_eq!(metrics.sum("klamm_events_total", &[("topic", TOPIC), ("outcome", outcome)]), count, "{outcome}");
    }
}

#[tokio::test]
async fn an_event_over_the_topic_s_limit_is_refused_at_the_gate_and_the_largest_one_fits() {
    const TOPIC: &str = "large-event";
    const MOST: usize = 65_536 - 1024;
    Kafka::shared().create_topic(TOPIC, 1, &[("max.message.bytes", "65536")]);
    let gateway = gateway(&["large"], &["large-event: { formats: [json, ndjson, envelope, binary] }"]).await;
    let poster = Poster::new(&gateway, "large");
    let mut texts = Texts::new(1, true);
    let answer = poster.post(TOPIC, BINARY, &[], noise(&mut texts, 65_536)).await;
    let body = answer.json();
    assert_eq!((answer.status, code(&answer).as_str()), (413, "event_too_large"), "{body}");
    assert_eq!(body["limit"], MOST, "{body}");
    let answer = poster.post(TOPIC, BINARY, &[("kafka-key", "k")], noise(&mut texts, MOST)).await;
    assert_eq!(code(&answer), "event_too_large", "the key counts");

    let large = format!("\"{}\"", "x".repeat(MOST - 1));
    let answer = poster.post(TOPIC, NDJSON, &[], format!("1\n{large}\n2")).await;
    assert_eq!(rows(&answer), [(1, "2".to_owned(), "event_too_large".to_owned())]);
    let answer = poster.post(TOPIC, JSON, &[], format!("[1,2,{large}]")).await;
    assert_eq!(rows(&answer), [(2, "5".to_owned(), "event_too_large".to_owned())]);
    assert_eq!(Kafka::shared().consume(TOPIC), [], "of none of them anything was written");

    let largest = noise(&mut texts, MOST);
    assert_eq!(place(&poster.post(TOPIC, BINARY, &[], largest.clone()).await), (0, 0));
    assert_eq!(place(&poster.post(TOPIC, BINARY, &[("kafka-key", "k")], largest[1..].to_vec()).await), (0, 1));
    let records = Kafka::shared().consume(TOPIC);
    assert!(records[0].value.as_deref() == Some(&largest[..]) && records.len() == 2);
}

#[tokio::test]
async fn an_event_over_the_policy_s_max_event_is_refused_too() {
    const TOPIC: &str = "policy-limit";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["policy"], &["policy-limit: { max_event: 100B }"]).await;
    let poster = Poster::new(&gateway, "policy");
    let answer = poster.post(TOPIC, JSON, &[], format!("\"{}\"", "x".repeat(99))).await;
    assert_eq!((answer.status, answer.json()["limit"].as_u64()), (413, Some(100)));
    place(&poster.post(TOPIC, JSON, &[], format!("\"{}\"", "x".repeat(98))).await);
}
