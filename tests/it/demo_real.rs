//! Real input, end to end: GitHub's own webhook payloads through `klamm serve` into a real Kafka, and back.
//!
//! Every payload must come out byte for byte as it went in, where its receipt says, and the counters must agree with
//! the topics. The payloads are fetched by `make demo-real`, never kept in the repository.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::keys;
use crate::support::metrics::Metrics;

/// One event name of the examples' `index.json`.
#[derive(Deserialize)]
struct Hook {
    examples: Vec<Box<RawValue>>,
}

/// One way to send all payloads.
struct Form {
    client: &'static str,
    name: &'static str,
    topic: &'static str,
    content_type: &'static str,
    encoding: &'static str,
    bodies: Vec<Bytes>,
    /// What must be in Kafka, in the order sent.
    events: Vec<Vec<u8>>,
}

/// What came of it.
#[derive(Default)]
struct Sent {
    requests: usize,
    wire_bytes: usize,
    limited: usize,
    took: Duration,
    /// Of each event, in the order sent: partition and offset.
    places: Vec<(i32, i64)>,
}

#[tokio::test]
#[ignore = "needs the payloads of an npm package: run by `make demo-real`"]
async fn real_webhooks_come_out_of_kafka_as_they_went_in_in_every_form() {
    let payloads = payloads();
    let forms = forms(&payloads);
    let kafka = Kafka::shared();
    for form in &forms {
        kafka.create_topic(form.topic, 3, &[]);
    }
    let mut gateway = Gateway::start(&config(&kafka.bootstrap()));
    gateway.ready().await;

    let (trickle, others) = forms.split_last().expect("forms");
    let fast = async {
        let mut sent = Vec::new();
        for form in others {
            sent.push(send(gateway.ingest(), form).await);
        }
        sent
    };
    let (mut sent, slow) = tokio::join!(fast, send(gateway.ingest(), trickle));
    sent.push(slow);

    let metrics = gateway.metrics().await;
    println!("{} payloads, {} bytes", payloads.len(), payloads.iter().map(Vec::len).sum::<usize>());
    println!("client   form    requests    429  events  wire bytes  seconds  records  equal  acked  rejected");
    for (form, sent) in forms.iter().zip(&sent) {
        let records = check_records(kafka, form, sent);
        let (acked, rejected) = check_counters(&metrics, form, sent);
        println!(
            "{:<8} {:<7} {:>8} {:>6} {:>7} {:>11} {:>8.2} {records:>8} {:>6} {acked:>6} {rejected:>9}",
            form.client,
            form.name,
            sent.requests,
            sent.limited,
            form.events.len(),
            sent.wire_bytes,
            sent.took.as_secs_f64(),
            "yes",
        );
    }
    let slow = sent.last().expect("forms");
    assert!(slow.limited > 0, "the client with the small quota met it");
    assert!(sent.iter().rev().skip(1).all(|sent| sent.limited == 0), "the other one never did");
    assert_eq!(gateway.terminate(), 0, "exit code after SIGTERM:\n{}", gateway.log());
}

fn payloads() -> Vec<Vec<u8>> {
    let path = std::env::var("KLAMM_DEMO_PAYLOADS").expect("KLAMM_DEMO_PAYLOADS (run `make demo-real`)");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let hooks: Vec<Hook> = serde_json::from_str(&text).expect("an index of webhooks");
    hooks.into_iter().flat_map(|hook| hook.examples).map(|raw| raw.get().as_bytes().to_vec()).collect()
}

/// The client with the small quota comes last.
fn forms(payloads: &[Vec<u8>]) -> Vec<Form> {
    let array = [b"[".to_vec(), payloads.join(&b",\n"[..]), b"]".to_vec()].concat();
    let lines: Vec<Vec<u8>> = payloads.iter().map(|payload| one_line(payload)).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&array).expect("memory takes bytes");
    let gzip = gzip.finish().expect("memory takes bytes");
    let singles = || payloads.iter().cloned().map(Bytes::from).collect::<Vec<_>>();
    let form = |client, name, topic, content_type, encoding, bodies, events: &[Vec<u8>]| Form {
        client,
        name,
        topic,
        content_type,
        encoding,
        bodies,
        events: events.to_vec(),
    };
    let json = "application/json";
    vec![
        form("github", "single", "hooks-single", json, "identity", singles(), payloads),
        form("github", "array", "hooks-array", json, "identity", vec![array.into()], payloads),
        form(
            "github",
            "ndjson",
            "hooks-ndjson",
            "application/x-ndjson",
            "identity",
            vec![lines.join(&b'\n').into()],
            &lines,
        ),
        form("github", "gzip", "hooks-gzip", json, "gzip", vec![gzip.into()], payloads),
        form("trickle", "single", "hooks-trickle", json, "identity", singles(), payloads),
    ]
}

