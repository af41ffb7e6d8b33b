//! A new config while requests pass: what changed holds, what did not goes on, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::load::{counts, settled};
use crate::support::{keys, raw};

/// What the tests change.
struct Config<'a> {
    clients: &'a [(&'a str, &'a str)],
    topics: &'a [&'a str],
    rest: &'a str,
}

impl Config<'_> {
    /// Each client has the key of its name and may write to `topics` named `reload-*`; the text after it is more YAML.
    fn yaml(&self) -> String {
        let mut text = format!(
            "ingest: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\nshutdown: {{ lame_duck: 0s }}\n\
             kafka: {{ default: {{ bootstrap: [\"{}\"] }} }}\n{}\nclients:\n",
            Kafka::shared().bootstrap(),
            self.rest
        );
        for (client, more) in self.clients {
            let sha256 = keys::fixed(client).sha256;
            text += &format!(
                "  {client}: {{ keys: [{{ label: test, sha256: \"{sha256}\" }}], topics: [\"reload-*\"]{more} }}\n"
            );
        }
        text += "topics:\n";
        for topic in self.topics {
            text += &format!("  {topic}: {{}}\n");
        }
        text
    }
}

async fn post(gateway: &Gateway, key_of: &str, topic: &str) -> Answer {
    let key = format!("Bearer {}", keys::fixed(key_of).text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    Client::new(gateway.ingest()).post(&format!("/v1/topics/{topic}/events"), &headers, "1").await
}

async fn reload(gateway: &Gateway) -> Answer {
    Client::new(gateway.admin()).post("/admin/reload", &[], "").await
}

async fn until(gateway: &Gateway, what: &str, found: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !found().await {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: not within 10 s\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn succeeded(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("klamm_config_last_reload_successful", &[])
}

/// Posts over one connection until told; how many. Panics at any answer but 200, or if the connection ends.
fn steady(address: String, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    tokio::task::spawn_blocking(move || {
        let key = keys::fixed("steady").text;
        let request = format!(
            "POST /v1/topics/reload-load/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: 3\r\n\r\n[1]"
        );
        let (mut socket, mut count) = (raw::Socket::connect(&address), 0);
        while !stop.load(Ordering::Relaxed) {
            socket.send(request.as_bytes()).expect("the connection is open");
            let answer = socket.answer();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            count += 1;
        }
        count
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_reloads_fail_no_request_drop_no_connection_and_reset_no_counter() {
    let kafka = Kafka::shared();
    for topic in ["reload-load", "reload-added"] {
        kafka.create_topic(topic, 1, &[]);
    }
    let base = Config { clients: &[("steady", ""), ("leaving", "")], topics: &["reload-load"], rest: "" };
    let mut gateway = Gateway::start(&base.yaml());
    gateway.ready().await;
    assert_eq!(post(&gateway, "leaving", "reload-load").await.status, 200);
    assert_eq!(post(&gateway, "coming", "reload-load").await.status, 401);
    assert_eq!(post(&gateway, "steady", "reload-added").await.status, 404);

    let stop = Arc::<AtomicBool>::default();
    let senders: Vec<_> = (0..4).map(|_| steady(gateway.ingest().to_owned(), Arc::clone(&stop))).collect();
    let (mut received, mut turns) = (0.0, 0);
    for turn in 0..8 {
        let quota = format!(", limits: {{ events: {}/s }}", 1000 + turn);
        let changed = Config {
            clients: &[("steady", ""), ("coming", &quota)],
            topics: &["reload-load", "reload-added"],
            rest: if turn % 2 == 0 { "log: { level: debug }" } else { "log: { level: warn }" },
        };
        for config in [&changed, &base] {
            gateway.rewrite(&config.yaml());
            // The watch may have been quicker: then there is nothing left to change.
            let answer = reload(&gateway).await;
            assert_eq!(answer.status, 200, "{}", answer.json());
            let added = config.topics.len() == 2;
            // What was answered to be in force is.
            let statuses = [
                post(&gateway, "coming", "reload-load").await.status,
                post(&gateway, "leaving", "reload-load").await.status,
                post(&gateway, "steady", "reload-added").await.status,
            ];
            assert_eq!(statuses, if added { [200, 401, 200] } else { [401, 200, 404] }, "turn {turn}");
            let now = counts(&gateway, "steady", "reload-load").await.received;
            assert!(now >= received && now > 0.0, "the counter of who stays goes on: {received} then {now}");
            received = now;
            turns += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.expect("no request failed and no connection was dropped");
    }
    assert!(sent > turns, "load all the while");
    let counts = settled(&gateway, "steady", "reload-load").await;
    assert_eq!((counts.received, counts.acked), (f64::from(sent), f64::from(sent)), "every event of all reloads");
    assert_eq!(gateway.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_client_s_rows_leave_and_those_of_others_stay() {
    Kafka::shared().create_topic("reload-rows", 1, &[]);
    let config = |clients| Config { clients, topics: &["reload-rows"], rest: "" }.yaml();
    let gateway = Gateway::start(&config(&[("stays", ""), ("gone", "")]));
    gateway.ready().await;
    for client in ["stays", "gone"] {
        assert_eq!(post(&gateway, client, "reload-rows").await.status, 200);
    }
    gateway.rewrite(&config(&[("stays", "")]));
    assert_eq!(reload(&gateway).await.status, 200);
    let left = async || gateway.metrics().await.sum("klamm_events_received_total", &[("client", "gone")]) == 0.0;
    until(&gateway, "the rows leave", left).await;
    let metrics = gateway.metrics().await;
    let names = ["klamm_requests_total", "klamm_client_last_seen_timestamp_seconds", "klamm_limit_remaining_ratio"];
    for name in names {
        assert_eq!(metrics.sum(name, &[("client", "gone")]), 0.0, "{name} of a client that is gone");
        assert!(metrics.sum(name, &[("client", "stays")]) > 0.0, "{name} of one that stays");
    }
    let clients = Client::new(gateway.admin()).get("/admin/clients", &[]).await.json();
    assert!(clients["clients"].as_array().expect("clients").iter().all(|row| row["client"] != "gone"), "{clients:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limiter_of_a_client_whose_limits_did_not_change_keeps_its_state() {
    Kafka::shared().create_topic("reload-spent", 1, &[]);
    let poor = ", limits: { requests: 2/h, burst: 1h }";
    let config = |poor: &str, rest| {
        Config { clients: &[("spent", poor), ("beside", "")], topics: &["reload-spent", "reload-more"], rest }.yaml()
    };
    let gateway = Gateway::start(&config(poor, ""));
    gateway.ready().await;
    for status in [200, 200, 429] {
        assert_eq!(post(&gateway, "spent", "reload-spent").await.status, status);
    }
    for (rest, share) in [("caps: { events: 9 }", ""), ("log: { level: debug }", ", share: 3"), ("", "")] {
        gateway.rewrite(&config(&format!("{poor}{share}"), rest));
        assert_eq!(reload(&gateway).await.status, 200);
        assert_eq!(post(&gateway, "spent", "reload-spent").await.status, 429, "after {rest}{share}");
    }
    gateway.rewrite(&config(", limits: { requests: 3/h, burst: 1h }", ""));
    assert_eq!(reload(&gateway).await.status, 200);
    assert_eq!(post(&gateway, "spent", "reload-spent").await.status, 200, "its own limit changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_the_old_config_and_shows_whoever_asked_for_the_reload() {
    Kafka::shared().create_topic("reload-broken", 1, &[]);
    let good = Config { clients: &[("shop", "")], topics: &["reload-broken"], rest: "" }.yaml();
    let gateway = Gateway::start(&good);
    gateway.ready().await;
    let admin = Client::new(gateway.admin());
    let reloads = async || admin.get("/admin/config", &[]).await.json()["reload"].clone();
    assert_eq!(succeeded(&gateway).await, 1.0);

    // By the watch.
    gateway.rewrite(&good.replace("lame_duck: 0s", "lame_duck: soon"));
    until(&gateway, "the metric falls", async || succeeded(&gateway).await == 0.0).await;
    let status = reloads().await;
    assert_eq!(
        (&status["last_reload_ok"], &status["faults"][0]["path"]),
        (&json!(false), &json!("shutdown.lame_duck"))
    );
    assert!(gateway.log().contains("config not reloaded") && gateway.log().contains("shutdown.lame_duck"));
    let ready = admin.get("/readyz?verbose", &[]).await;
    assert!(ready.status == 200 && String::from_utf8_lossy(&ready.body).contains("last reload failed"));
    assert_eq!(post(&gateway, "shop", "reload-broken").await.status, 200, "the old config serves");

    // Repaired, by SIGHUP (or the watch: whoever is first).
    gateway.rewrite(&good);
    gateway.signal(Signal::HUP);
    until(&gateway, "the metric rises", async || succeeded(&gateway).await == 1.0).await;
    assert_eq!(reloads().await["last_reload_ok"], json!(true));

    // By the admin call.
    gateway.rewrite(&format!("{good}nonsense: 1\n"));
    let answer = reload(&gateway).await;
    assert_eq!((answer.status, answer.json()["ok"].as_bool()), (422, Some(false)), "{}", answer.json());
    assert!(answer.json()["faults"][0].as_str().is_some_and(|fault| fault.contains("nonsense")), "{}", answer.json());
    assert_eq!(succeeded(&gateway).await, 0.0, "the metric falls by the admin call too");
    let log = gateway.log();
    assert!(log.lines().any(|line| line.contains("config not reloaded") && line.contains("nonsense")), "{log}");
    gateway.rewrite(&good);
    assert_eq!(reload(&gateway).await.status, 200);
    assert_eq!(succeeded(&gateway).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_live_are_named_and_keep_their_values_and_a_level_that_is_changes() {
    let base = Config { clients: &[("shop", "")], topics: &["reload-level"], rest: "log: { level: warn }" };
    let gateway = Gateway::start(&base.yaml());
    assert_eq!(post(&gateway, "nobody", "reload-level").await.status, 401);
    let changed = Config { rest: "log: { level: info }\nbudget: { total: 512MiB }", ..base };
    gateway.rewrite(&changed.yaml().replace("bootstrap: [", "linger: 9ms, bootstrap: ["));
    let named = |answer: &Value| (answer["change"]["changed"].clone(), answer["change"]["needs_restart"].clone());
    let waiting = json!(["budget.total", "kafka.default.linger"]);
    let (changed, needs_restart) = named(&reload(&gateway).await.json());
    assert_eq!(needs_restart, waiting);
    assert!(changed == json!(["log.level"]) || changed == json!([]), "the watch may have been quicker: {changed}");
    let page = Client::new(gateway.admin()).get("/admin/config", &[]).await.json();
    assert_eq!(
        (&page["config"]["log"]["level"], &page["config"]["budget"]["total"]),
        (&json!("info"), &json!("256MiB"))
    );
    assert_eq!(page["reload"]["needs_restart"], waiting);
    assert_eq!(succeeded(&gateway).await, 1.0);
    let logged =
        async || gateway.log().lines().any(|line| line.contains("only with a restart") && line.contains("linger"));
    until(&gateway, "the log names them", logged).await;
    let refusals = async || gateway.log().lines().filter(|line| line.contains("unauthenticated")).count();
    assert_eq!(refusals().await, 0, "at warn a refusal gets no line");
    assert_eq!(post(&gateway, "nobody", "reload-level").await.status, 401);
    until(&gateway, "at info it does", async || refusals().await == 1).await;
}
