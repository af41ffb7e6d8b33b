//! Clients that do not wait for the answer: once its body is there, an event's fate does not depend on them.

use super::{JSON, Poster, config, soon};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::{keys, raw};

/// So long that a client is gone before anything is acknowledged.
const LINGER: &str = "linger: 2s";

fn request(client: &str, topic: &str, body: &str) -> Vec<u8> {
    let key = keys::fixed(client).text;
    let length = body.len();
    format!(
        "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: klamm\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Events received, events acked, requests closed.
async fn counts(gateway: &Gateway, client: &str) -> [f64; 3] {
    let metrics = gateway.metrics().await;
    let client = ("client", client);
    [
        metrics.sum("klamm_events_received_total", &[client]),
        metrics.sum("klamm_events_total", &[client, ("outcome", "acked")]),
        metrics.sum("klamm_requests_total", &[client]),
    ]
}

#[tokio::test]
async fn an_event_whose_client_hangs_up_right_after_its_body_arrives_and_is_acked() {
    const TOPIC: &str = "hasty-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let mut gateway = Gateway::start(&config(&["hasty"], &["hasty-topic: {}"], LINGER));
    gateway.ready().await;
    for n in 0..20 {
        let mut socket = raw::Socket::connect(gateway.ingest());
        socket.send(&request("hasty", TOPIC, &n.to_string())).unwrap();
        drop(socket);
    }
    soon("all are acked and every request is closed", async || {
        (counts(&gateway, "hasty").await == [20.0, 20.0, 20.0]).then_some(())
    })
    .await;
    let mut values: Vec<u32> = Kafka::shared()
        .consume(TOPIC)
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, (0..20).collect::<Vec<_>>());
    assert_eq!(gateway.metrics().await.sum("klamm_admission_bytes", &[("scope", "used")]), 0.0);
    assert_eq!(gateway.terminate(), 0, "{}", gateway.log());
}

#[tokio::test]
async fn a_handler_dropped_while_it_waits_takes_nothing_with_it() {
    const TOPIC: &str = "dropped-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = Gateway::start(&config(&["dropped"], &["dropped-topic: {}"], LINGER));
    gateway.ready().await;
    let received = async |count: f64| {
        soon("the events are received", async || (counts(&gateway, "dropped").await[0] == count).then_some(())).await;
    };
    // HTTP/2: the stream is reset. HTTP/1.1: the connection closes.
    for (round, client) in [Client::h2c(gateway.ingest()), Client::new(gateway.ingest())].into_iter().enumerate() {
        let poster = Poster::over(client, "dropped");
        let waiting = tokio::spawn(async move { poster.post(TOPIC, JSON, &[], "[1,2,3]").await });
        received(if round == 0 { 3.0 } else { 6.0 }).await;
        assert!(!waiting.is_finished(), "the linger is longer than this takes");
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    soon("all are acked and both requests are closed", async || {
        (counts(&gateway, "dropped").await == [6.0, 6.0, 2.0]).then_some(())
    })
    .await;
    assert_eq!(Kafka::shared().consume(TOPIC).len(), 6);
}

#[tokio::test]
async fn half_a_body_is_nothing() {
    const TOPIC: &str = "halved-topic";
    Kafka::shared().create_topic(TOPIC, 1, &[]);
    let gateway = Gateway::start(&config(&["halved"], &["halved-topic: {}"], "linger: 5ms"));
    gateway.ready().await;
    let whole = request("halved", TOPIC, "[1,2,3]");
    let mut socket = raw::Socket::connect(gateway.ingest());
    socket.send(&whole[..whole.len() - 1]).unwrap();
    drop(socket);
    soon("the request is closed", async || (counts(&gateway, "halved").await == [0.0, 0.0, 1.0]).then_some(())).await;
    assert_eq!(Kafka::shared().consume(TOPIC), []);
    assert_eq!(gateway.metrics().await.sum("klamm_admission_bytes", &[("scope", "used")]), 0.0);
}
