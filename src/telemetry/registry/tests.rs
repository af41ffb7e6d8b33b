use super::*;

fn registry(limit: usize) -> (Registry, Arc<AtomicU64>) {
    let folded = Arc::new(AtomicU64::new(0));
    (Registry::new(limit, Counter::from_arc(folded.clone()), Memory::new(1 << 20)), folded)
}

fn names(registry: &Registry) -> Vec<(String, String)> {
    registry.pairs().iter().map(|pair| (pair.client.to_string(), pair.topic.to_string())).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(client, topic)| (client.to_string(), topic.to_string())).collect()
}

#[test]
fn over_the_limit_the_topic_folds_and_every_client_keeps_a_row() {
    let (registry, folded) = registry(2);
    for (client, topic) in [("a", "t1"), ("a", "t2"), ("a", "t3"), ("a", "t4"), ("b", "t1")] {
        registry.pair(&client.into(), &topic.into()).received(1);
    }
    let expected = owned(&[("_anonymous", "_unknown"), ("a", "_other"), ("a", "t1"), ("a", "t2"), ("b", "_other")]);
    assert_eq!(names(&registry), expected);
    assert_eq!(folded.load(Relaxed), 3);
    let received: Vec<_> = registry.pairs().iter().map(|pair| pair.snapshot().received).collect();
    assert_eq!(received, [0, 2, 1, 1, 1]);
}

#[test]
fn the_same_names_give_the_same_pair() {
    let (registry, _) = registry(10);
    let (client, topic) = (ClientId::from("a"), TopicName::from("t"));
    assert!(Arc::ptr_eq(&registry.pair(&client, &topic), &registry.pair(&client, &topic)));
    assert!(Arc::ptr_eq(&registry.unknown_topic(&client), &registry.unknown_topic(&client)));
    assert!(Arc::ptr_eq(&registry.anonymous(), &registry.anonymous()));
}

#[test]
fn a_reload_drops_what_left_and_keeps_the_counts_of_what_stayed() {
    let (registry, _) = registry(3);
    for (client, topic) in [("a", "t1"), ("a", "t2"), ("b", "t1"), ("a", "t3")] {
        registry.pair(&client.into(), &topic.into()).received(5);
    }
    registry.unknown_topic(&"a".into());
    registry.unknown_topic(&"b".into());
    registry.retain(|client, topic| client == "a" && topic != Some("t2"));
    let expected = owned(&[("_anonymous", "_unknown"), ("a", "_other"), ("a", "_unknown"), ("a", "t1")]);
    assert_eq!(names(&registry), expected);
    assert_eq!(registry.pair(&"a".into(), &"t1".into()).snapshot().received, 5);
    // There is room again.
    assert_eq!(registry.pair(&"a".into(), &"t3".into()).topic.as_str(), "t3");
}

#[test]
fn a_client_is_seen_by_whichever_pair_and_never_in_the_past() {
    let (registry, _) = registry(10);
    let one = registry.pair(&"a".into(), &"t1".into());
    assert_eq!(one.snapshot().seen, None);
    registry.unknown_topic(&"a".into()).seen(200);
    registry.pair(&"a".into(), &"t2".into()).seen(100);
    assert_eq!(one.snapshot().seen, Some(200));
    assert_eq!(registry.pair(&"b".into(), &"t1".into()).snapshot().seen, None);
}

#[test]
fn a_snapshot_holds_what_was_counted() {
    let (registry, _) = registry(10);
    let pair = registry.pair(&"a".into(), &"t".into());
    pair.received(7);
    pair.bytes(70);
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        pair.outcome(outcome, place as u64 + 1);
    }
    for (place, result) in RequestResult::ALL.into_iter().enumerate() {
        (0..=place).for_each(|_| pair.request(result));
    }
    pair.refused(Code::OutcomeUnknown);
    pair.refused(Code::Unauthenticated);
    pair.refused(Code::OutcomeUnknown);
    pair.ack(Duration::from_millis(3));
    let now = pair.snapshot();
    assert_eq!((now.received, now.bytes), (7, 70));
    assert_eq!(Outcome::ALL.map(|outcome| now.outcome(outcome)), [1, 2, 3, 4]);
    assert_eq!(RequestResult::ALL.map(|result| now.result(result)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(now.refusals, [(Code::Unauthenticated, 1), (Code::OutcomeUnknown, 2)]);
    assert_eq!((now.ack.count, now.ack.sum), (1, Duration::from_millis(3)));
}

#[test]
fn a_refusal_is_the_clients_fault_by_its_status() {
    for code in Code::ALL.iter().copied() {
        let expected = match code.row().status.as_u16() {
            500 | 504 => RequestResult::Unknown,
            501.. => RequestResult::Unavailable,
            _ if code == Code::ShareExhausted => RequestResult::Unavailable,
            _ => RequestResult::Refused,
        };
        assert_eq!(RequestResult::of(code), expected, "{code}");
    }
}

#[test]
fn threads_that_race_for_a_new_pair_get_the_same_and_the_limit_holds() {
    let (registry, _) = registry(8);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for topic in 0..50 {
                    registry.pair(&"a".into(), &format!("t{topic}").as_str().into()).received(1);
                }
            });
        }
    });
    let pairs = registry.pairs();
    // Eight with a topic, `_other`, `_anonymous`.
    assert_eq!(pairs.len(), 10);
    assert_eq!(pairs.iter().map(|pair| pair.snapshot().received).sum::<u64>(), 200);
}

#[test]
fn the_stamp_of_a_pair_is_another_one_after_whatever_is_counted() {
    let (registry, _) = registry(10);
    let pair = registry.pair(&"a".into(), &"t".into());
    let mut seen = std::collections::BTreeSet::from([pair.stamp()]);
    let mut counts = |count: &dyn Fn(&Pair)| {
        count(&pair);
        assert!(seen.insert(pair.stamp()), "a stamp came twice");
    };
    counts(&|pair| pair.received(3));
    counts(&|pair| pair.spooled(3));
    counts(&|pair| pair.drained(Outcome::Acked, 3));
    counts(&|pair| pair.refused(Code::HeadersTooLarge));
    counts(&|pair| pair.request(RequestResult::Unknown));
    counts(&|pair| pair.ack(Duration::from_secs(40)));
    counts(&|pair| pair.bytes(1000));
    counts(&|pair| pair.seen(1_700_000_000));
    assert!(seen.contains(&pair.stamp()), "and the same while nothing is");
}

#[test]
fn the_version_rises_with_pairs_that_come_and_go_and_with_nothing_else() {
    let (registry, _) = registry(1);
    let mut before = registry.version();
    let mut rose = |registry: &Registry| {
        let now = registry.version();
        std::mem::replace(&mut before, now) != now
    };
    registry.pair(&"a".into(), &"t".into());
    assert!(rose(&registry));
    registry.pair(&"a".into(), &"t".into()).received(1);
    assert!(!rose(&registry));
    registry.pair(&"a".into(), &"u".into());
    assert!(rose(&registry), "_other came");
    registry.unknown_topic(&"a".into());
    assert!(rose(&registry), "_unknown came");
    registry.pair(&"a".into(), &"u".into());
    registry.unknown_topic(&"a".into());
    assert!(!rose(&registry));
    registry.retain(|_, _| false);
    assert!(rose(&registry));
}
