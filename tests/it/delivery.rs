//! What is POSTed is what stands in Kafka: bytes, keys, order, receipts, counters. One real broker, the real binary.
//!
//! Each test has a client and a gateway of its own; a client's topics begin with its name, so that tests can share the
//! broker.

mod answers;
mod counters;
mod formats;
mod hang_up;
mod json;
mod linger;
mod order;
mod parts;
mod sizes;
mod topics;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Record};
use crate::support::keys;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const ENVELOPE: &str = "application/vnd.klamm.v1+json";
const ENVELOPE_NDJSON: &str = "application/vnd.klamm.v1+x-ndjson";
const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// A gateway before the shared broker for `clients`, without quotas. `topics` are lines of the config's section.
async fn gateway(clients: &[&str], topics: &[&str]) -> Gateway {
    let gateway = Gateway::start(&config(clients, topics, "linger: 5ms"));
    gateway.ready().await;
    gateway
}

/// The config for [`gateway`], with `kafka` more settings of the cluster.
fn config(clients: &[&str], topics: &[&str], kafka: &str) -> String {
    let bootstrap = Kafka::shared().bootstrap();
    let mut yaml = format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", peer_rate: off }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"], {kafka} }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
"#
    );
    yaml.push_str("clients:\n");
    for client in clients {
        let sha256 = keys::fixed(client).sha256;
        let _ =
            writeln!(yaml, "  {client}: {{ keys: [{{ label: test, sha256: {sha256} }}], topics: [\"{client}-*\"] }}");
    }
    yaml.push_str("topics:\n");
    for topic in topics {
        let _ = writeln!(yaml, "  {topic}");
    }
    yaml
}

/// One client of the config.
#[derive(Clone)]
struct Poster {
    client: Client,
    authorization: String,
}

impl Poster {
    fn new(gateway: &Gateway, name: &str) -> Self {
        Self::over(Client::new(gateway.ingest()), name)
    }

    fn over(client: Client, name: &str) -> Self {
        Self { client, authorization: format!("Bearer {}", keys::fixed(name).text) }
    }

    /// POSTs to the events of `topic`, which may have a query behind it.
    async fn post(&self, topic: &str, media: &str, headers: Fields<'_>, body: impl Into<Bytes>) -> Answer {
        let (topic, query) = topic.split_once('?').unwrap_or((topic, ""));
        let path = format!("/v1/topics/{topic}/events?{query}");
        let own = [("authorization", self.authorization.as_str()), ("content-type", media)];
        self.client.post(&path, &[&own, headers].concat(), body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(path, &[("authorization", self.authorization.as_str())]).await
    }
}

/// Names and values of a request's header fields.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Partition and offset.
type Place = (i32, i64);

/// Where the events of a request are, in their order. Panics where the answer is not 200, or an index does not stand
/// in exactly one receipt.
fn places(answer: &Answer) -> Vec<Place> {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{text}");
    let body = answer.json();
    let mut places = BTreeMap::new();
    for receipt in body["receipts"].as_array().unwrap_or_else(|| panic!("no receipts: {text}")) {
        let number = |name: &str| receipt[name].as_i64().unwrap_or_else(|| panic!("{name}: {text}"));
        let partition = i32::try_from(number("partition")).unwrap();
        for step in 0..number("count") {
            let twice = places.insert(number("index") + step, (partition, number("offset") + step));
            assert_eq!(twice, None, "event {} stands in two receipts: {text}", number("index") + step);
        }
    }
    let indices: Vec<i64> = places.keys().copied().collect();
    let count = i64::try_from(places.len()).unwrap();
    assert_eq!(indices, (0..count).collect::<Vec<_>>(), "{text}");
    assert_eq!(body["accepted"], count, "{text}");
    places.into_values().collect()
}

/// Where the one event of a request is.
fn place(answer: &Answer) -> Place {
    let places = places(answer);
    assert_eq!(places.len(), 1, "one event");
    places[0]
}

/// What stands in `topic`, by place.
fn records(topic: &str) -> BTreeMap<Place, Record> {
    Kafka::shared().consume(topic).into_iter().map(|record| ((record.partition, record.offset), record)).collect()
}

/// The code of a refusal.
fn code(answer: &Answer) -> String {
    let body = answer.json();
    body["code"].as_str().unwrap_or_else(|| panic!("no code, status {}: {body}", answer.status)).to_owned()
}

/// Index, place and reason of each row of a 422.
fn rows(answer: &Answer) -> Vec<(u64, String, String)> {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (422, Some("invalid_events")), "{body}");
    let row = |row: &serde_json::Value| {
        let place = row.get("pointer").or_else(|| row.get("offset")).expect("a pointer or an offset");
        let place = place.as_str().map_or_else(|| place.to_string(), str::to_owned);
        (row["index"].as_u64().unwrap(), place, row["reason"].as_str().unwrap().to_owned())
    };
    body["errors"].as_array().unwrap().iter().map(row).collect()
}

/// Asks `probe` every 20 ms until it gives something. Panics after 20 s, naming `what`.
async fn soon<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
