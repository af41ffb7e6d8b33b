//! What arrives at the target is what was asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use klamm_load::load::{self, Bodies, Fate, Form, Ledger, Observer, Options, Stop};

use crate::options;
use crate::target::{self, Action, Request, ok};

#[test]
fn clients_and_topics_are_taken_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "first\nsecond\nthird\n").unwrap();
    let seen: Arc<Mutex<BTreeMap<(String, String), u64>>> = Arc::default();
    let url = target::start({
        let seen = seen.clone();
        move |request| {
            let pair = (request.header("authorization").unwrap().to_owned(), request.path().to_owned());
            *seen.lock().unwrap().entry(pair).or_default() += 1;
            ok()
        }
    });
    let options = Options {
        keys: Some(keys),
        topics: vec!["a".into(), "b".into()],
        headers: vec!["X-Extra: 1".into()],
        requests: Some(60),
        ..options(&url)
    };
    load::run(&options, &Stop::default()).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert!(seen.values().all(|count| *count == 10), "{seen:?}");
    assert!(seen.contains_key(&("Bearer third".to_owned(), "/topics/b".to_owned())));
}

#[test]
fn a_keyed_request_names_the_key_of_its_event() {
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let url = target::start({
        let seen = seen.clone();
        move |request| {
            seen.lock().unwrap().push(request);
            ok()
        }
    });
    let options = Options { keyed: true, form: Form::Single, requests: Some(20), ..options(&url) };
    load::run(&options, &Stop::default()).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 20);
    for request in seen.iter() {
        let event: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(event["user"].as_str(), request.header("kafka-key"));
    }
}

#[derive(Default)]
struct Book(Mutex<HashMap<u64, Vec<bool>>>);

impl Ledger for Book {
    fn settled(&self, request: u64, fate: Fate<'_>) {
        self.0.lock().unwrap().entry(request).or_default().push(matches!(fate, Fate::Accepted(200)));
    }
}

#[test]
fn a_ledger_learns_each_fate_once_and_events_bear_their_numbers() {
    let arrived: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let url = target::start({
        let arrived = arrived.clone();
        move |request| {
            if request.number % 10 == 9 {
                return Action::Cut;
            }
            arrived.lock().unwrap().push(request.body);
            ok()
        }
    });
    // More requests than there are bodies: bodies repeat, numbers do not.
    let options = Options { events: 5, size: 20_000, threads: 2, requests: Some(200), ..options(&url) };
    let book = Book::default();
    let run = load::run_with(&options, &Stop::default(), Observer { ledger: Some(&book), progress: None }).unwrap();
    let book = book.0.into_inner().unwrap();
    assert_eq!(book.len(), 200);
    assert!(book.values().all(|fates| fates.len() == 1));
    let accepted: BTreeSet<u64> = book.iter().filter(|(_, fates)| fates[0]).map(|(request, _)| *request).collect();
    assert_eq!(accepted.len() as u64, run.accepted.requests);

    let bodies = Bodies::new(&options, true).unwrap();
    let mut numbers = BTreeSet::new();
    for body in arrived.lock().unwrap().iter() {
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let number = bodies.number_of(line).expect("a number");
            assert_eq!(bodies.event(number).as_deref(), Some(line), "event {number} as it was sent");
            assert!(numbers.insert(number), "{number} twice");
        }
    }
    let expected: BTreeSet<u64> = accepted.iter().flat_map(|request| request * 5..request * 5 + 5).collect();
    assert_eq!(numbers, expected);
}
