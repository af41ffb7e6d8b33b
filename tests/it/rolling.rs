//! Three klamm behind HAProxy, replaced one by one under load: no request fails, nothing acknowledged is missing.
//!
//! Short for `make test`; `make rolling` sets `KLAMM_ROLLING=long` for three rounds, 500 requests a second and an outage
//! of 30 s.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::outage::broker;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::haproxy::Haproxy;
use crate::support::kafka::{Kafka, free_port};
use crate::support::load::ids;
use crate::support::mock::client;
use crate::support::scratch;
use crate::support::steady::{Report, Shape, Steady};

const REPLICAS: usize = 3;
const CONNECTIONS: usize = 64;
/// HAProxy's between two looks at `/readyz`; in the documents it is longer, as is the lame duck.
const INTER: Duration = Duration::from_millis(200);

/// How much is done.
struct Form {
    rounds: usize,
    /// In a second, of all connections together.
    requests: u32,
    /// The least of them that were answered in a second; a debug build on a busy machine is held to none.
    least: f64,
    outage: Duration,
}

fn form() -> Form {
    if std::env::var("KLAMM_ROLLING").is_ok_and(|form| form == "long") {
        Form { rounds: 3, requests: 600, least: 500.0, outage: Duration::from_secs(30) }
    } else {
        Form { rounds: 1, requests: 200, least: 0.0, outage: Duration::from_secs(4) }
    }
}

/// The replicas, each with its addresses and its spool's directory for all its lives.
struct Tier {
    configs: Vec<String>,
    admins: Vec<String>,
    running: Vec<Gateway>,
    proxy: Haproxy,
    _spools: TempDir,
}

impl Tier {
    /// With `settings` for HAProxy, in whose place of servers its own stand.
    async fn start(kafka: &Kafka, topic: &str, (wait, policy): (&str, &str), settings: &str) -> Self {
        let spools = scratch::dir("tier");
        let ports: Vec<_> = (0..REPLICAS).map(|_| (free_port(), free_port())).collect();
        let shop = client("shop", &format!("[{topic}]"), "{ requests: off, events: off, bytes: off }");
        let bootstrap = kafka.bootstrap();
        let config = |at: usize, (ingest, admin): &(u16, u16)| {
            let spool = spools.path().join(at.to_string()).display().to_string();
            format!(
                "ingest: {{ listen: \"127.0.0.1:{ingest}\", wait: {wait} }}\n\
                 admin: {{ listen: \"127.0.0.1:{admin}\", hosts: [klamm] }}\n\
                 shutdown: {{ lame_duck: 1s, flush: 15s }}\nspool: {{ dir: \"{spool}\" }}\n\
                 kafka: {{ default: {{ bootstrap: [\"{bootstrap}\"] }} }}\n\
                 topics: {{ {topic}: {{ {policy} }} }}\nclients:\n{shop}"
            )
        };
        let configs: Vec<_> = ports.iter().enumerate().map(|(at, ports)| config(at, ports)).collect();
        let running: Vec<_> = configs.iter().map(|config| Gateway::start(config)).collect();
        for gateway in &running {
            up(gateway).await;
        }
        let address = format!("127.0.0.1:{}", free_port());
        let mut proxy = settings.to_owned();
        for (at, (ingest, admin)) in ports.iter().enumerate() {
            let _ = writeln!(proxy, "  server klamm-{at} 127.0.0.1:{ingest} check port {admin}");
        }
        let _ = write!(proxy, "frontend events\n  bind {address}\n  default_backend klamm\n");
        let admins = ports.iter().map(|(_, admin)| format!("127.0.0.1:{admin}")).collect();
        Self { configs, admins, running, proxy: Haproxy::with(&proxy, vec![address]), _spools: spools }
    }

    fn address(&self) -> &str {
        self.proxy.address(0)
    }

    /// Ends one by SIGTERM and starts the next in its place; its exit code.
    async fn replace(mut self, at: usize) -> (Self, i32) {
        let admin = self.admins[at].clone();
        let (mut tier, code) = tokio::task::spawn_blocking(move || {
            let code = self.running[at].terminate();
            // Another is not there at once.
            std::thread::sleep(2 * INTER);
            self.running[at] = Gateway::start(&self.configs[at]);
            (self, code)
        })
        .await
        .expect("replaced");
        up(&tier.running[at]).await;
        assert_eq!(tier.running[at].admin(), admin, "in its place");
        // The proxy has to see it before the next one goes.
        tokio::time::sleep(3 * INTER).await;
        tier.running.iter_mut().for_each(|gateway| assert_eq!(gateway.ended_within(Duration::ZERO), None));
        (tier, code)
    }

    fn stop(&mut self) {
        self.running.iter().for_each(|gateway| gateway.signal(Signal::TERM));
        for gateway in &mut self.running {
            assert_eq!(gateway.exit_code(), 0, "{}", gateway.log());
        }
    }
}

/// Waits until Kafka answers it: with a spool it is ready before.
async fn up(gateway: &Gateway) {
    let admin = Client::new(gateway.admin());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        let page = admin.get("/readyz?verbose", &[]).await;
        if page.status == 200 && String::from_utf8_lossy(&page.body).contains("[+] kafka: answers") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("Kafka does not answer:\n{}", gateway.log());
}

