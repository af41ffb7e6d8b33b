//! Keys, headers, timestamps and partitions of records, from each of their sources.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    BINARY, ENVELOPE, ENVELOPE_NDJSON, Fields, JSON, NDJSON, Poster, TEXT, code, gateway, place, places, records, rows,
};
use crate::java_partitions;
use crate::support::kafka::Kafka;

fn text(bytes: Option<&Vec<u8>>) -> Option<&str> {
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn a_key_comes_from_the_envelope_then_from_kafka_key_then_from_the_pointer() {
    const TOPIC: &str = "sources-pointer";
    Kafka::shared().create_topic(TOPIC, 3, &[]);
    let policy = "sources-pointer: { formats: [json, ndjson, envelope, text], key: { pointer: /o/id } }";
    let gateway = gateway(&["sources"], &[policy]).await;
    let poster = Poster::new(&gateway, "sources");
    let header: Fields<'_> = &[("kafka-key", "from header")];
    let cases: Vec<(&str, Fields<'_>, &str, Option<&str>)> = vec![
        (ENVELOPE, header, r#"{"key":"from envelope","value":{"o":{"id":"from pointer"}}}"#, Some("from envelope")),
        (ENVELOPE, header, r#"{"key":null,"value":{"o":{"id":"from pointer"}}}"#, Some("from header")),
        (ENVELOPE, header, r#"{"value":{"o":{"id":"from pointer"}}}"#, Some("from header")),
        (ENVELOPE, &[], r#"{"value":{"o":{"id":"from pointer"}}}"#, Some("from pointer")),
        (ENVELOPE, &[], r#"{"key":1,"key":"last","value":0}"#, Some("last")),
        (ENVELOPE, &[], r#"{"key":"\u00e4\"\n","value":0}"#, Some("ä\"\n")),
        (ENVELOPE, &[], r#"{"key":"","value":0}"#, Some("")),
        (JSON, header, r#"{"o":{"id":"from pointer"}}"#, Some("from header")),
        (JSON, &[], r#"{"o": {"id" : "a\u0062\ud83d\ude00"}}"#, Some("ab😀")),
        (JSON, &[], r#"{"o":{"id":1.50e3}}"#, Some("1.50e3")),
        (JSON, &[], r#"{"o":{"id":false}}"#, Some("false")),
        (JSON, &[], r#"{"o":{"id":1,"id":2},"o":{"id":3}}"#, Some("3")),
        (JSON, &[], r#"{"o":{"id":null}}"#, None),
        (JSON, &[], r#"{"o":"id"}"#, None),
        (NDJSON, &[], r#"{"o":{"id":"line"}}"#, Some("line")),
        (TEXT, &[], r#"{"o":{"id":"not json"}}"#, None),
        (TEXT, header, "x", Some("from header")),
    ];
    let mut sent = Vec::new();
    for (media, headers, body, key) in cases {
        sent.push((place(&poster.post(TOPIC, media, headers, body).await), key, body));
    }
    let records = records(TOPIC);
    for (place, key, body) in sent {
        assert_eq!(text(records[&place].key.as_ref()), key, "{body}");
    }
    for body in [r#"{"o":{"id":{}}}"#, r#"{"o":{"id":[1]}}"#, r#"{"o":{"id":"\ud800"}}"#] {
        let answer = poster.post(TOPIC, JSON, &[], body).await;
        assert_eq!(rows(&answer), [(0, "/o/id".to_owned(), "bad_key".to_owned())], "{body}");
    }
}

#[tokio::test]
async fn a_required_key_that_is_missing_is_a_row_with_its_pointer() {
    const TOPIC: &str = "required-key";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["required"], &["required-key: { key: { pointer: /id, required: true } }"]).await;
    let poster = Poster::new(&gateway, "required");
    let answer = poster.post(TOPIC, JSON, &[], r#"[{"id":1},{"id":null},{"di":1},7]"#).await;
    let row = |index| (index, "/id".to_owned(), "key_required".to_owned());
    assert_eq!(rows(&answer), [row(1), row(2), row(3)]);
    let answer = poster.post(TOPIC, JSON, &[("kafka-key", "k")], "7").await;
    assert_eq!(answer.status, 200);
    let long = "x".repeat(1025);
    let answer = poster.post(TOPIC, JSON, &[("kafka-key", long.as_str())], "7").await;
    assert_eq!(rows(&answer), [(0, "0".to_owned(), "bad_key".to_owned())]);
    assert_eq!(Kafka::shared().consume(TOPIC).len(), 1);
}

#[tokio::test]
async fn every_key_lands_where_the_java_client_puts_it() {
    const TOPIC: &str = "java-keys";
    Kafka::shared().create_topic(TOPIC, 12, &[]);
    let gateway = gateway(&["java"], &["java-keys: {}"]).await;
    let poster = Poster::new(&gateway, "java");
    let table = java_partitions::table();
    let lines: Vec<String> =
        table.iter().map(|(key, _)| format!(r#"{{"key_base64":"{}","value":1}}"#, STANDARD.encode(key))).collect();
    let places = places(&poster.post(TOPIC, ENVELOPE_NDJSON, &[], lines.join("\n")).await);
    let records = records(TOPIC);
    for ((key, partition), place) in table.iter().zip(&places) {
        assert_eq!(records[place].key.as_ref(), Some(key));
        assert_eq!(place.0, *partition, "{}", hex::encode(key));
    }
    assert_eq!((places.len(), records.len()), (table.len(), table.len()));
}

#[tokio::test]
async fn headers_keep_order_repeats_nulls_and_bytes() {
    const TOPIC: &str = "headers-all";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["headers"], &["headers-all: { formats: [json, envelope, binary] }"]).await;
    let poster = Poster::new(&gateway, "headers");
    let object = r#"{"value":1,"headers":{"b":"\u00e4","a":null,"raw":{"base64":"AP+A"},"b2":"","dup":"1","dup":"2"}}"#;
    let array = r#"{"value":2,"headers":[["t","1"],["t",null],["t",{"base64":"/w"}],["t","1"]]}"#;
    let places = places(&poster.post(TOPIC, ENVELOPE, &[], format!("[{object},{array},{{\"value\":3}}]")).await);
    let more = [("kafka-header-t", "2"), ("kafka-header-X-Trace", "a=b, c"), ("kafka-header-t", "3")];
    let single = place(&poster.post(TOPIC, ENVELOPE, &more, array).await);
    let binary = place(&poster.post(TOPIC, BINARY, &more[..2], "x").await);

    let records = records(TOPIC);
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    assert_eq!(
        records[&places[0]].headers,
        [
            header("b", Some("ä".as_bytes())),
            header("a", None),
            header("raw", Some(b"\0\xff\x80")),
            header("b2", Some(b"")),
            header("dup", Some(b"2")),
        ]
    );
    let repeats = [header("t", Some(b"1")), header("t", None), header("t", Some(b"\xff")), header("t", Some(b"1"))];
    assert_eq!(records[&places[1]].headers, repeats);
    assert_eq!(records[&places[2]].headers, []);
    let (own, mut given) = records[&single].headers.split_at(repeats.len());
    assert_eq!(own, repeats);
    let trace = header("x-trace", Some(b"a=b, c"));
    assert!(given.contains(&trace), "{given:?}");
    let mut ts: Vec<_> = given.iter().filter(|header| **header != trace).collect();
    assert_eq!(ts.as_mut_slice(), [&header("t", Some(b"2")), &header("t", Some(b"3"))]);
    given = &records[&binary].headers;
    assert!(given.len() == 2 && given.contains(&trace) && given.contains(&header("t", Some(b"2"))), "{given:?}");

    for (headers, place) in
        [("[[\"a\"]]", "/headers/0"), ("{\"a\":1}", "/headers/a"), ("\"x\"", "/headers"), ("{\"\":\"x\"}", "/headers/")]
    {
        let answer = poster.post(TOPIC, ENVELOPE, &[], format!(r#"{{"value":1,"headers":{headers}}}"#)).await;
        assert_eq!(rows(&answer), [(0, place.to_owned(), "bad_headers".to_owned())], "{headers}");
    }
}

#[tokio::test]
async fn timestamps_are_milliseconds_or_rfc_3339_and_else_the_time_of_sending() {
    const TOPIC: &str = "times-all";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["times"], &["times-all: { formats: [json, envelope] }"]).await;
    let poster = Poster::new(&gateway, "times");
    let now = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let before = now();
    let batch = r#"[{"value":1,"timestamp":1700000000123},{"value":1,"timestamp":"2023-11-14T23:13:20.123+01:00"},
        {"value":1,"timestamp":"2023-11-14T22:13:20Z"},{"value":1,"timestamp":null},{"value":1}]"#;
    let mut sent = places(&poster.post(TOPIC, ENVELOPE, &[], batch).await);
    sent.push(place(&poster.post(TOPIC, JSON, &[("kafka-timestamp", "1700000000456")], "1").await));
    sent.push(place(&poster.post(TOPIC, JSON, &[("kafka-timestamp", "2023-11-14T22:13:20.456Z")], "1").await));
    let own = r#"{"value":1,"timestamp":1700000000789}"#;
    sent.push(place(&poster.post(TOPIC, ENVELOPE, &[("kafka-timestamp", "1")], own).await));
    let after = now();

    let records = records(TOPIC);
    let times: Vec<i64> = sent.iter().map(|place| records[place].timestamp.unwrap()).collect();
    assert_eq!(times[..3], [1_700_000_000_123, 1_700_000_000_123, 1_700_000_000_000]);
    assert_eq!(times[5..], [1_700_000_000_456, 1_700_000_000_456, 1_700_000_000_789]);
    assert!(times[3..5].iter().all(|time| (before..=after).contains(time)), "{times:?} {before} {after}");

    for timestamp in ["-1", "1.5", "\"1700000000123\"", "\"14.11.2023\"", "true"] {
        let body = format!(r#"{{"value":1,"timestamp":{timestamp}}}"#);
        let answer = poster.post(TOPIC, ENVELOPE, &[], body).await;
        assert_eq!(rows(&answer), [(0, "/timestamp".to_owned(), "bad_timestamp".to_owned())], "{timestamp}");
    }
}

#[tokio::test]
async fn an_explicit_partition_is_obeyed_where_the_topic_allows_it_and_is_a_row_elsewhere() {
    for topic in ["parts-allowed", "parts-refused"] {
        Kafka::shared().create_topic(topic, 4, &[]);
    }
    let policies = ["parts-allowed: { partition: allow }", "\"parts-*\": {}"];
    let gateway = gateway(&["parts"], &policies).await;
    let poster = Poster::new(&gateway, "parts");
    let batch =
        r#"[{"value":1,"partition":3,"key":"a"},{"value":2,"partition":0,"key":"a"},{"value":3,"partition":3}]"#;
    let batch = places(&poster.post("parts-allowed", ENVELOPE, &[], batch).await);
    assert_eq!(batch.iter().map(|place| place.0).collect::<Vec<_>>(), [3, 0, 3]);
    let single = place(&poster.post("parts-allowed", JSON, &[("kafka-partition", "2")], "4").await);
    assert_eq!(single.0, 2);
    let own = r#"{"value":1,"partition":1}"#;
    assert_eq!(place(&poster.post("parts-allowed", ENVELOPE, &[("kafka-partition", "2")], own).await).0, 1);
    assert_eq!(records("parts-allowed")[&single].value.as_deref(), Some(&b"4"[..]));

    let row = |place: &str| [(0, place.to_owned(), "bad_partition".to_owned())];
    let beyond = poster.post("parts-allowed", JSON, &[("kafka-partition", "4")], "4").await;
    assert_eq!(rows(&beyond), row("0"));
    let negative = poster.post("parts-allowed", ENVELOPE, &[], r#"{"value":1,"partition":-1}"#).await;
    assert_eq!(rows(&negative), row("/partition"));
    assert_eq!(rows(&poster.post("parts-refused", ENVELOPE, &[], own).await), row("0"));
    let header = poster.post("parts-allowed", JSON, &[("kafka-partition", "-1")], "4").await;
    assert_eq!((header.status, code(&header).as_str()), (400, "bad_header"));
    assert_eq!(Kafka::shared().consume("parts-refused"), []);
}
