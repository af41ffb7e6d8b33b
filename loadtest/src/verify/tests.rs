//! The real reading function over a real topic (librdkafka's mock cluster), and over the same with one record tampered.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::*;
use crate::load::{Fate, sample};

const REQUESTS: u64 = 40;
const EVENTS: usize = 5;
const TOPIC: &str = "verified";

fn options() -> Options {
    Options { events: EVENTS, topics: vec![TOPIC.to_owned()], seed: 99, ..Options::default() }
}

/// What is done to a record on its way to the reader.
#[derive(Clone, Copy)]
enum Tamper {
    Nothing,
    Remove,
    Double,
    Alter,
    Swap,
}

/// Does it to the record that is the `at`-th read.
struct Tampered<S> {
    source: S,
    tamper: Tamper,
    at: usize,
    read: usize,
    previous: Vec<u8>,
}

impl<S: Source> Source for Tampered<S> {
    fn next(&mut self, take: &mut dyn FnMut(Record<'_>)) -> Result<bool> {
        let (hit, tamper) = (self.read == self.at, self.tamper);
        self.read += 1;
        let mut kept = Vec::new();
        let previous = std::mem::take(&mut self.previous);
        let more = self.source.next(&mut |record| {
            kept = record.value.unwrap_or_default().to_vec();
            match tamper {
                Tamper::Remove if hit => {}
                Tamper::Double if hit => {
                    take(record);
                    take(record);
                }
                Tamper::Alter if hit => {
                    let mut value = kept.clone();
                    let last = value.len() - 2;
                    value[last] ^= 1;
                    take(Record { value: Some(&value), ..record });
                }
                // The whole of another event in its place: one is lost, one doubled.
                Tamper::Swap if hit => take(Record { value: Some(&previous), ..record }),
                _ => take(record),
            }
        })?;
        self.previous = kept;
        Ok(more)
    }
}

/// A topic that holds what a gateway would have written of these requests, after what others wrote before.
fn written(cluster: &MockCluster<'_, DefaultProducerContext>, bodies: &Bodies, requests: &[u64]) -> Topic {
    let address = Cluster { bootstrap: cluster.bootstrap_servers(), properties: Vec::new() };
    let producer: BaseProducer = address.client().create().unwrap();
    let send = |value: &[u8]| producer.send(BaseRecord::<(), [u8]>::to(TOPIC).payload(value)).unwrap();
    send(b"somebody else's");
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut topic = Topic::open(&address, TOPIC).unwrap();
    send(b"somebody else's, meanwhile");
    for request in requests {
        (0..EVENTS as u64).for_each(|event| send(&bodies.event(request * EVENTS as u64 + event).unwrap()));
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    topic.mark_end().unwrap();
    // Written after the end was marked: not looked at.
    send(b"too late");
    producer.flush(Duration::from_secs(10)).unwrap();
    topic
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 3, 1).unwrap();
    cluster
}

fn findings(tamper: Tamper) -> Findings {
    let (cluster, bodies) = (cluster(), Bodies::new(&options(), true).unwrap());
    let all: Vec<u64> = (0..REQUESTS).collect();
    let source = written(&cluster, &bodies, &all);
    let book = book::Closed::of(vec![Said::Written; REQUESTS as usize]);
    let mut tampered = Tampered { source, tamper, at: 17, read: 0, previous: Vec::new() };
    check::read(&mut tampered, &book, &bodies, EVENTS).unwrap()
}

#[test]
fn a_topic_as_it_was_written_holds_every_promise() {
    let found = findings(Tamper::Nothing);
    assert!(found.holds(), "{found:?}");
    let all = REQUESTS * EVENTS as u64;
    assert_eq!((found.acknowledged, found.records, found.foreign), (all, all + 1, 1));
}

#[test]
fn one_record_removed_is_found_lost() {
    let found = findings(Tamper::Remove);
    assert!(!found.holds());
    assert_eq!((found.lost.count, found.lost.first.len()), (1, 1), "{found:?}");
    assert_eq!(found.doubled.count + found.altered.count + found.unwanted.count, 0);
}

#[test]
fn one_record_doubled_is_found() {
    let found = findings(Tamper::Double);
    assert!(!found.holds());
    assert_eq!((found.doubled.count, found.lost.count, found.altered.count), (1, 0, 0), "{found:?}");
    assert!(found.doubled.first[0].contains("partition"), "{found:?}");
}

#[test]
fn one_record_altered_in_one_bit_is_found() {
    let found = findings(Tamper::Alter);
    assert!(!found.holds());
    assert_eq!((found.altered.count, found.lost.count, found.doubled.count), (1, 0, 0), "{found:?}");
}

#[test]
fn one_record_in_the_place_of_another_is_found() {
    let found = findings(Tamper::Swap);
    assert!(!found.holds());
    assert_eq!((found.lost.count, found.doubled.count), (1, 1), "{found:?}");
}

#[test]
fn refused_events_must_not_be_there_and_unknown_ones_may() {
    let (cluster, bodies) = (cluster(), Bodies::new(&options(), true).unwrap());
    // Request 0 was written, 1 refused and written all the same, 2 unknown and written, 3 unknown and not, 4 refused.
    let mut source = written(&cluster, &bodies, &[0, 1, 2]);
    let said = vec![Said::Written, Said::Refused, Said::Unknown, Said::Unknown, Said::Refused];
    let found = check::read(&mut source, &book::Closed::of(said), &bodies, EVENTS).unwrap();
    let five = EVENTS as u64;
    assert_eq!((found.acknowledged, found.refused), (five, 2 * five));
    assert_eq!((found.unknown_there, found.unknown_missing), (five, five));
    assert_eq!(found.unwanted.count, five, "{found:?}");
    assert!(!found.holds() && found.offenders().len() == 5);
}

#[test]
fn a_gateway_that_says_200_and_writes_nothing_is_found_out() {
    let cluster = cluster();
    let address = Cluster { bootstrap: cluster.bootstrap_servers(), properties: Vec::new() };
    let verified = verify(&options(), &address, Duration::ZERO, |_, ledger| {
        (0..REQUESTS).for_each(|request| ledger.settled(request, Fate::Accepted(200)));
        Ok(sample())
    })
    .unwrap();
    assert_eq!(verified.findings.lost.count, REQUESTS * EVENTS as u64);
    assert!(verified.sentence().starts_with("BROKEN: 200 lost"), "{}", verified.sentence());
}
