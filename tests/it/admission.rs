//! The byte budget end to end: a small one, and a broker that takes its time.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::refusals::Expected;
use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::metrics::Metrics;
use crate::support::mock::{Mock, bearer, client};
use crate::support::raw::Socket;
use crate::support::soon;

/// The bytes of each event.
const SIZE: usize = 15 << 10;

/// 512 KiB in all; 384 KiB for a client alone; 256 KiB for a topic, and of those 192 KiB for a client alone.
fn serve(mock: &Mock) -> Gateway {
    let off = "{ requests: off, events: off, bytes: off }";
    let mut rest = String::from("budget: { total: 512KiB }\ncaps: { body: 64KiB, inflated: 128KiB }\n");
    rest += "topics: { \"*\": { formats: [binary, json], max_event: 32KiB } }\nclients:\n";
    for name in ["flood", "calm"] {
        rest += &client(name, "[\"*\"]", off);
    }
    mock.serve("", "linger: 0ms,", &rest)
}

async fn post(address: String, name: &str, topic: &str) -> Answer {
    let headers = [("content-type", "application/octet-stream"), ("authorization", &bearer(name))];
    Client::new(&address).post(&format!("/v1/topics/{topic}/events"), &headers, vec![b'x'; SIZE]).await
}

/// Posts `count` events at the same time.
fn flood(gateway: &Gateway, name: &'static str, topic: &'static str, count: usize) -> Vec<JoinHandle<Answer>> {
    (0..count).map(|_| tokio::spawn(post(gateway.ingest().to_owned(), name, topic))).collect()
}

async fn answers(posts: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for post in posts {
        answers.push(post.await.expect("an answer"));
    }
    answers
}

fn used(metrics: &Metrics) -> f64 {
    metrics.sum("klamm_admission_bytes", &[("scope", "used")])
}

/// Waits until that many requests have been refused.
async fn refused(gateway: &Gateway, count: f64) {
    soon("that many are refused", async || {
        (gateway.metrics().await.sum("klamm_refusals_total", &[]) >= count).then_some(())
    })
    .await;
}

async fn slow(gateway: &Gateway, mock: &Mock, topics: &[&str]) {
    gateway.ready().await;
    for topic in topics {
        assert_eq!(post(gateway.ingest().to_owned(), "calm", topic).await.status, 200, "{topic}");
    }
    mock.delay(Duration::from_millis(1500));
}

#[tokio::test]
async fn a_flood_is_refused_at_its_share_and_another_client_gets_through() {
    let mock = Mock::start(&["a", "b", "c"]);
    let gateway = serve(&mock);
    slow(&gateway, &mock, &["a", "b", "c"]).await;
    let flooding = [flood(&gateway, "flood", "a", 30), flood(&gateway, "flood", "b", 30)];
    refused(&gateway, 60.0 - 25.0).await;
    let held = used(&gateway.metrics().await);
    assert!(held > (256 << 10) as f64 && held <= (384 << 10) as f64, "{held}");
    for calm in answers(flood(&gateway, "calm", "c", 4)).await {
        assert_eq!(calm.status, 200, "{calm:?}");
    }
    let (mut written, mut over) = (0, 0);
    for answer in answers(flooding.into_iter().flatten().collect()).await {
        match answer.status {
            200 => written += 1,
            _ => {
                Expected { known: false, ..Expected::new(429, "share_exhausted") }.check("the flood", &answer);
                assert_eq!(answer.header("retry-after"), Some("1"));
                over += 1;
            }
        }
    }
    assert!(written >= 16 && over >= 35, "{written} written, {over} refused");
    mock.delay(Duration::ZERO);
    assert_eq!(mock.records("a") + mock.records("b"), written + 2);
    assert_eq!(used(&gateway.metrics().await), 0.0, "all is given back");
}

#[tokio::test]
async fn a_topic_that_is_full_is_503_overloaded_and_the_other_topics_are_not() {
    let mock = Mock::start(&["stuck", "well"]);
    let gateway = serve(&mock);
    slow(&gateway, &mock, &["stuck", "well"]).await;
    let flooding = flood(&gateway, "flood", "stuck", 30);
    refused(&gateway, 30.0 - 12.0).await;
    let same_topic = flood(&gateway, "calm", "stuck", 12);
    let other_topic = flood(&gateway, "calm", "well", 2);
    let full: Vec<Answer> = answers(same_topic).await.into_iter().filter(|answer| answer.status != 200).collect();
    assert!(!full.is_empty() && full.len() < 12, "{} of 12", full.len());
    let overloaded = full.iter().filter(|answer| answer.status == 503);
    for answer in overloaded.clone() {
        Expected { known: false, ..Expected::new(503, "overloaded") }.check("a full topic", answer);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert!(overloaded.count() > 0, "{full:?}");
    for answer in answers(other_topic).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    answers(flooding).await;
    assert_eq!(used(&gateway.metrics().await), 0.0, "all is given back");
}

#[tokio::test]
async fn the_largest_request_passes_a_budget_that_just_fits_it() {
    let mock = Mock::start(&["a"]);
    // The least that `check` lets through: caps.body + 2 x caps.inflated, all of it for one client and one topic.
    let mut rest = String::from("budget: { total: 192KiB, client: 100% }\ncaps: { body: 64KiB, inflated: 64KiB }\n");
    rest += "topics: { a: { formats: [binary], max_event: 64KiB } }\nclients:\n";
    rest += &client("shop", "[a]", "{}");
    let gateway = mock.serve("", "", &rest);
    gateway.ready().await;
    let headers = [("content-type", "application/octet-stream"), ("authorization", &*bearer("shop"))];
    let answer = Client::new(gateway.ingest()).post("/v1/topics/a/events", &headers, vec![b'x'; 64 << 10]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_body_that_is_still_coming_holds_its_bytes_and_a_caller_who_leaves_gives_them_back() {
    let mock = Mock::start(&["a"]);
    let gateway = serve(&mock);
    gateway.ready().await;
    let mut socket = Socket::connect(gateway.ingest());
    let head = format!(
        "POST /v1/topics/a/events HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 20000\r\n\r\nxxx",
        bearer("calm")
    );
    socket.send(head.as_bytes()).expect("the head is taken");
    let holds = async |bytes: f64| {
        soon("the bytes are held", async || (used(&gateway.metrics().await) == bytes).then_some(())).await;
    };
    holds(20_000.0).await;
    drop(socket);
    holds(0.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("klamm_requests_total", &[("client", "calm"), ("result", "refused")]), 1.0);
    assert_eq!(metrics.sum("klamm_events_received_total", &[]), 0.0);
}
