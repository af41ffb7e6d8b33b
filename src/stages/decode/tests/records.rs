//! Records of the envelope, member by member.

use super::*;

fn both(record: &str) -> Batch {
    let one = run(Media::EnvelopeJson, record).unwrap();
    for (media, body) in
        [(Media::EnvelopeJson, format!(" [ {record} ] ")), (Media::EnvelopeNdjson, format!("{record}\r\n"))]
    {
        let other = run(media, body).unwrap();
        assert_eq!(values(&other), values(&one), "{record}");
        let reasons = |batch: &Batch| batch.faults.iter().map(|f| (f.reason, f.detail.clone())).collect::<Vec<_>>();
        assert_eq!(reasons(&other), reasons(&one), "{record}");
    }
    one
}

fn good(record: &str) -> (Batch, Event) {
    let batch = both(record);
    assert_eq!(batch.faults, [], "{record}");
    let event = batch.events[0].clone();
    (batch, event)
}

fn bad(record: &str) -> (Reason, String) {
    let batch = both(record);
    assert!(batch.events.is_empty(), "{record}");
    match batch.faults.as_slice() {
        [fault] => match &fault.place {
            Place::Pointer(pointer) => (fault.reason, pointer.clone()),
            Place::Offset(_) => (fault.reason, "offset".to_owned()),
        },
        other => panic!("{record}: {other:?}"),
    }
}

fn headers(batch: &Batch, event: &Event) -> Vec<(String, Option<Vec<u8>>)> {
    let text = |piece| String::from_utf8(batch.bytes(piece).to_vec()).unwrap();
    batch.headers(event).iter().map(|h| (text(h.name), h.value.map(|v| batch.bytes(v).to_vec()))).collect()
}

#[test]
fn a_value_is_its_text_as_written_and_null_is_a_tombstone() {
    for text in ["{ \"a\" : 1 }", "[1, 2]", "\"x\"", "0", "false", "\"\"", "1.0", "\"\\ud800\""] {
        let (batch, _) = good(&format!("{{ \"value\" : {text} }}"));
        assert_eq!(texts(&batch), [text]);
    }
    for record in ["{\"value\":null}", "{\"value_base64\":null}", "{\"value\":1,\"value\":null}"] {
        assert_eq!(values(&good(record).0), [None], "{record}");
    }
    for (base64, bytes) in [("AP9/", &b"\x00\xff\x7f"[..]), ("AP8=", b"\x00\xff"), ("AP8", b"\x00\xff"), ("", b"")] {
        let (batch, _) = good(&format!("{{\"value_base64\":\"{}\"}}", base64.replace('/', "\\/")));
        assert_eq!(values(&batch), [Some(bytes.to_vec())], "{base64}");
    }
}

#[test]
fn a_record_gives_key_partition_timestamp_and_headers() {
    let (batch, event) = good(
        r#"{"key":"a\u00e4","value":1,"partition":3,"timestamp":"2001-09-09T03:46:40.25+02:00",
        "headers":{"a":"x","b":null,"c":{"base64":"AP8="},"d\n":"\u20ac"}}"#
            .replace('\n', "")
            .as_str(),
    );
    assert_eq!(batch.bytes(event.key.unwrap()), "aä".as_bytes());
    assert_eq!((event.partition, event.timestamp), (Some(3), Some(1_000_000_000_250)));
    assert_eq!(
        headers(&batch, &event),
        [
            ("a".to_owned(), Some(b"x".to_vec())),
            ("b".to_owned(), None),
            ("c".to_owned(), Some(vec![0, 255])),
            ("d\n".to_owned(), Some("€".as_bytes().to_vec())),
        ]
    );
    let (batch, event) = good(r#"{"value":1,"headers":[["a","1"],["a",null],["a",{"base64":""}]],"timestamp":0}"#);
    let a = || "a".to_owned();
    assert_eq!(headers(&batch, &event), [(a(), Some(b"1".to_vec())), (a(), None), (a(), Some(Vec::new()))]);
    assert_eq!(event.timestamp, Some(0));
    let (_, event) = good(r#"{"value":1,"key":null,"partition":null,"timestamp":null,"headers":null}"#);
    assert_eq!((event.key, event.partition, event.timestamp, event.header_count()), (None, None, None, 0));
}

#[test]
fn of_duplicate_members_the_last_counts_however_it_is_written() {
    let (batch, event) = good(
        r#"{"value":1,"key":{},"headers":7,"partition":"x","partition":1,"key":"a","k\u0065y":"b",
            "headers":{"h":"1","g":"2","\u0068":"3"},"value":2}"#
            .replace('\n', "")
            .as_str(),
    );
    assert_eq!(texts(&batch), ["2"]);
    assert_eq!(batch.bytes(event.key.unwrap()), b"b");
    assert_eq!(event.partition, Some(1));
    assert_eq!(headers(&batch, &event), [("g".to_owned(), Some(b"2".to_vec())), ("h".to_owned(), Some(b"3".to_vec()))]);
}

