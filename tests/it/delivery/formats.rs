//! Every format in every coding over both protocols: the bytes that were sent are the bytes in Kafka.

use std::io::Write as _;

use super::json::Texts;
use super::{
    BINARY, ENVELOPE, ENVELOPE_NDJSON, Fields, JSON, NDJSON, Poster, TEXT, code, gateway, place, places, records, rows,
};
use crate::support::client::Client;
use crate::support::kafka::Kafka;

const CODINGS: [&str; 4] = ["identity", "gzip", "zstd", "br"];

/// A body and the values that should stand in Kafka.
struct Sent {
    media: &'static str,
    body: Vec<u8>,
    values: Vec<Vec<u8>>,
}

fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "identity" => body.to_vec(),
        "gzip" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(body).unwrap();
            gzip.finish().unwrap()
        }
        "zstd" => zstd::encode_all(body, 3).unwrap(),
        "br" => {
            let mut packed = Vec::new();
            let mut brotli = brotli::CompressorWriter::new(&mut packed, 4096, 5, 20);
            brotli.write_all(body).unwrap();
            drop(brotli);
            packed
        }
        other => panic!("no coding {other}"),
    }
}

/// One body of each format with values from `seed`.
fn bodies(seed: u64) -> Vec<Sent> {
    let mut texts = Texts::new(seed, true);
    let mut flat = Texts::new(seed + 1000, false);
    let count = 2 + texts.below(20);
    let object = format!("{{{}\"seed\":{seed},\"v\":{}{}}}", texts.space(), texts.value(), texts.space());
    let scalar = ["null", "false", "0", "-1.0E-2", "\"\"", "\" \\u0041ä \""][texts.below(6)].to_owned();
    let any: Vec<String> = (0..count).map(|_| texts.value()).collect();
    let lines: Vec<String> = (0..count).map(|_| flat.value()).collect();
    // In the envelope null is no value.
    let some = |value: &String| value != "null";
    let (any_but_null, lines_but_null): (Vec<_>, Vec<_>) =
        (any.iter().filter(|v| some(v)).cloned().collect(), lines.iter().filter(|v| some(v)).cloned().collect());
    let raw: Vec<u8> = (0..1 + texts.below(3000)).map(|_| u8::try_from(texts.below(256)).unwrap()).collect();
    let words = format!(" {}\n\"not\" json ", texts.value());

    let sent = |media, body: String, values: &[String]| Sent {
        media,
        body: body.into_bytes(),
        values: values.iter().map(|value| value.clone().into_bytes()).collect(),
    };
    let list = |texts: &mut Texts, items: &[String]| {
        let items: Vec<_> = items.iter().map(|item| format!("{}{item}{}", texts.space(), texts.space())).collect();
        format!("{}[{}]{}", texts.space(), items.join(","), texts.space())
    };
    let joined = |texts: &mut Texts, items: &[String], end: &str| {
        let items: Vec<_> = items.iter().map(|item| format!("{}{item}{}", texts.space(), texts.space())).collect();
        items.join(end)
    };
    let record = |texts: &mut Texts, value: &String| {
        let [a, b, c] = [texts.space(), texts.space(), texts.space()];
        format!("{{{a}\"key\":\"k{}\",{b}\"value\"{c}:{b}{value}{a}}}", texts.below(9))
    };
    let wrapped: Vec<String> = any_but_null.iter().map(|value| record(&mut texts, value)).collect();
    let wrapped_lines: Vec<String> = lines_but_null.iter().map(|value| record(&mut flat, value)).collect();
    let around = |texts: &mut Texts, value: &str| format!("{}{value}{}", texts.space(), texts.space());
    vec![
        sent(JSON, around(&mut texts, &object), std::slice::from_ref(&object)),
        sent(JSON, around(&mut texts, &scalar), std::slice::from_ref(&scalar)),
        sent(JSON, list(&mut texts, &any), &any),
        sent(NDJSON, joined(&mut flat, &lines, "\n"), &lines),
        sent("application/jsonl", joined(&mut flat, &lines, "\r\n\n") + "\n", &lines),
        sent(TEXT, words.clone(), &[words]),
        Sent { media: BINARY, body: raw.clone(), values: vec![raw] },
        sent(ENVELOPE, list(&mut texts, &wrapped), &any_but_null),
        sent(ENVELOPE_NDJSON, joined(&mut flat, &wrapped_lines, "\n"), &lines_but_null),
    ]
}

