//! The auditor over records made by hand, and over a real topic that a real gateway wrote: as it is, and with one
//! record tampered on its way to the reader.

use std::sync::Arc;

use klamm_load::topics::Cluster;
use klamm_load::verify::{Record, Source, Topic};

use super::*;
use crate::chaos::event::id_in;
use crate::chaos::ledger::{Ledger, Order, Run};
use crate::chaos::load::{Load, Names, Pace, Sender, key_of};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::{keys, scratch};

/// A record of its own.
#[derive(Clone)]
struct Kept {
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    event_id: Option<Vec<u8>>,
}

struct Records(std::vec::IntoIter<Kept>);

impl Source for Records {
    fn next(&mut self, take: &mut dyn FnMut(Record<'_>)) -> anyhow::Result<bool> {
        let Some(kept) = self.0.next() else { return Ok(false) };
        let Kept { partition, offset, key, value, event_id } = &kept;
        let (key, event_id) = (key.as_deref(), event_id.as_deref());
        take(Record { partition: *partition, offset: *offset, key, value: Some(value), event_id });
        Ok(true)
    }
}

/// What is found in one topic that holds `records`.
fn audited(book: &Book, values: &Values, windows: &[Window], records: Vec<Kept>) -> Findings {
    read_all(book, values, windows, &mut [Records(records.into_iter())], &HashSet::new())
}

/// What was asked, answered and written: a stream of five requests and a batch, each event once, in order.
struct Story {
    book: Book,
    records: Vec<Kept>,
    values: Values,
}

fn story() -> Story {
    let values = Values::new(1);
    let (mut book, mut records) = (Book::default(), Vec::new());
    for request in 0..6 {
        let stream = (request < 5).then_some(2);
        let order = Order { client: 0, topic: 0, stream, events: if request < 5 { 2 } else { 10 } };
        let sent = Duration::from_secs(request);
        let answered = Some(sent + Duration::from_millis(5));
        book.entries.push(Entry { order, sent, answered, status: 200, failed: Vec::new() });
        for index in 0..order.events {
            let (value, key) = (values.of(Id { request, index }), stream.map(|stream| key_of(stream).into_bytes()));
            let offset = records.len() as i64;
            records.push(Kept { partition: 0, offset, key, value, event_id: None });
        }
    }
    Story { book, records, values }
}

impl Story {
    fn say(&mut self, request: usize, status: u16, failed: &[Run]) {
        self.book.entries[request].status = status;
        self.book.entries[request].failed = failed.to_vec();
    }

    fn audit(&self, windows: &[Window]) -> Findings {
        audited(&self.book, &self.values, windows, self.records.clone())
    }

    /// The names of what is wrong, with how many.
    fn wrong(&self, windows: &[Window]) -> Vec<(&'static str, u64)> {
        let found = self.audit(windows);
        let bad = found.offenders().into_iter().filter(|(_, of)| of.count > 0);
        bad.map(|(name, of)| (name, of.count)).collect()
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.records[one].offset, self.records[other].offset);
        self.records.swap(one, other);
        (self.records[one].offset, self.records[other].offset) = (first, second);
    }
}

#[test]
fn a_topic_as_it_was_promised_holds() {
    let mut story = story();
    story.say(1, 202, &[]);
    let found = story.audit(&[]);
    assert_eq!((found.faults(), found.acked, found.spooled, found.records), (vec![], 18, 2, 20));
}

#[test]
fn one_record_removed_doubled_swapped_or_altered_is_found() {
    let mut removed = story();
    removed.records.remove(3);
    assert_eq!(removed.wrong(&[]), [("lost", 1)]);
    let mut spooled = story();
    spooled.say(1, 202, &[]);
    spooled.records.remove(3);
    assert_eq!(spooled.wrong(&[]), [("lost", 1)], "a 202 is a promise too");

    let mut doubled = story();
    doubled.records.push(doubled.records[15].clone());
    assert_eq!(doubled.wrong(&[]), [("doubled without a fault", 1)]);

    let mut swapped = story();
    swapped.swap(3, 4);
    assert_eq!(swapped.wrong(&[]), [("out of order", 1)]);
    let mut exchanged = story();
    exchanged.records[12].value = exchanged.records[13].value.clone();
    assert_eq!(exchanged.wrong(&[]), [("lost", 1), ("doubled without a fault", 1)]);

    let mut altered = story();
    let last = altered.records[7].value.len() - 20;
    altered.records[7].value[last] ^= 1;
    assert_eq!(altered.wrong(&[]), [("altered", 1)]);
}

#[test]
fn records_that_nobody_sent_or_that_were_refused_and_wrong_keys_and_topics_are_found() {
    let mut foreign = story();
    foreign.records[15].value = b"{}".to_vec();
    assert_eq!(foreign.wrong(&[]), [("lost", 1), ("never sent", 1)]);
    let mut refused = story();
    refused.say(5, 503, &[]);
    assert_eq!(refused.wrong(&[]), [("refused and there", 10)]);
    let mut mixed = story();
    mixed.say(5, 207, &[(2, 3, 503), (7, 1, 504)]);
    assert_eq!(mixed.wrong(&[]), [("refused and there", 3)]);
    let mut keyless = story();
    keyless.records[0].key = None;
    assert_eq!(keyless.wrong(&[]), [("misplaced", 1)]);
    let mut moved = story();
    moved.records[9].partition = 1;
    assert_eq!(moved.wrong(&[]), [("out of order", 1)], "a key has one partition");
}

