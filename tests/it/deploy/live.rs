//! Debian's Prometheus scrapes a running klamm under a load of good, refused and spooled events: each panel of the
//! dashboards shows something, each rule evaluates, and the commands of the runbooks run.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{dashboards, rules, runbooks};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::prometheus::Prometheus;
use crate::support::{keys, scratch, soon};

/// The topic that gets everything that can happen to one. It becomes a compacted one after klamm has looked at it, so that
/// Kafka refuses an event without a key.
pub(super) const TOPIC: &str = "dash-orders";

fn config(bootstrap: &str, spool: &str) -> String {
    let sha256 = |name: &str| keys::fixed(name).sha256;
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 3s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"] }} }}
spool: {{ dir: "{spool}", segment: 1MiB }}
clients:
  shop: {{ keys: [{{ label: test, sha256: "{}" }}], topics: ["dash-*"] }}
  web: {{ keys: [{{ label: test, sha256: "{}" }}], topics: ["dash-*"], limits: {{ requests: 5/s }} }}
topics:
  dash-orders: {{ on_outage: spool }}
  dash-parked: {{ ack: spool }}
  dash-clicks: {{}}
"#,
        sha256("shop"),
        sha256("web")
    )
}

/// Everything a person on call has: klamm, its Prometheus, Kafka.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    pub(super) prometheus: Prometheus,
    pub(super) kafka: &'static Kafka,
    pub(super) spool: TempDir,
    stop: Arc<AtomicBool>,
    load: Vec<JoinHandle<()>>,
}

impl Site {
    async fn start() -> Self {
        let kafka = Kafka::shared();
        kafka.create_topic(TOPIC, 2, &[]);
        kafka.create_topic("dash-orders.dlq", 1, &[]);
        kafka.create_topic("dash-parked", 1, &[]);
        kafka.create_topic("dash-clicks", 2, &[]);
        let spool = scratch::dir("dash");
        let gateway = Gateway::start(&config(&kafka.bootstrap(), &spool.path().display().to_string()));
        gateway.ready().await;
        for topic in [TOPIC, "dash-parked"] {
            let shown = Client::new(gateway.ingest());
            let key = format!("Bearer {}", keys::fixed("shop").text);
            shown.get(&format!("/v1/topics/{topic}"), &[("authorization", &key)]).await;
            kafka.configure_topic(topic, "cleanup.policy", "compact");
        }
        let prometheus = Prometheus::start(&[gateway.admin()]);
        let stop = Arc::<AtomicBool>::default();
        let load = ["shop", "web"].map(|client| {
            let (stop, sender) = (Arc::clone(&stop), Client::new(gateway.ingest()));
            tokio::spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    send(&sender, client, turn).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        });
        Self { gateway, prometheus, kafka, spool, stop, load: load.into() }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.load {
            sender.await.expect("a sender ends well");
        }
    }
}

