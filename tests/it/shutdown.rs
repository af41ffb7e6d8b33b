//! SIGTERM to exit: nothing that was answered 200 is lost, and every phase says what it is.

use std::time::Duration;

use rustix::process::Signal;

use crate::outage::broker;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::load::{Load, Plan, check_answers, ids};
use crate::support::{keys, raw};

fn config(kafka: &Kafka, shutdown: &str) -> String {
    let (bootstrap, sha256) = (kafka.bootstrap(), keys::fixed("shop").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ {shutdown} }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: ["stop-*"] }} }}
topics: {{ "stop-*": {{}} }}
"#
    )
}

/// A request whose body has begun: the gateway waits for its last byte.
fn half_sent(gateway: &Gateway, topic: &str) -> raw::Socket {
    let mut socket = raw::Socket::connect(gateway.ingest());
    let (path, key) = (format!("/v1/topics/{topic}/events"), keys::fixed("shop").text);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{{\"id\""
    );
    socket.send(head.as_bytes()).expect("sent");
    socket
}

const REST: &[u8] = b":\"x\"";

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_three_times_loses_nothing_that_was_answered_200_and_exits_0() {
    let kafka = Kafka::shared();
    for (topic, hang_up) in [("stop-one", false), ("stop-two", false), ("stop-hang-up", true)] {
        kafka.create_topic(topic, 3, &[]);
        let mut gateway = Gateway::start(&config(kafka, "lame_duck: 500ms, flush: 10s"));
        gateway.ready().await;
        let one = Plan { client: "shop", topic, senders: 12, events: 1, hang_up };
        let load = Load::start(gateway.ingest(), &[one, Plan { senders: 4, events: 50, ..one }]);
        load.until(200, 200, Duration::from_secs(30)).await;

        let (code, gateway) = tokio::task::spawn_blocking(move || (gateway.terminate(), gateway)).await.expect("ended");
        let sent = load.stop().await;
        let log = gateway.log();
        assert_eq!(code, 0, "{log}");
        check_answers(&sent, &ids(&kafka.consume(topic)));
        let last = log.lines().last().expect("a last line");
        assert!(last.contains("klamm stopped") && last.contains("received") && last.contains("acked"), "{last}");
        assert!(!log.contains("without an outcome"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_serves_and_asks_to_close_then_drains_with_503_and_lets_what_began_finish() {
    let kafka = Kafka::shared();
    kafka.create_topic("stop-phases", 1, &[]);
    let gateway = Gateway::start(&config(kafka, "lame_duck: 2s, flush: 15s"));
    gateway.ready().await;
    let (client, admin) = (Client::new(gateway.ingest()), Client::new(gateway.admin()));
    let key = format!("Bearer {}", keys::fixed("shop").text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let path = "/v1/topics/stop-phases/events";
    let before = client.post(path, &headers, "1").await;
    assert_eq!((before.status, before.header("connection")), (200, None));
    let mut began = half_sent(&gateway, "stop-phases");

    gateway.signal(Signal::TERM);
    let ready = async {
        while admin.get("/readyz", &[]).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), ready).await.expect("not ready at once");
    let during = client.post(path, &headers, "2").await;
    assert_eq!((during.status, during.header("connection")), (200, Some("close")), "{}", during.json());
    assert_eq!(Client::h2c(gateway.ingest()).post(path, &headers, "3").await.status, 200, "a new connection too");

    let mut refused = client.post(path, &headers, "4").await;
    while refused.status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = client.post(path, &headers, "4").await;
    }
    let body = refused.json();
    assert_eq!(
        (refused.status, body["code"].as_str(), body["retryable"].as_bool()),
        (503, Some("draining"), Some(true))
    );
    assert_eq!((refused.header("connection"), refused.header("retry-after")), (Some("close"), Some("1")));
    assert_eq!(admin.get("/livez", &[]).await.status, 200, "alive to the end");

    let (answer, mut gateway) = tokio::task::spawn_blocking(move || {
        began.send(REST).expect("still open");
        began.send(b"}").expect("still open");
        (began.answer(), gateway)
    })
    .await
    .expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(gateway.ended_within(Duration::from_secs(5)), Some(0), "once nothing is in flight:\n{}", gateway.log());
    drop(gateway);
    assert!(kafka.consume("stop-phases").iter().any(|record| record.value.as_deref() == Some(b"{\"id\":\"x\"}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_hanging_what_is_left_is_counted_and_the_exit_code_is_1() {
    let kafka = broker().await;
    kafka.create_topic("stop-stuck", 1, &[]);
    let mut gateway = Gateway::start(&config(&kafka, "lame_duck: 0s, flush: 2s"));
    gateway.ready().await;
    let plan = Plan { client: "shop", topic: "stop-stuck", senders: 4, events: 5, hang_up: false };
    let load = Load::start(gateway.ingest(), &[plan]);
    load.until(200, 20, Duration::from_secs(20)).await;
    kafka.stop_broker(1);
    // Each sender has one request in flight by now, or soon.
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.signal(Signal::TERM);
    let (code, gateway) = tokio::task::spawn_blocking(move || (gateway.ended_within(Duration::from_secs(10)), gateway))
        .await
        .expect("waited");
    kafka.continue_broker(1);
    let sent = load.stop().await;
    let log = gateway.log();
    assert_eq!(code, Some(1), "{log}");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    let number = |name: &str| last[name].as_u64().unwrap_or_else(|| panic!("{name}: {last}"));
    assert_eq!((number("requests"), number("events")), (4, 20), "{last}");
    assert_eq!(
        number("received"),
        number("acked") + number("rejected") + number("failed") + number("unknown"),
        "{last}"
    );
    assert_eq!(number("failed") + number("unknown"), 20, "{last}");
    check_answers(&sent, &ids(&kafka.consume("stop-stuck")));
    let in_flight = sent.iter().filter(|sent| matches!(sent.status, 503 | 504)).count();
    assert!(in_flight >= 4, "who waits is answered before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_stops_like_sigterm_and_a_second_signal_stops_at_once() {
    let kafka = Kafka::shared();
    kafka.create_topic("stop-twice", 1, &[]);
    let mut gateway = Gateway::start(&config(kafka, "lame_duck: 0s, flush: 10s"));
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended_within(Duration::from_secs(5)), Some(0), "{}", gateway.log());

    let mut gateway = Gateway::start(&config(kafka, "lame_duck: 20s, flush: 10s"));
    gateway.ready().await;
    let _began = half_sent(&gateway, "stop-twice");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended_within(Duration::from_millis(300)), None, "a lame duck");
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended_within(Duration::from_secs(3)), Some(1), "{}", gateway.log());
    assert!(gateway.log().contains("stopped at once"), "{}", gateway.log());
}
