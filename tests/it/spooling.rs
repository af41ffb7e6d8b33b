//! The spool in the path of an event: what is answered 202 is on disk, and comes into Kafka, once or with the same id.

mod drawn;
mod faults;
mod letters;
mod outages;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Record};
use crate::support::load::{Counts, counts};
use crate::support::{keys, scratch, soon};

/// The config of a gateway with a spool in `dir`; `kafka` and `spool` are more keys of their sections, `topics` the
/// whole section.
fn config(bootstrap: &str, dir: &Path, (ingest, kafka, spool): (&str, &str, &str), topics: &str) -> String {
    let (shop, other) = (keys::fixed("shop").sha256, keys::fixed("other").sha256);
    let dir = dir.display();
    // Small files: a debug build takes its time to read a large one.
    let spool = if spool.is_empty() { "segment: 1MiB," } else { spool };
    format!(
        r#"
ingest: {{ {ingest} listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 3s }}
kafka: {{ default: {{ {kafka} bootstrap: ["{bootstrap}"] }} }}
spool: {{ {spool} dir: "{dir}" }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients:
  shop: {{ keys: [{{ label: test, sha256: "{shop}" }}], topics: ["spool-*"] }}
  other: {{ keys: [{{ label: test, sha256: "{other}" }}], topics: ["spool-*"] }}
topics: {{ {topics} }}
"#
    )
}

/// A client's way to one topic.
struct Sender {
    client: Client,
    key: String,
}

impl Sender {
    fn new(gateway: &Gateway, client: &str) -> Self {
        Self { client: Client::new(gateway.ingest()), key: format!("Bearer {}", keys::fixed(client).text) }
    }

    async fn post(&self, topic: &str, headers: &[(&str, &str)], lines: &str) -> Answer {
        let kind = if lines.starts_with("{\"value\"") || lines.starts_with("{\"key\"") {
            "application/vnd.klamm.v1+x-ndjson"
        } else {
            "application/x-ndjson"
        };
        let own = [("authorization", self.key.as_str()), ("content-type", kind)];
        self.client.post(&format!("/v1/topics/{topic}/events"), &[&own[..], headers].concat(), lines.to_owned()).await
    }

    /// What `/v1/requests/{id}` says; the status where it is no 200.
    async fn request(&self, location: &str) -> Result<Value, u16> {
        let answer = self.client.get(location, &[("authorization", self.key.as_str())]).await;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.status) }
    }
}

const ASYNC: &[(&str, &str)] = &[("prefer", "respond-async")];

/// Waits until Kafka answers. Readiness does not tell: it stays where topics may spool.
async fn up(gateway: &Gateway) {
    soon("Kafka answers", async || (gateway.metrics().await.sum("klamm_kafka_up", &[]) == 1.0).then_some(())).await;
}

/// Waits until nothing waits in the spool. Panics after 20 s.
async fn drained(gateway: &Gateway) {
    soon("the spool is empty", async || {
        let metrics = gateway.metrics().await;
        (metrics.sum("klamm_spool_events", &[("state", "waiting")]) == 0.0).then_some(())
    })
    .await;
}

/// received + recovered = acked + rejected + failed + unknown + waiting, once nothing is in flight.
async fn balanced(gateway: &Gateway, topic: &str) -> (Counts, f64, f64) {
    let labels = [("client", "shop"), ("topic", topic)];
    soon("the counters balance", async || {
        let now = counts(gateway, "shop", topic).await;
        let metrics = gateway.metrics().await;
        let recovered = metrics.sum("klamm_spool_recovered_events_total", &labels);
        let waiting = metrics.sum("klamm_spool_waiting_events", &labels);
        let out = now.acked + now.rejected + now.failed + now.unknown + waiting;
        (now.received + recovered == out).then_some((now, recovered, waiting))
    })
    .await
}

fn text(bytes: Option<&Vec<u8>>) -> &str {
    std::str::from_utf8(bytes.expect("some bytes")).expect("text")
}

/// The value of a record's header.
fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.headers.iter().find(|(other, _)| other == name).map(|(_, value)| text(value.as_ref()))
}

/// Values by event id; a consumer that drops what it has seen.
fn by_id(records: &[Record]) -> BTreeMap<&str, &str> {
    records
        .iter()
        .map(|record| (header(record, "klamm-event-id").expect("an id"), text(record.value.as_ref())))
        .collect()
}

