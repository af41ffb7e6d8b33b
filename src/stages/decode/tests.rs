//! Facts about each format; the laws that hold for any input are in `laws`, those of inflation in `inflation`.

mod inflation;
mod laws;
mod records;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::config::Format;
use crate::reject::{Code, Place, Reason};

pub(super) fn run(media: Media, body: impl AsRef<[u8]>) -> Result<Batch, Reject> {
    decode(media, Bytes::copy_from_slice(body.as_ref()), &Single::default(), &Caps::default())
}

/// The values of the good events; `None` is a tombstone.
pub(super) fn values(batch: &Batch) -> Vec<Option<Vec<u8>>> {
    batch.events.iter().map(|event| event.value.map(|value| batch.bytes(value).to_vec())).collect()
}

fn texts(batch: &Batch) -> Vec<String> {
    values(batch).into_iter().map(|value| String::from_utf8(value.unwrap()).unwrap()).collect()
}

fn rows(batch: &Batch) -> Vec<(u32, Reason, Place)> {
    batch.faults.iter().map(|fault| (fault.index, fault.reason, fault.place.clone())).collect()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap()
}

const ALL: [Format; 5] = [Format::Json, Format::Ndjson, Format::Envelope, Format::Binary, Format::Text];

#[test]
fn the_media_type_chooses_the_decoder_whatever_its_case_and_parameters() {
    for (name, media) in [
        ("application/json", Media::Json),
        ("application/x-ndjson", Media::Ndjson),
        ("application/jsonl", Media::Ndjson),
        ("application/vnd.klamm.v1+json", Media::EnvelopeJson),
        ("application/vnd.klamm.v1+x-ndjson", Media::EnvelopeNdjson),
        ("application/octet-stream", Media::Binary),
        ("text/plain", Media::Text),
    ] {
        for value in [
            name.to_owned(),
            name.to_uppercase(),
            format!(" {name} "),
            format!("{name};charset=utf-8"),
            format!("{name}; Charset=\"UTF-8\"; profile=x"),
            format!("{name};charset=us-ascii"),
            format!("{name};"),
        ] {
            assert_eq!(Media::choose(Some(&header(&value)), &ALL), Ok(media), "{value}");
        }
        let latin = Media::choose(Some(&header(&format!("{name}; charset=iso-8859-1"))), &ALL);
        assert_eq!(latin.is_ok(), media == Media::Binary, "{name}");
        assert_eq!(media.is_json(), name.contains("json"), "{name}");
    }
}

#[test]
fn what_is_not_accepted_is_answered_with_what_is() {
    let accept = "application/json, application/vnd.klamm.v1+json, application/vnd.klamm.v1+x-ndjson";
    let allowed = [Format::Envelope, Format::Json];
    let refused = Err(Reject::UnsupportedMediaType { accept: accept.to_owned() });
    for value in ["application/x-ndjson", "application/xml", "application/jsonx", "", "json", "text/plain", "\u{e4}"] {
        assert_eq!(Media::choose(Some(&header(value)), &allowed), refused, "{value}");
    }
    assert_eq!(Media::choose(None, &allowed), refused);
    assert_eq!(accept_post(&allowed), accept);
}

#[test]
fn a_json_array_is_a_batch_and_anything_else_one_event() {
    for (body, events) in [
        ("{\"a\" : 1}", vec!["{\"a\" : 1}"]),
        (" \r\n\t\"x\" \n", vec!["\"x\""]),
        ("null", vec!["null"]),
        ("false", vec!["false"]),
        ("-0.0e-7", vec!["-0.0e-7"]),
        ("\"\"", vec!["\"\""]),
        ("[ 1 , [ ] ,{ \"a\":[1 ,2]},null ]", vec!["1", "[ ]", "{ \"a\":[1 ,2]}", "null"]),
        ("[1e999,{\"a\":1,\"a\":2},\"\\ud800\"]", vec!["1e999", "{\"a\":1,\"a\":2}", "\"\\ud800\""]),
    ] {
        let batch = run(Media::Json, body).unwrap();
        assert_eq!(texts(&batch), events, "{body}");
        let offsets: Vec<_> = batch.events.iter().map(|e| &body[e.offset as usize..]).collect();
        assert!(offsets.iter().zip(events).all(|(rest, event)| rest.starts_with(event)), "{body}");
    }
}

