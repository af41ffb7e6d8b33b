//! What holds for any input.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\[\\]{}\",:\\\\ \\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same splitting, as one would write it without care for cost.
fn naive_lines(body: &[u8]) -> Vec<Vec<u8>> {
    let space = |byte: &u8| b" \t\r".contains(byte);
    body.split(|byte| *byte == b'\n')
        .map(|line| {
            let line: Vec<u8> = line.iter().copied().skip_while(space).collect();
            let line: Vec<u8> = line.into_iter().rev().skip_while(space).collect();
            line.into_iter().rev().collect()
        })
        .filter(|line: &Vec<u8>| !line.is_empty())
        .collect()
}

/// A place, a sort of change and a byte for it.
type Edit = (usize, u8, u8);

fn edits(least: usize) -> impl Strategy<Value = Vec<Edit>> {
    proptest::collection::vec((any::<usize>(), 0..5_u8, any::<u8>()), least..4)
}

fn mutated(text: String, edits: Vec<Edit>) -> Vec<u8> {
    let mut text = text.into_bytes();
    for (at, edit, byte) in edits {
        let at = at % (text.len() + 1);
        match edit {
            0 => text.insert(at, byte),
            1 => text.insert(at, b"[]{}\",:\\0e-.\n "[byte as usize % 14]),
            2 if at < text.len() => text[at] = byte,
            3 if at < text.len() => text[at] ^= 1 << (byte % 8),
            _ if at < text.len() => drop(text.remove(at)),
            _ => {}
        }
    }
    text
}

/// Whether serde_json takes the text as a value, where it refuses only what is no JSON: it also refuses numbers that
/// do not fit an f64 and lone surrogates, which are JSON.
fn is_json(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(_) => Some(true),
        Err(error) => {
            let words = error.to_string();
            let strict = ["number out of range", "surrogate", "hex escape"].iter().any(|word| words.contains(word));
            (!strict).then_some(false)
        }
    }
}

proptest! {
    #[test]
    fn any_json_leaves_as_the_bytes_it_came_in(
        items in proptest::collection::vec(any_json(), 1..6), space in "[ \\t\\r]{0,3}",
    ) {
        let compact: Vec<String> = items.iter().map(|item| item.to_string()).collect();
        let pretty: Vec<String> = items.iter().map(|item| serde_json::to_string_pretty(item).unwrap()).collect();
        for texts in [&compact, &pretty] {
            let padded: Vec<String> = texts.iter().map(|text| format!("{space}{text}{space}")).collect();
            let batch = run(Media::Json, format!("[{}]", padded.join(","))).unwrap();
            prop_assert_eq!(&super::texts(&batch), texts);

            let records: Vec<String> = padded.iter().map(|text| format!("{{\"value_base64\":\"\",\"value\":{text}}}")).collect();
            let batch = run(Media::EnvelopeJson, format!("[{}]", records.join(","))).unwrap();
            prop_assert_eq!(batch.faults.len(), texts.len());
            let records: Vec<String> = padded.iter().map(|text| format!("{{\"value\":{text}}}")).collect();
            let batch = run(Media::EnvelopeJson, format!("[{}]", records.join(","))).unwrap();
            let expected: Vec<_> = texts.iter().map(|t| (t != "null").then(|| t.clone().into_bytes())).collect();
            prop_assert_eq!(values(&batch), expected);
        }
        let batch = run(Media::Ndjson, compact.join(&format!("{space}\n{space}"))).unwrap();
        prop_assert_eq!(&super::texts(&batch), &compact);
        for text in &pretty {
            let batch = run(Media::Json, format!("[{space}{text}{space}]")).unwrap();
            prop_assert_eq!(super::texts(&batch), std::slice::from_ref(text));
        }
    }

    #[test]
    fn ndjson_splits_as_the_naive_splitter_does(body in "[01{}\" \\t\\r\\n]{0,60}") {
        let lines = naive_lines(body.as_bytes());
        match run(Media::Ndjson, &body) {
            Err(refusal) => {
                prop_assert_eq!(refusal, Reject::NoEvents);
                prop_assert!(lines.is_empty());
            }
            Ok(batch) => {
                prop_assert_eq!(batch.received(), lines.len());
                for event in &batch.events {
                    let line = &lines[event.index as usize];
                    prop_assert_eq!(batch.bytes(event.value.unwrap()), &line[..]);
                    prop_assert_eq!(&body.as_bytes()[event.offset as usize..][..line.len()], &line[..]);
                }
                for fault in &batch.faults {
                    prop_assert_eq!(is_json(&lines[fault.index as usize]), Some(false));
                }
                let good = lines.iter().filter(|line| is_json(line) == Some(true)).count();
                prop_assert_eq!(batch.events.len(), good);
            }
        }
    }

    #[test]
    fn every_format_agrees_with_serde_json_on_mutated_json(
        value in any_json(), edits in edits(1),
    ) {
        let text = mutated(value.to_string(), edits);
        if let Some(good) = is_json(&text) {
            let text: Vec<u8> = text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
            let good = good || is_json(&text) == Some(true);
            let blank = naive_lines(&text).is_empty();
            let alone = run(Media::Ndjson, &text);
            prop_assert_eq!(alone.is_ok_and(|batch| batch.faults.is_empty()), good && !blank);
            let record = [b"{\"value\":", &text[..], b"}"].concat();
            let list = [b"[", &record[..], b"]"].concat();
            // Between the brackets a fragment may well be something else: `1,"key":2`, or `1},{"value":2`.
            let whole = is_json(&list) == Some(true);
            prop_assert_eq!(run(Media::EnvelopeJson, &list).is_ok(), whole);
            prop_assert!(whole || !good);
        }
    }

    #[test]
    fn the_quick_pass_says_yes_to_just_what_serde_json_takes(
        value in any_json(), pretty in any::<bool>(),
        edits in edits(0),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let text = mutated(text, edits);
        let taken = |text: &[u8]| {
            std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
        };
        let mut batch = Batch::over(Bytes::from(text.clone()));
        let yes = super::super::quick::value_or_array(&mut batch, 1000, 128);
        prop_assert_eq!(yes, taken(&text));
        if !text.contains(&b'\n') {
            let mut batch = Batch::over(Bytes::from(text.clone()));
            let yes = super::super::quick::lines(&mut batch, 1000, 128);
            prop_assert_eq!(yes, taken(&text) || naive_lines(&text).is_empty());
        }
    }

    #[test]
    fn nothing_panics_and_every_event_is_counted_once(body in proptest::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\",:\\\\a-e0-9\\n ]{0,80}") {
        for media in [Media::Json, Media::Ndjson, Media::EnvelopeJson, Media::EnvelopeNdjson, Media::Binary] {
            for body in [&body[..], json.as_bytes()] {
                let Ok(batch) = run(media, body) else { continue };
                let mut indices: Vec<u32> = batch.events.iter().map(|e| e.index).chain(batch.faults.iter().map(|f| f.index)).collect();
                indices.sort_unstable();
                prop_assert_eq!(indices, (0..batch.received() as u32).collect::<Vec<_>>());
                for fault in &batch.faults {
                    if let Place::Offset(offset) = fault.place {
                        prop_assert!(offset <= body.len() as u64);
                    }
                }
            }
        }
    }
}
