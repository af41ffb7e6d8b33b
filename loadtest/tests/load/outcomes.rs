//! Every request ends in exactly one count, whatever the target does.

use std::net::TcpListener;
use std::time::Duration;

use klamm_load::load::{self, Options, Stop};

use crate::target::{self, Action, answer, ok};
use crate::{all, errors, options};

#[test]
fn cut_requests_are_errors_and_the_connection_comes_back() {
    let url = target::start(|request| if request.number % 3 == 2 { Action::Cut } else { ok() });
    let run = load::run(&Options { requests: Some(300), ..options(&url) }, &Stop::default()).unwrap();
    assert_eq!((run.accepted.requests, errors(&run, "cut"), all(&run)), (200, 100, 300));
    assert!((run.error_share() - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn half_an_answer_is_a_cut_and_none_of_http_is_malformed() {
    let url = target::start(|request| match request.number % 3 {
        0 => Action::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into()),
        1 => Action::AnswerAndClose("220 mail.example ESMTP\r\n".into()),
        _ => ok(),
    });
    let run = load::run(&Options { requests: Some(30), ..options(&url) }, &Stop::default()).unwrap();
    assert_eq!((errors(&run, "cut"), errors(&run, "malformed"), run.accepted.requests), (10, 10, 10));
}

#[test]
fn what_is_never_answered_is_an_error_with_at_least_that_latency() {
    let url = target::start(|request| if request.number == 7 { Action::Hang } else { ok() });
    let options = Options {
        rate: Some(100.0),
        duration: Duration::from_millis(500),
        last_answers: Duration::from_millis(500),
        ..options(&url)
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!(errors(&run, "unanswered"), 1);
    assert_eq!(all(&run), run.schedule.due);
    assert!(run.errors["unanswered"].latency.max() >= Duration::from_millis(500));
    assert_eq!(run.accepted.latency.count(), run.schedule.due - 1);
}

#[test]
fn answers_are_counted_by_status_and_code() {
    let chunked = "HTTP/1.1 429 Slow Down\r\ntransfer-encoding: chunked\r\n\r\n\
        17\r\n{\"code\":\"rate_limited\"}\r\n0\r\n\r\n";
    let url = target::start(move |request| match request.number % 5 {
        0 => Action::Answer(chunked.into()),
        1 => answer(503, "{\"title\":\"x\",\"code\":\"kafka_unavailable\"}"),
        2 => answer(503, "<html>"),
        3 => answer(202, ""),
        _ => ok(),
    });
    let run = load::run(&Options { requests: Some(500), ..options(&url) }, &Stop::default()).unwrap();
    assert_eq!(run.accepted.requests, 200);
    let mut refused: Vec<_> =
        run.refused.iter().map(|refused| (refused.status, refused.code.as_str(), refused.answers.requests)).collect();
    refused.sort_unstable();
    assert_eq!(refused, [(429, "rate_limited", 100), (503, "", 100), (503, "kafka_unavailable", 100)]);
    assert!(refused.iter().len() == 3 && run.refused.iter().all(|refused| refused.answers.latency.count() == 100));
    assert!(run.quota, "the quota was measured");
    assert!(run.errors.is_empty());

    let url = target::start(|_| answer(429, "{\"code\":\"share_exhausted\"}"));
    let run = load::run(&Options { requests: Some(5), ..options(&url) }, &Stop::default()).unwrap();
    assert!(!run.quota, "another 429 is no quota");
}

#[test]
fn a_target_that_is_not_there_is_an_error_for_every_request() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options =
        Options { rate: Some(100.0), duration: Duration::from_millis(500), ..options(&format!("http://{port}/")) };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!(run.accepted.requests, 0);
    assert_eq!(errors(&run, "connect") + errors(&run, "missed"), run.schedule.due);
    assert!(errors(&run, "connect") > 4 && run.schedule.due > 10);
    assert!((run.error_share() - 1.0).abs() < 1e-9);
}

#[test]
fn a_target_that_closes_after_each_answer_is_connected_again() {
    let url = target::start(|_| {
        Action::AnswerAndClose("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into())
    });
    let run = load::run(&Options { requests: Some(200), ..options(&url) }, &Stop::default()).unwrap();
    assert_eq!((run.accepted.requests, run.failed()), (200, 0));
}

#[test]
fn an_answer_before_the_body_was_read_is_an_answer() {
    let options = Options {
        // More than the sockets hold: the answer comes while the rest is still to be written.
        events: 500,
        size: 20_000,
        requests: Some(8),
        ..options(&target::start_hasty())
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!(all(&run), 8);
    assert!(run.errors.is_empty(), "{:?}", run.errors.keys());
    assert_eq!((run.refused[0].status, run.refused[0].code.as_str()), (413, "too_large"));
}

#[test]
fn a_long_answer_takes_many_reads() {
    let long = "x".repeat(3 << 20);
    let url = target::start(move |_| answer(200, &long));
    let run = load::run(&Options { requests: Some(20), ..options(&url) }, &Stop::default()).unwrap();
    assert_eq!((run.accepted.requests, run.failed()), (20, 0));
}