fn dir() -> TempDir {
    scratch::dir("spool")
}

#[tokio::test(flavor = "multi_thread")]
async fn respond_async_is_202_and_the_request_can_be_followed_into_kafka() {
    let kafka = Kafka::shared();
    for topic in ["spool-plain", "spool-always"] {
        kafka.create_topic(topic, 1, &[]);
    }
    let dir = dir();
    let topics = "spool-plain: {}, spool-always: { ack: spool }";
    let gateway = Gateway::start(&config(&kafka.bootstrap(), dir.path(), ("", "", ""), topics));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");

    let answer = sender.post("spool-plain", ASYNC, "1\n2\n").await;
    let body = answer.json();
    let id = body["request_id"].as_str().unwrap().to_owned();
    let location = format!("/v1/requests/{id}");
    assert_eq!(
        (answer.status, &body["topic"], &body["accepted"], &body["spooled"], &body["receipts"]),
        (202, &"spool-plain".into(), &2.into(), &2.into(), &Value::Null)
    );
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));

    let page = soon("the request is acknowledged", async || {
        sender.request(&location).await.ok().filter(|page| page["counts"]["acked"] == 2)
    })
    .await;
    assert_eq!(
        (&page["request_id"], &page["topic"], &page["events"]),
        (&id.as_str().into(), &"spool-plain".into(), &2.into())
    );
    assert_eq!(page["receipts"], serde_json::json!([{"index":0,"count":2,"state":"acked","partition":0,"offset":0}]));
    assert_eq!(Sender::new(&gateway, "other").request(&location).await, Err(404), "another's");
    assert_eq!(sender.request("/v1/requests/01a20433-0876-7225-9b83-68349556e2d0").await, Err(404), "nobody's");

    // Who does not ask waits for Kafka; a topic may ask for all.
    let plain = sender.post("spool-plain", &[], "3\n").await;
    assert_eq!((plain.status, &plain.json()["receipts"][0]["count"]), (200, &1.into()), "{}", plain.json());
    let always = sender.post("spool-always", &[("idempotency-key", "\"k\"")], "4\n").await;
    assert_eq!((always.status, always.header("preference-applied")), (202, None));
    drained(&gateway).await;
    let records = kafka.consume("spool-plain");
    let ids: Vec<_> = records.iter().map(|record| header(record, "klamm-event-id")).collect();
    assert_eq!(ids, [Some(format!("{id}-0").as_str()), Some(format!("{id}-1").as_str()), None]);
    let [record] = &kafka.consume("spool-always")[..] else { panic!("one record") };
    let by_key = header(record, "klamm-event-id").unwrap().to_owned();
    assert!(by_key.as_bytes()[14] == b'8' && by_key.ends_with("-0"), "made from the key: {by_key}");
    for (topic, events) in [("spool-plain", 3.0), ("spool-always", 1.0)] {
        let (counts, ..) = balanced(&gateway, topic).await;
        assert_eq!((counts.received, counts.acked), (events, events), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_respond_async_is_ignored() {
    let kafka = Kafka::shared();
    kafka.create_topic("spool-none", 1, &[]);
    let text = config(&kafka.bootstrap(), Path::new(""), ("", "", ""), "spool-none: {}");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    let answer = Sender::new(&gateway, "shop").post("spool-none", ASYNC, "1\n").await;
    assert_eq!((answer.status, answer.header("preference-applied"), answer.header("location")), (200, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn event_ids_are_given_as_the_topic_says() {
    let kafka = Kafka::shared();
    let dir = dir();
    let topics = ["spool-ids-auto", "spool-ids-outage", "spool-ids-always", "spool-ids-never"];
    topics.iter().for_each(|topic| kafka.create_topic(topic, 1, &[]));
    let policies = "spool-ids-auto: {}, spool-ids-outage: { on_outage: spool }, spool-ids-always: { event_ids: always }, \
                    spool-ids-never: { event_ids: never, on_outage: spool }";
    let gateway = Gateway::start(&config(&kafka.bootstrap(), dir.path(), ("", "", ""), policies));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    let record = "{\"value\":1,\"headers\":{\"own\":\"x\"}}\n";
    for (topic, headers, with) in [
        (topics[0], &[][..], false),
        (topics[0], &[("idempotency-key", "k")], true),
        (topics[1], &[], true),
        (topics[2], &[], true),
        (topics[3], ASYNC, false),
    ] {
        let before = kafka.consume(topic).len();
        let answer = sender.post(topic, headers, record).await;
        assert!(matches!(answer.status, 200 | 202), "{}", answer.json());
        drained(&gateway).await;
        let records = kafka.consume(topic);
        let last = &records[before];
        assert_eq!(header(last, "own"), Some("x"), "{topic}");
        assert_eq!(header(last, "klamm-event-id").is_some(), with, "{topic} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_answers_503_and_takes_again_once_it_is_drained() {
    let mock = crate::support::mock::Mock::start(&["spool-full"]);
    let dir = dir();
    let tight = "total: 4MiB, segment: 1MiB, client_share: 100%, topic_share: 100%,";
    let gateway = Gateway::start(&config(mock.bootstrap(), dir.path(), ("", "", tight), "spool-full: {}"));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    assert_eq!(sender.post("spool-full", &[], "1\n").await.status, 200);
    mock.delay(Duration::from_secs(8));
    let line = format!("\"{}\"\n", "x".repeat(300_000));
    let mut taken = 1;
    let refused = loop {
        let answer = sender.post("spool-full", ASYNC, &line).await;
        if answer.status != 202 {
            break answer;
        }
        taken += 1;
        assert!(taken < 20, "4 MiB do not hold 6 MB");
    };
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"spool_full".into()), "{}", refused.json());
    assert!(refused.header("retry-after").is_some() && taken > 3, "{taken}");
    mock.delay(Duration::ZERO);
    drained(&gateway).await;
    assert_eq!(mock.records("spool-full"), taken);
    // Once the files are gone: that takes up to a second.
    soon("there is room again", async || (sender.post("spool-full", ASYNC, &line).await.status == 202).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_after_the_202_withdraws_the_entry() {
    let mock = crate::support::mock::Mock::start(&["spool-late"]);
    let dir = dir();
    let keys = ("wait: 1s,", "", "");
    let gateway = Gateway::start(&config(mock.bootstrap(), dir.path(), keys, "spool-late: { on_outage: spool }"));
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    assert_eq!(sender.post("spool-late", &[], "0\n").await.status, 200);
    mock.delay(Duration::from_secs(3));
    let answer = sender.post("spool-late", &[], "1\n2\n").await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(sender.request(&location).await.unwrap()["counts"]["spooled"], 2);
    soon("the producer's own try succeeds", async || {
        (counts(&gateway, "shop", "spool-late").await.acked == 3.0).then_some(())
    })
    .await;
    mock.delay(Duration::ZERO);
    drained(&gateway).await;
    assert_eq!(sender.request(&location).await.unwrap()["counts"]["acked"], 2);
    assert_eq!(mock.records("spool-late"), 3, "not sent again");
    let (counts, ..) = balanced(&gateway, "spool-late").await;
    assert_eq!((counts.received, counts.acked), (3.0, 3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn spool_drain_sends_what_a_directory_holds_and_says_75_while_it_cannot() {
    let kafka = Kafka::shared();
    kafka.create_topic("spool-cli", 1, &[]);
    let dir = dir();
    let topics = "spool-cli: { on_outage: spool }";
    let nowhere = config("127.0.0.1:1", dir.path(), ("", "", ""), topics);
    let mut gateway = Gateway::start(&nowhere);
    let sender = Sender::new(&gateway, "shop");
    for n in 0..3 {
        assert_eq!(sender.post("spool-cli", &[], &format!("{n}\n")).await.status, 202);
    }
    let drain = |text: &str| {
        let file = dir.path().join("drain.yaml");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_klamm"));
        command.args(["spool", "drain", "--patience", "2s", "--config"]).arg(file);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let there = config(&kafka.bootstrap(), dir.path(), ("", "", ""), topics);
    let (code, told) = drain(&there);
    assert!(code == Some(1) && told.contains("spool.dir"), "a running klamm has it: {code:?} {told}");
    assert_eq!(gateway.terminate(), 0, "{}", gateway.log());
    let (code, told) = drain(&nowhere);
    assert_eq!(code, Some(75), "{told}");
    let (code, told) = drain(&there);
    assert_eq!(code, Some(0), "{told}");
    let values: Vec<_> = kafka.consume("spool-cli").iter().map(|r| text(r.value.as_ref()).to_owned()).collect();
    assert_eq!(values, ["0", "1", "2"]);
}
