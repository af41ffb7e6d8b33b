//! librdkafka's statistics, of which klamm reads what its metrics show. The latest of each producer is kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tracing::warn;

use crate::telemetry::{BrokerStats, ProducerStats, Window};
use crate::units::ByteSize;

/// The latest word of each producer.
#[derive(Default)]
pub struct Board {
    latest: Mutex<BTreeMap<String, ProducerStats>>,
}

impl Board {
    /// Takes the JSON text that librdkafka gives once a second, and gives what is in it to those who read more.
    pub fn post(&self, producer: &str, json: &[u8]) -> Option<Text> {
        let text = serde_json::from_slice::<Text>(json);
        let text = text.inspect_err(|error| warn!(%error, "statistics of librdkafka not understood")).ok()?;
        let stats = text.read(producer);
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(producer.to_owned(), stats);
        Some(text)
    }

    /// Everything that is on it.
    pub fn read(&self) -> Vec<ProducerStats> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The part of STATISTICS.md (librdkafka) that is read. Latencies in microseconds, throttling in milliseconds.
#[derive(Deserialize)]
pub struct Text {
    msg_cnt: u64,
    msg_size: u64,
    msg_size_max: u64,
    /// By name.
    pub brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

/// A broker, or an address from the config that stands for one.
#[derive(Deserialize)]
pub struct Broker {
    /// -1 for an address.
    pub nodeid: i32,
    state: String,
    txerrs: u64,
    txretries: u64,
    /// Requests without an answer.
    pub waitresp_cnt: u64,
    /// Microseconds since it last said something; -1 for never.
    rxidle: i64,
    rtt: Figures,
    int_latency: Figures,
    outbuf_latency: Figures,
    throttle: Figures,
}

#[derive(Deserialize)]
struct Topic {
    batchsize: Figures,
    /// By number, as text; -1 is where records wait for the first metadata.
    #[serde(default)]
    partitions: HashMap<String, Partition>,
}

/// A partition of a topic that is written to.
#[derive(Deserialize)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The node that leads it; -1 is none.
    pub leader: i32,
    /// Records sent, repetitions included.
    pub txmsgs: u64,
    /// Number of the last record that was acknowledged.
    pub acked_msgid: u64,
}

impl Topic {
    fn leaderless(&self) -> Vec<i32> {
        let without = self.partitions.values().filter(|partition| partition.leader < 0 && partition.partition >= 0);
        without.map(|partition| partition.partition).collect()
    }
}

#[derive(Deserialize)]
struct Figures {
    avg: i64,
    p99: i64,
    cnt: i64,
}

impl Text {
    /// The partitions of all topics.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, &Partition)> {
        let real = |partition: &&Partition| partition.partition >= 0;
        self.topics.iter().flat_map(move |(name, topic)| {
            topic.partitions.values().filter(real).map(move |partition| (name.as_str(), partition))
        })
    }

    /// Each topic with those of its partitions that have no leader.
    pub fn leaderless(&self) -> impl Iterator<Item = (&str, Vec<i32>)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic.leaderless()))
    }

    /// The brokers that hold the producer back, by name: a quota is spent.
    pub fn throttling(&self) -> impl Iterator<Item = &str> {
        let real = self.brokers.iter().filter(|(_, broker)| broker.nodeid >= 0 && broker.throttle.avg > 0);
        real.map(|(name, _)| name.as_str())
    }

    fn read(&self, name: &str) -> ProducerStats {
        // Bootstrap entries repeat brokers that have a number of their own.
        let brokers = self.brokers.iter().filter(|(_, broker)| broker.nodeid >= 0);
        let mut brokers: Vec<_> = brokers.map(|(name, broker)| broker.read(name.clone())).collect();
        brokers.sort_by(|a, b| a.name.cmp(&b.name));
        ProducerStats {
            name: name.to_owned(),
            queue_messages: self.msg_cnt,
            queue_bytes: ByteSize::bytes(self.msg_size),
            queue_limit: ByteSize::bytes(self.msg_size_max),
            batch: batch(&self.topics),
            brokers,
        }
    }
}

