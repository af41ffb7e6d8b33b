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
    /// Takes the JSON text that librdkafka gives once a second. Shows each topic's partitions that have no leader.
    pub fn post(&self, producer: &str, json: &[u8], mut leaderless: impl FnMut(&str, &[i32])) {
        match serde_json::from_slice::<Text>(json) {
            Ok(text) => {
                for (name, topic) in &text.topics {
                    leaderless(name, &topic.leaderless());
                }
                let stats = text.read(producer);
                self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(producer.to_owned(), stats);
            }
            Err(error) => warn!(%error, "statistics of librdkafka not understood"),
        }
    }

    /// Everything that is on it.
    pub fn read(&self) -> Vec<ProducerStats> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The part of STATISTICS.md (librdkafka) that is read. Latencies in microseconds, throttling in milliseconds.
#[derive(Deserialize)]
struct Text {
    msg_cnt: u64,
    msg_size: u64,
    msg_size_max: u64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    txerrs: u64,
    txretries: u64,
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

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    /// -1 is none.
    leader: i32,
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
    fn read(self, name: &str) -> ProducerStats {
        // Bootstrap entries repeat brokers that have a number of their own.
        let brokers = self.brokers.into_iter().filter(|(_, broker)| broker.nodeid >= 0);
        let mut brokers: Vec<_> = brokers.map(|(name, broker)| broker.read(name)).collect();
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
    fn read(self, name: String) -> BrokerStats {
        let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
        let window = |f: &Figures| Window { avg: micros(f.avg), p99: micros(f.p99) };
        let throttle = Figures { avg: self.throttle.avg * 1000, p99: self.throttle.p99 * 1000, ..self.throttle };
        BrokerStats {
            name,
            up: self.state == "UP" || self.state == "UPDATE",
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
                r#"{{"nodeid":{node},"state":"UP","txerrs":1,"txretries":2,"rtt":{{"avg":1500,"p99":9000,"cnt":3}},
                "int_latency":{zero},"outbuf_latency":{zero},"throttle":{{"avg":2,"p99":3,"cnt":1}},"more":1}}"#
            )
        };
        let json = format!(
            r#"{{"msg_cnt":5,"msg_size":700,"msg_size_max":9000,"x":null,
            "brokers":{{"a:1/bootstrap":{},"a:1/1":{}}},
            "topics":{{"t":{{"batchsize":{{"avg":100,"p99":200,"cnt":1}},"partitions":{{
            "-1":{{"partition":-1,"leader":-1}},"0":{{"partition":0,"leader":1}},"1":{{"partition":1,"leader":-1}}}}}},
            "u":{{"batchsize":{{"avg":400,"p99":900,"cnt":2}}}}}}}}"#,
            broker(-1),
            broker(1)
        );
        let board = Board::default();
        let mut leaderless = Vec::new();
        board.post("p", json.as_bytes(), |topic, partitions| leaderless.push((topic.to_owned(), partitions.to_vec())));
        board.post("p", b"not json", |_, _| panic!("nothing was read"));
        leaderless.sort();
        assert_eq!(leaderless, [("t".to_owned(), vec![1]), ("u".to_owned(), vec![])]);
        let [stats] = &board.read()[..] else { panic!("one producer") };
        assert_eq!((stats.queue_messages, stats.queue_bytes.get(), stats.queue_limit.get()), (5, 700, 9000));
        assert_eq!((stats.batch.avg.get(), stats.batch.p99.get()), (300, 900));
        let [broker] = &stats.brokers[..] else { panic!("one broker") };
        assert!(broker.up && broker.name == "a:1/1");
        assert_eq!(broker.rtt.p99, Duration::from_millis(9));
        assert_eq!(broker.throttle.avg, Duration::from_millis(2));
    }
}
