//! Kafka hangs, dies, comes late: every answer stays true, and klamm finds its way back by itself.
//!
//! One private broker, one test at a time.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Options};
use crate::support::keys;
use crate::support::load::{Load, Plan, check_answers, check_counts, settled};
use crate::support::soon;

/// The broker that these tests, and those of `shutdown`, stop and kill.
pub(crate) async fn broker() -> MutexGuard<'static, Kafka> {
    static BROKER: OnceLock<Mutex<Kafka>> = OnceLock::new();
    let kafka = BROKER.get_or_init(|| Mutex::new(Kafka::start(&Options::default()))).lock().await;
    // One test that fails is not to fail those after it.
    kafka.recover();
    kafka
}

/// With `IMPATIENT` waits, an outage of seconds shows every answer.
fn config(kafka: &Kafka, (wait, delivery): (&str, &str)) -> String {
    let (bootstrap, sha256) = (kafka.bootstrap(), keys::fixed("shop").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", wait: {wait} }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 10s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"], delivery_timeout: {delivery} }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: ["outage-*"] }} }}
topics: {{ "outage-*": {{}} }}
"#
    )
}

const IMPATIENT: (&str, &str) = ("1s", "4s");
/// As klamm comes.
const PATIENT: (&str, &str) = ("10s", "30s");

fn plans(topic: &'static str) -> [Plan; 2] {
    let one = Plan { client: "shop", topic, senders: 6, events: 1, hang_up: false };
    [one, Plan { senders: 2, events: 20, ..one }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_under_load_gets_honest_504s_and_503s_and_200s_again_when_it_goes_on() {
    let kafka = broker().await;
    kafka.create_topic("outage-hang", 3, &[]);
    let gateway = Gateway::start(&config(&kafka, IMPATIENT));
    gateway.ready().await;
    let load = Load::start(gateway.ingest(), &plans("outage-hang"));
    load.until(200, 50, Duration::from_secs(20)).await;

    kafka.stop_broker(1);
    load.until(504, 8, Duration::from_secs(10)).await;
    load.until(503, 30, Duration::from_secs(20)).await;
    let late = async || gateway.metrics().await.sum("klamm_topic_late_queues", &[("topic", "outage-hang")]);
    assert!((1.0..=6.0).contains(&late().await), "late queues are told");
    let admin = Client::new(gateway.admin());
    soon("not ready", async || {
        let ready = admin.get("/readyz?verbose", &[]).await;
        let told = String::from_utf8_lossy(&ready.body).contains("[-] kafka: no broker answers");
        (ready.status == 503 && told).then_some(())
    })
    .await;

    kafka.continue_broker(1);
    load.until(200, 50, Duration::from_secs(10)).await;
    gateway.ready().await;
    soon("no queue is late", async || (late().await == 0.0).then_some(())).await;
    let sent = load.stop().await;
    assert!(sent.iter().all(|sent| matches!(sent.status, 200 | 207 | 503 | 504)), "only honest answers");
    let counts = settled(&gateway, "shop", "outage-hang").await;
    check_answers(&sent, &check_counts(&kafka, "outage-hang", counts));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_under_load_and_restarted_has_every_event_that_was_answered_200() {
    let kafka = broker().await;
    kafka.create_topic("outage-kill", 3, &[]);
    let gateway = Gateway::start(&config(&kafka, IMPATIENT));
    gateway.ready().await;
    let load = Load::start(gateway.ingest(), &plans("outage-kill"));
    load.until(200, 50, Duration::from_secs(20)).await;

    kafka.kill_broker(1);
    // Long enough for the producer to give up what waits: then it must begin again, not hang.
    load.until(503, 30, Duration::from_secs(20)).await;
    kafka.restart_broker(1);
    load.until(200, 50, Duration::from_secs(20)).await;
    let sent = load.stop().await;
    assert!(sent.iter().all(|sent| matches!(sent.status, 200 | 207 | 503 | 504)), "only honest answers");
    let counts = settled(&gateway, "shop", "outage-kill").await;
    check_answers(&sent, &check_counts(&kafka, "outage-kill", counts));
}

#[tokio::test(flavor = "multi_thread")]
async fn klamm_starts_without_kafka_answers_503_and_is_ready_when_kafka_comes() {
    let kafka = broker().await;
    kafka.create_topic("outage-late", 1, &[]);
    kafka.kill_broker(1);
    let gateway = Gateway::start(&config(&kafka, PATIENT));
    let (client, admin) = (Client::new(gateway.ingest()), Client::new(gateway.admin()));
    let key = format!("Bearer {}", keys::fixed("shop").text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let path = "/v1/topics/outage-late/events";

    for (page, status) in [("/livez", 200), ("/startupz", 200), ("/readyz", 503)] {
        assert_eq!(admin.get(page, &[]).await.status, status, "{page}");
    }
    let answer = client.post(path, &headers, "{}").await;
    let body = answer.json();
    assert_eq!(
        (answer.status, body["code"].as_str(), body["retryable"].as_bool()),
        (503, Some("kafka_unavailable"), Some(true))
    );
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "Retry-After: {wait}");
    assert_eq!(client.post(path, &[], "{}").await.status, 401, "who is asked before what is up");

    kafka.restart_broker(1);
    gateway.ready().await;
    let answer = client.post(path, &headers, "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(kafka.consume("outage-late").len(), 1, "what was refused is not there");
}
