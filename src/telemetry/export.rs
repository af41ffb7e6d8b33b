//! The text that Prometheus reads, for values which the exporter does not hold: the pairs of client and topic, and
//! what is computed at the scrape. Each name gets its HELP and TYPE once, labels are escaped, rows stand in order.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use super::histogram::SECONDS;
use super::names::{self, Def};
use super::registry::{Outcome, Pair, RequestResult, Snapshot};
use crate::units::ByteSize;

/// Values computed at one scrape: rows that come and go with what they speak of.
#[derive(Debug, Default)]
pub struct Scrape {
    families: BTreeMap<&'static str, (&'static Def, BTreeMap<String, f64>)>,
}

impl Scrape {
    /// Puts a value, with one label value for each of `def.labels`. The last one with the same labels stays; what is
    /// no finite number is left out. Not for histograms.
    pub fn put(&mut self, def: &'static Def, labels: &[&str], value: f64) {
        if value.is_finite() {
            let (_, rows) = self.families.entry(def.name).or_insert_with(|| (def, BTreeMap::new()));
            rows.insert(pairs_of(def.labels, labels), value);
        }
    }

    /// Puts what librdkafka said about one producer.
    pub fn producer(&mut self, stats: &ProducerStats) {
        let producer = stats.name.as_str();
        self.put(&names::PRODUCER_QUEUE_MESSAGES, &[producer], stats.queue_messages as f64);
        self.put(&names::PRODUCER_QUEUE_BYTES, &[producer], stats.queue_bytes.get() as f64);
        self.put(&names::PRODUCER_QUEUE_LIMIT_BYTES, &[producer], stats.queue_limit.get() as f64);
        let bytes = |size: ByteSize| size.get() as f64;
        self.window(&names::PRODUCER_BATCH_BYTES, &[producer], stats.batch.map(bytes));
        self.window(&names::PRODUCER_BATCH_RECORDS, &[producer], stats.batch_records);
        for (topic, sent) in &stats.topics {
            let labels = [producer, topic.as_str()];
            self.put(&names::TOPIC_BATCHES, &labels, sent.batches as f64);
            self.put(&names::TOPIC_BATCH_RECORDS, &labels, sent.records as f64);
            self.put(&names::TOPIC_BATCH_BYTES, &labels, sent.bytes as f64);
        }
        for broker in &stats.brokers {
            let labels = [producer, broker.name.as_str()];
            self.put(&names::BROKER_UP, &labels, f64::from(u8::from(broker.up)));
            self.put(&names::BROKER_TX_ERRORS, &labels, broker.tx_errors as f64);
            self.put(&names::BROKER_TX_RETRIES, &labels, broker.tx_retries as f64);
            self.put(&names::BROKER_REQUEST_TIMEOUTS, &labels, broker.request_timeouts as f64);
            self.put(&names::BROKER_DISCONNECTS, &labels, broker.disconnects as f64);
            let seconds = |took: Duration| took.as_secs_f64();
            self.window(&names::BROKER_RTT_SECONDS, &labels, broker.rtt.map(seconds));
            self.window(&names::BROKER_QUEUE_SECONDS, &labels, broker.queue.map(seconds));
            self.window(&names::BROKER_SEND_SECONDS, &labels, broker.send.map(seconds));
            self.window(&names::BROKER_THROTTLE_SECONDS, &labels, broker.throttle.map(seconds));
        }
    }

    fn window(&mut self, def: &'static Def, labels: &[&str], window: Window<f64>) {
        for (stat, value) in [("avg", window.avg), ("p99", window.p99)] {
            let labels: Vec<_> = labels.iter().copied().chain([stat]).collect();
            self.put(def, &labels, value);
        }
    }

    pub(super) fn write(&self, page: &mut String) {
        for (def, rows) in self.families.values() {
            head(page, def);
            for (labels, value) in rows {
                row(page, def.name, labels, value);
            }
        }
    }
}

