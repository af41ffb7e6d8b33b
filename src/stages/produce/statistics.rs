//! librdkafka's statistics, of which klamm reads what its metrics show. The latest of each producer is kept; what
//! librdkafka tells of one interval alone, the batches of a topic, is added up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use serde::Deserialize;
use tracing::warn;

use crate::telemetry::registry::OTHER;
use crate::telemetry::{Batches, BrokerStats, ProducerStats, Window};
use crate::units::ByteSize;

/// Topics that have rows of their own, over all producers; more are added up under [`OTHER`].
const TOPICS: usize = 1000;

/// A few reasons at most: looked through, not looked up.
type Failures = Vec<(RDKafkaErrorCode, Errors)>;

/// The latest word of each producer, and how many records failed for which reason.
#[derive(Default)]
pub struct Board {
    latest: Mutex<BTreeMap<String, ProducerStats>>,
    topics: Mutex<BTreeMap<String, Arc<Topics>>>,
    failures: Mutex<BTreeMap<String, Failures>>,
}

/// By topic, what a producer writes there.
pub type Topics = BTreeMap<String, TopicStats>;

/// What librdkafka's statistics say of one topic, seen from one producer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicStats {
    /// The size of its record batches.
    pub batch_bytes: Window<i64>,
    /// How many records they have.
    pub batch_records: Window<i64>,
    /// By number.
    pub partitions: BTreeMap<i32, PartitionStats>,
}

/// Of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// The node that leads it; -1 is none.
    pub leader: i32,
    /// Records sent since this producer began, repetitions included.
    pub records: u64,
}

/// How often events of a topic failed for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Errors {
    /// Events.
    pub count: u64,
    /// Of the last one, in seconds since the epoch.
    pub last: u64,
}

impl Board {
    /// Takes the JSON text that librdkafka gives once a second, and gives what is in it to those who read more.
    pub fn post(&self, producer: &str, json: &[u8]) -> Option<Text> {
        let text = serde_json::from_slice::<Text>(json);
        let text = text.inspect_err(|error| warn!(%error, "statistics of librdkafka not understood")).ok()?;
        let mut stats = text.read(producer);
        let topics = Arc::new(text.by_topic());
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(producer.to_owned(), topics);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        stats.topics = latest.get_mut(producer).map(|before| std::mem::take(&mut before.topics)).unwrap_or_default();
        let others: usize = latest.values().map(|stats| stats.topics.len()).sum();
        for (topic, more) in text.batches() {
            let known = stats.topics.contains_key(topic) || others + stats.topics.len() < TOPICS;
            *stats.topics.entry(if known { topic } else { OTHER }.to_owned()).or_default() += more;
        }
        latest.insert(producer.to_owned(), stats);
        Some(text)
    }

    /// Counts a record for `topic` that was not acknowledged, at `unix_seconds`.
    pub fn failed(&self, topic: &str, code: RDKafkaErrorCode, unix_seconds: u64) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let row = if failures.contains_key(topic) || failures.len() < TOPICS { topic } else { OTHER };
        // No name is copied for a topic that failed before.
        if !failures.contains_key(row) {
            failures.insert(row.to_owned(), Failures::new());
        }
        let Some(codes) = failures.get_mut(row) else { return };
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, errors)) => *errors = Errors { count: errors.count + 1, last: unix_seconds },
            None => codes.push((code, Errors { count: 1, last: unix_seconds })),
        }
    }

    /// What was counted so, by topic and reason.
    pub fn failures(&self) -> Vec<(String, RDKafkaErrorCode, u64)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = failures
            .iter()
            .flat_map(|(topic, codes)| codes.iter().map(|(code, errors)| (topic.clone(), *code, errors.count)));
        rows.collect()
    }

    /// What was counted so of `topic`, in Kafka's words.
    pub fn errors(&self, topic: &str) -> Vec<(String, Errors)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = failures.get(topic).into_iter().flatten();
        of_topic.map(|(code, errors)| (code.to_string(), *errors)).collect()
    }

    /// By producer, its topics.
    pub fn topics(&self) -> Vec<Arc<Topics>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What `look` makes of all that is on it, without a copy. Held while it looks.
    pub fn view<T>(&self, look: impl FnOnce(&BTreeMap<String, ProducerStats>) -> T) -> T {
        look(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
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
    req_timeouts: u64,
    disconnects: u64,
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
    batchcnt: Figures,
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
    sum: i64,
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

    fn by_topic(&self) -> Topics {
        let window = |figures: &Figures| Window { avg: figures.avg, p99: figures.p99 };
        let of = |topic: &Topic| TopicStats {
            batch_bytes: window(&topic.batchsize),
            batch_records: window(&topic.batchcnt),
            partitions: topic
                .partitions
                .values()
                .filter(|partition| partition.partition >= 0)
                .map(|p| (p.partition, PartitionStats { leader: p.leader, records: p.txmsgs }))
                .collect(),
        };
        self.topics.iter().map(|(name, topic)| (name.clone(), of(topic))).collect()
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
            batch: over_all(self.topics.values().map(|topic| &topic.batchsize)).map(|n| ByteSize::bytes(n as u64)),
            batch_records: over_all(self.topics.values().map(|topic| &topic.batchcnt)),
            topics: BTreeMap::new(),
            brokers,
        }
    }

    /// The batches that were made in the interval, by topic.
    fn batches(&self) -> impl Iterator<Item = (&str, Batches)> {
        let whole = |n: i64| u64::try_from(n).unwrap_or(0);
        let made = self.topics.iter().filter(|(_, topic)| topic.batchcnt.cnt > 0);
        made.map(move |(name, Topic { batchsize, batchcnt, .. })| {
            let batches = whole(batchcnt.cnt);
            (name.as_str(), Batches { batches, records: whole(batchcnt.sum), bytes: whole(batchsize.sum) })
        })
    }
}

