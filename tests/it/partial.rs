//! One of two brokers hangs: the other's partitions are served as ever, and a batch over both is told apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Options};
use crate::support::keys;
use crate::support::load::{check_counts, counts, settled};

const MEDIA: &str = "application/vnd.klamm.v1+json";

fn config(kafka: &Kafka) -> String {
    let (bootstrap, sha256) = (kafka.bootstrap().replace(',', "\", \""), keys::fixed("shop").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", wait: 2s }}
admin: {{ listen: "127.0.0.1:0" }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: [split, whole, free] }} }}
topics: {{ split: {{ partition: allow, formats: [envelope] }}, whole: {{ formats: [envelope] }}, free: {{ formats: [envelope] }} }}
"#
    )
}

/// Each index of a request of `of` events stands in exactly one run of these lists; gives the codes of the failures.
fn one_run_each(lists: &[&Value], of: u64) -> Vec<String> {
    let runs = lists.iter().flat_map(|list| list.as_array().into_iter().flatten());
    let mut seen = Vec::new();
    let mut codes = Vec::new();
    for run in runs {
        let (index, count) = (run["index"].as_u64().expect("an index"), run["count"].as_u64().expect("a count"));
        seen.extend(index..index + count);
        codes.extend(run["code"].as_str().map(str::to_owned));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..of).collect::<Vec<_>>(), "{lists:?}");
    codes
}

struct Shop {
    client: Client,
    key: String,
}

impl Shop {
    /// One event for each of these partitions (-1: klamm's choice); its id is `name` and its place.
    async fn post(&self, topic: &str, name: &str, partitions: &[i32]) -> Answer {
        let events = partitions.iter().enumerate().map(|(at, partition)| {
            let value = json!({ "id": format!("{name}-{at}") });
            if *partition < 0 { json!({ "value": value }) } else { json!({ "value": value, "partition": partition }) }
        });
        let body = Value::Array(events.collect()).to_string();
        let headers = [("authorization", self.key.as_str()), ("content-type", MEDIA)];
        self.client.post(&format!("/v1/topics/{topic}/events"), &headers, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_of_two_brokers_hanging_a_mixed_batch_is_207_the_rest_504_and_the_other_broker_s_topic_all_200() {
    let kafka = Kafka::start(&Options { brokers: 2, ..Options::default() });
    kafka.create_topic_on("split", &[&[1], &[2]], &[]);
    kafka.create_topic_on("whole", &[&[1]], &[]);
    let gateway = Gateway::start(&config(&kafka));
    gateway.ready().await;
    let shop = Shop { client: Client::new(gateway.ingest()), key: format!("Bearer {}", keys::fixed("shop").text) };
    for topic in ["split", "whole"] {
        let answer = shop.post(topic, "before", if topic == "split" { &[0, 1] } else { &[-1] }).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }

    kafka.stop_broker(2);
    let (mixed, stuck) =
        tokio::join!(shop.post("split", "mixed", &[0, 0, 1, 1, 0]), shop.post("split", "stuck", &[1, 1]));
    let body = mixed.json();
    assert_eq!((mixed.status, body["accepted"].as_u64()), (207, Some(3)), "{body}");
    assert_eq!(one_run_each(&[&body["receipts"], &body["failures"]], 5), ["outcome_unknown"], "{body}");
    let body = stuck.json();
    assert_eq!((stuck.status, body["code"].as_str()), (504, Some("outcome_unknown")), "{body}");
    assert_eq!(one_run_each(&[&body["errors"]], 2), ["outcome_unknown"], "{body}");

    // Longer than klamm takes to call Kafka away, and slow enough that it has to ask.
    for turn in 0..24 {
        let answer = shop.post("whole", &format!("meanwhile-{turn}"), &[-1]).await;
        assert_eq!(answer.status, 200, "{}\n{}", answer.json(), gateway.log());
        tokio::time::sleep(Duration::from_millis(if turn % 6 == 5 { 1500 } else { 100 })).await;
    }

    let before = counts(&gateway, "shop", "split").await;
    // The events of a request are counted when the last of them has its fate.
    assert_eq!((before.received, before.acked), (9.0, 2.0), "{before:?}");
    kafka.continue_broker(2);
    let after = settled(&gateway, "shop", "split").await;
    assert_eq!(after.acked, 9.0, "the late reports of a 207 and a 504 are counted: {after:?}");
    assert_eq!(check_counts(&kafka, "split", after).len(), 9);
    assert_eq!(check_counts(&kafka, "whole", settled(&gateway, "shop", "whole").await).len(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_a_key_leave_the_partitions_of_a_broker_that_died() {
    let soon = [("broker.session.timeout.ms", "3000"), ("broker.heartbeat.interval.ms", "500")];
    let properties = soon.map(|(name, value)| (name, value.to_owned())).to_vec();
    let kafka = Kafka::start(&Options { brokers: 2, properties, ..Options::default() });
    // One replica each.
    kafka.create_topic_on("free", &[&[1], &[2], &[1], &[2]], &[]);
    let gateway = Gateway::start(&config(&kafka));
    gateway.ready().await;
    let shop = Shop { client: Client::new(gateway.ingest()), key: format!("Bearer {}", keys::fixed("shop").text) };
    let partition_of = |answer: &Answer| answer.json()["receipts"][0]["partition"].as_i64();
    let mut reached = BTreeSet::new();
    for turn in 0..40 {
        let answer = shop.post("free", &format!("before-{turn}"), &[-1]).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        reached.extend(partition_of(&answer));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reached.len(), 4, "without a fault every partition gets its share");

    kafka.kill_broker(2);
    eventually("the cluster knows", Duration::from_secs(30), || {
        (kafka.leaders("free") == [1, -1, 1, -1]).then_some(())
    });
    // klamm reads it with the next metadata; until then a request may wait for the dead one.
    let (mut good, mut lost, began) = (0, 0, Instant::now());
    while good < 100 {
        let answer = shop.post("free", &format!("meanwhile-{good}-{lost}"), &[-1]).await;
        match (answer.status, partition_of(&answer)) {
            (200, Some(0 | 2)) => good += 1,
            (504, _) => (good, lost) = (0, lost + 1),
            _ => panic!("{}\n{}", answer.json(), gateway.log()),
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{lost} requests were sent to a partition without a leader");
    }
    // Two seconds each, one after the other: at most one for each dead partition.
    assert!(lost <= 2, "{lost} requests were sent to a partition without a leader");

    kafka.restart_broker(2);
    eventually("it leads again", Duration::from_secs(60), || (kafka.leaders("free") == [1, 2, 1, 2]).then_some(()));
    let mut again = BTreeSet::new();
    for turn in 0..400 {
        let answer = shop.post("free", &format!("after-{turn}"), &[-1]).await;
        assert_eq!(answer.status, 200, "{}\n{}", answer.json(), gateway.log());
        again.extend(partition_of(&answer));
        if again.len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(again.len(), 4, "the partitions of the broker that is back get their share again");
    check_counts(&kafka, "free", settled(&gateway, "shop", "free").await);
}
