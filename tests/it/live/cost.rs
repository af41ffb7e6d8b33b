//! What the live page costs the process, and each of its viewers the network: 1,000 clients over 2,000 pairs, nobody, one
//! and twenty watching, with a load and without. A report, not a gate: it counts CPU, which a busy machine stretches.
//! `make page-cost` runs it with the release build.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};

const CLIENTS: usize = 1000;
/// Those that go on sending.
const ACTIVE: usize = 100;
/// Between two requests of one of them.
const PACE: Duration = Duration::from_millis(500);
/// Of one figure.
const WINDOW: Duration = Duration::from_secs(20);
/// As the kernel counts CPU, in all but odd builds of it.
const TICKS: f64 = 100.0;

fn name(client: usize) -> String {
    format!("c{client:04}")
}

/// A gateway that knows all clients and `topics` topics.
fn start(mock: &Mock, topics: &[String]) -> Gateway {
    let limits = "{ requests: 100/s, events: 1000/s }";
    let clients: String = (0..CLIENTS).map(|n| client(&name(n), "[\"cost-*\"]", limits)).collect();
    let topics: String = topics.iter().map(|topic| format!("  {topic}: {{}}\n")).collect();
    mock.serve("", "", &format!("clients:\n{clients}topics:\n{topics}"))
}

/// Each client sends one event to each of `reach` topics, so that there are as many pairs.
async fn meet(gateway: &Gateway, topics: &[String], reach: usize) {
    let sender = Client::new(gateway.ingest());
    let mut senders = JoinSet::new();
    for lane in 0..20 {
        let (sender, topics) = (sender.clone(), topics.to_vec());
        senders.spawn(async move {
            for n in (lane..CLIENTS).step_by(20) {
                for place in 0..reach {
                    send(&sender, n, &topics[(n * reach + place) % topics.len()]).await;
                }
            }
        });
    }
    senders.join_all().await;
}

async fn send(sender: &Client, client: usize, topic: &str) {
    let key = bearer(&name(client));
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let answer = sender.post(&format!("/v1/topics/{topic}/events"), &headers, "{\"n\":1}").await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

/// The active clients, each at its pace; ends when dropped.
fn load(gateway: &Gateway, topics: &[String]) -> JoinSet<()> {
    let sender = Client::new(gateway.ingest());
    let mut senders = JoinSet::new();
    for n in 0..ACTIVE {
        let (sender, topic) = (sender.clone(), topics[n * 2 % topics.len()].clone());
        senders.spawn(async move {
            let mut clock = interval(PACE);
            sleep(PACE * n as u32 / ACTIVE as u32).await;
            loop {
                clock.tick().await;
                send(&sender, n, &topic).await;
            }
        });
    }
    senders
}

/// Somebody who watches and throws away what comes; leaves when dropped.
struct Viewer {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Viewer {
    fn watch(gateway: &Gateway, path: &str) -> Self {
        let mut stream = TcpStream::connect(gateway.admin()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()).expect("sent");
        let (bytes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let viewer = Self { bytes: Arc::clone(&bytes), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            let mut sink = vec![0; 1 << 16];
            while !stop.load(Relaxed) {
                bytes.fetch_add(stream.read(&mut sink).unwrap_or(0) as u64, Relaxed);
            }
        });
        viewer
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// CPU seconds of all threads so far, and of those that are librdkafka's.
fn cpu(pid: u32) -> (f64, f64) {
    let (mut all, mut kafka) = (0.0, 0.0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("a process") {
        // A thread may end meanwhile; those of the blocking pool do, and cost next to nothing.
        let Ok(stat) = fs::read_to_string(task.expect("a thread").path().join("stat")) else { continue };
        let (named, rest) = stat.rsplit_once(") ").expect("a name in brackets");
        let used = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / TICKS);
        let used: f64 = used.sum();
        all += used;
        if named.contains("(rdk:") {
            kafka += used;
        }
    }
    (all, kafka)
}

/// A line of the table: parts of a core, bytes a second for each viewer.
async fn figure(gateway: &Gateway, what: &str, path: &str, viewers: usize) {
    let watching: Vec<_> = (0..viewers).map(|_| Viewer::watch(gateway, path)).collect();
    // What they begin with is not what they go on with.
    sleep(Duration::from_secs(3)).await;
    let bytes = || watching.iter().map(|viewer| viewer.bytes.load(Relaxed)).sum::<u64>() as f64;
    let (began, before, (all, kafka)) = (Instant::now(), bytes(), cpu(gateway.pid()));
    sleep(WINDOW).await;
    let (seconds, (all_after, kafka_after)) = (began.elapsed().as_secs_f64(), cpu(gateway.pid()));
    let part = |before: f64, after: f64| (after - before) / seconds * 100.0;
    let each = (bytes() - before) / seconds / viewers.max(1) as f64 / 1000.0;
    println!(
        "| {what} | {viewers} | {:.2} % | {:.2} % | {each:.1} kB/s |",
        part(all, all_after),
        part(kafka, kafka_after)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of some minutes: make page-cost"]
async fn of_the_page_with_a_thousand_clients() {
    let topics: Vec<_> = (0..20).map(|n| format!("cost-{n:03}")).collect();
    let mock = Mock::start(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    let gateway = start(&mock, &topics);
    gateway.ready().await;
    println!(
        "| load | viewers | CPU, of one core | of it librdkafka's threads | each viewer gets |\n|---|---|---|---|---|"
    );
    figure(&gateway, "no client was met yet", "/admin/stream", 0).await;
    meet(&gateway, &topics, 2).await;
    // Rates are over five seconds, percentiles over a minute.
    sleep(Duration::from_secs(70)).await;
    for viewers in [0, 1, 20] {
        figure(&gateway, "none", "/admin/stream", viewers).await;
    }
    let load = load(&gateway, &topics);
    sleep(Duration::from_secs(70)).await;
    for viewers in [0, 1, 20] {
        figure(&gateway, "100 clients, 200 requests/s", "/admin/stream", viewers).await;
    }
    figure(&gateway, "the same, page of a client", "/admin/stream?client=c0000", 1).await;
    figure(&gateway, "the same, page of a topic", "/admin/stream?topic=cost-000", 1).await;
    drop(load);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make page-cost"]
async fn of_a_scrape_with_a_thousand_clients_over_three_hundred_topics() {
    let topics: Vec<_> = (0..300).map(|n| format!("cost-{n:03}")).collect();
    let mock = Mock::start(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    let gateway = start(&mock, &topics);
    gateway.ready().await;
    meet(&gateway, &topics, 4).await;
    let admin = Client::new(gateway.admin());
    for (what, headers) in [("plain", vec![]), ("gzip", vec![("accept-encoding", "gzip")])] {
        let mut took = Vec::new();
        let mut bytes = 0;
        for _ in 0..11 {
            let began = Instant::now();
            bytes = admin.get("/metrics", &headers).await.body.len();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!("scrape, {what}: {bytes} bytes, {:?} at best, {:?} in the middle", took[0], took[took.len() / 2]);
    }
    let page = gateway.metrics().await;
    let rows = page.text().lines().filter(|line| line.starts_with("klamm_events_received_total{")).count();
    println!("pairs with rows: {rows}; folded: {}", page.sum("klamm_metrics_folded_total", &[]));
    // 2,000 pairs by `metrics.pairs`, and at most two more a client.
    assert!(rows <= 2000 + 2 * CLIENTS + 1, "{rows}");
}
