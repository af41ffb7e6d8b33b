//! Quotas of clients under concurrency, through the real binary on a mock cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::refusals::Expected;
use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};

const ORDERS: &str = "/v1/topics/orders/events";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway whose clients, by name and limits, may write to `orders`.
fn serve(mock: &Mock, ingest: &str, clients: &[(&str, &str)]) -> Gateway {
    let mut rest = String::from("topics: { orders: {} }\nclients:\n");
    for (name, limits) in clients {
        rest += &client(name, "[orders]", limits);
    }
    mock.serve(ingest, "", &rest)
}

async fn post(http: &Client, name: &str, body: &'static str) -> Answer {
    http.post(ORDERS, &[JSON, ("authorization", &bearer(name))], body).await
}

/// The seconds of `Retry-After`.
fn retry_after(answer: &Answer) -> Duration {
    let wait = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After in seconds");
    Duration::from_secs(wait)
}

const BATCH: &str = "[1,2,3,4,5]";
const RATE: f64 = 100.0;
const BURST: f64 = 50.0;

#[tokio::test]
async fn eight_connections_together_get_no_more_than_rate_times_time_plus_burst() {
    let mock = Mock::start(&["orders"]);
    let tight = "{ requests: off, events: 100/s, bytes: off, burst: 500ms }";
    let gateway = serve(&mock, "", &[("tight", tight), ("free", "{}")]);
    gateway.ready().await;
    let free = Client::new(gateway.ingest());
    // The first request waits until klamm has met the topic.
    assert_eq!(post(&free, "free", "1").await.status, 200);
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            // A client each: connections are not shared.
            let (http, over) = (Client::new(gateway.ingest()), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut accepted, mut refused) = (0.0, 0);
                while !over.load(Ordering::Relaxed) {
                    let answer = post(&http, "tight", BATCH).await;
                    match answer.status {
                        200 => accepted += 5.0,
                        429 => refused += 1,
                        other => panic!("{other}: {answer:?}"),
                    }
                }
                (accepted, refused)
            })
        })
        .collect();
    let mut others = 1.0;
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(post(&free, "free", "1").await.status, 200, "another client's flood is not its own");
        others += 1.0;
    }
    over.store(true, Ordering::Relaxed);
    let (mut accepted, mut refused) = (0.0, 0);
    for sender in senders {
        let (more, fewer) = sender.await.expect("a sender");
        accepted += more;
        refused += fewer;
    }
    let most = RATE * start.elapsed().as_secs_f64() + BURST;
    assert!(accepted <= most, "{accepted} of at most {most}");
    assert!(accepted > BURST && refused > 0, "{accepted} accepted, {refused} refused: the quota was met");
    assert_eq!(mock.records("orders") as f64, accepted + others);
    let metrics = gateway.metrics().await;
    let of = |outcome| metrics.sum("klamm_events_total", &[("client", "tight"), ("outcome", outcome)]);
    assert_eq!((of("acked"), of("rejected")), (accepted, 5.0 * f64::from(refused)));
}

#[tokio::test]
async fn a_429_names_what_is_spent_and_waiting_that_long_is_enough() {
    let mock = Mock::start(&["orders"]);
    let limits = [
        ("requests", "{ requests: 2/s, events: off, bytes: off, burst: 1s }"),
        ("events", "{ requests: off, events: 10/s, bytes: off, burst: 1s }"),
        ("bytes", "{ requests: off, events: off, bytes: 8/s, burst: 1s }"),
    ];
    let gateway = serve(&mock, "", &limits);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    for (name, _) in limits {
        // 5 events, 5 bytes: two of them are more than each quota's burst, but for the requests'.
        let answer = loop {
            let answer = post(&http, name, BATCH).await;
            if answer.status != 200 {
                break answer;
            }
        };
        let problem = answer.json();
        assert_eq!((answer.status, &problem["violated-policies"]), (429, &json!([name])), "{problem}");
        let field = answer.header("ratelimit").expect("RateLimit");
        assert!(field.starts_with(&format!("\"{name}\";r=")), "{field}");
        let wait = retry_after(&answer);
        assert!((1..=2).contains(&wait.as_secs()), "{name}: {wait:?}");
        tokio::time::sleep(wait).await;
        assert_eq!(post(&http, name, BATCH).await.status, 200, "{name}: after {wait:?}");
    }
}

