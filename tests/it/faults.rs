//! Kafka misbehaves for longer: klamm refuses at once what would wait in vain, makes no new producer where that does
//! not help, keeps one dead partition from hurting the others, and goes on within seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::{JoinHandle, block_in_place};

use crate::outage::broker;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Options};
use crate::support::{keys, soon};

fn config(kafka: &Kafka, wait: &str, of_kafka: &str) -> String {
    let (bootstrap, sha256) = (kafka.bootstrap().replace(',', "\", \""), keys::fixed("shop").sha256);
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", wait: {wait} }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 10s }}
kafka: {{ default: {{ {of_kafka} bootstrap: ["{bootstrap}"] }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: ["faults-*"] }} }}
topics:
  "faults-*": {{ formats: [json, envelope] }}
  faults-quota: {{ client_id: klamm-quota }}
"#
    )
}

/// A request that was answered.
#[derive(Clone, Copy)]
struct Said {
    began: Instant,
    took: Duration,
    status: u16,
    /// Seconds; 0 for none.
    retry_after: u64,
}

/// Senders that send one event after the other, and 20 ms after a refusal.
struct Senders {
    stop: Arc<AtomicBool>,
    each: Vec<JoinHandle<Vec<Said>>>,
}

impl Senders {
    /// So many, each with events of `bytes` bytes and one of `keys` in turn, if there are any.
    fn start(gateway: &Gateway, topic: &str, count: usize, bytes: usize, keys: &[String]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let each = (0..count).map(|n| {
            let (client, stop) = (Client::new(gateway.ingest()), Arc::clone(&stop));
            let path = format!("/v1/topics/{topic}/events");
            let key = (!keys.is_empty()).then(|| keys[n % keys.len()].clone());
            tokio::spawn(async move {
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let said = post(&client, &path, bytes, key.as_deref()).await;
                    if said.status != 200 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    all.push(said);
                }
                all
            })
        });
        Self { each: each.collect(), stop }
    }

    /// Everything they were told, by the time of asking.
    async fn stop(self) -> Vec<Said> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for sender in self.each {
            all.extend(sender.await.expect("a sender that does not panic"));
        }
        all.sort_by_key(|said| said.began);
        all
    }
}

async fn post(client: &Client, path: &str, bytes: usize, key: Option<&str>) -> Said {
    let bearer = format!("Bearer {}", keys::fixed("shop").text);
    let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    headers.extend(key.map(|key| ("kafka-key", key)));
    let began = Instant::now();
    let answer = client.post(path, &headers, json!(noise(bytes)).to_string()).await;
    let retry_after = answer.header("retry-after").map_or(0, |seconds| seconds.parse().expect("seconds"));
    Said { began, took: began.elapsed(), status: answer.status, retry_after }
}

/// Text that does not compress: quotas are of what comes to the broker.
fn noise(bytes: usize) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut state = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..bytes).map(|_| letter()).filter(|letter| *letter != '\\').collect()
}

fn tally(said: &[Said]) -> Vec<(u16, usize)> {
    let mut statuses: Vec<_> = said.iter().map(|said| said.status).collect();
    statuses.sort_unstable();
    statuses.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
}

