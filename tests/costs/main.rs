//! What an event costs the gateway in allocations: counted, not timed.
//!
//! The gateway runs in this process, built from the library as `klamm serve` builds it, on a mock cluster (whose
//! memory is librdkafka's, not Rust's). The client is this binary again, as a child: its allocations are its own. A
//! binary of its own because the allocator that counts is the process's. System calls: `tests/it/costs.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking; clippy's switch for tests does not reach the helpers of an integration binary"
)]

mod committed;
mod load;

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use klamm::boot::{self, Notify, Sockets, Start};
use klamm::config::live::Live;
use klamm::config::load::Source;
use klamm::telemetry::{LogStyle, access, logs};
use rdkafka::mocking::MockCluster;
use sha2::{Digest, Sha256};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use load::{Load, Senders};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: Load = Load { events: 500, requests: 400, connections: 4 };
const SINGLES: Load = Load { events: 1, requests: 2000, connections: 8 };

const TOPIC: &str = "costs";
const KEY: &str = "test-key-of-costs";
/// Holds the gateway's address and the load, for the child.
const CHILD: &str = "KLAMM_COSTS_CHILD";

#[test]
fn allocations_of_an_event_are_within_the_committed_figures() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(TOPIC, 8, 1).expect("a topic");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let running = runtime.block_on(async {
        let running = boot::start(start(dir.path(), &cluster.bootstrap_servers())).expect("the gateway starts");
        assert!(running.kafka_answers(Duration::from_secs(20)).await, "the mock cluster answers");
        running
    });
    let address = running.ingest.to_string();
    committed::hold("allocations per event, NDJSON x 500", || per_event(&address, BATCHES));
    committed::hold("allocations per event, single POST", || per_event(&address, SINGLES));
    runtime.shutdown_background();
}

/// As `klamm serve` with a key, quotas, and everything else by default.
fn start(dir: &Path, bootstrap: &str) -> Start {
    let rate = "100000000/s";
    let digest = hex::encode(Sha256::digest(KEY));
    let config = format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", peer_rate: {rate} }}
admin: {{ listen: "127.0.0.1:0" }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
topics: {{ {TOPIC}: {{}} }}
clients:
  costs:
    keys: [{{ label: test, sha256: "{digest}" }}]
    topics: [{TOPIC}]
    limits: {{ requests: {rate}, events: {rate}, bytes: 1000GiB/s }}
"#
    );
    let file = dir.join("klamm.yaml");
    std::fs::write(&file, config).expect("the config is written");
    let source = Source { file: Some(file), env: Vec::new(), flags: Vec::new() };
    let (live, _) = Live::open(source).unwrap_or_else(|faults| panic!("{faults}"));
    let logs = logs::init("error", LogStyle::Json).expect("logging");
    Start {
        live: Arc::new(live),
        logs,
        access: access::Style::Log,
        example: None,
        create: None,
        ready_file: None,
        sockets: Sockets::default(),
        notify: Notify::default(),
    }
}

/// Allocations and reallocations of the gateway for each event of `load`, less what it does in that time anyway.
fn per_event(address: &str, load: Load) -> f64 {
    let mut client = Client::start(address, load);
    let idle = {
        let (region, start) = (Region::new(ALLOCATOR), Instant::now());
        thread::sleep(Duration::from_secs(2));
        count(&region) / start.elapsed().as_secs_f64()
    };
    let (region, start) = (Region::new(ALLOCATOR), Instant::now());
    client.send();
    let all = count(&region);
    let besides = idle * start.elapsed().as_secs_f64();
    println!("{load:?}: {all} allocations, {besides:.0} of them in any case, in {:?}", start.elapsed());
    client.end();
    (all - besides).max(0.0) / load.total()
}

fn count(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    (change.allocations + change.reallocations) as f64
}

/// The process that sends. It is ready, with its connections open, before anything is counted.
struct Client(Child);

impl Client {
    fn start(address: &str, load: Load) -> Self {
        let Load { events, requests, connections } = load;
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "client", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.env(CHILD, format!("{address} {events} {requests} {connections}"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
        let mut client = Self(child);
        client.until_it_says("ready");
        client
    }

    /// Sends all of the load; allocates nothing in this process that counts.
    fn send(&mut self) {
        self.0.stdin.as_mut().expect("its input").write_all(b"\n").expect("it reads");
        self.until_it_says("done");
    }

    fn until_it_says(&mut self, word: &str) {
        let out = self.0.stdout.as_mut().expect("its output");
        let mut seen = Vec::with_capacity(4096);
        let mut byte = [0];
        // Byte by byte: a reader with a buffer would keep what comes after.
        while !seen.ends_with(word.as_bytes()) {
            let count = out.read(&mut byte).expect("its output");
            assert!(count > 0, "the client ended: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "the client failed: {status}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the client process of the test above"]
fn client() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let mut words = order.split(' ');
    let address = words.next().expect("an address");
    let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
    let load = Load { events: number(), requests: number(), connections: number() };
    let mut senders = Senders::connect(address, TOPIC, KEY, load);
    println!("ready");
    let mut lines = BufReader::new(std::io::stdin()).lines();
    lines.next().expect("a word to begin").expect("text");
    senders.send();
    println!("done");
    // Closing the connections would count; they stay until the parent has read its counter.
    assert!(lines.next().is_none(), "the input ends");
}