#[tokio::test]
async fn every_format_in_every_coding_over_both_protocols_arrives_byte_for_byte() {
    const TOPIC: &str = "formats-all";
    Kafka::shared().create_topic(TOPIC, 3, &[]);
    let gateway = gateway(&["formats"], &["formats-all: { formats: [json, ndjson, envelope, text, binary] }"]).await;
    let posters = [Poster::new(&gateway, "formats"), Poster::over(Client::h2c(gateway.ingest()), "formats")];
    let mut expected = Vec::new();
    let mut seed = 0;
    for poster in &posters {
        for coding in CODINGS {
            for _ in 0..3 {
                seed += 1;
                for sent in bodies(seed).into_iter().filter(|sent| !sent.values.is_empty()) {
                    let headers = if coding == "identity" { vec![] } else { vec![("content-encoding", coding)] };
                    let answer = poster.post(TOPIC, sent.media, &headers, encoded(coding, &sent.body)).await;
                    let what = format!("{} {coding} seed {seed}", sent.media);
                    assert_eq!(answer.status, 200, "{what}: {answer:?}");
                    let places = places(&answer);
                    assert_eq!(places.len(), sent.values.len(), "{what}");
                    expected
                        .extend(places.into_iter().zip(sent.values).map(|(place, value)| (place, value, what.clone())));
                }
            }
        }
    }
    let records = records(TOPIC);
    assert_eq!(records.len(), expected.len(), "nothing else is there");
    for (place, value, what) in expected {
        let found = records.get(&place).unwrap_or_else(|| panic!("{what}: nothing at {place:?}"));
        assert_eq!(found.value.as_deref(), Some(&value[..]), "{what} at {place:?}");
    }
}

