//! Kafka is away: topics that may spool go on, in order, through every way that a process ends.

use std::time::Duration;

use rustix::process::Signal;

use super::{ASYNC, Sender, balanced, by_id, config, dir, drained, header, text, up};
use crate::outage::broker;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::soon;

const IMPATIENT: (&str, &str, &str) = ("wait: 1s,", "delivery_timeout: 4s,", "");

/// One event of `key`.
fn keyed(key: &str, value: impl std::fmt::Display) -> String {
    format!("{{\"key\":\"{key}\",\"value\":{value}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn through_an_outage_topics_that_may_spool_answer_2xx_and_keep_the_order_of_a_key() {
    let kafka = broker().await;
    for topic in ["spool-out", "spool-refuse"] {
        kafka.create_topic(topic, 3, &[]);
    }
    let dir = dir();
    let topics = "spool-out: { on_outage: spool }, spool-refuse: {}";
    let gateway = Gateway::start(&config(&kafka.bootstrap(), dir.path(), IMPATIENT, topics));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");

    // One key, each event after the answer to the one before.
    let (mut n, mut seen) = (0, [0; 600]);
    let mut post = async |seen: &mut [usize; 600]| {
        let answer = sender.post("spool-out", &[], &keyed("k", n)).await;
        assert!(matches!(answer.status, 200 | 202 | 207), "{n}: {} {}", answer.status, answer.json());
        seen[usize::from(answer.status)] += 1;
        n += 1;
        answer.status
    };
    for _ in 0..20 {
        assert_eq!(post(&mut seen).await, 200);
    }
    kafka.kill_broker(1);
    let admin = Client::new(gateway.admin());
    let known = async || {
        let ready = admin.get("/readyz?verbose", &[]).await;
        String::from_utf8_lossy(&ready.body).contains("[+] kafka: kafka down, spooling").then_some(ready.status)
    };
    // Before the outage is known, the wait ends with fates unknown: 202 all the same.
    while known().await.is_none() {
        post(&mut seen).await;
    }
    assert_eq!(known().await, Some(200));
    assert!(seen[202] > 0);
    for _ in 0..30 {
        assert_eq!(post(&mut seen).await, 202);
    }
    assert_eq!(gateway.metrics().await.sum("klamm_spooling", &[]), 1.0);
    let refused = sender.post("spool-refuse", &[], "1\n").await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"kafka_unavailable".into()));

    kafka.restart_broker(1);
    // What comes while the backlog drains stands behind it.
    soon("Kafka is asked straight again", async || (post(&mut seen).await == 200).then_some(())).await;
    drained(&gateway).await;
    let records = kafka.consume("spool-out");
    let mut ids = std::collections::BTreeSet::new();
    // The first of each id: what a consumer keeps.
    let firsts = records.iter().filter(|record| ids.insert(header(record, "klamm-event-id").expect("an id")));
    let values: Vec<u32> = firsts.map(|record| text(record.value.as_ref()).parse().unwrap()).collect();
    assert_eq!(values, (0..n).collect::<Vec<_>>(), "{} records", records.len());
    let (counts, _, waiting) = balanced(&gateway, "spool-out").await;
    assert_eq!((counts.received, counts.acked, waiting), (f64::from(n), f64::from(n), 0.0));
    assert_eq!(gateway.metrics().await.sum("klamm_spooling", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_with_a_backlog_loses_nothing_and_the_next_life_drains_it() {
    let kafka = broker().await;
    kafka.create_topic("spool-kill", 2, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), dir.path(), IMPATIENT, "spool-kill: { on_outage: spool }");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    kafka.kill_broker(1);
    let sender = Sender::new(&gateway, "shop");
    let mut locations = Vec::new();
    for n in 0..40 {
        let answer = sender.post("spool-kill", ASYNC, &format!("{n}\n{}\n", n + 1000)).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        locations.push(answer.header("location").unwrap().to_owned());
    }
    gateway.signal(Signal::KILL);
    drop(gateway);

    // Kafka is still away: the names of the config are taken at their word.
    let gateway = Gateway::start(&text);
    let sender = Sender::new(&gateway, "shop");
    let (_, recovered, waiting) = balanced(&gateway, "spool-kill").await;
    assert_eq!((recovered, waiting), (80.0, 80.0));
    for location in &locations {
        let page = sender.request(location).await.expect("still known");
        assert_eq!(page["counts"]["spooled"], 2);
    }
    assert_eq!(sender.post("spool-kill", &[], "2000\n").await.status, 202);

    kafka.restart_broker(1);
    drained(&gateway).await;
    let records = kafka.consume("spool-kill");
    let events = by_id(&records);
    assert_eq!((events.len(), records.len()), (81, 81), "once, since nothing was sent before");
    let page = sender.request(&locations[7]).await.expect("known");
    assert_eq!((&page["counts"]["acked"], &page["receipts"][0]["state"]), (&2.into(), &"acked".into()));
    let (counts, recovered, waiting) = balanced(&gateway, "spool-kill").await;
    assert_eq!((counts.received, recovered, counts.acked, waiting), (1.0, 80.0, 81.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_with_the_broker_hanging_unanswered_events_go_to_the_spool_and_the_exit_code_is_0() {
    let kafka = broker().await;
    kafka.create_topic("spool-term", 1, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), dir.path(), ("", "", ""), "spool-term: { on_outage: spool }");
    let mut gateway = Gateway::start(&text);
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    assert_eq!(sender.post("spool-term", &[], "0\n").await.status, 200);
    kafka.stop_broker(1);
    let waits: Vec<_> = (1..=8)
        .map(|n| {
            let sender = Sender::new(&gateway, "shop");
            tokio::spawn(async move { sender.post("spool-term", &[], &format!("{n}\n")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.signal(Signal::TERM);
    let (code, gateway) = tokio::task::spawn_blocking(move || (gateway.exit_code(), gateway)).await.unwrap();
    let log = gateway.log();
    assert_eq!(code, 0, "{log}");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert!(last["message"].as_str().unwrap().contains("stay on disk"), "{last}");
    assert_eq!((&last["received"], &last["acked"], &last["spooled"]), (&9.into(), &1.into(), &8.into()), "{last}");
    for wait in waits {
        let answer = wait.await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.json());
    }

    kafka.continue_broker(1);
    let gateway = Gateway::start(&text);
    drained(&gateway).await;
    let records = kafka.consume("spool-term");
    let mut values: Vec<u32> = by_id(&records).values().map(|value| value.parse().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, (0..=8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_ask_waits_behind_the_backlog_and_gets_200_with_receipts() {
    let kafka = broker().await;
    kafka.create_topic("spool-behind", 1, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), dir.path(), ("wait: 9s,", "", ""), "spool-behind: {}");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    kafka.stop_broker(1);
    for n in 0..5 {
        assert_eq!(sender.post("spool-behind", ASYNC, &keyed("k", n)).await.status, 202);
    }
    let behind = tokio::spawn(async move { sender.post("spool-behind", &[], &keyed("k", 5)).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!behind.is_finished(), "Kafka has not heard of it");
    kafka.continue_broker(1);
    let answer = behind.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["receipts"][0]["offset"], 5);
    let values: Vec<u32> =
        kafka.consume("spool-behind").iter().map(|record| text_of(record).parse().unwrap()).collect();
    assert_eq!(values, [0, 1, 2, 3, 4, 5]);
}

fn text_of(record: &crate::support::kafka::Record) -> &str {
    text(record.value.as_ref())
}