#[test]
fn a_json_body_that_does_not_parse_is_refused_with_the_byte_where_it_fails() {
    for (body, at, words) in [
        ("{\"a\":1}x", 7, "trailing characters"),
        ("[1,2,]", 5, "trailing comma"),
        ("[1,\n2,\n x]", 8, "expected value"),
        ("[1", 2, "EOF"),
        ("{\"a\"", 4, "EOF"),
        ("\u{feff}{}", 0, "byte-order mark"),
        ("{'a':1}", 1, "key must be a string"),
        ("\x0c{}", 0, "expected value"),
        ("[\"a\tb\"]", 3, "control character"),
    ] {
        for media in [Media::Json, Media::EnvelopeJson] {
            let Err(Reject::MalformedBody { offset, detail }) = run(media, body) else { panic!("{body}") };
            assert!(detail.contains(words), "{body}: {detail}");
            assert_eq!(offset, at, "{body}: {detail}");
        }
    }
    for body in [&b"\"\xff\""[..], b"[1,\"\xc3\"]", b"{\"a\":\"\xed\xa0\x80\"}"] {
        let Err(Reject::MalformedBody { detail, .. }) = run(Media::Json, body) else { panic!("{body:?}") };
        assert_eq!(detail, "not UTF-8");
    }
}

#[test]
fn a_body_without_an_event_is_refused() {
    for (media, body) in [
        (Media::Json, ""),
        (Media::Json, " \n"),
        (Media::Json, " [ ] "),
        (Media::Ndjson, ""),
        (Media::Ndjson, "\n \r\n\t\n"),
        (Media::EnvelopeJson, "[]"),
        (Media::EnvelopeNdjson, "\n"),
        (Media::Binary, ""),
        (Media::Text, ""),
    ] {
        assert_eq!(run(media, body).unwrap_err(), Reject::NoEvents, "{media:?} {body:?}");
    }
}

#[test]
fn ndjson_is_an_event_a_line_and_blank_lines_do_not_count() {
    let batch = run(Media::Ndjson, "{\"a\":1}\r\n\n  \t\r\n [1,2] \n\"x\"").unwrap();
    assert_eq!(texts(&batch), ["{\"a\":1}", "[1,2]", "\"x\""]);
    let places: Vec<_> = batch.events.iter().map(|e| (e.index, e.offset)).collect();
    assert_eq!(places, [(0, 0), (1, 16), (2, 23)]);
}

#[test]
fn a_bad_ndjson_line_is_a_row_with_its_place_and_the_others_are_good() {
    let deep = nested(129);
    let body = [b"{}\n{\"a\":}\n1 2\n\xef\xbb\xbf{}\n\"\xff\"\n\x0c1\n", deep.as_bytes(), b"\n[1\n3"].concat();
    let batch = run(Media::Ndjson, &body).unwrap();
    assert_eq!(texts(&batch), ["{}", "3"]);
    assert_eq!(batch.events.iter().map(|e| e.index).collect::<Vec<_>>(), [0, 8]);
    let deep_at = 27 + 128;
    let open = 27 + 258 + 1 + 2;
    assert_eq!(
        rows(&batch),
        [
            (1, Reason::Malformed, Place::Offset(8)),
            (2, Reason::Malformed, Place::Offset(12)),
            (3, Reason::Malformed, Place::Offset(14)),
            (4, Reason::Malformed, Place::Offset(21)),
            (5, Reason::Malformed, Place::Offset(24)),
            (6, Reason::TooDeep, Place::Offset(deep_at)),
            (7, Reason::Malformed, Place::Offset(open)),
        ]
    );
    assert!(batch.faults.iter().all(|fault| !fault.detail.contains("line")), "{:?}", batch.faults);
}

#[test]
fn a_value_does_not_reach_over_the_end_of_its_line() {
    for (body, good) in [
        ("[1,\n2]\n3", vec!["3"]),
        ("1\n[\n]\n{}", vec!["1", "{}"]),
        ("1 2\n3", vec!["3"]),
        ("{}{}\n{}", vec!["{}"]),
        ("1\n\"a\nb\"\n2", vec!["1", "2"]),
        ("1\n1\x0c\n2", vec!["1", "2"]),
    ] {
        let batch = run(Media::Ndjson, body).unwrap();
        assert_eq!(texts(&batch), good, "{body:?}");
        assert_eq!(batch.received(), body.lines().count(), "{body:?}");
    }
}