fn p99(said: &[Said]) -> Duration {
    let mut took: Vec<_> = said.iter().map(|said| said.took).collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// Those that began from then to then.
fn between(said: &[Said], from: Instant, to: Instant) -> Vec<Said> {
    said.iter().filter(|said| said.began >= from && said.began < to).copied().collect()
}

async fn replaced(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("klamm_producers_replaced_total", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_for_20_s_is_an_outage_and_no_stall_and_is_used_again_within_5_s() {
    let kafka = broker().await;
    kafka.create_topic("faults-hang", 3, &[]);
    // A connection that is silent for longer than the watchdog is patient.
    let gateway = Gateway::start(&config(&kafka, "3s", "stall_timeout: 5s, delivery_timeout: 60s,"));
    gateway.ready().await;
    let senders = Senders::start(&gateway, "faults-hang", 6, 100, &[]);
    tokio::time::sleep(Duration::from_secs(2)).await;

    let stopped = Instant::now();
    kafka.stop_broker(1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let hung = Instant::now();
    kafka.continue_broker(1);
    block_in_place(|| kafka.take("faults-hang"));
    let back = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let said = senders.stop().await;

    assert_eq!(replaced(&gateway).await, 0.0, "{}", gateway.log());
    let known = between(&said, stopped + Duration::from_secs(8), hung);
    assert!(known.iter().all(|said| matches!(said.status, 503 | 504)), "{:?}", tally(&known));
    // Some are let through to see; all others are told at once.
    let waited = known.iter().filter(|said| said.took > Duration::from_secs(1)).count();
    assert!(waited <= 14 && known.len() > 200, "{waited} of {} waited", known.len());
    let after: Vec<_> = known.iter().map(|said| said.retry_after).filter(|seconds| *seconds > 0).collect();
    let (first, last) = (after.iter().min().expect("some"), after.iter().max().expect("some"));
    assert!(*first >= 1 && *last <= 60 && last > first, "an estimate that grows with the outage: {first} to {last}");
    let first = said.iter().find(|said| said.began > hung && said.status == 200).expect("it goes on");
    println!(
        "first 200 {:?} after SIGCONT, Kafka itself {:?} after; while it hung: {:?}",
        first.began + first.took - hung,
        back - hung,
        tally(&known)
    );
    let late = between(&said, back + Duration::from_secs(5), back + Duration::from_secs(6));
    assert!(!late.is_empty() && late.iter().all(|said| said.status == 200), "{:?}", tally(&late));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_brokers_it_is_refused_at_once_and_200_again_within_5_s_of_their_return_under_load() {
    let kafka = broker().await;
    kafka.create_topic("faults-kill", 3, &[]);
    let gateway = Gateway::start(&config(&kafka, "3s", ""));
    gateway.ready().await;
    let senders = Senders::start(&gateway, "faults-kill", 6, 100, &[]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stopped = Instant::now();
    kafka.kill_broker(1);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let again = Instant::now();
    block_in_place(|| {
        kafka.restart_broker(1);
        kafka.take("faults-kill");
    });
    let back = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let said = senders.stop().await;

    // What was under way has waited by then.
    let known = between(&said, stopped + Duration::from_secs(5), again);
    // One a second is let through to see, until klamm knows.
    let waited = known.iter().filter(|said| said.took > Duration::from_secs(1)).count();
    assert!(known.iter().all(|said| matches!(said.status, 503 | 504)), "{:?}", tally(&known));
    assert!(waited <= 4 && known.len() > 50, "{waited} of {} waited", known.len());
    let first = said.iter().find(|said| said.began > again && said.status == 200).expect("it goes on");
    println!(
        "first 200 {:?} after the restart, Kafka itself {:?} after",
        first.began + first.took - again,
        back - again
    );
    let late = between(&said, back + Duration::from_secs(5), back + Duration::from_secs(6));
    assert!(!late.is_empty() && late.iter().all(|said| said.status == 200), "{:?}", tally(&late));
    assert_eq!(replaced(&gateway).await, 0.0, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_partition_s_events_are_refused_at_once_and_the_other_keys_of_its_topic_stay_fast() {
    let kafka = Kafka::start(&Options { brokers: 2, ..Options::default() });
    kafka.create_topic_on("faults-half", &[&[1], &[2]], &[]);
    let gateway = Gateway::start(&config(&kafka, "3s", ""));
    gateway.ready().await;
    // By Java's murmur2: of the first to partition 0, of the second to partition 1.
    let (alive, dead) = keys_by_partition(&gateway, "faults-half").await;
    let good = Senders::start(&gateway, "faults-half", 4, 1000, &alive);
    let bad = Senders::start(&gateway, "faults-half", 4, 50_000, &dead);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stopped = Instant::now();
    kafka.stop_broker(2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let held = gateway.metrics().await.sum("klamm_admission_bytes", &[("scope", "used")]);
    let ended = Instant::now();
    let (good, bad) = (good.stop(), bad.stop());
    kafka.continue_broker(2);
    let (good, bad) = tokio::join!(good, bad);

    let (quiet, hurt) = (between(&good, began, stopped), between(&good, stopped, ended));
    let refused = between(&bad, stopped + Duration::from_secs(5), ended);
    println!("p99 {:?} and then {:?}; the dead: {:?}; held {held}", p99(&quiet), p99(&hurt), tally(&refused));
    assert!(hurt.iter().all(|said| said.status == 200), "{:?}", tally(&hurt));
    // A machine with two cores that is shared: what this is about are waits of seconds.
    assert!(p99(&hurt) < (p99(&quiet) * 5).max(Duration::from_millis(250)), "{:?}, was {:?}", p99(&hurt), p99(&quiet));
    assert!(refused.iter().filter(|said| said.status == 503).count() > 20, "{:?}", tally(&refused));
    // Of 256 MiB; the topic may hold half of it.
    assert!(held < 16e6, "{held} bytes held");
}

/// Keys of partition 0 and of partition 1.
async fn keys_by_partition(gateway: &Gateway, topic: &str) -> (Vec<String>, Vec<String>) {
    let (client, bearer) = (Client::new(gateway.ingest()), format!("Bearer {}", keys::fixed("shop").text));
    let mut keys = (Vec::new(), Vec::new());
    for n in 0..16 {
        let key = format!("key-{n}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), ("kafka-key", &key)];
        let answer = client.post(&format!("/v1/topics/{topic}/events"), &headers, "1").await.json();
        match answer["receipts"][0]["partition"].as_i64() {
            Some(0) => keys.0.push(key),
            Some(1) => keys.1.push(key),
            _ => panic!("{answer}"),
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_the_broker_slows_the_topics_it_is_for_and_is_told_and_is_no_outage() {
    let kafka = broker().await;
    kafka.create_topic("faults-quota", 1, &[]);
    kafka.create_topic("faults-free", 1, &[]);
    // For the client id of the first topic alone.
    kafka.limit_producer("klamm-quota", 50_000);
    let gateway = Gateway::start(&config(&kafka, "3s", "stall_timeout: 5s,"));
    gateway.ready().await;
    let senders = Senders::start(&gateway, "faults-quota", 4, 50_000, &[]);
    let free = Senders::start(&gateway, "faults-free", 2, 1000, &[]);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let throttled = gateway.metrics().await.sum("klamm_broker_throttle_seconds", &[("stat", "avg")]);
    let ready = Client::new(gateway.admin()).get("/readyz?verbose", &[]).await;
    let text = String::from_utf8_lossy(&ready.body).into_owned();
    let (said, free) = (senders.stop().await, free.stop().await);
    println!(
        "{:?}; the others {:?}, p99 {:?}; throttled {throttled} s\n{text}",
        tally(&said),
        tally(&free),
        p99(&free)
    );
    assert!(ready.status == 200 && text.contains("a quota is spent"), "{text}");
    assert!(said.iter().filter(|said| said.status == 200).count() > 3, "{:?}", tally(&said));
    assert!(said.iter().all(|said| matches!(said.status, 200 | 503 | 504)), "{:?}", tally(&said));
    // Those of the quota's topic wait for seconds.
    assert!(free.len() > 100 && free.iter().all(|said| said.status == 200), "{:?}", tally(&free));
    assert!(p99(&free) < Duration::from_millis(500), "{:?}", p99(&free));
    assert_eq!(replaced(&gateway).await, 0.0, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_under_min_isr_are_told_and_so_is_that_they_are_no_more() {
    let session = ("broker.session.timeout.ms", "3000".to_owned());
    let kafka = Kafka::start(&Options { brokers: 2, properties: vec![session], ..Options::default() });
    let topic = "faults-thin";
    kafka.create_topic_on(topic, &[&[1, 2], &[1, 2]], &[("min.insync.replicas", "2")]);
    // Of one replica Kafka asks for one.
    kafka.create_topic_on("faults-one", &[&[1]], &[("min.insync.replicas", "2")]);
    let gateway = Gateway::start(&config(&kafka, "1s", "metadata_refresh: 1h,"));
    gateway.ready().await;
    let thin = async |expected: f64| {
        soon("the metric tells how many partitions lack replicas", async || {
            let found = gateway.metrics().await.sum("klamm_topic_under_min_isr_partitions", &[("topic", topic)]);
            (found == expected).then_some(())
        })
        .await;
    };
    let client = Client::new(gateway.ingest());
    for topic in [topic, "faults-one"] {
        assert_eq!(post(&client, &format!("/v1/topics/{topic}/events"), 10, None).await.status, 200);
    }
    thin(0.0).await;
    kafka.kill_broker(2);
    // Kafka refuses each record, and librdkafka keeps that to itself.
    let path = format!("/v1/topics/{topic}/events");
    soon("the second replica is no longer waited for", async || {
        let status = post(&client, &path, 10, None).await.status;
        assert!(matches!(status, 200 | 503 | 504), "{status}");
        (gateway.metrics().await.sum("klamm_topic_under_min_isr_partitions", &[("topic", topic)]) == 2.0).then_some(())
    })
    .await;
    let ready = Client::new(gateway.admin()).get("/readyz?verbose", &[]).await;
    assert!(String::from_utf8_lossy(&ready.body).contains("in-sync replicas"), "{ready:?}");

    let metrics = gateway.metrics().await;
    assert!(metrics.text().contains("klamm_topic_under_min_isr_partitions{topic=\"faults-one\"} 0\n"));

    kafka.configure_topic(topic, "min.insync.replicas", "1");
    thin(0.0).await;
    soon("it is written to again", async || (post(&client, &path, 10, None).await.status == 200).then_some(())).await;
}