/// What docs/deploy.md recommends, without its servers and with [`INTER`].
fn recommended() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md")).expect("a page");
    let (_, rest) = page.split_once("```haproxy\n").expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    let block: String =
        block.lines().filter(|line| !line.trim().starts_with("server ")).map(|l| format!("{l}\n")).collect();
    for line in ["inter 1s ", "  retries 1\n", "  retry-on conn-failure 503\n", "uri /readyz "] {
        assert!(block.contains(line), "{line}");
    }
    block.replace("inter 1s ", &format!("inter {}ms ", INTER.as_millis()))
}

/// The same without a second try.
fn without_retries() -> String {
    let lines = recommended();
    let kept = lines.lines().filter(|line| !line.contains("retry-on") && !line.contains("option redispatch"));
    let bare: String = kept.map(|line| format!("{}\n", line.replace("retries 1", "retries 0"))).collect();
    assert!(bare.contains("retries 0"));
    bare
}

fn load(tier: &Tier, topic: &'static str, form: &Form, connections: usize) -> Steady {
    let pace = Duration::from_secs(1) * u32::try_from(connections).expect("few") / form.requests;
    let shape = Shape { client: "shop", topic, connections, pace, batch: 20 };
    Steady::start(tier.address(), &[shape])
}

/// Every request was answered with this status alone, over connections that stayed, often enough.
fn held(report: &Report, status: &str, form: &Form, connections: usize) {
    let line = report.line();
    assert_eq!(report.failed, Vec::<String>::new(), "{line}");
    assert_eq!(report.answers.keys().collect::<Vec<_>>(), [status], "{line}");
    assert_eq!(report.connects, connections, "{line}");
    assert!(report.answered().1 >= form.least, "{line}");
}

/// What was acknowledged and is not in Kafka.
fn lost(kafka: &Kafka, topic: &str, report: &Report) -> Vec<String> {
    let found = ids(&kafka.consume(topic));
    report.acknowledged.iter().filter(|id| !found.contains_key(*id)).cloned().collect()
}

async fn replaced(topic: &'static str, settings: &str) {
    let (kafka, form) = (Kafka::shared(), form());
    kafka.create_topic(topic, 3, &[]);
    let mut tier = Tier::start(kafka, topic, ("10s", ""), settings).await;
    let load = load(&tier, topic, &form, CONNECTIONS);
    load.more(100).await;
    for _ in 0..form.rounds {
        for at in 0..REPLICAS {
            let (next, code) = tier.replace(at).await;
            tier = next;
            assert_eq!(code, 0, "{at}");
        }
    }
    load.more(100).await;
    let report = load.stop().await;
    eprintln!("{topic}: {} klamm replaced: {}", form.rounds * REPLICAS, report.line());
    held(&report, "200", &form, CONNECTIONS);
    assert_eq!(lost(kafka, topic, &report), Vec::<String>::new());
    eprintln!("{topic}: {} events acknowledged, 0 lost", report.acknowledged.len());
    tier.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_one_by_one_without_a_retry_no_request_fails() {
    replaced("rolling-bare", &without_retries()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_one_by_one_with_the_recommended_settings_no_request_fails() {
    replaced("rolling-retry", &recommended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_brokers_stopped_a_topic_that_may_spool_gets_202s_and_all_of_it_arrives() {
    const TOPIC: &str = "rolling-spool";
    let (kafka, form) = (broker().await, form());
    kafka.create_topic(TOPIC, 3, &[]);
    let mut tier = Tier::start(&kafka, TOPIC, ("2s", "on_outage: spool"), &recommended()).await;
    let before = load(&tier, TOPIC, &form, CONNECTIONS);
    before.more(200).await;
    kafka.stop_broker(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let turn = before.stop().await;
    assert!(turn.failed.is_empty(), "{}", turn.line());
    let answers: BTreeSet<_> = turn.answers.keys().map(String::as_str).collect();
    // A batch that the stop met halfway is in Kafka in part and on disk in part: 207.
    assert!(answers.is_subset(&BTreeSet::from(["200", "202", "207"])), "{}", turn.line());

    // More at once, since each waits: for Kafka at first, later for the disk.
    let load = load(&tier, TOPIC, &form, 4 * CONNECTIONS);
    tokio::time::sleep(form.outage).await;
    let report = load.stop().await;
    eprintln!("{:?} without a broker: {}", form.outage, report.line());
    held(&report, "202", &form, 4 * CONNECTIONS);

    kafka.continue_broker(1);
    for gateway in &tier.running {
        drained(gateway).await;
    }
    let found = [turn, report].map(|report| {
        assert_eq!(lost(&kafka, TOPIC, &report), Vec::<String>::new());
        report.acknowledged.len()
    });
    eprintln!("{TOPIC}: {} events acknowledged, 0 lost", found.iter().sum::<usize>());
    tier.stop();
}

/// Waits until nothing waits in the spool.
async fn drained(gateway: &Gateway) {
    let start = Instant::now();
    while gateway.metrics().await.sum("klamm_spool_events", &[("state", "waiting")]) > 0.0 {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
