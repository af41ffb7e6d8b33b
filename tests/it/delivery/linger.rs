//! Topics that cannot wait beside topics that can: each lingers as long as its own config says.

use std::time::{Duration, Instant};

use super::{JSON, Poster, config};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;

/// The median of how long events took that were sent to `topic` one after the other.
async fn median(poster: &Poster, topic: &str) -> Duration {
    let mut took = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        assert_eq!(poster.post(topic, JSON, &[], "1").await.status, 200);
        took.push(start.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

#[tokio::test]
async fn an_event_of_a_topic_that_lingers_less_is_acknowledged_sooner_while_both_run() {
    for topic in ["linger-quick", "linger-slow"] {
        Kafka::shared().create_topic(topic, 1, &[]);
    }
    let yaml = |slow| {
        let topics = ["linger-quick: { linger: 1ms }".to_owned(), format!("linger-slow: {{ linger: {slow} }}")];
        config(&["linger"], &[&topics[0], &topics[1]], "linger: 5ms")
    };
    let gateway = Gateway::start(&yaml("200ms"));
    gateway.ready().await;
    let poster = Poster::new(&gateway, "linger");
    let (quick, slow) = tokio::join!(median(&poster, "linger-quick"), median(&poster, "linger-slow"));
    assert!(quick * 2 < slow, "{quick:?} and {slow:?}");
    // librdkafka tells of a producer once a second.
    let start = Instant::now();
    while let metrics = gateway.metrics().await
        && !["1ms", "200ms"].into_iter().all(|linger| {
            let producer = format!("express-1000000-{linger}");
            metrics.sum("klamm_producer_queue_limit_bytes", &[("producer", &producer)]) > 0.0
        })
    {
        assert!(start.elapsed() < Duration::from_secs(10), "each has a producer of its own");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    gateway.rewrite(&yaml("1ms"));
    assert_eq!(Client::new(gateway.admin()).post("/admin/reload", &[], "").await.status, 200);
    let changed = median(&poster, "linger-slow").await;
    assert!(changed * 2 < slow, "{changed:?} after a reload, {slow:?} before");
}