#[tokio::test]
async fn several_spent_quotas_are_all_named() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", &[("both", "{ requests: off, events: 5/h, bytes: 5/h, burst: 1h }")]);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    assert_eq!(post(&http, "both", BATCH).await.status, 200);
    let answer = post(&http, "both", "1").await;
    assert_eq!(answer.json()["violated-policies"], json!(["events", "bytes"]));
    Expected { known: false, ..Expected::new(429, "rate_limited") }.check("both", &without_quotas(answer));
}

fn without_quotas(mut answer: Answer) -> Answer {
    for name in ["ratelimit", "ratelimit-policy"] {
        assert!(answer.headers.remove(name).is_some(), "{name}");
    }
    answer
}

#[tokio::test]
async fn a_batch_that_is_refused_for_one_quota_costs_nothing_of_the_other() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", &[("shop", "{ requests: off, events: 10/h, bytes: 6/h, burst: 1h }")]);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let left = |answer: &Answer| answer.header("ratelimit").expect("RateLimit").split(';').nth(1).map(str::to_owned);
    assert_eq!(left(&post(&http, "shop", "1").await).as_deref(), Some("r=9"));
    for body in ["\"1234\"", "\"1234567890\""] {
        let answer = post(&http, "shop", body).await;
        assert!(answer.status == 429 || answer.status == 413, "{answer:?}");
        assert_eq!(left(&answer).as_deref(), Some("r=9"), "{body}");
    }
}

#[tokio::test]
async fn a_request_is_charged_at_the_gate_whatever_the_answer() {
    let mock = Mock::start(&["orders"]);
    let limits = "{ requests: 7/h, events: off, bytes: off, burst: 1h }";
    let gateway = serve(&mock, "", &[("shop", limits)]);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    type Wrong = (&'static str, &'static [(&'static str, &'static str)], &'static str, u16);
    let wrong: [Wrong; 6] = [
        ("/v1/topics/foreign/events", &[JSON], "1", 403),
        (ORDERS, &[], "1", 415),
        (ORDERS, &[JSON], "{", 400),
        ("/v1/topics/orders/events?x", &[JSON], "1", 400),
        (ORDERS, &[JSON, ("kafka-partition", "0")], "1", 422),
        (ORDERS, &[JSON, ("content-encoding", "compress")], "1", 415),
    ];
    for (path, headers, body, status) in wrong {
        let headers = [headers, &[("authorization", key.as_str())]].concat();
        assert_eq!(http.post(path, &headers, body).await.status, status, "{path} {headers:?}");
    }
    assert_eq!(post(&http, "shop", "1").await.status, 200);
    let answer = post(&http, "shop", "1").await;
    assert_eq!((answer.status, &answer.json()["violated-policies"]), (429, &json!(["requests"])));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"requests\";q=7;w=3600"));
    assert_eq!(
        http.get("/v1/topics", &[("authorization", &key)]).await.status,
        429,
        "a look at the policies costs one"
    );
}

#[tokio::test]
async fn without_quotas_there_are_no_quota_fields_and_no_end() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", &[("shop", "{ requests: off, events: off, bytes: off }")]);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    for _ in 0..50 {
        let answer = post(&http, "shop", "1").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}

#[tokio::test]
async fn the_guard_per_peer_stands_before_authentication() {
    let mock = Mock::start(&["orders"]);
    let ingest = "peer_rate: 3/h, trusted_proxies: [127.0.0.1],";
    let gateway = serve(&mock, ingest, &[("shop", "{}")]);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let from =
        async |address: &str| http.call(Method::POST, ORDERS, &[JSON, ("x-forwarded-for", address)], "1".into()).await;
    for _ in 0..3 {
        assert_eq!(from("192.0.2.1").await.status, 401);
    }
    let answer = from("192.0.2.1").await;
    Expected { known: false, ..Expected::new(429, "rate_limited") }.check("the guard", &answer);
    assert!(answer.json()["violated-policies"].is_null());
    assert!((1100..=1201).contains(&retry_after(&answer).as_secs()), "{:?}", retry_after(&answer));
    assert_eq!(from("192.0.2.2").await.status, 401, "another peer has its own");
}
