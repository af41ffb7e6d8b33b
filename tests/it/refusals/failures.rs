//! Refusals that take a broker, or a client, that fails.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr;
use rustix::process::Signal;
use serde_json::json;

use super::{Expected, JSON, ORDERS};
use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};
use crate::support::raw::Socket;
use crate::support::soon;

/// One client, one topic, an event quota that does not come back while a test runs.
fn one(mock: &Mock, ingest: &str, kafka: &str) -> Gateway {
    let limits = "{ requests: off, events: 1000/h, bytes: off, burst: 1h }";
    let rest = format!("topics: {{ orders: {{}} }}\nclients:\n{}", client("shop", "[orders]", limits));
    mock.serve(ingest, kafka, &rest)
}

async fn post(gateway: &Gateway, body: &'static str) -> Answer {
    Client::new(gateway.ingest()).post(ORDERS, &[JSON, ("authorization", &bearer("shop"))], body).await
}

/// How many events the client may still send.
fn left(answer: &Answer) -> u64 {
    let field = answer.header("ratelimit").expect("RateLimit");
    let rest = field.strip_prefix("\"events\";r=").expect("the events first");
    rest.split(';').next().and_then(|left| left.parse().ok()).expect("a number")
}

/// As [`Expected::check`], for a client whose only quota is of events.
fn check(answer: &mut Answer, status: u16, code: &'static str) {
    for name in ["ratelimit", "ratelimit-policy"] {
        assert!(answer.headers.remove(name).is_some(), "{code}: {name}");
    }
    Expected { known: false, ..Expected::new(status, code) }.check(code, answer);
}

#[tokio::test]
async fn what_kafka_refuses_for_good_is_502_and_stays_charged_until_the_right_is_given() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "", "");
    gateway.ready().await;
    mock.refuse_to_produce(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    let mut answer = post(&gateway, "[1,2,3]").await;
    assert_eq!(left(&answer), 997);
    check(&mut answer, 502, "kafka_rejected");
    assert_eq!(
        answer.json()["errors"],
        json!([{"index": 0, "count": 3, "code": "kafka_rejected", "retryable": false,
            "detail": "TopicAuthorizationFailed (Broker: Topic authorization failed)"}])
    );
    assert_eq!(mock.records("orders"), 0);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("klamm_events_total", &[("client", "shop"), ("outcome", "rejected")]), 3.0);
    mock.take_again();
    // librdkafka holds the topic for closed until it reads its metadata again, which would be after five minutes.
    let given = Instant::now();
    soon("the right is there again", async || (post(&gateway, "[1]").await.status == 200).then_some(())).await;
    assert!(given.elapsed() < Duration::from_secs(5), "{:?}", given.elapsed());
}

#[tokio::test]
async fn what_kafka_does_not_take_is_503_and_the_charge_is_given_back() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "", "");
    gateway.ready().await;
    mock.refuse_to_produce(RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REQUEST);
    let mut answer = post(&gateway, "[1,2,3]").await;
    assert_eq!(left(&answer), 1000);
    check(&mut answer, 503, "kafka_unavailable");
    let problem = answer.json();
    let run = &problem["errors"][0];
    assert_eq!((&run["index"], &run["count"], &run["retryable"]), (&json!(0), &json!(3), &json!(true)), "{problem}");
    assert_eq!(mock.records("orders"), 0);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("klamm_events_total", &[("client", "shop"), ("outcome", "failed")]), 3.0);
    mock.take_again();
    let next = post(&gateway, "[1]").await;
    assert_eq!((next.status, left(&next)), (200, 999));
}

#[tokio::test]
async fn no_word_from_kafka_within_the_wait_is_504_and_late_words_still_count() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "wait: 200ms,", "");
    gateway.ready().await;
    // So that the topic is known.
    assert_eq!(post(&gateway, "0").await.status, 200);
    mock.delay(Duration::from_millis(1200));
    let mut answer = post(&gateway, "[1,2]").await;
    check(&mut answer, 504, "outcome_unknown");
    assert_eq!(
        answer.json()["errors"],
        json!([{"index": 0, "count": 2, "code": "outcome_unknown", "retryable": true,
            "detail": "no answer from Kafka yet"}])
    );
    soon("the late words are counted", async || {
        let acked = gateway.metrics().await.sum("klamm_events_total", &[("outcome", "acked")]);
        (acked == 3.0).then_some(())
    })
    .await;
    mock.delay(Duration::ZERO);
    assert_eq!(mock.records("orders"), 3);
}