#[test]
fn a_record_of_the_wrong_shape_is_a_row_with_a_pointer() {
    let long = format!(r#"{{"value":1,"{}":1}}"#, "x".repeat(65));
    for (record, reason, pointer) in [
        ("{}", Reason::MissingValue, ""),
        (r#"{"key":"a"}"#, Reason::MissingValue, ""),
        (r#"{"value":1,"value_base64":"AA=="}"#, Reason::Malformed, "/value_base64"),
        (r#"{"value":1,"key":"a","key_base64":"AA=="}"#, Reason::Malformed, "/key_base64"),
        (r#"{"value_base64":"A"}"#, Reason::Malformed, "/value_base64"),
        (r#"{"value_base64":"!!!!"}"#, Reason::Malformed, "/value_base64"),
        (r#"{"value_base64":5}"#, Reason::Malformed, "/value_base64"),
        (r#"{"value":1,"Value":2}"#, Reason::UnknownMember, "/Value"),
        (r#"{"value":1,"a/b~c":2}"#, Reason::UnknownMember, "/a~1b~0c"),
        (r#"{"value":1,"\ud800":2}"#, Reason::UnknownMember, ""),
        (&long, Reason::UnknownMember, ""),
        (r#"{"value":1,"key":{}}"#, Reason::BadKey, "/key"),
        (r#"{"value":1,"key":[1]}"#, Reason::BadKey, "/key"),
        (r#"{"value":1,"key":"\udc00"}"#, Reason::BadKey, "/key"),
        (r#"{"value":1,"key_base64":"%"}"#, Reason::BadKey, "/key_base64"),
        (r#"{"value":1,"partition":-1}"#, Reason::BadPartition, "/partition"),
        (r#"{"value":1,"partition":1.0}"#, Reason::BadPartition, "/partition"),
        (r#"{"value":1,"partition":"1"}"#, Reason::BadPartition, "/partition"),
        (r#"{"value":1,"partition":2147483648}"#, Reason::BadPartition, "/partition"),
        (r#"{"value":1,"timestamp":-1}"#, Reason::BadTimestamp, "/timestamp"),
        (r#"{"value":1,"timestamp":1e3}"#, Reason::BadTimestamp, "/timestamp"),
        (r#"{"value":1,"timestamp":"1000"}"#, Reason::BadTimestamp, "/timestamp"),
        (r#"{"value":1,"timestamp":"2026-13-01T00:00:00Z"}"#, Reason::BadTimestamp, "/timestamp"),
        (r#"{"value":1,"timestamp":{}}"#, Reason::BadTimestamp, "/timestamp"),
        (r#"{"value":1,"headers":1}"#, Reason::BadHeaders, "/headers"),
        (r#"{"value":1,"headers":"x"}"#, Reason::BadHeaders, "/headers"),
        (r#"{"value":1,"headers":{"a/":1}}"#, Reason::BadHeaders, "/headers/a~1"),
        (r#"{"value":1,"headers":{"":"x"}}"#, Reason::BadHeaders, "/headers/"),
        (r#"{"value":1,"headers":{"\u0000":"x"}}"#, Reason::BadHeaders, "/headers/\0"),
        (r#"{"value":1,"headers":{"a":"\ud800"}}"#, Reason::BadHeaders, "/headers/a"),
        (r#"{"value":1,"headers":{"a":{}}}"#, Reason::BadHeaders, "/headers/a"),
        (r#"{"value":1,"headers":{"a":{"base64":null}}}"#, Reason::BadHeaders, "/headers/a"),
        (r#"{"value":1,"headers":{"a":{"base64":"A="}}}"#, Reason::BadHeaders, "/headers/a"),
        (r#"{"value":1,"headers":{"a":{"base64":"","b":1}}}"#, Reason::BadHeaders, "/headers/a"),
        (r#"{"value":1,"headers":[["a","b"],["a"]]}"#, Reason::BadHeaders, "/headers/1"),
        (r#"{"value":1,"headers":[["a","b"],["a","b"],["a","b","c"]]}"#, Reason::BadHeaders, "/headers/2"),
        (r#"{"value":1,"headers":[{"a":"b"}]}"#, Reason::BadHeaders, "/headers/0"),
        (r#"{"value":1,"headers":[[1,"b"]]}"#, Reason::BadHeaders, "/headers/0"),
        (r#"{"value":1,"headers":[["\ud800","b"]]}"#, Reason::BadHeaders, "/headers/0"),
        ("1", Reason::Malformed, "offset"),
        ("null", Reason::Malformed, "offset"),
        ("\"x\"", Reason::Malformed, "offset"),
    ] {
        assert_eq!(bad(record), (reason, pointer.to_owned()), "{record}");
    }
}

#[test]
fn records_have_no_more_headers_than_the_caps() {
    let caps = Caps::default();
    let count = |n: usize| {
        let pairs: Vec<_> = (0..n).map(|i| format!("[\"h{i}\",\"\"]")).collect();
        format!("{{\"value\":1,\"headers\":[{}]}}", pairs.join(","))
    };
    assert_eq!(good(&count(caps.record_headers)).1.header_count(), caps.record_headers);
    assert_eq!(bad(&count(caps.record_headers + 1)), (Reason::BadHeaders, format!("/headers/{}", caps.record_headers)));
    let bytes = |n: usize| format!("{{\"value\":1,\"headers\":{{\"h\":\"{}\"}}}}", "x".repeat(n - 1));
    let limit = caps.record_headers_bytes.len();
    assert_eq!(good(&bytes(limit)).1.header_count(), 1);
    assert_eq!(bad(&bytes(limit + 1)), (Reason::BadHeaders, "/headers/h".to_owned()));
}

#[test]
fn a_bad_record_leaves_the_others_good_and_in_their_places() {
    let batch = run(Media::EnvelopeJson, r#"[{"value":1,"headers":{"a":"1"}},{"value":2,"x":1},{"value":3}]"#).unwrap();
    assert_eq!(batch.events.iter().map(|e| (e.index, e.offset)).collect::<Vec<_>>(), [(0, 1), (2, 51)]);
    assert_eq!(rows(&batch), [(1, Reason::UnknownMember, Place::Pointer("/x".to_owned()))]);
    let batch = run(Media::EnvelopeNdjson, "{\"value\":1}\n{\"value\":}\n[]\n\"\n{\"value\":2}").unwrap();
    assert_eq!(texts(&batch), ["1", "2"]);
    let places: Vec<_> = rows(&batch).into_iter().map(|(index, _, place)| (index, place)).collect();
    assert_eq!(places, [(1, Place::Offset(21)), (2, Place::Offset(23)), (3, Place::Offset(27))]);
}

#[test]
fn the_envelope_goes_before_the_request_headers_and_their_record_headers_add_up() {
    let said =
        single(&[("kafka-key", "outer"), ("kafka-partition", "1"), ("kafka-timestamp", "5"), ("kafka-header-b", "2")]);
    let run = |body: &'static str| {
        let batch =
            decode(Media::EnvelopeJson, Bytes::from_static(body.as_bytes()), said.as_ref().unwrap(), &Caps::default());
        let batch = batch.unwrap();
        let event = batch.events[0].clone();
        (batch, event)
    };
    let (batch, event) = run(r#"{"value":1,"key":"inner","partition":2,"timestamp":6,"headers":{"a":"1"}}"#);
    assert_eq!(batch.bytes(event.key.unwrap()), b"inner");
    assert_eq!((event.partition, event.timestamp), (Some(2), Some(6)));
    let names: Vec<_> = headers(&batch, &event).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
    let (batch, event) = run(r#"[{"value":1,"key":null}]"#);
    assert_eq!(batch.bytes(event.key.unwrap()), b"outer");
    assert_eq!((event.partition, event.timestamp, event.header_count()), (Some(1), Some(5), 1));
}