/// The payload without the white space between its tokens; the tokens as they are.
fn one_line(payload: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    payload.iter().copied().filter(keep).collect()
}

fn config(bootstrap: &str) -> String {
    let (github, trickle) = (keys::fixed("github").sha256, keys::fixed("trickle").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
clients:
  github:
    keys: [{{ label: demo, sha256: "{github}" }}]
    topics: ["hooks-*"]
  trickle:
    keys: [{{ label: demo, sha256: "{trickle}" }}]
    topics: [hooks-trickle]
    limits: {{ events: 40/s, burst: 500ms }}
topics:
  "hooks-*": {{}}
"#
    )
}

/// Sends every body of the form; a 429 is sent again after its `Retry-After`, and then accepted.
async fn send(address: &str, form: &Form) -> Sent {
    let client = Client::new(address);
    let path = format!("/v1/topics/{}/events", form.topic);
    let key = format!("Bearer {}", keys::fixed(form.client).text);
    let mut headers = vec![("authorization", key.as_str()), ("content-type", form.content_type)];
    if form.encoding != "identity" {
        headers.push(("content-encoding", form.encoding));
    }
    let (start, mut sent) = (Instant::now(), Sent::default());
    for body in &form.bodies {
        let mut answer = client.post(&path, &headers, body.clone()).await;
        sent.requests += 1;
        if answer.status == 429 {
            let wait = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After in seconds");
            assert!((1..=60).contains(&wait), "Retry-After: {wait}");
            tokio::time::sleep(Duration::from_secs(wait)).await;
            sent.limited += 1;
            sent.requests += 1;
            answer = client.post(&path, &headers, body.clone()).await;
        }
        sent.wire_bytes += body.len();
        sent.places.extend(places(&answer));
    }
    sent.took = start.elapsed();
    assert_eq!(sent.places.len(), form.events.len(), "{}: a receipt for every event", form.topic);
    sent
}

/// Partition and offset of each event, by the receipts.
fn places(answer: &Answer) -> Vec<(i32, i64)> {
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    let number = |receipt: &Value, name: &str| receipt[name].as_i64().unwrap_or_else(|| panic!("{name}: {receipt}"));
    let mut places = BTreeMap::new();
    for receipt in body["receipts"].as_array().expect("receipts") {
        let (index, offset) = (number(receipt, "index"), number(receipt, "offset"));
        let partition = i32::try_from(number(receipt, "partition")).expect("a partition");
        for step in 0..number(receipt, "count") {
            let twice = places.insert(index + step, (partition, offset + step));
            assert_eq!(twice, None, "event {} stands in two receipts", index + step);
        }
    }
    assert_eq!(body["accepted"].as_u64(), u64::try_from(places.len()).ok(), "{body}");
    places.into_values().collect()
}

/// Each event's bytes stand where its receipt says, and nothing else is in the topic.
fn check_records(kafka: &Kafka, form: &Form, sent: &Sent) -> usize {
    let records = kafka.consume(form.topic);
    let found: BTreeMap<_, _> =
        records.iter().map(|record| ((record.partition, record.offset), record.value.as_deref())).collect();
    for (event, place) in form.events.iter().zip(&sent.places) {
        let value = found.get(place).copied().flatten();
        assert!(value == Some(event), "{} at {place:?}: not the bytes sent", form.topic);
    }
    assert_eq!(records.len(), form.events.len(), "{}: nothing else is there", form.topic);
    records.len()
}

/// received = acked + rejected + failed + unknown, acked = records, refusals = the 429s seen. Gives acked, rejected.
fn check_counters(metrics: &Metrics, form: &Form, sent: &Sent) -> (f64, f64) {
    let labels = [("client", form.client), ("topic", form.topic)];
    let of = |outcome| metrics.sum("klamm_events_total", &[labels[0], labels[1], ("outcome", outcome)]);
    let (acked, rejected) = (of("acked"), of("rejected"));
    let count = |count: usize| f64::from(u32::try_from(count).expect("a small count"));
    let received = metrics.sum("klamm_events_received_total", &labels);
    assert_eq!(received, acked + rejected + of("failed") + of("unknown"), "{}: counters agree", form.topic);
    assert_eq!(acked, count(form.events.len()), "{}: acked", form.topic);
    let limited = metrics.sum("klamm_refusals_total", &[labels[0], labels[1], ("code", "rate_limited")]);
    assert_eq!((limited, rejected), (count(sent.limited), count(sent.limited)), "{}: refused", form.topic);
    (acked, rejected)
}

#[test]
fn one_line_drops_white_space_between_tokens_and_nothing_else() {
    let text = b"{\n  \"a b\": [1.50, \"x \\\" y\\\\\",\r\n\ttrue],\n  \"\\\\\": \" \"\n}";
    assert_eq!(one_line(text), b"{\"a b\":[1.50,\"x \\\" y\\\\\",true],\"\\\\\":\" \"}");
}