#[test]
fn depth_128_is_taken_and_129_is_not() {
    let objects = |depth| format!("{}1{}", "{\"[\":".repeat(depth), "}".repeat(depth));
    let envelope = |depth| format!("{{\"value\":{}}}", nested(depth));
    for (media, good, bad) in [
        (Media::Json, format!("[{}]", nested(128)), format!("[{},1]", nested(129))),
        (Media::Json, objects(128), objects(129)),
        (Media::Ndjson, nested(128), nested(129)),
        (Media::EnvelopeJson, envelope(128), envelope(129)),
        (Media::EnvelopeNdjson, envelope(128), envelope(129)),
    ] {
        let batch = run(media, &good).unwrap();
        assert_eq!((batch.events.len(), batch.faults.len()), (1, 0), "{media:?}");
        let batch = run(media, &bad).unwrap();
        assert_eq!((batch.faults.len(), batch.faults[0].index), (1, 0), "{media:?}");
        assert_eq!(batch.faults[0].reason, Reason::TooDeep, "{media:?}");
    }
}

#[test]
fn no_depth_overflows_the_stack() {
    let depth = 2 << 20;
    for text in [nested(depth), "[".repeat(depth), "{\"a\":".repeat(depth), format!("[{}", "{\"\":[".repeat(depth))] {
        for media in [Media::Json, Media::Ndjson, Media::EnvelopeJson, Media::EnvelopeNdjson] {
            match run(media, &text) {
                Ok(batch) => assert!(batch.events.is_empty(), "{media:?}"),
                Err(refusal) => assert_eq!(refusal.code(), Code::MalformedBody, "{media:?}"),
            }
        }
    }
    let record = format!("{{\"value\":1,\"headers\":{},\"key\":{}}}", nested(50_000), nested(10_000));
    for media in [Media::EnvelopeJson, Media::EnvelopeNdjson] {
        assert_eq!(run(media, &record).unwrap().faults.len(), 1);
    }
}

#[test]
fn reading_stops_at_the_event_too_many() {
    let caps = Caps { events: 3, ..Caps::default() };
    let run = |media, body: &str| decode(media, Bytes::copy_from_slice(body.as_bytes()), &Single::default(), &caps);
    for (media, fits, over) in [
        (Media::Json, "[1,2,3]", "[1,2,3,4,not read"),
        (Media::Ndjson, "1\n\nx\n3\n", "1\nx\n3\n4"),
        (Media::EnvelopeJson, "[{\"value\":1},2,3]", "[1,2,3,4,not read"),
        (Media::EnvelopeNdjson, "{\"value\":1}\n2\n3", "1\n2\n3\n4\n"),
    ] {
        assert_eq!(run(media, fits).unwrap().received(), 3, "{media:?}");
        assert_eq!(run(media, over).unwrap_err(), Reject::TooManyEvents { limit: 3 }, "{media:?}");
    }
}

#[test]
fn binary_and_text_are_one_event_as_it_is() {
    for media in [Media::Binary, Media::Text] {
        let batch = run(media, b" \xff\x00\n").unwrap();
        assert_eq!(values(&batch), [Some(b" \xff\x00\n".to_vec())]);
    }
}

fn single(fields: &[(&str, &str)]) -> Result<Single, Reject> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.parse::<HeaderName>().unwrap(), header(value));
    }
    Single::of(&headers)
}

#[test]
fn kafka_headers_describe_a_single_event() {
    let said = single(&[
        ("Kafka-Key", "k\u{e4}"),
        ("Kafka-Partition", "7"),
        ("Kafka-Timestamp", "1970-01-01T00:00:01.5Z"),
        ("Kafka-Header-Trace", "1"),
        ("Kafka-Header-Trace", "2"),
        ("Kafka-Other", "ignored"),
    ])
    .unwrap();
    let mut batch = decode(Media::Json, Bytes::from_static(b"{}"), &said, &Caps::default()).unwrap();
    let event = batch.events.remove(0);
    assert_eq!(batch.bytes(event.key.unwrap()), "k\u{e4}".as_bytes());
    assert_eq!((event.partition, event.timestamp), (Some(7), Some(1500)));
    let headers: Vec<_> =
        batch.headers(&event).iter().map(|h| (batch.bytes(h.name), batch.bytes(h.value.unwrap()))).collect();
    assert_eq!(headers, [(&b"trace"[..], &b"1"[..]), (b"trace", b"2")]);
    assert_eq!(single(&[("kafka-timestamp", "1760000000000")]).unwrap().timestamp, Some(1_760_000_000_000));
    assert!(single(&[("content-type", "text/plain")]).unwrap().is_empty());
    assert_eq!(single(&[("kafka-key", "")]).unwrap().key, Some(Bytes::new()));
}