/// What a client sends at a turn, and what it gets.
async fn send(sender: &Client, client: &str, turn: usize) {
    let key = format!("Bearer {}", keys::fixed(client).text);
    let json = ("content-type", "application/json");
    let plain = [("authorization", key.as_str()), json];
    let keyed = [plain[0], json, ("kafka-key", "k")];
    let spooled = [plain[0], json, ("prefer", "respond-async")];
    let post = async |topic: &str, headers: &[(&str, &str)], body: &str, expected: &[u16]| {
        let answer = sender.post(&format!("/v1/topics/{topic}/events"), headers, body.to_owned()).await;
        let known = expected.contains(&answer.status) || answer.status == 429;
        assert!(known, "{client} at turn {turn} to {topic}: {}", answer.json());
    };
    post(TOPIC, &keyed, "{\"n\":1}", &[200, 202]).await;
    match turn % 5 {
        0 => post("dash-clicks", &plain, "[1,2,3,4,5,6,7,8]", &[200]).await,
        1 => post(TOPIC, &keyed, "{\"n\":", &[400]).await,
        2 => {
            post(TOPIC, &[keyed[0], json, keyed[2], spooled[2]], "{\"n\":2}", &[202]).await;
            // Until klamm has heard why the first was refused.
            post(TOPIC, &spooled, "{\"n\":3}", &[202, 422]).await;
        }
        3 => post("dash-clicks", &[("authorization", "Bearer nobody"), json], "1", &[401]).await,
        _ => post("other", &plain, "1", &[403]).await,
    }
    if turn == 7 {
        post("dash-parked", &spooled, "{\"n\":4}", &[202]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_something_every_rule_evaluates_and_every_command_of_a_runbook_runs() {
    let site = Site::start().await;
    // Starting a JVM for each of Kafka's tools takes as long as it takes until rates have something to stand on.
    tokio::join!(runbooks::run_commands(&site), async {
        scraped(&site.prometheus).await;
        panels(&site.prometheus).await;
        evaluated(&site.prometheus).await;
        linted(&site.gateway).await;
    });
    site.end().await;
}

/// Waits until there is something to see: what comes last by nature, and ten seconds of the rest.
async fn scraped(prometheus: &Prometheus) {
    soon("klamm says that a dead-letter topic is missing", async || {
        (!prometheus.ask("klamm_dead_letter_missing").await.is_empty()).then_some(())
    })
    .await;
    soon("ten seconds are scraped", async || {
        let scraped = prometheus.ask("min(count_over_time(klamm_topic_batches_total[1m]))").await;
        scraped.first().is_some_and(|count| *count >= 8.0).then_some(())
    })
    .await;
}

/// Queries that show nothing when one topic is chosen, and why.
const EMPTY: [(&str, &str); 1] =
    [("klamm-overview: Spool: in trouble, E", "the topic that has dead letters is not the one that cannot have any")];

async fn panels(prometheus: &Prometheus) {
    let mut empty = Vec::new();
    for (what, client, topic) in [("all", ".*", ".*"), ("one client", "shop", ".*"), ("one topic", ".*", TOPIC)] {
        for asked in dashboards::queries() {
            let filled = [("$job", "klamm"), ("$instance", ".*"), ("$client", client), ("$topic", topic)];
            let expression = filled.iter().fold(asked.expression, |text, (name, value)| text.replace(name, value));
            let expression = expression.replace("$__rate_interval", "10s");
            let excused = what == "one topic" && EMPTY.iter().any(|(place, _)| *place == asked.place);
            let found = prometheus.ask(&expression).await;
            if found.iter().any(|value| value.is_finite()) == excused {
                empty.push(format!("{what}: {}: {expression}: {found:?}", asked.place));
            }
        }
    }
    assert!(empty.is_empty(), "no finite sample, or one in spite of an excuse:\n{}", empty.join("\n"));
}

/// Against live data each rule is healthy, and the recorded rates are there.
async fn evaluated(prometheus: &Prometheus) {
    let rules = soon("every rule is evaluated", async || {
        let rules = prometheus.rules().await;
        rules.iter().all(|(_, health, _)| health != "unknown").then_some(rules)
    })
    .await;
    assert_eq!(rules.len(), rules::recorded().len() + rules::alerts().len());
    for (name, health, error) in rules {
        assert_eq!((health.as_str(), error.as_str()), ("ok", ""), "{name}");
    }
    for name in rules::recorded() {
        let found = prometheus.ask(&name).await;
        assert!(found.iter().any(|value| value.is_finite()), "{name}: {found:?}");
    }
    let firing = prometheus.ask("ALERTS{alertname=\"KlammSpoolParked\"}").await;
    assert_eq!(firing.len(), 1, "an event is parked");
}

/// Prometheus' own linter finds nothing to say about the page: names, units, types, help.
async fn linted(gateway: &Gateway) {
    let metrics = gateway.metrics().await;
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool");
    promtool.stdin.take().expect("a pipe").write_all(metrics.text().as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
