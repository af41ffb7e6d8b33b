//! Spooled events that Kafka refuses for good: dead letters, or parked; never in the way of others.

use super::{ASYNC, Sender, balanced, config, dir, drained, header, text, up};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::soon;

/// To a compacted topic: the one without a key is refused for good.
/// klamm would not take it if it knew; so the topic becomes a compacted one after klamm has looked.
const MIXED: &str =
    "{\"key\":\"a\",\"value\":1}\n{\"value\":2,\"headers\":{\"own\":\"x\"}}\n{\"key\":\"c\",\"value\":3}\n";

/// Makes `topic` a compacted one, which klamm does not know.
async fn compact(sender: &Sender, topic: &str) {
    assert_eq!(sender.post(topic, &[], "{\"key\":\"0\",\"value\":0}\n").await.status, 200);
    Kafka::shared().configure_topic(topic, "cleanup.policy", "compact");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kafka_refuses_for_good_stands_in_the_dead_letter_topic_and_the_others_in_their_own() {
    let kafka = Kafka::shared();
    kafka.create_topic("spool-letters", 1, &[]);
    kafka.create_topic("spool-letters.dlq", 1, &[]);
    let dir = dir();
    let gateway = Gateway::start(&config(&kafka.bootstrap(), dir.path(), ("", "", ""), "spool-letters: {}"));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    compact(&sender, "spool-letters").await;
    let answer = sender.post("spool-letters", ASYNC, MIXED).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    assert_eq!(sender.post("spool-letters", ASYNC, "{\"key\":\"d\",\"value\":4}\n").await.status, 202);
    drained(&gateway).await;

    let mut good: Vec<_> = kafka.consume("spool-letters").iter().map(|r| text(r.value.as_ref()).to_owned()).collect();
    good.sort_unstable();
    assert_eq!(good, ["0", "1", "3", "4"]);
    let [letter] = &kafka.consume("spool-letters.dlq")[..] else { panic!("one letter") };
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    assert_eq!((letter.key.as_deref(), text(letter.value.as_ref()), header(letter, "own")), (None, "2", Some("x")));
    for (name, value) in [
        ("klamm-error", "invalid_record"),
        ("klamm-topic", "spool-letters"),
        ("klamm-client", "shop"),
        ("klamm-event-id", &format!("{id}-1")),
    ] {
        assert_eq!(header(letter, name), Some(value), "{name}");
    }
    assert!(header(letter, "klamm-failed-at").unwrap().ends_with('Z'));
    let page = sender.request(&format!("/v1/requests/{id}")).await.expect("known");
    assert_eq!((&page["counts"]["acked"], &page["counts"]["dead_lettered"]), (&2.into(), &1.into()), "{page}");
    let (counts, ..) = balanced(&gateway, "spool-letters").await;
    assert_eq!((counts.received, counts.acked, counts.rejected), (5.0, 4.0, 1.0));
    let labels = [("client", "shop"), ("topic", "spool-letters"), ("reason", "invalid_record")];
    assert_eq!(gateway.metrics().await.sum("klamm_dead_lettered_total", &labels), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_dead_letter_topic_the_event_is_parked_and_an_alert_shows() {
    let kafka = Kafka::shared();
    kafka.create_topic("spool-parked", 1, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), dir.path(), ("", "", ""), "spool-parked: { on_outage: spool }");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    compact(&sender, "spool-parked").await;
    assert_eq!(sender.post("spool-parked", ASYNC, MIXED).await.status, 202);
    soon("it is parked", async || {
        let metrics = gateway.metrics().await;
        let parked = metrics.sum("klamm_spool_events", &[("state", "parked")]) == 1.0;
        (parked && metrics.sum("klamm_dead_letter_missing", &[("topic", "spool-parked")]) == 1.0).then_some(())
    })
    .await;
    assert_eq!(kafka.consume("spool-parked").len(), 3, "the good ones");
    // It stands in nobody's way.
    assert_eq!(sender.post("spool-parked", &[], "{\"key\":\"e\",\"value\":5}\n").await.status, 200);
    let (counts, _, waiting) = balanced(&gateway, "spool-parked").await;
    assert_eq!((counts.received, counts.acked, waiting), (5.0, 4.0, 1.0));
    assert!(gateway.log().contains("no such dead-letter topic"), "{}", gateway.log());
}
