use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::super::logs::{self, LogStyle};
use super::super::tests::Sink;
use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn entry(status: u16, code: Option<Code>) -> Entry<'static> {
    Entry {
        request_id: RequestId::new(),
        client_request_id: None,
        client: "dev",
        topic: "demo",
        partitions: "2@0",
        events: 1,
        bytes: 18,
        status,
        code,
        latency: Duration::from_micros(1432),
    }
}

/// What `run` logs, as JSON lines, and how many lines were counted as suppressed.
fn logged(mode: Mode, run: impl FnOnce(&AccessLog)) -> (Vec<serde_json::Value>, u64) {
    let sink = Sink::default();
    let count = Arc::new(AtomicU64::new(0));
    let log = AccessLog::new(mode, Style::Log, Counter::from_arc(count.clone()));
    let (subscriber, _handle) = logs::subscriber("info", LogStyle::Json, false, sink.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || run(&log));
    let lines = sink.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, count.load(Relaxed))
}

#[test]
fn a_line_says_who_what_and_how_long() {
    let entry = Entry { client_request_id: Some("their-7"), ..entry(429, Some(Code::RateLimited)) };
    let (lines, _) = logged(Mode::All, |log| log.log(&entry, at(0)));
    let line = &lines[0];
    assert_eq!(line["target"], "klamm::access");
    assert_eq!(line["request_id"], entry.request_id.to_string());
    for (field, value) in
        [("client_request_id", "their-7"), ("client", "dev"), ("topic", "demo"), ("partitions", "2@0")]
    {
        assert_eq!(line[field], value);
    }
    assert_eq!((&line["events"], &line["bytes"], &line["status"]), (&1.into(), &18.into(), &429.into()));
    assert_eq!((&line["code"], &line["latency_ms"]), (&"rate_limited".into(), &1.432.into()));
}

#[test]
fn levels_follow_the_class_of_the_status() {
    let cases = [
        (200, None, "INFO"),
        (207, None, "WARN"),
        (422, Some(Code::InvalidEvents), "INFO"),
        (500, Some(Code::Internal), "ERROR"),
        (504, Some(Code::OutcomeUnknown), "ERROR"),
    ];
    for (status, code, level) in cases {
        let (lines, _) = logged(Mode::All, |log| log.log(&entry(status, code), at(0)));
        assert_eq!(lines[0]["level"], level, "{status}");
    }
}

#[test]
fn failures_are_logged_and_successes_are_not() {
    let (lines, _) = logged(Mode::Failures, |log| {
        log.log(&entry(200, None), at(0));
        log.log(&entry(207, None), at(0));
        log.log(&entry(401, Some(Code::Unauthenticated)), at(0));
    });
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [207, 401]);
}

#[test]
fn the_mode_changes_live() {
    let (lines, _) = logged(Mode::Off, |log| {
        log.log(&entry(503, Some(Code::Overloaded)), at(0));
        log.set_mode(Mode::All);
        assert!(log.wants_successes());
        log.log(&entry(200, None), at(0));
        log.set_mode(Mode::Failures);
        assert_eq!(log.mode(), Mode::Failures);
    });
    assert_eq!(lines.len(), 1);
}

#[test]
fn each_code_gets_ten_lines_a_second_and_the_rest_is_counted_when_the_second_turns() {
    let refused = entry(429, Some(Code::RateLimited));
    let other = entry(413, Some(Code::TooLarge));
    let (lines, suppressed) = logged(Mode::Failures, |log| {
        for _ in 0..25 {
            log.log(&refused, at(0));
        }
        log.log(&other, at(0));
        log.log(&refused, at(1));
    });
    let of = |code: &str, message: &str| {
        let matching = lines.iter().filter(|line| line["code"] == code && line["message"] == message);
        matching.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("rate_limited", "request").len(), 11);
    assert_eq!(of("too_large", "request").len(), 1);
    let reports = of("rate_limited", "lines left out");
    assert_eq!((reports.len(), &reports[0]["left_out"]), (1, &15.into()));
    assert_eq!(suppressed, 15);
}

#[test]
fn the_end_of_a_flood_is_reported_without_a_next_line() {
    let (lines, _) = logged(Mode::Failures, |log| {
        for _ in 0..12 {
            log.log(&entry(401, Some(Code::Unauthenticated)), at(0));
        }
        log.turn(at(0));
        log.turn(at(3));
        log.turn(at(4));
    });
    let reports: Vec<_> = lines.iter().filter(|line| line["message"] == "lines left out").collect();
    assert_eq!((reports.len(), &reports[0]["left_out"]), (1, &2.into()));
}

#[test]
fn threads_at_once_show_no_more_than_ten_and_lose_no_count() {
    let window = Window(AtomicU64::new(0));
    let shown: usize = std::thread::scope(|scope| {
        let many = || (0..1000).filter(|_| window.count(7).show).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(many)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((shown, window.close(8)), (10, 3990));
}

#[test]
fn the_dev_line_is_short() {
    let noon = UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + 12 * 3600 + 4);
    assert_eq!(dev_line(&entry(200, None), noon), "12:00:04 demo/2@0 client=dev 18 B 1.4 ms");
    let slow = Entry { bytes: 1536, latency: Duration::from_millis(2500), partitions: "2@17 x3", ..entry(200, None) };
    assert_eq!(dev_line(&slow, noon), "12:00:04 demo/2@17 x3 client=dev 1.5 KiB 2.5 s");
    let refused = Entry { partitions: "", bytes: 3 << 20, ..entry(422, Some(Code::InvalidEvents)) };
    assert_eq!(dev_line(&refused, noon), "12:00:04 demo client=dev 3.0 MiB 1.4 ms 422 invalid_events");
    assert!(dev_line(&entry(207, None), noon).ends_with(" 207 partial"));
}

#[test]
fn the_dev_line_gives_the_terminal_nothing_to_act_on() {
    let hostile = Entry { topic: "a\x1b[2J\nb", ..entry(404, Some(Code::UnknownTopic)) };
    assert!(!dev_line(&hostile, at(0)).contains(char::is_control));
}
