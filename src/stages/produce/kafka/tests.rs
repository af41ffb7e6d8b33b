use std::sync::mpsc;

use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
use rdkafka::mocking::MockCluster;

use super::*;
use crate::config::Cluster;
use crate::event::Piece;
use crate::librdkafka::fail_fatally;
use crate::stages::produce::catalog::Known;

const LIMIT: Duration = Duration::from_secs(20);

struct Tell(mpsc::Sender<Vec<Fate>>);

impl Completion for Tell {
    fn settled(self: Box<Self>, fates: Vec<Fate>) {
        let _ = self.0.send(fates);
    }
}

fn sink(bootstrap: String) -> Kafka {
    let cluster = Cluster { bootstrap: vec![bootstrap], ..Cluster::default() };
    Kafka::new(Options { cluster, budget: 64 << 20 }, Arc::default(), Arc::default()).unwrap()
}

/// Sends one event; its fate comes later.
fn send(sink: &Kafka) -> mpsc::Receiver<Vec<Fate>> {
    let known = Known { partitions: 1, max_message_bytes: None };
    let (tell, told) = mpsc::channel();
    let mut batch = Batch::over(Bytes::from_static(b"x"));
    batch.events.push(Event::new(0, 0, Some(Piece::of_body(0..1))));
    sink.send(&Destination { topic: "t".into(), known }, Lane::Express, &batch, Box::new(Tell(tell)));
    told
}

fn fate(told: &mpsc::Receiver<Vec<Fate>>) -> Fate {
    let fates = told.recv_timeout(LIMIT).expect("a fate");
    assert_eq!(fates.len(), 1);
    fates[0]
}

#[test]
fn a_producer_that_fails_for_good_is_replaced_within_two_seconds_and_its_events_are_not_unknown() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let sink = sink(cluster.bootstrap_servers());
    assert!(matches!(fate(&send(&sink)), Fate::Acked { .. }));

    let first = sink.producer(Lane::Express, sink.options.batch_bytes(None)).unwrap();
    fail_fatally(first.client(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
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
    let complaints = sink.health.complaints();
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
