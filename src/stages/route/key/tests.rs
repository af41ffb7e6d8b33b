use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Piece;

fn rule(pointer: &str, required: bool) -> Rule {
    Rule { pointer: Some(Pointer::parse(pointer).unwrap()), required }
}

fn batch(value: &str) -> Batch {
    // The value stands somewhere in the body, as it does in a real one.
    let body = format!("..{value}..");
    let mut batch = Batch::over(Bytes::from(body.into_bytes()));
    batch.events.push(Event::new(0, 2, Some(Piece::of_body(2..2 + value.len()))));
    batch
}

fn key(pointer: &str, value: &str) -> Result<Option<String>, Reason> {
    let mut batch = batch(value);
    assign(&rule(pointer, false), true, &mut batch);
    match batch.events.first() {
        Some(event) => Ok(event.key.map(|key| String::from_utf8(batch.bytes(key).to_vec()).unwrap())),
        None => Err(batch.faults[0].reason),
    }
}

#[test]
fn a_pointer_finds_the_key_and_the_last_of_duplicates_counts() {
    for (pointer, value, found) in [
        ("/a", r#"{"a":"x"}"#, Some("x")),
        ("/a", r#"{"a":"x","b":1,"a":"y"}"#, Some("y")),
        ("/a/b", r#"{"a":{"b":"old"},"a":{"b":1,"b":2}}"#, Some("2")),
        ("/a/b", r#"{"a":{"b":1},"a":{}}"#, None),
        ("/a/1/b", r#"{"a":[0,{"b":true}]}"#, Some("true")),
        ("/a/01", r#"{"a":[0,1]}"#, None),
        ("/a/-", r#"{"a":[0,1]}"#, None),
        ("/a/2", r#"{"a":[0,1]}"#, None),
        ("/a/0", r#"{"a":{"0":"member"}}"#, Some("member")),
        ("/a~1b~0c", r#"{"a/b~c":1.50}"#, Some("1.50")),
        ("/~01", r#"{"~1":"x"}"#, Some("x")),
        ("/ä", r#"{"\u00e4":"\u00e4"}"#, Some("ä")),
        ("/", r#"{"":"empty"}"#, Some("empty")),
        ("", r#""whole""#, Some("whole")),
        ("", "7", Some("7")),
        ("/a", r#"{"a":null}"#, None),
        ("/a", r#"{"a":""}"#, Some("")),
        ("/a", "[1]", None),
        ("/a", "\"a\"", None),
        ("/a/b", r#"{"a":"b"}"#, None),
        ("/a", r#"{"\ud800":1,"x":[[{"a":2}]],"n":1e999}"#, None),
    ] {
        assert_eq!(key(pointer, value), Ok(found.map(str::to_owned)), "{pointer} {value}");
    }
}

#[test]
fn an_object_an_array_or_a_lone_surrogate_is_a_row() {
    for value in [r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"a":"\ud800"}"#] {
        assert_eq!(key("/a", value), Err(Reason::BadKey), "{value}");
    }
    let mut batch = batch(r#"{"a":{}}"#);
    assign(&rule("/a", false), true, &mut batch);
    assert_eq!(batch.faults[0].place, Place::Pointer("/a".to_owned()));
    assert_eq!(batch.received(), 1);
}

#[test]
fn a_required_key_that_is_missing_is_a_row() {
    for (value, json) in [("{}", true), ("{\"a\":null}", true), ("{\"a\":1}", false)] {
        let mut batch = batch(value);
        assign(&rule("/a", true), json, &mut batch);
        assert_eq!(batch.faults[0].reason, Reason::KeyRequired, "{value}");
        assert!(batch.events.is_empty());
    }
    let mut batch = batch("{}");
    assign(&Rule { pointer: None, required: true }, true, &mut batch);
    assert_eq!((batch.faults[0].reason, batch.faults[0].place.clone()), (Reason::KeyRequired, Place::Offset(2)));
}

#[test]
fn an_event_that_has_a_key_keeps_it_and_bytes_are_not_read_as_json() {
    let mut batch = batch(r#"{"a":"value"}"#);
    batch.events[0].key = Some(batch.make(b"own"));
    let made = batch.make(br#"{"a":"not json to us"}"#);
    batch.events.push(Event::new(1, 0, Some(made)));
    batch.events.push(Event::new(2, 0, None));
    assign(&rule("/a", false), true, &mut batch);
    let keys: Vec<_> = batch.events.iter().map(|event| event.key.map(|key| batch.bytes(key))).collect();
    assert_eq!(keys, [Some(&b"own"[..]), None, None]);
    assign(&rule("/a", true), true, &mut batch);
    assert_eq!(batch.events.len(), 1);
    assert_eq!(batch.faults.iter().map(|fault| fault.index).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_pointer_is_checked_when_it_is_parsed() {
    for text in ["a", "a/b", "/~", "/~2", "/a~", "#/a", "/~\u{e4}"] {
        assert!(Pointer::parse(text).is_err(), "{text}");
    }
    let config = KeyRule { pointer: Some("/a/0".to_owned()), required: true };
    assert_eq!(Rule::of(&config).unwrap(), rule("/a/0", true));
    assert!(Rule::of(&KeyRule { pointer: Some("x".to_owned()), required: false }).is_err());
}

#[test]
fn a_long_pointer_into_deep_text_stays_on_a_flat_stack() {
    let depth = 100_000;
    let value = format!("{}7{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(key(&"/0".repeat(128), &value), Ok(Some("7".to_owned())));
    assert_eq!(key(&"/0".repeat(depth), &value), Ok(None));
}

proptest! {
    #[test]
    fn a_pointer_finds_what_serde_json_finds(
        tree in (any::<bool>(), "[a-c~/]{0,2}", "[a-c~/]{0,2}", 0..3_usize, "\\PC{0,4}").prop_map(|(list, a, b, at, leaf)| {
            let mut items = vec![Value::Null; at];
            items.push(Value::from(leaf));
            let inner = if list { Value::from(items) } else { serde_json::json!({ b: leaf_of(items) }) };
            serde_json::json!({ a: inner, "other": [1, {"a": "no"}] })
        }),
        pointer in "(/[a-c0-2]{0,2}(~0|~1)?){0,3}",
    ) {
        let expected = match tree.pointer(&pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Object(_) | Value::Array(_)) => Err(Reason::BadKey),
            Some(scalar) => Ok(Some(scalar.to_string())),
        };
        prop_assert_eq!(key(&pointer, &tree.to_string()), expected);
    }
}

fn leaf_of(items: Vec<Value>) -> Value {
    items.into_iter().next_back().unwrap_or_default()
}