/// Over all topics: the mean of all batches; of the 99th percentiles the largest.
fn batch(topics: &HashMap<String, Topic>) -> Window<ByteSize> {
    let figures = || topics.values().map(|topic| &topic.batchsize);
    let count: i64 = figures().map(|f| f.cnt).sum();
    let sum: i64 = figures().map(|f| f.avg.saturating_mul(f.cnt)).sum();
    let bytes = |n: i64| ByteSize::bytes(u64::try_from(n).unwrap_or(0));
    Window { avg: bytes(sum / count.max(1)), p99: bytes(figures().map(|f| f.p99).max().unwrap_or(0)) }
}

impl Broker {
    /// Whether it is connected and known to speak our language.
    pub fn is_up(&self) -> bool {
        self.state == "UP" || self.state == "UPDATE"
    }

    /// How long it has said nothing.
    pub fn silent(&self) -> Duration {
        u64::try_from(self.rxidle).map_or(Duration::MAX, Duration::from_micros)
    }

    fn read(&self, name: String) -> BrokerStats {
        let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
        let window = |f: &Figures| Window { avg: micros(f.avg), p99: micros(f.p99) };
        let throttle = Figures { avg: self.throttle.avg * 1000, p99: self.throttle.p99 * 1000, ..self.throttle };
        BrokerStats {
            name,
            up: self.is_up(),
            rtt: window(&self.rtt),
            queue: window(&self.int_latency),
            send: window(&self.outbuf_latency),
            throttle: window(&throttle),
            tx_errors: self.txerrs,
            tx_retries: self.txretries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_is_read_for_real_brokers_alone() {
        let zero = r#"{"avg":0,"p99":0,"cnt":0}"#;
        let broker = |node: i32| {
            format!(
                r#"{{"nodeid":{node},"state":"UP","txerrs":1,"txretries":2,"waitresp_cnt":0,"rxidle":-1,"rtt":{{"avg":1500,"p99":9000,"cnt":3}},
                "int_latency":{zero},"outbuf_latency":{zero},"throttle":{{"avg":2,"p99":3,"cnt":1}},"more":1}}"#
            )
        };
        let json = format!(
            r#"{{"msg_cnt":5,"msg_size":700,"msg_size_max":9000,"x":null,
            "brokers":{{"a:1/bootstrap":{},"a:1/1":{}}},
            "topics":{{"t":{{"batchsize":{{"avg":100,"p99":200,"cnt":1}},"partitions":{{
            "-1":{{"partition":-1,"leader":-1,"txmsgs":0,"acked_msgid":0}},
            "0":{{"partition":0,"leader":1,"txmsgs":7,"acked_msgid":7}},
            "1":{{"partition":1,"leader":-1,"txmsgs":0,"acked_msgid":0}}}}}},
            "u":{{"batchsize":{{"avg":400,"p99":900,"cnt":2}}}}}}}}"#,
            broker(-1),
            broker(1)
        );
        let board = Board::default();
        let text = board.post("p", json.as_bytes()).unwrap();
        assert!(board.post("p", b"not json").is_none());
        let mut leaderless: Vec<_> = text.leaderless().collect();
        leaderless.sort();
        assert_eq!(leaderless, [("t", vec![1]), ("u", vec![])]);
        let mut partitions: Vec<_> = text.partitions().map(|(topic, p)| (topic, p.partition, p.txmsgs)).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [("t", 0, 7), ("t", 1, 0)]);
        assert_eq!(text.throttling().collect::<Vec<_>>(), ["a:1/1"]);
        let [stats] = &board.read()[..] else { panic!("one producer") };
        assert_eq!((stats.queue_messages, stats.queue_bytes.get(), stats.queue_limit.get()), (5, 700, 9000));
        assert_eq!((stats.batch.avg.get(), stats.batch.p99.get()), (300, 900));
        let [broker] = &stats.brokers[..] else { panic!("one broker") };
        assert!(broker.up && broker.name == "a:1/1");
        assert_eq!(broker.rtt.p99, Duration::from_millis(9));
        assert_eq!(broker.throttle.avg, Duration::from_millis(2));
    }
}
