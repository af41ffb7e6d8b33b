use std::sync::mpsc;

use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::config::Cluster;
use crate::event::{Header, Piece};
use crate::librdkafka::fail_fatally;
use crate::stages::produce::catalog::Known;
use crate::stages::produce::reference::Reference;

const LIMIT: Duration = Duration::from_secs(20);

struct Tell(mpsc::Sender<Fates>);

impl Completion for Tell {
    fn settled(self: Box<Self>, fates: Fates) {
        let _ = self.0.send(fates);
    }
}

fn sink(bootstrap: String) -> Kafka {
    let cluster = Cluster { bootstrap: vec![bootstrap], ..Cluster::default() };
    Kafka::new(Options { cluster, budget: 64 << 20 }, Ears::default()).unwrap()
}

/// Topic `t` with so many partitions.
fn to(partitions: i32) -> Destination {
    Destination { topic: "t".into(), known: Known { partitions, max_message_bytes: None }, linger: None }
}

/// Sends one event; its fate comes later.
fn send(sink: &Kafka) -> mpsc::Receiver<Fates> {
    let (tell, told) = mpsc::channel();
    let mut batch = Batch::over(Bytes::from_static(b"x"));
    batch.events.push(Event::new(0, 0, Some(Piece::of_body(0..1))));
    sink.send(&to(1), Lane::Express, Arc::new(batch), Box::new(Tell(tell)));
    told
}

fn fate(told: &mpsc::Receiver<Fates>) -> Fate {
    let fates = told.recv_timeout(LIMIT).expect("a fate").each();
    assert_eq!(fates.len(), 1);
    fates[0]
}

#[test]
fn a_producer_that_fails_for_good_is_replaced_within_two_seconds_and_its_events_are_not_unknown() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let sink = sink(cluster.bootstrap_servers());
    assert!(matches!(fate(&send(&sink)), Fate::Acked { .. }));

    let first = sink.line(sink.class(&to(1), Lane::Express)).unwrap();
    fail_fatally(first.producer.client(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    drop(first);
    let failed = Instant::now();
    loop {
        match fate(&send(&sink)) {
            Fate::Acked { .. } => break,
            // Never sent, so sending it again cannot double it.
            Fate::Failed(_) => std::thread::sleep(Duration::from_millis(20)),
            fate => panic!("{fate}"),
        }
        assert!(failed.elapsed() < LIMIT, "no new producer");
    }
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
    let complaints = sink.ears.health.complaints();
    assert!(complaints.iter().any(|text| text.contains("is replaced")), "{complaints:?}");
    assert_eq!(sink.waiting(), Waiting::default());
}

#[test]
fn what_is_given_up_is_settled_and_what_is_sent_later_fails_at_once() {
    // Nobody listens there.
    let sink = sink("127.0.0.1:1".into());
    let waiting = send(&sink);
    assert_eq!(sink.flush(Instant::now()), Waiting { requests: 1, events: 1 });
    sink.give_up();
    assert_eq!(fate(&waiting), Fate::Failed(RDKafkaErrorCode::PurgeQueue));
    assert_eq!(fate(&send(&sink)), Fate::Failed(RDKafkaErrorCode::PurgeQueue));
    assert_eq!(sink.waiting(), Waiting::default());
}

/// Ten events of each sort that a request can hold, in order.
fn mixed() -> Batch {
    let mut batch = Batch::over(Bytes::new());
    for n in 0..60_u32 {
        let value = batch.make(format!("value {n}").as_bytes());
        let key = batch.make(format!("key {}", n % 7).as_bytes());
        let mut event = Event::new(n, 0, Some(value));
        match n % 6 {
            0 => event.key = Some(key),
            1 => event.partition = Some(2),
            2 => (event.key, event.partition) = (Some(key), Some(1)),
            3 => (event.key, event.value) = (Some(key), None),
            4 => (event.key, event.timestamp) = (Some(key), Some(1_700_000_000_000 + i64::from(n))),
            _ => {
                event.key = Some(key);
                let (name, value) = (batch.make(b"name"), Some(batch.make(b"")));
                batch.set_headers(&mut event, [Header { name, value }, Header { name, value: None }]);
            }
        }
        batch.events.push(event);
    }
    batch
}

type Told = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Vec<(String, Option<Vec<u8>>)>);

/// What `sink` writes of the mixed batch, by partition; and the fates.
fn written(
    sink: &dyn Sink,
    cluster: &MockCluster<'_, DefaultProducerContext>,
    topic: &str,
) -> (Vec<Vec<Told>>, Vec<Fate>) {
    cluster.create_topic(topic, 4, 1).unwrap();
    let (tell, told) = mpsc::channel();
    let batch = mixed();
    let events = batch.events.len();
    let known = Known { partitions: 4, max_message_bytes: None };
    sink.send(
        &Destination { topic: topic.into(), known, linger: None },
        Lane::Express,
        Arc::new(batch),
        Box::new(Tell(tell)),
    );
    let fates = told.recv_timeout(LIMIT).expect("fates").each();

    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "none");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..4 {
        from.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&from).unwrap();
    let mut partitions = vec![Vec::new(); 4];
    for _ in 0..events {
        let record = consumer.poll(LIMIT).expect("a record").unwrap();
        let headers = record.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        // The time of an event that has none of its own is that of the call.
        let time = record.timestamp().to_millis().filter(|time| *time < 1_750_000_000_000);
        let told = (record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec), time, headers);
        partitions[record.partition() as usize].push(told);
    }
    (partitions, fates)
}