/// What librdkafka's statistics say of one producer.
#[derive(Debug, Clone, Default)]
pub struct ProducerStats {
    /// Tells the producers of a gateway apart.
    pub name: String,
    /// Records in its queue or on their way.
    pub queue_messages: u64,
    /// Their bytes.
    pub queue_bytes: ByteSize,
    /// How many bytes may be.
    pub queue_limit: ByteSize,
    /// The record batches of all its topics.
    pub batch: Window<ByteSize>,
    /// Records in each of them.
    pub batch_records: Window<f64>,
    /// What was sent to each topic since klamm started. Bounded in number; see `Board`.
    pub topics: BTreeMap<String, Batches>,
    /// The brokers it knows.
    pub brokers: Vec<BrokerStats>,
}

/// The record batches that were made for a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batches {
    /// How many.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
}

impl std::ops::AddAssign for Batches {
    fn add_assign(&mut self, more: Self) {
        self.batches += more.batches;
        self.records += more.records;
        self.bytes += more.bytes;
    }
}

/// What librdkafka's statistics say of one broker, seen from one producer.
#[derive(Debug, Clone, Default)]
pub struct BrokerStats {
    /// Its name in Kafka's metadata, `host:port/id`.
    pub name: String,
    /// Whether it is connected (librdkafka's state `UP`).
    pub up: bool,
    /// From a request to its answer.
    pub rtt: Window<Duration>,
    /// In the producer before a batch is made (`int_latency`).
    pub queue: Window<Duration>,
    /// Before a request is written to the socket (`outbuf_latency`).
    pub send: Window<Duration>,
    /// Held back by the broker's quotas.
    pub throttle: Window<Duration>,
    /// Requests that could not be sent.
    pub tx_errors: u64,
    /// Requests sent again.
    pub tx_retries: u64,
    /// Requests without an answer in time.
    pub request_timeouts: u64,
    /// Connections that ended.
    pub disconnects: u64,
}

/// Mean and 99th percentile over the last statistics interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Window<T> {
    /// The mean.
    pub avg: T,
    /// 99 of 100 are not above it.
    pub p99: T,
}

impl<T> Window<T> {
    /// The same in another unit.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Window<U> {
        Window { avg: f(self.avg), p99: f(self.p99) }
    }
}

/// Writes every row of `pairs`, which stand in the order of their clients.
pub(super) fn pairs(pairs: &[Arc<Pair>], page: &mut String) {
    let rows: Vec<Row<'_>> = pairs.iter().map(|pair| Row::of(pair)).collect();
    page.reserve(rows.len() * 2048);
    head(page, &names::EVENTS_RECEIVED);
    for Row { labels, now, .. } in &rows {
        row(page, names::EVENTS_RECEIVED.name, labels, now.received);
    }
    head(page, &names::EVENTS);
    for Row { labels, now, .. } in &rows {
        for outcome in Outcome::ALL {
            let more = ("outcome", outcome.name());
            row_with(page, names::EVENTS.name, labels, more, now.outcome(outcome));
        }
    }
    spool(page, &rows);
    head(page, &names::EVENT_BYTES);
    for Row { labels, now, .. } in &rows {
        row(page, names::EVENT_BYTES.name, labels, now.bytes);
    }
    head(page, &names::REFUSALS);
    for Row { labels, now, .. } in &rows {
        for (code, count) in &now.refusals {
            row_with(page, names::REFUSALS.name, labels, ("code", code.name()), count);
        }
    }
    head(page, &names::REQUESTS);
    for Row { labels, now, .. } in &rows {
        for result in RequestResult::ALL {
            row_with(page, names::REQUESTS.name, labels, ("result", result.name()), now.result(result));
        }
    }
    acks(page, &rows);
    last_seen(page, &rows);
}

