//! The same over HTTP/2 with prior knowledge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use klamm_load::load::{self, Arrivals, Options, Protocol, Stop};

use crate::{all, errors, options};

/// Takes whole bodies; each fourth request is refused, each tenth never answered if `hang`.
fn start(hang: bool) -> (String, Arc<AtomicU64>) {
    let (tell, told) = mpsc::channel();
    let received = Arc::new(AtomicU64::new(0));
    let bytes = received.clone();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(format!("http://{}/", listener.local_addr().unwrap())).unwrap();
            let count = Arc::new(AtomicU64::new(0));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (count, bytes) = (count.clone(), bytes.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut hung = Vec::new();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        if hang && number == 9 {
                            hung.push((request, answer));
                            continue;
                        }
                        let bytes = bytes.clone();
                        tokio::spawn(async move {
                            let mut body = request.into_body();
                            while let Some(Ok(chunk)) = body.data().await {
                                bytes.fetch_add(chunk.len() as u64, Ordering::SeqCst);
                                body.flow_control().release_capacity(chunk.len()).unwrap();
                            }
                            let refused = number % 4 == 3;
                            let head = Response::builder().status(if refused { 429 } else { 200 }).body(()).unwrap();
                            let mut send = answer.send_response(head, false).unwrap();
                            let text = if refused { "{\"code\":\"rate_limited\"}" } else { "{}" };
                            send.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
                        });
                    }
                });
            }
        });
    });
    (told.recv().unwrap(), received)
}

#[test]
fn bodies_larger_than_the_flow_window_arrive_and_codes_are_read() {
    let (url, received) = start(false);
    let options = Options { protocol: Protocol::H2c, requests: Some(40), events: 100, size: 2000, ..options(&url) };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!((run.accepted.requests, all(&run)), (30, 40), "{:?}", run.errors.keys());
    assert_eq!((run.refused[0].code.as_str(), run.refused[0].answers.requests), ("rate_limited", 10));
    assert!(run.quota);
    assert_eq!(received.load(Ordering::SeqCst), run.accepted.bytes + run.refused[0].answers.bytes);
}

#[test]
fn the_schedule_is_kept_and_what_is_not_answered_is_an_error() {
    let (url, _) = start(true);
    let options = Options {
        protocol: Protocol::H2c,
        rate: Some(200.0),
        arrivals: Arrivals::Constant,
        duration: Duration::from_millis(500),
        last_answers: Duration::from_millis(500),
        threads: 2,
        ..options(&url)
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!((run.schedule.due, all(&run), errors(&run, "unanswered")), (100, 100, 1));
    assert!(run.errors["unanswered"].latency.max() >= Duration::from_millis(500));
}

#[test]
fn a_target_that_is_not_there_is_an_error_for_every_request() {
    let options = Options {
        protocol: Protocol::H2c,
        rate: Some(100.0),
        duration: Duration::from_millis(300),
        ..options("http://127.0.0.1:1/")
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!(errors(&run, "connect") + errors(&run, "missed"), run.schedule.due);
    assert!(errors(&run, "connect") > 0);
}