#[test]
fn kafka_headers_of_the_wrong_form_are_refused_by_name() {
    for fields in [
        &[("kafka-partition", "-1")][..],
        &[("kafka-partition", "2147483648")],
        &[("kafka-partition", "+1")],
        &[("kafka-partition", "")],
        &[("kafka-partition", "\u{e4}")],
        &[("kafka-timestamp", "-5")],
        &[("kafka-timestamp", "yesterday")],
        &[("kafka-timestamp", "1969-12-31T23:59:59Z")],
        &[("kafka-timestamp", "99999999999999999999")],
        &[("kafka-key", "a"), ("kafka-key", "b")],
        &[("kafka-header-", "x")],
    ] {
        let Err(Reject::BadHeader { name, .. }) = single(fields) else { panic!("{fields:?}") };
        assert_eq!(name, fields[0].0);
    }
}

#[test]
fn kafka_headers_are_refused_with_more_than_one_event() {
    for (field, value) in
        [("kafka-key", "k"), ("kafka-partition", "0"), ("kafka-timestamp", "0"), ("kafka-header-a", "")]
    {
        let said = single(&[(field, value)]).unwrap();
        let run = |media, body| decode(media, Bytes::from_static(body), &said, &Caps::default());
        for (media, body) in [(Media::Json, &b"[1,2]"[..]), (Media::Ndjson, b"1\nx"), (Media::Ndjson, b"1\n2")] {
            let Err(Reject::BadHeader { name, .. }) = run(media, body) else { panic!("{field}") };
            assert_eq!(name, field);
        }
        assert_eq!(run(Media::Json, b"[1]").unwrap().events.len(), 1);
        assert_eq!(run(Media::Ndjson, b"x").unwrap().faults.len(), 1);
    }
}

#[test]
fn a_single_event_has_no_more_record_headers_than_the_caps() {
    let caps = Caps { record_headers: 2, record_headers_bytes: crate::units::ByteSize::bytes(8), ..Caps::default() };
    let run = |fields: &[(&str, &str)], body: &'static str| {
        decode(Media::EnvelopeJson, Bytes::from_static(body.as_bytes()), &single(fields).unwrap(), &caps)
    };
    let plain = "{\"value\":1}";
    let own = "{\"value\":1,\"headers\":{\"own\":null}}";
    assert!(run(&[("kafka-header-a", "x"), ("kafka-header-b", "y")], plain).is_ok());
    for fields in [&[("kafka-header-a", "123456789")][..], &[("kafka-header-a", "1"); 3]] {
        assert_eq!(run(fields, plain).unwrap_err().code(), Code::BadHeader);
    }
    let batch = run(&[("kafka-header-a", "x")], own).unwrap();
    assert_eq!(batch.events[0].header_count(), 2);
    let batch = run(&[("kafka-header-a", "x"), ("kafka-header-b", "y")], own).unwrap();
    assert_eq!(rows(&batch), [(0, Reason::BadHeaders, Place::Pointer("/headers".to_owned()))]);
}

/// In the manner of JSONTestSuite: `y` must be taken, `n` must not.
#[test]
fn json_is_what_rfc_8259_says() {
    let y = r#"[] [[]] [""] {} {"":0} {"a":[]} 0 -0 1E+2 1e-2 0e1 123.456e78 "\u0000" "\/\b\f\n\r\t\"\\" "\uDBFF\uDFFF"
        "\uDEAD" "€𝄞" "" true false null 20e1 [1,null,1] {"a":"b","a":"b"} -1 1.0 100000000000000000000000000"#;
    let n = r#"[1,] [,1] [1,,2] [1 [1}] ] {"a" {"a"} {"a":} {"a":1,} {,} {a:1} {1:1} {"a":1}} 'x' "x "\x" "\u12" "\u12g4"
        01 -01 +1 - 1. .5 1e 1e+ 1.e1 0x1 NaN Infinity -Infinity nul True TRUE nulll 1a // /**/1 [1]# undefined 1_000 "a"b"#;
    for text in y.split_ascii_whitespace() {
        for media in [Media::Json, Media::Ndjson] {
            let body = format!("[{text}]");
            assert_eq!(run(media, &body).unwrap().events.len(), 1, "{text}");
        }
    }
    for text in n.split_ascii_whitespace() {
        assert_eq!(run(Media::Json, text).unwrap_err().code(), Code::MalformedBody, "{text}");
        let batch = run(Media::Ndjson, text).unwrap();
        assert_eq!((batch.events.len(), batch.faults.len()), (0, 1), "{text}");
        let envelope = format!("{{\"value\":{text}}}");
        assert_eq!(run(Media::EnvelopeJson, &envelope).unwrap_err().code(), Code::MalformedBody, "{text}");
        assert_eq!(run(Media::EnvelopeNdjson, &envelope).unwrap().faults.len(), 1, "{text}");
    }
}
