use bytes::Bytes;

use super::*;
use crate::event::{Header, Piece};
use crate::reject::{Fault, Place};
use crate::units::ByteSize;

const KNOWN: Known = Known { partitions: 3, max_event: 1 << 20, needs_key: false, times: 0..=1000 };

fn batch(events: impl IntoIterator<Item = Event>) -> Batch {
    let mut batch = Batch::over(Bytes::from(vec![b'x'; 4096]));
    batch.events.extend(events);
    batch
}

fn event(index: u32, len: usize) -> Event {
    Event::new(index, 0, Some(Piece::of_body(0..len)))
}

fn reason(topic: &Topic, event: Event) -> Option<Reason> {
    let mut batch = batch([event, Event::new(1, 0, Some(Piece::of_body(0..1)))]);
    check(topic, &KNOWN, &Caps::default(), &mut batch).unwrap();
    assert_eq!(batch.received(), 2);
    batch.faults.first().map(|fault| fault.reason)
}

fn keyed(mut event: Event, len: usize) -> Event {
    event.key = Some(Piece::of_body(0..len));
    event
}

fn to(mut event: Event, partition: i32) -> Event {
    event.partition = Some(partition);
    event
}

#[test]
fn a_topic_takes_what_its_policy_says() {
    let strict = Topic::default();
    let open = Topic { tombstones: Decision::Allow, partition: Decision::Allow, ..Topic::default() };
    let tombstone = || Event::new(0, 0, None);
    for (event, by_strict, by_open) in [
        (event(0, 10), None, None),
        (tombstone(), Some(Reason::Tombstone), Some(Reason::Tombstone)),
        (keyed(tombstone(), 1), Some(Reason::Tombstone), None),
        (to(event(0, 1), 0), Some(Reason::BadPartition), None),
        (to(event(0, 1), 2), Some(Reason::BadPartition), None),
        (to(event(0, 1), 3), Some(Reason::BadPartition), Some(Reason::BadPartition)),
        (to(event(0, 1), -1), Some(Reason::BadPartition), Some(Reason::BadPartition)),
        (keyed(event(0, 1), 1024), None, None),
        (keyed(event(0, 1), 1025), Some(Reason::BadKey), Some(Reason::BadKey)),
    ] {
        assert_eq!(reason(&strict, event.clone()), by_strict, "{event:?}");
        assert_eq!(reason(&open, event.clone()), by_open, "{event:?}");
    }
}

#[test]
fn what_kafka_would_refuse_with_its_whole_batch_is_a_row() {
    let at = |time| {
        let mut event = event(0, 1);
        event.timestamp = Some(time);
        event
    };
    for (event, needs_key, row) in [
        (event(0, 1), false, None),
        (event(0, 1), true, Some(Reason::KeyRequired)),
        (keyed(event(0, 1), 1), true, None),
        (at(0), false, None),
        (at(1000), false, None),
        (at(-1), false, Some(Reason::BadTimestamp)),
        (at(1001), false, Some(Reason::BadTimestamp)),
    ] {
        let mut batch = batch([event.clone()]);
        check(&Topic::default(), &Known { needs_key, ..KNOWN }, &Caps::default(), &mut batch).unwrap();
        assert_eq!(batch.faults.first().map(|fault| fault.reason), row, "{event:?} {needs_key}");
    }
}

#[test]
fn the_size_of_an_event_is_key_value_and_headers_against_the_smaller_limit() {
    let mut sized = batch([]);
    let mut big = keyed(event(0, 50), 30);
    let name = Piece::of_body(0..10);
    sized.set_headers(&mut big, [Header { name, value: Some(name) }]);
    sized.events.extend([big, event(1, 1)]);
    for (own, kafka, fits) in [(100, 100, true), (99, 1000, false), (1000, 99, false)] {
        let topic = Topic { max_event: ByteSize::bytes(own), ..Topic::default() };
        let mut batch = sized.clone();
        check(&topic, &Known { max_event: kafka, ..KNOWN }, &Caps::default(), &mut batch).unwrap();
        assert_eq!(batch.faults.is_empty(), fits, "{own} {kafka}");
        assert!(batch.faults.iter().all(|fault| fault.reason == Reason::TooLarge && fault.index == 0));
    }
}

#[test]
fn one_event_that_is_only_too_large_is_a_413_and_otherwise_a_row() {
    let topic = Topic { max_event: ByteSize::bytes(10), ..Topic::default() };
    let run = |batch: &mut Batch| check(&topic, &KNOWN, &Caps::default(), batch);
    assert_eq!(run(&mut batch([event(0, 10)])), Ok(()));
    let mut alone = batch([event(0, 11)]);
    assert_eq!(run(&mut alone), Err(Reject::EventTooLarge { limit: 10, got: 11 }));
    assert_eq!(alone.received(), 1);

    for mut several in [batch([event(0, 11), event(1, 1)]), batch([to(event(0, 11), 1)])] {
        assert_eq!(run(&mut several), Ok(()));
        assert_eq!(several.faults.len(), 1);
    }
    let mut with_a_fault = batch([event(1, 11)]);
    with_a_fault.faults.push(fault(0));
    assert_eq!(run(&mut with_a_fault), Ok(()));
    assert_eq!(with_a_fault.faults.len(), 2);
}

fn fault(index: u32) -> Fault {
    Fault { index, place: Place::Offset(0), reason: Reason::Malformed, detail: String::new() }
}

#[test]
fn a_bad_event_sinks_the_batch_unless_it_may_be_skipped() {
    let mut mixed = batch([event(1, 1)]);
    assert_eq!(verdict(&mixed, OnInvalid::Refuse), Ok(()));
    assert_eq!(verdict(&mixed, OnInvalid::Skip), Ok(()));
    mixed.faults.extend([fault(2), fault(0)]);
    assert_eq!(
        verdict(&mixed, OnInvalid::Refuse),
        Err(Reject::InvalidEvents { faults: vec![fault(0), fault(2)], of: 3 })
    );
    assert_eq!(verdict(&mixed, OnInvalid::Skip), Ok(()));
    mixed.events.clear();
    mixed.faults.truncate(1);
    assert_eq!(verdict(&mixed, OnInvalid::Skip), Err(Reject::InvalidEvents { faults: vec![fault(2)], of: 1 }));
}