/// Of pairs that have to do with the spool.
fn spool(page: &mut String, rows: &[Row<'_>]) {
    let rows: Vec<_> = rows.iter().filter(|Row { now, .. }| now.spooled + now.recovered + now.drained > 0).collect();
    if rows.is_empty() {
        return;
    }
    head(page, &names::SPOOL_WAITING);
    for Row { labels, now, .. } in &rows {
        row(page, names::SPOOL_WAITING.name, labels, now.spooled);
    }
    head(page, &names::SPOOL_RECOVERED);
    for Row { labels, now, .. } in &rows {
        row(page, names::SPOOL_RECOVERED.name, labels, now.recovered);
    }
    head(page, &names::SPOOL_DRAINED);
    for Row { labels, now, .. } in &rows {
        row(page, names::SPOOL_DRAINED.name, labels, now.drained);
    }
}

struct Row<'a> {
    client: &'a str,
    labels: String,
    now: Snapshot,
}

impl<'a> Row<'a> {
    fn of(pair: &'a Pair) -> Self {
        let client = pair.client().as_str();
        let labels = pairs_of(names::EVENTS_RECEIVED.labels, &[client, pair.topic().as_str()]);
        Self { client, labels, now: pair.snapshot() }
    }
}

fn last_seen(page: &mut String, rows: &[Row<'_>]) {
    let def = &names::CLIENT_LAST_SEEN;
    head(page, def);
    for same in rows.chunk_by(|a, b| a.client == b.client) {
        // Shared by the pairs of a client, and read for each: the newest reading wins.
        if let Some(seconds) = same.iter().filter_map(|row| row.now.seen).max() {
            let client = same.iter().map(|row| row.client).next().unwrap_or_default();
            row(page, def.name, &pairs_of(def.labels, &[client]), seconds);
        }
    }
}

fn acks(page: &mut String, rows: &[Row<'_>]) {
    let def = &names::ACK_SECONDS;
    head(page, def);
    let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{}_{part}", def.name));
    let bounds = SECONDS.map(|bound| bound.to_string());
    for Row { labels, now: Snapshot { ack, .. }, .. } in rows {
        for (bound, count) in bounds.iter().zip(ack.cumulative) {
            row_with(page, &bucket, labels, ("le", bound), count);
        }
        row_with(page, &bucket, labels, ("le", "+Inf"), ack.count);
        row(page, &sum, labels, ack.sum.as_secs_f64());
        row(page, &count, labels, ack.count);
    }
}

fn head(page: &mut String, def: &Def) {
    let Def { name, kind, help, .. } = def;
    // Writing to a String does not fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn row(page: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = match labels {
        "" => writeln!(page, "{name} {value}"),
        _ => writeln!(page, "{name}{{{labels}}} {value}"),
    };
}

/// A row with one label more, whose value needs no escape. Put together by hand: there are a hundred thousand of them.
fn row_with(page: &mut String, name: &str, labels: &str, (more, what): (&str, &str), value: impl Display) {
    for part in [name, "{", labels, ",", more, "=\"", what, "\"} "] {
        page.push_str(part);
    }
    let _ = writeln!(page, "{value}");
}

/// `a="x",b="y"`, escaped.
fn pairs_of(names: &[&str], values: &[&str]) -> String {
    let mut text = String::new();
    for (place, (name, value)) in names.iter().zip(values).enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{name}=\"{}\"", Escaped(value));
    }
    text
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(pairs_of(&["a", "b"], &["x\"y\\", "1\n2"]), r#"a="x\"y\\",b="1\n2""#);
    }

    #[test]
    fn the_last_value_with_the_same_labels_stays_and_what_is_no_number_is_left_out() {
        let mut scrape = Scrape::default();
        for value in [1.0, 0.5, f64::NAN, f64::INFINITY] {
            scrape.put(&names::LIMIT_REMAINING, &["shop", "events"], value);
        }
        let mut page = String::new();
        scrape.write(&mut page);
        assert_eq!(page.lines().last(), Some(r#"klamm_limit_remaining_ratio{client="shop",limit="events"} 0.5"#));
        assert_eq!(page.lines().count(), 3);
    }
}
