//! Constant load, and the senders' own list of what they were answered: the other side of the gateway's counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::client::{Answer, Client};
use super::gateway::Gateway;
use super::kafka::{Kafka, Record};
use super::keys;

/// The status of a request that got no answer.
pub(crate) const SILENCE: u16 = 0;

/// Who sends what, and how.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) client: &'static str,
    pub(crate) topic: &'static str,
    /// Senders side by side; each sends its next request when the last one is answered.
    pub(crate) senders: usize,
    /// Events in a request, as NDJSON.
    pub(crate) events: usize,
    /// Every third request is given up after some milliseconds.
    pub(crate) hang_up: bool,
}

/// A request that was answered, or not.
pub(crate) struct Sent {
    pub(crate) status: u16,
    /// Each event's id, unique in the test, and what was said of it: the status, but for a 207.
    pub(crate) events: Vec<(String, u16)>,
}

impl Sent {
    fn new(ids: Vec<String>, answer: Option<&Answer>) -> Self {
        let status = answer.map_or(SILENCE, |answer| answer.status);
        let mut events: Vec<_> = ids.into_iter().map(|id| (id, status)).collect();
        if let (207, Some(answer)) = (status, answer) {
            events.iter_mut().for_each(|(_, said)| *said = 200);
            for run in answer.json()["failures"].as_array().expect("failures") {
                let number = |name: &str| usize::try_from(run[name].as_u64().expect("a number")).expect("a small one");
                let said = match run["code"].as_str().expect("a code") {
                    "kafka_unavailable" => 503,
                    "outcome_unknown" => 504,
                    code => panic!("{code}"),
                };
                let (first, count) = (number("index"), number("count"));
                events[first..first + count].iter_mut().for_each(|event| event.1 = said);
            }
        }
        Self { status, events }
    }
}

/// Senders at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicUsize; 600]>,
    senders: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts the senders of `plans`.
    pub(crate) fn start(address: &str, plans: &[Plan]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let counts: Arc<[AtomicUsize; 600]> = Arc::new([const { AtomicUsize::new(0) }; 600]);
        let senders = plans.iter().enumerate().flat_map(|(at, plan)| (0..plan.senders).map(move |n| (at, n, *plan)));
        let senders = senders.map(|(at, n, plan)| {
            let (client, stop, counts) = (Client::new(address), Arc::clone(&stop), Arc::clone(&counts));
            tokio::spawn(send(client, format!("{at}-{n}"), plan, stop, counts))
        });
        Self { senders: senders.collect(), stop, counts }
    }

    /// How many requests were answered with `status` so far.
    pub(crate) fn count(&self, status: u16) -> usize {
        self.counts[usize::from(status)].load(Ordering::Relaxed)
    }

    /// Waits until `more` further requests are answered with `status`. Panics after `limit`.
    pub(crate) async fn until(&self, status: u16, more: usize, limit: Duration) {
        let wanted = self.count(status) + more;
        let wait = async {
            while self.count(status) < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let done = tokio::time::timeout(limit, wait).await;
        done.unwrap_or_else(|_| panic!("not {more} more answers {status} within {limit:?}: {}", self.tally()));
    }

    /// The answers so far, by status.
    pub(crate) fn tally(&self) -> String {
        let counts = (0..600).filter(|status| self.count(*status) > 0);
        counts.map(|status| format!("{status}: {}", self.count(status))).collect::<Vec<_>>().join(", ")
    }

    /// Lets every sender finish its request; all requests.
    pub(crate) async fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for sender in self.senders {
            all.extend(sender.await.expect("a sender that does not panic"));
        }
        all
    }
}

async fn send(
    client: Client,
    name: String,
    plan: Plan,
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicUsize; 600]>,
) -> Vec<Sent> {
    let path = format!("/v1/topics/{}/events", plan.topic);
    let key = format!("Bearer {}", keys::fixed(plan.client).text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/x-ndjson")];
    let mut all = Vec::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids: Vec<_> = (0..plan.events).map(|event| format!("{name}-{turn}-{event}")).collect();
        let body = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect::<String>();
        let call = client.try_post(&path, &headers, body);
        let patience = if plan.hang_up && turn % 3 == 0 { 1 + turn % 7 } else { 60_000 };
        let answer = tokio::time::timeout(Duration::from_millis(patience), call).await;
        let sent = Sent::new(ids, answer.ok().and_then(Result::ok).as_ref());
        let status = sent.status;
        counts[usize::from(status)].fetch_add(1, Ordering::Relaxed);
        all.push(sent);
        if status != 200 && !plan.hang_up {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    all
}

/// How often each id stands in these records.
pub(crate) fn ids(records: &[Record]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for record in records {
        let value: serde_json::Value = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
        *found.entry(value["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    found
}

/// Every answer was true: what was answered 200 is in the topic; what was refused is not; nothing else is there.
pub(crate) fn check_answers(sent: &[Sent], found: &BTreeMap<String, usize>) {
    let events = || sent.iter().flat_map(|sent| &sent.events);
    for (id, status) in events() {
        match status {
            200 => assert!(found.contains_key(id), "{id} was answered 200 and is lost"),
            400..=499 | 502 | 503 => assert!(!found.contains_key(id), "{id} was answered {status} and is there"),
            500 | 504 | &SILENCE => {}
            status => panic!("{id} was answered {status}"),
        }
    }
    let known: BTreeSet<&String> = events().map(|(id, _)| id).collect();
    assert_eq!(found.keys().find(|id| !known.contains(id)), None, "only what was sent is there");
}

/// What the gateway counted for one client and topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Counts {
    pub(crate) received: f64,
    pub(crate) acked: f64,
    pub(crate) rejected: f64,
    pub(crate) failed: f64,
    pub(crate) unknown: f64,
}

/// The counters now.
pub(crate) async fn counts(gateway: &Gateway, client: &str, topic: &str) -> Counts {
    let metrics = gateway.metrics().await;
    let labels = [("client", client), ("topic", topic)];
    let of = |outcome| metrics.sum("klamm_events_total", &[labels[0], labels[1], ("outcome", outcome)]);
    Counts {
        received: metrics.sum("klamm_events_received_total", &labels),
        acked: of("acked"),
        rejected: of("rejected"),
        failed: of("failed"),
        unknown: of("unknown"),
    }
}

/// Waits until every received event has its outcome. Panics after 40 s.
pub(crate) async fn settled(gateway: &Gateway, client: &str, topic: &str) -> Counts {
    let mut now = counts(gateway, client, topic).await;
    for _ in 0..400 {
        if now.received == now.acked + now.rejected + now.failed + now.unknown {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        now = counts(gateway, client, topic).await;
    }
    panic!("not every event has its outcome: {now:?}\n{}", gateway.log());
}

/// The counters agree with the topic: acked <= distinct events found <= acked + unknown. Gives what was found.
pub(crate) fn check_counts(kafka: &Kafka, topic: &str, counts: Counts) -> BTreeMap<String, usize> {
    let found = ids(&kafka.consume(topic));
    let distinct = f64::from(u32::try_from(found.len()).expect("a small count"));
    assert!(counts.acked <= distinct && distinct <= counts.acked + counts.unknown, "{distinct} found: {counts:?}");
    found
}
