//! The admin listener: who may ask, and what it knows of clients.

use std::io::Read as _;
use std::sync::Once;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::metrics::Metrics;
use crate::support::{keys, raw, soon};

fn config(listen: &str, admin_keys: &str) -> String {
    let (bootstrap, sha256) = (Kafka::shared().bootstrap(), keys::fixed("shop").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "{listen}:0", keys: [{admin_keys}], hosts: [ops.example] }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
clients:
  shop:
    keys: [{{ label: till, sha256: "{sha256}", expires: "2999-01-01T00:00:00Z" }}]
    topics: [admin-a]
    limits: {{ requests: 100/s, events: off }}
  idle: {{ keys: [{{ label: x, sha256: "{other}" }}] }}
topics: {{ admin-a: {{ max_event: 1KiB }} }}
"#,
        other = keys::fixed("idle").sha256
    )
}

/// Makes the topic of the config.
fn topic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| Kafka::shared().create_topic("admin-a", 1, &[]));
}

/// The address of a listener on all interfaces, by loopback.
fn by_loopback(address: &str) -> String {
    address.replace("0.0.0.0", "127.0.0.1")
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_without_keys_admin_pages_are_403_and_health_and_metrics_are_open() {
    let gateway = Gateway::start(&config("0.0.0.0", ""));
    let admin = Client::new(&by_loopback(gateway.admin()));
    for page in ["/admin/config", "/admin/clients"] {
        assert_eq!(admin.get(page, &[]).await.status, 403, "{page}");
        assert_eq!(admin.get(page, &[("authorization", "Bearer guess")]).await.status, 403, "{page}");
    }
    assert_eq!(admin.post("/admin/reload", &[], "").await.status, 403);
    for page in ["/livez", "/startupz", "/metrics"] {
        assert_eq!(admin.get(page, &[]).await.status, 200, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_admin_keys_admin_pages_want_one_and_no_client_s_key_will_do() {
    let (key, shop) = (keys::fixed("ops"), keys::fixed("shop"));
    let gateway = Gateway::start(&config("0.0.0.0", &format!("{{ label: ops, sha256: \"{}\" }}", key.sha256)));
    let admin = Client::new(&by_loopback(gateway.admin()));
    let bearer = |text: &str| format!("Bearer {text}");
    for page in ["/admin/config", "/admin/clients"] {
        let without = admin.get(page, &[]).await;
        assert_eq!((without.status, without.header("www-authenticate").is_some()), (401, true), "{page}");
        assert_eq!(admin.get(page, &[("authorization", &bearer(&shop.text))]).await.status, 401, "{page}");
        assert_eq!(admin.get(page, &[("authorization", &bearer(&key.text))]).await.status, 200, "{page}");
    }
    assert_eq!(admin.post("/admin/reload", &[], "").await.status, 401);
    assert_eq!(admin.post("/admin/reload", &[("authorization", &bearer(&key.text))], "").await.status, 200);
    assert_eq!(
        Client::new(gateway.ingest())
            .post("/v1/topics/admin-a/events", &[("authorization", &bearer(&key.text))], "{}")
            .await
            .status,
        401,
        "an admin's key sends no events"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_without_keys_a_foreign_host_gets_421_on_every_page() {
    let gateway = Gateway::start(&config("127.0.0.1", ""));
    let admin = gateway.admin().to_owned();
    let statuses = tokio::task::spawn_blocking(move || {
        let ask = |path: &str, host: &str| {
            let mut socket = raw::Socket::connect(&admin);
            let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            socket.send(head.as_bytes()).expect("sent");
            socket.answer().split(' ').nth(1).expect("a status").to_owned()
        };
        let rows = [
            ("evil.example", "421"),
            ("evil.example:8081", "421"),
            ("ops.example", "200"),
            ("localhost:1", "200"),
            (admin.as_str(), "200"),
        ];
        for (host, status) in rows {
            for path in ["/admin/config", "/metrics", "/livez"] {
                assert_eq!(ask(path, host), status, "{path} of {host}");
            }
        }
    });
    statuses.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_clients_tells_each_client_s_counts_quotas_keys_and_when_it_was_seen() {
    topic();
    let gateway = Gateway::start(&config("127.0.0.1", ""));
    gateway.ready().await;
    let (client, key) = (Client::new(gateway.ingest()), format!("Bearer {}", keys::fixed("shop").text));
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let path = "/v1/topics/admin-a/events";
    let large = format!("[5, \"{}\"]", "x".repeat(2000));
    for (body, status) in [("[1,22,333]", 200), ("[4]", 200), (large.as_str(), 422), ("nonsense", 400)] {
        let answer = client.post(path, &headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{}", answer.json());
    }
    assert_eq!(client.post("/v1/topics/other/events", &headers, "1").await.status, 403);

    let page = Client::new(gateway.admin()).get("/admin/clients", &[]).await.json();
    let of = |name: &str| -> &Value {
        let rows = page["clients"].as_array().expect("clients");
        rows.iter().find(|row| row["client"] == name).unwrap_or_else(|| panic!("no {name}: {page:#}"))
    };
    let shop = of("shop");
    let key = &shop["keys"][0];
    assert_eq!((&key["label"], &key["expires"]), (&"till".into(), &"2999-01-01T00:00:00Z".into()), "{key:#}");
    assert!(key["last_used"].as_u64().is_some_and(|seconds| seconds > 1_700_000_000), "{key:#}");
    assert!(shop["last_seen"].as_u64().is_some_and(|seconds| seconds > 1_700_000_000), "{shop:#}");
    assert!(shop["quotas"]["events"].is_null() && shop["quotas"]["bytes"]["limit"].as_u64().is_some(), "{shop:#}");
    assert_eq!(shop["quotas"]["requests"]["limit"], 200, "{shop:#}");
    let topics = shop["topics"].as_array().expect("topics");
    let row = topics.iter().find(|row| row["topic"] == "admin-a").expect("the topic's row");
    assert_eq!(
        (&row["received"], &row["outcomes"]["acked"], &row["outcomes"]["rejected"]),
        (&6.into(), &4.into(), &2.into()),
        "{row:#}"
    );
    assert_eq!((&row["requests"]["ok"], &row["requests"]["refused"]), (&2.into(), &2.into()), "{row:#}");
    assert_eq!(row["refusals"], serde_json::json!({ "invalid_events": 1, "malformed_body": 1 }), "{row:#}");
    assert!(topics.iter().any(|row| row["topic"] == "_unknown" && row["refusals"]["forbidden_topic"] == 1), "{shop:#}");
    let idle = of("idle");
    assert!(idle["last_seen"].is_null() && idle["topics"] == serde_json::json!([]), "{idle:#}");
    let text = page.to_string();
    assert!(!text.contains(&keys::fixed("shop").sha256) && !text.contains(&keys::fixed("shop").text), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_compressed_where_that_is_accepted_and_tell_of_batches_and_brokers() {
    topic();
    let gateway = Gateway::start(&config("127.0.0.1", ""));
    gateway.ready().await;
    let key = format!("Bearer {}", keys::fixed("shop").text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let answer = Client::new(gateway.ingest()).post("/v1/topics/admin-a/events", &headers, "[1,2,3]").await;
    assert_eq!(answer.status, 200, "{}", answer.json());

    let admin = Client::new(gateway.admin());
    let plain = admin.get("/metrics", &[]).await;
    let zipped = admin.get("/metrics", &[("accept-encoding", "deflate, gzip;q=0.5")]).await;
    for answer in [&plain, &zipped] {
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
    }
    assert_eq!((plain.header("content-encoding"), zipped.header("content-encoding")), (None, Some("gzip")));
    assert!(zipped.body.len() * 3 < plain.body.len(), "{} of {}", zipped.body.len(), plain.body.len());
    let mut text = String::new();
    GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).expect("gzip");
    assert!(Metrics::parse(&text).sum("klamm_events_received_total", &[("client", "shop")]) == 3.0, "{text}");

    let metrics = soon("librdkafka tells of the batch", async || {
        let metrics = gateway.metrics().await;
        (metrics.sum("klamm_topic_batch_records_total", &[("topic", "admin-a")]) == 3.0).then_some(metrics)
    })
    .await;
    let batches = metrics.sum("klamm_topic_batches_total", &[("topic", "admin-a")]);
    assert!((1.0..=3.0).contains(&batches), "{batches}");
    assert!(metrics.sum("klamm_topic_batch_bytes_total", &[("topic", "admin-a")]) > 60.0, "with the head of a batch");
    let text = metrics.text();
    for name in ["request_timeouts_total", "disconnects_total", "tx_retries_total", "rtt_seconds", "send_seconds"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("klamm_broker_{name}{{"))), "{name}");
    }
}