#[tokio::test]
async fn null_false_zero_and_the_empty_string_are_values_in_every_plain_form() {
    const TOPIC: &str = "plain-nothings";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["plain"], &["\"plain-*\": {}"]).await;
    let poster = Poster::new(&gateway, "plain");
    let values = ["null", "false", "0", "\"\"", "{}", "[]"];
    let array = format!("[{}]", values.join(","));
    let lines = values.join("\n");
    let mut sent: Vec<_> = places(&poster.post(TOPIC, JSON, &[], array).await).into_iter().zip(values).collect();
    sent.extend(places(&poster.post(TOPIC, NDJSON, &[], lines).await).into_iter().zip(values));
    for value in &values[..5] {
        sent.push((place(&poster.post(TOPIC, JSON, &[], *value).await), value));
    }
    for value in &values[1..] {
        let record = format!(r#"{{"value":{value}}}"#);
        sent.push((place(&poster.post(TOPIC, ENVELOPE, &[], record).await), value));
    }
    let empty = place(&poster.post(TOPIC, ENVELOPE, &[], r#"{"value_base64":""}"#).await);
    let records = records(TOPIC);
    assert_eq!(records.len(), sent.len() + 1);
    for (place, value) in sent {
        assert_eq!(records[&place].value.as_deref(), Some(value.as_bytes()), "{value}");
    }
    assert_eq!(records[&empty].value.as_deref(), Some(&b""[..]));
}

#[tokio::test]
async fn an_envelope_s_null_is_a_tombstone_where_the_topic_allows_it_and_there_is_a_key() {
    for topic in ["tombs-allowed", "tombs-refused"] {
        Kafka::shared().create_topic(topic, 1, &[]);
    }
    let policies = ["tombs-allowed: { tombstones: allow }", "tombs-refused: {}"];
    let gateway = gateway(&["tombs"], &policies).await;
    let poster = Poster::new(&gateway, "tombs");
    let row = |index, place: &str, reason: &str| (index, place.to_owned(), reason.to_owned());

    let batch = concat!(r#"{"key":"a","value":null}"#, "\n", r#"{"key":"b","value":"null"}"#);
    let both = places(&poster.post("tombs-allowed", ENVELOPE_NDJSON, &[], batch).await);
    let by_header = place(&poster.post("tombs-allowed", ENVELOPE, &[("kafka-key", "c")], r#"{"value":null}"#).await);
    let records = records("tombs-allowed");
    let seen = |place| {
        let record: &crate::support::kafka::Record = &records[place];
        (record.key.clone().map(|key| String::from_utf8(key).unwrap()), record.value.clone())
    };
    assert_eq!(seen(&both[0]), (Some("a".to_owned()), None));
    assert_eq!(seen(&both[1]), (Some("b".to_owned()), Some(b"\"null\"".to_vec())));
    assert_eq!(seen(&by_header), (Some("c".to_owned()), None));

    let answer = poster.post("tombs-allowed", ENVELOPE, &[], r#"[{"value":1},{"value":null}]"#).await;
    assert_eq!(rows(&answer), [row(1, "13", "tombstone")], "no key");
    let answer = poster.post("tombs-refused", ENVELOPE, &[], r#"{"key":"a","value":null}"#).await;
    assert_eq!(rows(&answer), [row(0, "0", "tombstone")]);
    let answer = poster.post("tombs-allowed", ENVELOPE, &[], r#"[{"key":"a"},{"key":"a","value":1,"val":2}]"#).await;
    assert_eq!(rows(&answer), [row(0, "", "missing_value"), row(1, "/val", "unknown_member")]);
    assert_eq!(Kafka::shared().consume("tombs-allowed").len(), 3, "of what was refused nothing was written");
    assert_eq!(Kafka::shared().consume("tombs-refused"), []);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_say_are_refused_whole() {
    const TOPIC: &str = "refused-bodies";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = gateway(&["refused"], &["refused-bodies: { formats: [json, ndjson, text] }"]).await;
    let poster = Poster::new(&gateway, "refused");
    let gzip = encoded("gzip", b"{}");
    let cases: Vec<(&str, Fields<'_>, &[u8], u16, &str)> = vec![
        (JSON, &[], b"[1,2", 400, "malformed_body"),
        (JSON, &[], b"{} {}", 400, "malformed_body"),
        (JSON, &[], b"\xef\xbb\xbf{}", 400, "malformed_body"),
        (JSON, &[], b"\"\xff\"", 400, "malformed_body"),
        (JSON, &[], b" ", 400, "no_events"),
        (JSON, &[], b"[]", 400, "no_events"),
        (NDJSON, &[], b"\n\n", 400, "no_events"),
        (TEXT, &[], b"", 400, "no_events"),
        (NDJSON, &[], b"1\n{\n3", 422, "invalid_events"),
        (BINARY, &[], b"x", 415, "unsupported_media_type"),
        (ENVELOPE, &[], b"{\"value\":1}", 415, "unsupported_media_type"),
        (JSON, &[("content-encoding", "compress")], b"{}", 415, "unsupported_encoding"),
        (JSON, &[("content-encoding", "gzip")], b"{}", 400, "bad_encoding"),
        (JSON, &[("content-encoding", "gzip")], &gzip[..gzip.len() - 1], 400, "bad_encoding"),
        (JSON, &[("kafka-key", "a")], b"[1,2]", 400, "bad_header"),
        (JSON, &[("kafka-timestamp", "yesterday")], b"1", 400, "bad_header"),
    ];
    for (media, headers, body, status, expected) in cases {
        let answer = poster.post(TOPIC, media, headers, body.to_vec()).await;
        let what = format!("{media} {headers:?} {:?}", String::from_utf8_lossy(body));
        assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{what}");
    }
    let answer = poster.post(TOPIC, BINARY, &[], "x").await;
    assert_eq!(
        answer.header("accept-post"),
        Some("application/json, application/x-ndjson, application/jsonl, text/plain")
    );
    assert_eq!(Kafka::shared().consume(TOPIC), []);
}
