//! One client's bad events are refused by themselves: Kafka would refuse the batches that they share with others.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::keys;

const HOUR: i64 = 3_600_000;

/// A client that posts envelopes to one topic.
struct Sender {
    client: Client,
    key: String,
    topic: &'static str,
}

impl Sender {
    fn new(gateway: &Gateway, name: &str, topic: &'static str) -> Self {
        Self { client: Client::new(gateway.ingest()), key: format!("Bearer {}", keys::fixed(name).text), topic }
    }

    async fn post(&self, events: &Value) -> Answer {
        let media = ("content-type", "application/vnd.klamm.v1+json");
        let headers = [("authorization", self.key.as_str()), media];
        self.client.post(&format!("/v1/topics/{}/events", self.topic), &headers, events.to_string()).await
    }
}

/// A gateway whose batches wait for company: `good` and `bad` write to the same partition.
fn gateway(kafka: &Kafka, topic: &str) -> Gateway {
    let [good, bad] = ["good", "bad"].map(|name| keys::fixed(name).sha256);
    let bootstrap = kafka.bootstrap();
    Gateway::start(&format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"], linger: 20ms }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients:
  good: {{ keys: [{{ label: test, sha256: "{good}" }}], topics: [{topic}] }}
  bad: {{ keys: [{{ label: test, sha256: "{bad}" }}], topics: [{topic}] }}
topics: {{ {topic}: {{ formats: [envelope] }} }}
"#
    ))
}

fn in_millis(ahead: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() + ahead
}

/// `bad` sends `event` beside a good one, over and over, while `good` sends good ones: these are all 200, the others all
/// 422 with `reason` at their place.
async fn kept_apart(gateway: &Gateway, topic: &'static str, reason: &str, event: impl Fn() -> Value) {
    let fine = json!({ "key": "k", "value": 1 });
    let good = async || {
        let sender = Sender::new(gateway, "good", topic);
        for turn in 0..25 {
            let answer = sender.post(&json!([fine, fine])).await;
            assert_eq!(answer.status, 200, "beside {reason}, turn {turn}: {}", answer.json());
        }
    };
    let bad = async || {
        let sender = Sender::new(gateway, "bad", topic);
        for _ in 0..50 {
            let answer = sender.post(&json!([fine, event()])).await;
            let body = answer.json();
            assert_eq!((answer.status, body["code"].as_str()), (422, Some("invalid_events")), "{reason}: {body}");
            let rows = body["errors"].as_array().expect("rows");
            assert_eq!(rows.len(), 1, "{body}");
            assert_eq!((&rows[0]["index"], &rows[0]["reason"]), (&1.into(), &reason.into()), "{body}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(good(), good(), good(), bad());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_a_key_for_a_compacted_topic_hurt_nobody_else() {
    let kafka = Kafka::shared();
    kafka.create_topic("contagion-keys", 1, &[("cleanup.policy", "compact")]);
    let gateway = gateway(kafka, "contagion-keys");
    gateway.ready().await;
    kept_apart(&gateway, "contagion-keys", "key_required", || json!({ "value": 2 })).await;
    assert_eq!(kafka.consume("contagion-keys").len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_with_a_time_that_the_topic_does_not_take_hurt_nobody_else() {
    let kafka = Kafka::shared();
    let limits = [("message.timestamp.before.max.ms", "7200000"), ("message.timestamp.after.max.ms", "7200000")];
    kafka.create_topic("contagion-times", 1, &limits);
    let gateway = gateway(kafka, "contagion-times");
    gateway.ready().await;
    let at = |ahead: i64| move || json!({ "key": "b", "value": 2, "timestamp": in_millis(ahead) });
    kept_apart(&gateway, "contagion-times", "bad_timestamp", at(3 * HOUR)).await;
    kept_apart(&gateway, "contagion-times", "bad_timestamp", at(-3 * HOUR)).await;
    // So close to the limit that it would be over it by the time that a slow broker looks.
    kept_apart(&gateway, "contagion-times", "bad_timestamp", at(10 - 2 * HOUR)).await;
    let sender = Sender::new(&gateway, "good", "contagion-times");
    for ahead in [-HOUR, HOUR] {
        let answer = sender.post(&json!([at(ahead)()])).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    assert_eq!(kafka.consume("contagion-times").len(), 3 * 150 + 2);
}
