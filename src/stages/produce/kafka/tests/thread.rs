//! What is left to the producer's own thread.

use super::*;

/// Keeps the thread of a line's producer from everything else, until what this returns is dropped.
fn occupy(line: &Line) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    line.producer.delegate(move |_| {
        begin.send(()).unwrap();
        let _ = released.recv();
    });
    begun.recv_timeout(LIMIT).unwrap();
    release
}

#[test]
fn a_small_request_does_not_overtake_a_large_one_that_waits_for_the_producer_s_thread() {
    let supervised = Supervised::start();
    assert!(matches!(fate(&send(&supervised.sink)), Fate::Acked { offset: Some(0), .. }));
    let occupied = occupy(&supervised.line());
    let large = send_many(&supervised.sink, MANY);
    let small = send(&supervised.sink);
    assert!(large.recv_timeout(Duration::from_millis(100)).is_err() && small.try_recv().is_err());
    drop(occupied);
    let fates = large.recv_timeout(LIMIT).expect("fates").each().into_iter().chain([fate(&small)]);
    let offsets = fates.map(|fate| match fate {
        Fate::Acked { offset: Some(offset), .. } => offset,
        other => panic!("{other}"),
    });
    assert_eq!(offsets.collect::<Vec<_>>(), (1..=MANY as i64 + 1).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_the_thread_of_a_producer_that_is_replaced_is_sent_by_the_next_one_and_once() {
    let supervised = Supervised::start();
    assert!(matches!(fate(&send(&supervised.sink)), Fate::Acked { .. }));
    let old = supervised.line();
    let occupied = occupy(&old);
    let waiting = send_many(&supervised.sink, MANY);
    old.context().find_stalled("t", 0);
    std::thread::sleep(Duration::from_millis(500));
    // It is closed by now, and waits for the thread alone.
    drop(occupied);
    for fate in waiting.recv_timeout(LIMIT).expect("fates").each() {
        assert!(matches!(fate, Fate::Acked { .. }), "{fate}");
    }
    let began = Instant::now();
    while supervised.sink.ears.mends.replaced() != [("fatal", 0), ("stalled", 1)] {
        assert!(began.elapsed() < LIMIT, "no new producer");
        std::thread::sleep(Duration::from_millis(1));
    }
    let (all, [(_, resent), (_, doubtful)]) = (MANY as u64, supervised.sink.ears.mends.resent());
    assert_eq!((resent, doubtful), (all, 0));
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", supervised.cluster.bootstrap_servers()).create().unwrap();
    let stored = |partition| consumer.fetch_watermarks("t", partition, LIMIT).unwrap().1;
    assert_eq!((0..4).map(stored).sum::<i64>(), 1 + MANY as i64);
}

#[test]
fn what_waits_for_a_producer_s_thread_is_settled_when_all_is_given_up() {
    let supervised = Supervised::start();
    assert!(matches!(fate(&send(&supervised.sink)), Fate::Acked { .. }));
    let occupied = occupy(&supervised.line());
    let waiting = send_many(&supervised.sink, MANY);
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(occupied);
    });
    supervised.sink.give_up();
    release.join().unwrap();
    let fates = waiting.recv_timeout(LIMIT).expect("fates").each();
    assert_eq!(fates, vec![Fate::Failed(RDKafkaErrorCode::PurgeQueue); MANY]);
    assert_eq!(supervised.sink.waiting(), Waiting::default());
}