/// The mean of all batches; of the topics' 99th percentiles the largest.
fn over_all<'a>(figures: impl Iterator<Item = &'a Figures> + Clone) -> Window<f64> {
    let count: i64 = figures.clone().map(|f| f.cnt).sum();
    let sum: i64 = figures.clone().map(|f| f.sum).sum();
    let most = figures.map(|f| f.p99).max().unwrap_or(0);
    Window { avg: sum.max(0) as f64 / count.max(1) as f64, p99: most.max(0) as f64 }
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
            request_timeouts: self.req_timeouts,
            disconnects: self.disconnects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_is_read_for_real_brokers_alone() {
        let zero = r#"{"avg":0,"sum":0,"p99":0,"cnt":0}"#;
        let broker = |node: i32| {
            format!(
                r#"{{"nodeid":{node},"state":"UP","txerrs":1,"txretries":2,"req_timeouts":3,"disconnects":4,"waitresp_cnt":0,"rxidle":-1,"rtt":{{"avg":1500,"sum":4500,"p99":9000,"cnt":3}},
                "int_latency":{zero},"outbuf_latency":{zero},"throttle":{{"avg":2,"sum":2,"p99":3,"cnt":1}},"more":1}}"#
            )
        };
        let json = format!(
            r#"{{"msg_cnt":5,"msg_size":700,"msg_size_max":9000,"x":null,
            "brokers":{{"a:1/bootstrap":{},"a:1/1":{}}},
            "topics":{{"t":{{"batchsize":{{"avg":100,"sum":100,"p99":200,"cnt":1}},"batchcnt":{{"avg":5,"sum":5,"p99":5,"cnt":1}},"partitions":{{
            "-1":{{"partition":-1,"leader":-1,"txmsgs":0,"acked_msgid":0}},
            "0":{{"partition":0,"leader":1,"txmsgs":7,"acked_msgid":7}},
            "1":{{"partition":1,"leader":-1,"txmsgs":0,"acked_msgid":0}}}}}},
            "u":{{"batchsize":{{"avg":400,"sum":801,"p99":900,"cnt":2}},"batchcnt":{{"avg":2,"sum":4,"p99":3,"cnt":2}}}}}}}}"#,
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
        let topics = board.topics();
        let rows: Vec<_> = topics[0]["t"].partitions.iter().map(|(id, p)| (*id, p.leader, p.records)).collect();
        assert_eq!(rows, [(0, 1, 7), (1, -1, 0)]);
        assert_eq!((topics[0]["u"].batch_bytes.avg, topics[0]["u"].batch_records.avg), (400, 2));
        let [stats] = &board.read()[..] else { panic!("one producer") };
        assert_eq!((stats.queue_messages, stats.queue_bytes.get(), stats.queue_limit.get()), (5, 700, 9000));
        assert_eq!((stats.batch.avg.get(), stats.batch.p99.get()), (300, 900));
        assert_eq!(stats.batch_records, Window { avg: 3.0, p99: 5.0 });
        let made = |topic: &str| stats.topics[topic];
        assert_eq!(made("t"), Batches { batches: 1, records: 5, bytes: 100 });
        assert_eq!(made("u"), Batches { batches: 2, records: 4, bytes: 801 });
        let [broker] = &stats.brokers[..] else { panic!("one broker") };
        assert!(broker.up && broker.name == "a:1/1");
        assert_eq!(broker.rtt.p99, Duration::from_millis(9));
        assert_eq!(broker.throttle.avg, Duration::from_millis(2));
        assert_eq!((broker.tx_errors, broker.tx_retries), (1, 2));
        assert_eq!((broker.request_timeouts, broker.disconnects), (3, 4));

        board.post("p", json.as_bytes()).unwrap();
        assert_eq!(board.read()[0].topics["u"], Batches { batches: 4, records: 8, bytes: 1602 }, "added up");
    }

    #[test]
    fn topics_over_a_number_share_a_row_and_none_is_lost() {
        let one = r#"{"avg":1,"sum":1,"p99":1,"cnt":1}"#;
        let said = |from: usize, to: usize| {
            let topic = |n| format!(r#""t{n}":{{"batchsize":{one},"batchcnt":{one}}}"#);
            let topics: Vec<_> = (from..to).map(topic).collect();
            format!(r#"{{"msg_cnt":0,"msg_size":0,"msg_size_max":1,"brokers":{{}},"topics":{{{}}}}}"#, topics.join(","))
        };
        let board = Board::default();
        board.post("a", said(0, TOPICS - 1).as_bytes()).unwrap();
        for _ in 0..2 {
            board.post("b", said(0, 5).as_bytes()).unwrap();
        }
        let all = board.read();
        let rows: usize = all.iter().map(|stats| stats.topics.len()).sum();
        assert_eq!((rows, all[1].topics.len()), (TOPICS + 1, 2), "one more: {OTHER} itself");
        assert_eq!(all[1].topics.values().map(|made| made.batches).sum::<u64>(), 10);

        for n in 0..TOPICS + 5 {
            board.failed(&format!("t{n}"), RDKafkaErrorCode::MessageTimedOut, 100 + n as u64);
        }
        let failures = board.failures();
        assert_eq!(failures.len(), TOPICS + 1);
        assert!(failures.contains(&(OTHER.to_owned(), RDKafkaErrorCode::MessageTimedOut, 5)));
        let [(text, errors)] = &board.errors("t7")[..] else { panic!("one error") };
        assert!(text.contains("timed out") && *errors == Errors { count: 1, last: 107 }, "{text} {errors:?}");
    }
}
