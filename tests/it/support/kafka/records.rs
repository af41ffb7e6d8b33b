//! Reads a topic back, whole: what is really in Kafka; and writes to it past the gateway.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::Kafka;

const LIMIT: Duration = Duration::from_secs(60);

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// In their order; a header without a value is `None`.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Epoch milliseconds.
    pub(crate) timestamp: Option<i64>,
}

impl Kafka {
    /// Writes a record to partition 0 of `topic`, past the gateway: returns when Kafka has taken it, so when Kafka works.
    pub(crate) fn take(&self, topic: &str) {
        let producer: BaseProducer = self.client().set("message.timeout.ms", "60000").create().expect("a producer");
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(b"0");
        producer.send(record).map_err(|(error, _)| error).expect("room in an empty queue");
        producer.flush(LIMIT).expect("a record that Kafka takes");
    }

    /// Every committed record of `topic`, by partition and offset, up to the ends as they are now.
    pub(crate) fn consume(&self, topic: &str) -> Vec<Record> {
        let mut config = self.client();
        // The group id is only there because assigning asks for one: nothing joins or commits.
        config.set("group.id", "reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        // The end of a partition is an answer without records, which a broker would hold back for 500 ms.
        config.set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let partitions = self.leaders(topic).len();
        assert!(partitions > 0, "no topic {topic}");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).expect("a count of partitions") {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&assignment).expect("an assignment");
        let (mut records, mut ended, start) = (Vec::new(), vec![false; partitions], Instant::now());
        while ended.contains(&false) {
            assert!(start.elapsed() < LIMIT, "{topic} not read within {LIMIT:?}: partitions at their end {ended:?}");
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended[usize::try_from(partition).expect("a partition")] = true;
                }
                Some(Err(error)) => panic!("reading {topic}: {error}"),
            }
        }
        records.sort_unstable_by_key(|record| (record.partition, record.offset));
        records
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
    }
}
