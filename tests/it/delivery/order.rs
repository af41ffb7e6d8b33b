//! Order, and receipts: where an event is said to be, a consumer finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{ENVELOPE_NDJSON, JSON, NDJSON, Place, Poster, gateway, place, places, records};
use crate::support::client::Client;
use crate::support::kafka::Kafka;

#[tokio::test]
async fn events_of_one_key_stand_in_the_order_of_their_requests_and_within_each() {
    const TOPIC: &str = "order-keys";
    Kafka::shared().create_topic(TOPIC, 6, &[]);
    let gateway = gateway(&["order"], &["order-keys: { key: { pointer: /k } }"]).await;
    // Four senders at the same time, each with its key; each waits for an answer before it goes on.
    let send = async |key: usize| {
        let poster = Poster::new(&gateway, "order");
        let mut next = 0;
        for round in 0..25 {
            let size = if round % 3 == 0 { 1 } else { 40 };
            let events: Vec<String> = (next..next + size).map(|n| format!(r#"{{"k":{key},"n":{n}}}"#)).collect();
            next += size;
            let answer = match round % 3 {
                0 => poster.post(TOPIC, JSON, &[], events[0].clone()).await,
                1 => poster.post(TOPIC, JSON, &[], format!("[{}]", events.join(","))).await,
                _ => poster.post(TOPIC, NDJSON, &[], events.join("\n")).await,
            };
            let places = places(&answer);
            assert!(places.iter().all(|place| place.0 == places[0].0), "one key, one partition: {places:?}");
            assert!(places.is_sorted(), "{places:?}");
        }
        next
    };
    let counts: [usize; 4] = tokio::join!(send(0), send(1), send(2), send(3)).into();

    let mut seen: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for record in Kafka::shared().consume(TOPIC) {
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        seen.entry(record.key.unwrap()).or_default().push(value);
    }
    for (key, count) in counts.into_iter().enumerate() {
        let expected: Vec<String> = (0..count).map(|n| format!(r#"{{"k":{key},"n":{n}}}"#)).collect();
        assert_eq!(seen[key.to_string().as_bytes()], expected, "key {key}");
    }
}

#[tokio::test]
async fn each_receipt_is_where_a_consumer_finds_that_event() {
    const TOPIC: &str = "receipts-mixed";
    Kafka::shared().create_topic(TOPIC, 12, &[]);
    let gateway = gateway(&["receipts"], &["\"receipts-*\": { key: { pointer: /k } }"]).await;
    let poster = Poster::new(&gateway, "receipts");
    let h2 = Poster::over(Client::h2c(gateway.ingest()), "receipts");
    // Keys of 12 partitions and none, mixed.
    let event = |what: &str, n: usize| match n % 7 {
        0 => format!(r#"{{"{what}":{n}}}"#),
        k => format!(r#"{{"{what}":{n},"k":"{}"}}"#, k * n % 31),
    };
    let events = |what: &str, count: usize| (0..count).map(|n| event(what, n)).collect::<Vec<_>>();
    let (array, lines, single, wrapped) =
        (events("array", 300), events("line", 500), events("single", 40), events("wrapped", 200));
    let mut sent: Vec<(Place, String)> = Vec::new();
    let mut note = |places: Vec<Place>, events: Vec<String>| {
        assert_eq!(places.len(), events.len());
        sent.extend(places.into_iter().zip(events));
    };
    let envelopes = wrapped.iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, r#"{{"value":{event}}}"#);
        text
    });
    let array_body = format!("[{}]", array.join(","));
    let (a, b, c, d) = tokio::join!(
        poster.post(TOPIC, JSON, &[], array_body.clone()),
        h2.post(TOPIC, NDJSON, &[], lines.join("\n")),
        h2.post(TOPIC, ENVELOPE_NDJSON, &[], envelopes),
        poster.post(TOPIC, JSON, &[], array_body),
    );
    note(places(&a), array.clone());
    note(places(&b), lines);
    note(places(&c), wrapped);
    note(places(&d), array);
    for event in single {
        let answer = h2.post(TOPIC, JSON, &[], event.clone()).await;
        note(vec![place(&answer)], vec![event]);
    }

    let records = records(TOPIC);
    assert_eq!(records.len(), sent.len(), "nothing else is there");
    let distinct: BTreeSet<Place> = sent.iter().map(|(place, _)| *place).collect();
    assert_eq!(distinct.len(), sent.len(), "no two events in one place");
    for (place, event) in sent {
        assert_eq!(records[&place].value.as_deref(), Some(event.as_bytes()), "{place:?}");
    }
}

#[tokio::test]
async fn ten_thousand_keyless_requests_reach_every_partition() {
    const TOPIC: &str = "keyless-many";
    const SENDERS: usize = 100;
    const EACH: usize = 100;
    Kafka::shared().create_topic(TOPIC, 12, &[]);
    let gateway = gateway(&["keyless"], &["keyless-many: {}"]).await;
    let posters: Vec<Poster> = (0..4).map(|_| Poster::over(Client::h2c(gateway.ingest()), "keyless")).collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let poster = posters[sender % posters.len()].clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for n in 0..EACH {
                    let body = format!("\"{sender},{n}\"");
                    sent.push((place(&poster.post(TOPIC, JSON, &[], body.clone()).await), body));
                }
                sent
            })
        })
        .collect();
    let mut sent = BTreeMap::new();
    for sender in senders {
        sent.extend(sender.await.unwrap());
    }
    let records = records(TOPIC);
    assert_eq!((sent.len(), records.len()), (SENDERS * EACH, SENDERS * EACH));
    let mut counts = [0_usize; 12];
    for (place, body) in &sent {
        assert_eq!(records[place].value.as_deref(), Some(body.as_bytes()));
        counts[usize::try_from(place.0).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