#[tokio::test]
async fn a_wait_of_the_client_s_own_is_kept() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "", "");
    gateway.ready().await;
    assert_eq!(post(&gateway, "0").await.status, 200);
    mock.delay(Duration::from_millis(2500));
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    let mut answer = http.post(ORDERS, &[JSON, ("authorization", &key), ("prefer", "wait=1")], "1").await;
    check(&mut answer, 504, "outcome_unknown");
    let mut answer = http.post(&format!("{ORDERS}?wait=0"), &[JSON, ("authorization", &key)], "1").await;
    check(&mut answer, 504, "outcome_unknown");
}

#[tokio::test]
async fn without_a_broker_it_is_503_at_the_gate_and_nothing_is_charged_but_the_request() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "wait: 200ms,", "");
    gateway.ready().await;
    assert_eq!(left(&post(&gateway, "1").await), 999);
    drop(mock);
    let mut answer = soon("the gate knows", async || {
        let answer = post(&gateway, "1").await;
        (answer.status == 503 && answer.json()["errors"].is_null()).then_some(answer)
    })
    .await;
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=5).contains(&wait), "as long as the outage has lasted: {wait}");
    check(&mut answer, 503, "kafka_unavailable");
}

#[tokio::test]
async fn while_klamm_drains_new_requests_get_503_and_the_connection_closes() {
    let mock = Mock::start(&["orders"]);
    let mut gateway = one(&mock, "", "");
    gateway.ready().await;
    assert_eq!(post(&gateway, "1").await.status, 200);
    mock.delay(Duration::from_secs(2));
    let in_flight = tokio::spawn({
        let http = Client::new(gateway.ingest());
        async move { http.post(ORDERS, &[JSON, ("authorization", &bearer("shop"))], "1").await.status }
    });
    soon("the second event is received", async || {
        let received = gateway.metrics().await.sum("klamm_events_received_total", &[]);
        (received == 2.0).then_some(())
    })
    .await;
    gateway.signal(Signal::TERM);
    let mut answer = soon("it drains", async || {
        let path = format!("{ORDERS}?wait=0");
        let answer = Client::new(gateway.ingest()).post(&path, &[JSON, ("authorization", &bearer("shop"))], "{").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(answer.header("connection"), Some("close"));
    check(&mut answer, 503, "draining");
    assert_eq!(in_flight.await.expect("an answer"), 200);
    assert_eq!(gateway.exit_code(), 0, "{}", gateway.log());
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408_and_the_connection_closes() {
    let mock = Mock::start(&["orders"]);
    let gateway = one(&mock, "body_idle: 300ms, body_timeout: 1s,", "");
    gateway.ready().await;
    let head = format!(
        "POST {ORDERS} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n",
        bearer("shop")
    );
    let mut silent = Socket::connect(gateway.ingest());
    silent.send(head.as_bytes()).expect("the head is taken");
    let mut answer = silent.reply();
    assert_eq!(answer.header("connection"), Some("close"));
    check(&mut answer, 408, "body_timeout");
    assert_eq!(answer.json()["detail"], "no byte of the body came for 0.3 s");
    assert!(silent.closed_within(Duration::from_secs(10)));

    let mut slow = Socket::connect(gateway.ingest());
    slow.send(head.as_bytes()).expect("the head is taken");
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(100));
        if slow.send(b"1").is_err() {
            break;
        }
    }
    let mut answer = slow.reply();
    check(&mut answer, 408, "body_timeout");
    assert_eq!(answer.json()["detail"], "the body was not complete after 1 s");
    assert_eq!(mock.records("orders"), 0);
}
