//! `klamm dev`: the first minute of whoever tries klamm.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::client::Client;
use crate::support::dev::Dev;
use crate::support::raw::Socket;

#[test]
fn the_printed_curl_line_works_when_pasted_and_the_request_gets_a_line() {
    let dev = Dev::start(&[]);
    let welcome = dev.said();
    let start = welcome.find("  curl ").expect("a curl line");
    let pasted = welcome[start..].split("\n\n").next().expect("the whole of it");
    let curl = Command::new("sh").arg("-c").arg(pasted).stdin(Stdio::null()).output().expect("a shell");
    let answer = match curl.status.code() {
        // There is no curl on this machine.
        Some(127) => by_hand(&dev),
        _ => String::from_utf8(curl.stdout).expect("text"),
    };
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}\n{}", dev.said());
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&body["topic"], &body["accepted"]), (&"demo".into(), &1.into()), "{body}");
    let receipt = &body["receipts"][0];
    assert_eq!((&receipt["index"], &receipt["count"], &receipt["offset"]), (&0.into(), &1.into(), &0.into()), "{body}");
    let place = format!(" demo/{}@0 ", receipt["partition"]);
    let line = dev.line_with(&[&place, "client=dev", " 17 B "]);
    let clock: Vec<&str> = line.split(' ').next().expect("the time").split(':').collect();
    assert!(clock.len() == 3 && clock.iter().all(|part| part.len() == 2), "{line}");
}

/// What the curl line sends.
fn by_hand(dev: &Dev) -> String {
    let mut socket = Socket::connect(dev.ingest());
    let head = "POST /v1/topics/demo/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer dev\r\n\
                Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"hello\":\"world\"}";
    socket.send(head.as_bytes()).expect("the request is taken");
    socket.answer()
}

#[tokio::test]
async fn a_topic_is_made_on_first_use_and_takes_every_format() {
    let dev = Dev::start(&[]);
    let http = Client::new(dev.ingest());
    for (topic, kind, body) in [
        ("one", "application/json", "[1,2]"),
        ("two", "application/x-ndjson", "1\n2\n"),
        ("three", "text/plain", "words"),
        ("four", "application/octet-stream", "\0"),
        ("five", "application/vnd.klamm.v1+json", "{\"key\":\"k\",\"value\":null,\"partition\":3}"),
    ] {
        let headers = [("x-api-key", "dev"), ("content-type", kind)];
        let answer = http.post(&format!("/v1/topics/{topic}/events"), &headers, body).await;
        assert_eq!(answer.status, 200, "{topic}: {answer:?}");
    }
    for page in ["/metrics", "/readyz?verbose", "/admin/clients"] {
        assert_eq!(Client::new(dev.admin()).get(page, &[]).await.status, 200, "{page}");
    }
    let refused = http.post("/v1/topics/one/events", &[("x-api-key", "wrong")], "1").await;
    assert_eq!(refused.status, 401);
    dev.line_with(&["one", "client=_anonymous", "401 unauthenticated"]);
}

#[tokio::test]
async fn the_thousand_and_first_topic_is_not_made() {
    let dev = Dev::start(&[]);
    let http = Client::new(dev.ingest());
    let post = |n: usize| {
        let http = http.clone();
        async move {
            let headers = [("x-api-key", "dev"), ("content-type", "application/json")];
            http.post(&format!("/v1/topics/t{n}/events"), &headers, "1").await.status
        }
    };
    // The demo's own topic is the first.
    for hundred in 0..10 {
        let topics = (hundred * 100..(hundred + 1) * 100).filter(|n| *n < 999);
        let posts: Vec<_> = topics.map(|n| (n, tokio::spawn(post(n)))).collect();
        for (n, post) in posts {
            assert_eq!(post.await.expect("an answer"), 200, "t{n}");
        }
    }
    assert_eq!(post(999).await, 404);
    assert_eq!(post(7).await, 200, "those that are there stay");
}

#[test]
fn the_demo_shows_good_bad_and_over_quota_events() {
    let dev = Dev::start(&["--demo"]);
    dev.line_with(&[" demo-orders/", "client=demo", " ms"]);
    dev.line_with(&[" demo-orders ", "422 invalid_events"]);
    dev.line_with(&[" demo-clicks ", "400 malformed_body"]);
    dev.line_with(&[" demo-clicks ", "429 rate_limited"]);
}

#[test]
fn a_kafka_that_does_not_answer_is_said_to() {
    let dev = Dev::start(&["--bootstrap", "127.0.0.1:1"]);
    dev.line_with(&["127.0.0.1:1 does not answer yet"]);
}