#[test]
fn a_copy_is_laid_to_the_fault_in_its_events_life_and_must_have_the_same_event_id() {
    let window = |from, to| Window { kind: "cut", from: Duration::from_secs(from), to: Duration::from_secs(to) };
    let mut story = story();
    story.records.push(story.records[2].clone());
    assert_eq!(story.wrong(&[window(2, 9)]), [("doubled without a fault", 1)], "answered before the fault began");
    assert_eq!(story.audit(&[window(0, 2)]).doubled, BTreeMap::from([("cut", 1)]));
    story.say(1, 504, &[]);
    assert_eq!(story.wrong(&[window(9, 10)]), [], "unknown: it may have been sent again then");
    story.records.last_mut().unwrap().event_id = Some(b"another".to_vec());
    assert_eq!(story.wrong(&[window(9, 10)]), [("copies with another event id", 1)]);
}

#[test]
fn unknown_events_may_be_there_or_not_and_give_way_in_the_order() {
    let mut story = story();
    story.say(2, 504, &[]);
    story.swap(4, 8);
    story.swap(5, 9);
    story.say(3, 0, &[]);
    story.records.retain(|record| record.offset != 6);
    let found = story.audit(&[]);
    // Of the stream only 0, 1 and 4 were promised; 4 now stands before 3.
    assert_eq!((found.faults(), found.unknown_there, found.unknown_missing), (vec![], 3, 1));
}

/// What is done to the record that is the `at`-th read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tamper {
    Nothing,
    Remove,
    Double,
    Alter,
    /// Its value, and that of the record of its key before it, change places.
    Swap,
}

fn tampered(records: &[Kept], tamper: Tamper, at: usize) -> Vec<Kept> {
    let mut records = records.to_vec();
    match tamper {
        Tamper::Nothing => {}
        Tamper::Remove => drop(records.remove(at)),
        Tamper::Double => records.push(records[at].clone()),
        Tamper::Alter => records[at].value[12] ^= 1,
        Tamper::Swap => {
            let same = |other: &usize| {
                let (one, other) = (&records[at], &records[*other]);
                one.key.is_some() && one.key == other.key && id_in(&one.value) != id_in(&other.value)
            };
            let other = (0..at).rev().find(same).expect("an earlier record of the key");
            let value = std::mem::take(&mut records[at].value);
            records[at].value = std::mem::replace(&mut records[other].value, value);
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_topic_holds_as_it_was_written_and_not_with_one_record_tampered() {
    const NAMES: Names = Names { clients: &["ant"], topics: &["audited"] };
    let kafka = Kafka::shared();
    kafka.create_topic("audited", 3, &[]);
    let cluster = Cluster { bootstrap: kafka.bootstrap(), properties: Vec::new() };
    let mut topic = Topic::open(&cluster, "audited").unwrap();
    let gateway = Gateway::start(&format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s }}
kafka: {{ default: {{ bootstrap: ["{}"] }} }}
clients: {{ ant: {{ keys: [{{ label: test, sha256: "{}" }}], topics: [audited] }} }}
topics: {{ audited: {{}} }}
"#,
        kafka.bootstrap(),
        keys::fixed("ant").sha256
    ));
    gateway.ready().await;
    let dir = scratch::dir("audited");
    let (ledger, values) = (Arc::new(Ledger::create(&dir.path().join("ledger"))), Values::new(5));
    ledger.begin();
    let sender = |pace, events| Sender { client: 0, topic: 0, events, pace, respond_async: false };
    let senders = [
        sender(Pace::Every(Duration::from_millis(20)), 20),
        sender(Pace::OneByOne(0), 1),
        sender(Pace::OneByOne(1), 3),
    ];
    let load = Load::start(gateway.ingest(), NAMES, &senders, Arc::clone(&ledger), values.clone());
    while load.accepted() < 100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.stop().await;
    let book = ledger.read();
    assert!(book.entries.iter().all(Entry::is_accepted), "no fault, no refusal");

    topic.mark_end().unwrap();
    let mut records = Vec::new();
    let mut keep = |record: Record<'_>| {
        let (key, event_id) = (record.key.map(<[u8]>::to_vec), record.event_id.map(<[u8]>::to_vec));
        let value = record.value.unwrap().to_vec();
        records.push(Kept { partition: record.partition, offset: record.offset, key, value, event_id });
    };
    while topic.next(&mut keep).unwrap() {}
    let keyed = records.iter().rposition(|record| record.key.is_some()).unwrap();
    for tamper in [Tamper::Nothing, Tamper::Remove, Tamper::Double, Tamper::Alter, Tamper::Swap] {
        let found = audited(&book, &values, &[], tampered(&records, tamper, keyed));
        assert_eq!(found.faults().is_empty(), tamper == Tamper::Nothing, "{tamper:?}: {found:?}");
        assert_eq!(found.acked, records.len() as u64);
    }
}