#[test]
fn every_sort_of_event_is_written_as_the_reference_writes_it() {
    let cluster = MockCluster::new(1).unwrap();
    let options = |bootstrap| {
        let cluster = Cluster { bootstrap: vec![bootstrap], ..Cluster::default() };
        Options { cluster, budget: 64 << 20 }
    };
    let reference = Reference::new(&options(cluster.bootstrap_servers()), Ears::default()).unwrap();
    let (expected, fates) = written(&*reference, &cluster, "reference");
    assert!(expected.iter().filter(|partition| !partition.is_empty()).count() > 2, "too few partitions to tell");
    let (got, got_fates) = written(&sink(cluster.bootstrap_servers()), &cluster, "ours");
    assert_eq!(got, expected);
    assert_eq!(got_fates, fates);
}

#[test]
fn keyed_events_of_a_partition_that_librdkafka_has_not_heard_of_are_written_all_the_same() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let sink = sink(cluster.bootstrap_servers());
    assert!(matches!(fate(&send(&sink)), Fate::Acked { .. }));
    // The catalog has read of eight partitions; the producer knows one.
    let known = Known { partitions: 8, max_message_bytes: None };
    let (tell, told) = mpsc::channel();
    let mut batch = Batch::over(Bytes::from_static(b"x"));
    for n in 0..20_u32 {
        let mut event = Event::new(n, 0, Some(Piece::of_body(0..1)));
        event.key = (n > 0).then(|| batch.make(&n.to_be_bytes()));
        event.partition = (n == 1).then_some(5);
        batch.events.push(event);
    }
    sink.send(
        &Destination { topic: "t".into(), known, linger: None },
        Lane::Express,
        Arc::new(batch),
        Box::new(Tell(tell)),
    );
    let fates = told.recv_timeout(LIMIT).expect("fates").each();
    assert_eq!(fates.len(), 20);
    for (place, fate) in fates.into_iter().enumerate() {
        match place {
            // It asked for that one.
            1 => assert_eq!(fate, Fate::Failed(RDKafkaErrorCode::UnknownPartition)),
            _ => assert!(matches!(fate, Fate::Acked { partition: 0, .. }), "{place}: {fate}"),
        }
    }
}

#[test]
fn a_dropped_producer_settles_what_is_under_way() {
    let ears = Ears::default();
    let options =
        Options { cluster: Cluster { bootstrap: vec!["127.0.0.1:1".into()], ..Cluster::default() }, budget: 64 << 20 };
    let sink = Kafka::new(options, ears.clone()).unwrap();
    let waiting: Vec<_> = (0..100).map(|_| send(&sink)).collect();
    drop(sink);
    for told in &waiting {
        assert_eq!(fate(told), Fate::Failed(RDKafkaErrorCode::PurgeQueue));
    }
    assert_eq!(ears.flights.waiting(), Waiting::default());
}

/// The unsafe code under what it will meet: also run by `make memcheck`, under valgrind.
#[test]
fn every_event_is_settled_once_through_lost_connections_purges_and_drops() {
    const REQUESTS: usize = 60;
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 4, 1).unwrap();
    for turn in 0..3 {
        let ears = Ears::default();
        let options = Options {
            cluster: Cluster { bootstrap: vec![cluster.bootstrap_servers()], ..Cluster::default() },
            budget: 64 << 20,
        };
        let sink = Arc::new(Kafka::new(options, ears.clone()).unwrap());
        let (tell, told) = mpsc::channel();
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (sink, tell) = (Arc::clone(&sink), tell.clone());
                std::thread::spawn(move || {
                    let known = Known { partitions: 4, max_message_bytes: None };
                    let to = Destination { topic: "t".into(), known, linger: None };
                    for _ in 0..REQUESTS {
                        sink.send(&to, Lane::Express, Arc::new(mixed()), Box::new(Tell(tell.clone())));
                        std::thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        cluster.broker_down(1).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        cluster.broker_up(1).unwrap();
        match turn {
            0 => {
                senders.into_iter().for_each(|sender| sender.join().unwrap());
                assert_eq!(sink.flush(Instant::now() + LIMIT), Waiting::default());
            }
            // While they still send.
            1 => {
                sink.give_up();
                senders.into_iter().for_each(|sender| sender.join().unwrap());
            }
            _ => {
                senders.into_iter().for_each(|sender| sender.join().unwrap());
                drop(sink);
            }
        }
        for _ in 0..2 * REQUESTS {
            let fates = told.recv_timeout(LIMIT).expect("every request is settled");
            assert_eq!(fates.count(), 60, "each event once");
        }
        assert!(told.try_recv().is_err(), "no request twice");
        assert_eq!(ears.flights.waiting(), Waiting::default());
    }
}
