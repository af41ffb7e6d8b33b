//! Hostile clients beside a good one: what they send is answered or cut, takes no memory that stays, and the good one
//! notices nothing.

mod bodies;
mod early;
mod slow;
mod streams;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};
use crate::support::soon;

const ORDERS: &str = "/v1/topics/orders/events";
const MIB: u64 = 1 << 20;

/// A gateway for the clients `good` and `bad`, neither of which has a quota.
async fn serve(mock: &Mock, ingest: &str, rest: &str) -> Gateway {
    let off = "{ requests: off, events: off, bytes: off }";
    let mut rest = format!("{rest}topics: {{ orders: {{}} }}\nclients:\n");
    rest += &(client("good", "[orders]", off) + &client("bad", "[orders]", off));
    let gateway = mock.serve(&format!("peer_rate: off, {ingest}"), "linger: 0ms,", &rest);
    gateway.ready().await;
    // The first request waits until klamm has met the topic.
    let headers = [("authorization", &*bearer("good")), ("content-type", "application/json")];
    assert_eq!(Client::new(gateway.ingest()).post(ORDERS, &headers, "1").await.status, 200);
    gateway
}

/// The client `good`, which posts an event every few milliseconds.
struct Bystander {
    stop: Arc<AtomicBool>,
    posts: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn start(gateway: &Gateway) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (http, over) = (Client::new(gateway.ingest()), Arc::clone(&stop));
        let posts = tokio::spawn(async move {
            let headers = [("authorization", &*bearer("good")), ("content-type", "application/json")];
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                let answer = http.post(ORDERS, &headers, "1").await;
                assert_eq!(answer.status, 200, "the good client: {answer:?}");
                took.push(start.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            took
        });
        Self { stop, posts }
    }

    /// The 99th percentile of its waits. Panics if one post was not answered 200.
    async fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.posts.await.expect("every post of the good client is answered 200");
        took.sort_unstable();
        assert!(took.len() >= 10, "{} posts", took.len());
        took[took.len() * 99 / 100]
    }
}

/// The good client at the gateway that the bad one attacks, and at another one like it, which tells what else the
/// machine is doing.
struct Bystanders {
    beside: Bystander,
    alone: Bystander,
    _other: Gateway,
}

impl Bystanders {
    async fn start(mock: &Mock, gateway: &Gateway) -> Self {
        let other = serve(mock, "", "").await;
        Self { beside: Bystander::start(gateway), alone: Bystander::start(&other), _other: other }
    }

    /// Panics unless every post was answered 200, and beside the bad client not much later than without it. The bound is
    /// wide: how much later it is depends on what else the machine does.
    async fn stop(self) {
        let (beside, alone) = (self.beside.stop().await, self.alone.stop().await);
        println!("p99 beside the bad client {beside:?}, without it {alone:?}");
        assert!(beside <= alone * 8 + Duration::from_secs(1), "p99 {beside:?} beside the bad client, {alone:?} else");
    }
}

/// The most memory that the gateway takes beyond what it has at the start.
struct Growth {
    status: String,
    before: u64,
}

impl Growth {
    fn start(gateway: &Gateway) -> Self {
        // The peak begins anew.
        fs::write(format!("/proc/{}/clear_refs", gateway.pid()), "5").expect("the peak is reset");
        let status = format!("/proc/{}/status", gateway.pid());
        let before = bytes(&status, "VmRSS:");
        Self { status, before }
    }

    fn peak(&self) -> u64 {
        bytes(&self.status, "VmHWM:").saturating_sub(self.before)
    }
}

fn bytes(status: &str, name: &str) -> u64 {
    let text = fs::read_to_string(status).expect("the gateway runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of status");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Waits until nobody but the scraper is connected, and every event of `bad` has its one outcome.
async fn gone(gateway: &Gateway) {
    soon("no connection is left", async || {
        (gateway.metrics().await.sum("klamm_connections", &[]) == 0.0).then_some(())
    })
    .await;
    let metrics = gateway.metrics().await;
    let received = metrics.sum("klamm_events_received_total", &[("client", "bad")]);
    assert_eq!(metrics.sum("klamm_events_total", &[("client", "bad")]), received);
}
