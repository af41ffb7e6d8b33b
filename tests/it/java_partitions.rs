//! Keys land where the Java client would put them: `partitioner=murmur2_random` against a table the Java class made.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::support::kafka::Kafka;

/// Key and its partition of 12, from `java_partitions.csv`.
pub(crate) fn table() -> Vec<(Vec<u8>, i32)> {
    let rows = include_str!("java_partitions.csv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let (key, partition) = line.split_once(',').expect("two columns");
        (hex::decode(key).expect("hexadecimal"), partition.parse().expect("a partition"))
    };
    rows.map(row).collect()
}

#[test]
fn librdkafka_puts_every_key_where_java_does_the_empty_one_too() {
    let kafka = Kafka::shared();
    kafka.create_topic("java-partitions", 12, &[]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("partitioner", "murmur2_random");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    for (key, partition) in table() {
        let value = partition.to_string();
        producer.send(BaseRecord::to("java-partitions").key(&key).payload(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();

    let records = kafka.consume("java-partitions");
    let found: BTreeMap<_, _> = records.into_iter().map(|record| (record.key.unwrap(), record.partition)).collect();
    assert_eq!(found, table().into_iter().collect::<BTreeMap<_, _>>());
    assert!(found.len() >= 40 && found.contains_key(&b""[..]), "the table has its 40 keys and the empty one");
}
