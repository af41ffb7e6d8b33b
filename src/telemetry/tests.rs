use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::names::{self, Kind};
use super::*;
use crate::reject::Code;

/// Keeps what is logged.
#[derive(Debug, Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Sink {
    type Writer = Sink;

    fn make_writer(&'w self) -> Sink {
        self.clone()
    }
}

/// A gateway's metrics with every one of them touched.
fn touched() -> Arc<Metrics> {
    let metrics = Metrics::new(10, 1 << 20);
    let pair = metrics.pair(&"shop".into(), &"orders".into());
    pair.received(3);
    pair.bytes(300);
    pair.outcome(Outcome::Acked, 2);
    pair.outcome(Outcome::Rejected, 1);
    pair.request(RequestResult::Partial);
    pair.refused(Code::InvalidEvents);
    pair.ack(Duration::from_millis(7));
    pair.seen(1_800_000_000);
    let fixed = &metrics.fixed;
    fixed.batch_events.record(3.0);
    pair.recovered(1);
    pair.drained(Outcome::Acked, 1);
    fixed.spool_sync.record(0.001);
    fixed.connection(ConnectionEvent::Accepted);
    fixed.http(Route::Produce, 207, Duration::from_millis(8));
    fixed.build_info("0.1.0", "2.12.1");
    fixed.reloaded(Some(Duration::from_secs(1_800_000_000)));
    metrics.on_scrape(Box::new(|scrape| {
        scrape.put(&names::LIMIT_REMAINING, &["shop", "events"], 0.25);
        scrape.put(&names::ADMISSION_BYTES, &["used"], 4096.0);
        scrape.put(&names::KAFKA_UP, &[], 1.0);
        scrape.put(&names::PRODUCERS_REPLACED, &["fatal"], 1.0);
        scrape.put(&names::EVENTS_RESENT, &["maybe"], 20.0);
        for def in [
            &names::SPOOL_OLDEST_SECONDS,
            &names::SPOOL_ROOM,
            &names::SPOOL_QUARANTINED,
            &names::SPOOL_LOST,
            &names::SPOOLING,
        ] {
            scrape.put(def, &[], 1.0);
        }
        scrape.put(&names::SPOOL_EVENTS, &["waiting"], 1.0);
        scrape.put(&names::SPOOL_BYTES, &["disk"], 1.0);
        scrape.put(&names::DEAD_LETTERED, &["till", "orders", "invalid_record"], 1.0);
        scrape.put(&names::DEAD_LETTER_MISSING, &["orders"], 1.0);
        let brokers = vec![BrokerStats { name: "a:9092/1".into(), up: true, ..BrokerStats::default() }];
        let topics = BTreeMap::from([("orders".to_owned(), Batches::default())]);
        scrape.producer(&ProducerStats { name: "default".into(), brokers, topics, ..ProducerStats::default() });
        scrape.put(&names::TOPIC_UNDER_MIN_ISR, &["orders"], 0.0);
        scrape.put(&names::TOPIC_LATE_QUEUES, &["orders"], 0.0);
        scrape.put(&names::DELIVERY_FAILURES, &["orders", "message_timed_out"], 1.0);
    }));
    metrics
}

#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    rows: BTreeMap<String, f64>,
}

/// Reads the text format, strictly: HELP and TYPE once for each name and before its rows, no row twice.
fn read(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert!(families.insert(current.clone(), family).is_none(), "HELP twice: {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            let family = families.get_mut(name).unwrap();
            assert_eq!(std::mem::replace(&mut family.kind, kind.to_owned()), "", "TYPE twice: {name}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let family = families.get_mut(&current).unwrap();
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{name} under {current}"));
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            for label in labels.strip_suffix('}').unwrap().split("\",").filter(|label| !label.is_empty()) {
                family.labels.insert(label.split_once("=\"").unwrap().0.to_owned());
            }
            assert!(family.rows.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {series}");
        }
    }
    families
}

#[test]
fn the_table_of_names_is_what_a_gateway_exports() {
    let mut families = read(&touched().render());
    for def in names::ALL {
        let family = families.remove(def.name).unwrap_or_else(|| panic!("{} is not exported", def.name));
        assert_eq!((family.kind, family.help.as_str()), (def.kind.to_string(), def.help), "{}", def.name);
        let mut labels: BTreeSet<_> = def.labels.iter().map(|label| label.to_string()).collect();
        if def.kind == Kind::Histogram {
            labels.insert("le".to_owned());
        }
        assert_eq!(family.labels, labels, "{}", def.name);
        assert_eq!(def.name.ends_with("_total"), def.kind == Kind::Counter, "{}", def.name);
        let buckets = family.rows.keys().filter(|row| row.contains("_bucket{"));
        let (open, bounded): (Vec<_>, Vec<_>) = buckets.partition(|row| row.contains("le=\"+Inf\""));
        assert_eq!(bounded.len(), open.len() * 11, "{}", def.name);
        assert_eq!(open.is_empty(), def.kind != Kind::Histogram, "{}", def.name);
    }
    assert!(families.is_empty(), "not in the table: {families:?}");
}

#[test]
fn the_page_of_the_docs_holds_the_table_of_names() {
    let row = |def: &&names::Def| {
        let labels: Vec<_> = def.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", def.name, def.kind, labels.join(", "), def.help)
    };
    let expected: Vec<_> = names::ALL.iter().map(row).collect();
    let page = include_str!("../../docs/metrics.md");
    let found: Vec<_> =
        page.lines().filter(|line| line.starts_with("| `klamm_") || line.starts_with("| `process_")).collect();
    assert_eq!(found, expected, "docs/metrics.md should hold:\n{}", expected.join("\n"));
}

#[test]
fn a_pair_exports_its_outcomes_and_results_from_zero_and_refusals_that_occurred() {
    let families = read(&touched().render());
    let value = |series: &str| families[series.split(['{']).next().unwrap()].rows.get(series).copied();
    let shop = r#"client="shop",topic="orders""#;
    for (outcome, count) in [("acked", 3.0), ("rejected", 1.0), ("failed", 0.0), ("unknown", 0.0)] {
        let series = format!("klamm_events_total{{{shop},outcome=\"{outcome}\"}}");
        assert_eq!(value(&series), Some(count), "{series}");
    }
    for (result, count) in [("ok", 0.0), ("partial", 1.0), ("refused", 0.0), ("unavailable", 0.0), ("unknown", 0.0)] {
        let series = format!("klamm_requests_total{{{shop},result=\"{result}\"}}");
        assert_eq!(value(&series), Some(count), "{series}");
    }
    assert_eq!(value(&format!("klamm_refusals_total{{{shop},code=\"invalid_events\"}}")), Some(1.0));
    assert_eq!(families["klamm_refusals_total"].rows.len(), 1);
    assert_eq!(value(r#"klamm_client_last_seen_timestamp_seconds{client="shop"}"#), Some(1_800_000_000.0));
    assert_eq!(families["klamm_client_last_seen_timestamp_seconds"].rows.len(), 1);
}

#[test]
fn samples_survive_upkeep_and_scrapes() {
    let metrics = Metrics::new(10, 1 << 20);
    for n in [1.0, 3.0, 20_000.0] {
        metrics.fixed.batch_events.record(n);
        metrics.upkeep();
    }
    metrics.render();
    let families = read(&metrics.render());
    let rows = &families["klamm_batch_events"].rows;
    assert_eq!(rows[r#"klamm_batch_events_bucket{le="5"}"#], 2.0);
    assert_eq!(rows[r#"klamm_batch_events_bucket{le="+Inf"}"#], 3.0);
    assert_eq!(rows["klamm_batch_events_sum"], 20_004.0);
}

#[test]
fn two_gateways_in_one_process_do_not_mix() {
    let (one, two) = (Metrics::new(10, 1 << 20), Metrics::new(10, 1 << 20));
    one.fixed.connection(ConnectionEvent::Accepted);
    let rows = |metrics: &Metrics| read(&metrics.render())["klamm_connection_events_total"].rows[r#"klamm_connection_events_total{kind="accepted"}"#];
    assert_eq!((rows(&one), rows(&two)), (1.0, 0.0));
}

#[test]
fn open_connections_are_those_accepted_and_not_closed() {
    let metrics = Metrics::new(10, 1 << 20);
    for event in ConnectionEvent::ALL.into_iter().chain([ConnectionEvent::Accepted]) {
        metrics.fixed.connection(event);
    }
    let families = read(&metrics.render());
    assert_eq!(families["klamm_connections"].rows["klamm_connections"], 1.0);
    let rows = &families["klamm_connection_events_total"].rows;
    assert_eq!(rows.len(), ConnectionEvent::ALL.len());
    assert_eq!(rows[r#"klamm_connection_events_total{kind="head_timeout"}"#], 1.0);
}

#[test]
fn a_status_nobody_listed_is_counted_as_other() {
    let metrics = Metrics::new(10, 1 << 20);
    for status in [200, 200, 418, 599] {
        metrics.fixed.http(Route::of("/v1/topics"), status, Duration::from_millis(1));
    }
    metrics.fixed.http(Route::of("/no/such/route"), 404, Duration::from_millis(1));
    let families = read(&metrics.render());
    let expected = BTreeMap::from([
        (r#"klamm_http_requests_total{route="/v1/topics",status="200"}"#.to_owned(), 2.0),
        (r#"klamm_http_requests_total{route="/v1/topics",status="other"}"#.to_owned(), 2.0),
        (r#"klamm_http_requests_total{route="other",status="404"}"#.to_owned(), 1.0),
    ]);
    assert_eq!(families["klamm_http_requests_total"].rows, expected);
    let count = r#"klamm_http_request_seconds_count{route="/v1/topics"}"#;
    assert_eq!(families["klamm_http_request_seconds"].rows[count], 4.0);
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_config_in_use() {
    let metrics = Metrics::new(10, 1 << 20);
    metrics.fixed.reloaded(Some(Duration::from_secs(100)));
    metrics.fixed.reloaded(None);
    let families = read(&metrics.render());
    assert_eq!(families["klamm_config_last_reload_successful"].rows["klamm_config_last_reload_successful"], 0.0);
    let name = "klamm_config_last_reload_timestamp_seconds";
    assert_eq!(families[name].rows[name], 100.0);
}

#[test]
fn pairs_that_left_are_no_longer_exported() {
    let metrics = touched();
    assert!(metrics.render().contains("shop"));
    metrics.retain(|_, _| false);
    let page = metrics.render();
    // The hook's own row is not the registry's.
    assert!(!page.contains(r#"client="shop",topic"#), "{page}");
    assert!(page.contains(r#"klamm_events_received_total{client="_anonymous",topic="_unknown"} 0"#));
}

#[test]
fn a_thousand_clients_with_three_hundred_topics_each_are_capped_and_none_is_lost() {
    let metrics = Metrics::new(2000, 1 << 20);
    for client in 0..1000 {
        let client = format!("client-{client:03}").as_str().into();
        for topic in 0..300 {
            let pair = metrics.pair(&client, &format!("topic-{topic:03}").as_str().into());
            pair.received(1);
            pair.ack(Duration::from_millis(7));
            pair.refused(Code::RateLimited);
            pair.seen(1_800_000_000);
        }
        metrics.unknown_topic(&client).refused(Code::UnknownTopic);
    }
    let started = Instant::now();
    let page = metrics.render();
    println!("{} bytes in {:?}", page.len(), started.elapsed());

    let families = read(&page);
    let rows = |name: &str| families[name].rows.len();
    // 2,000 topics of seven clients; each other client, and the one where the number was reached, with `_other`; each
    // with `_unknown`; `_anonymous`.
    let pairs = 2000 + 994 + 1000 + 1;
    assert_eq!(rows("klamm_events_received_total"), pairs);
    assert_eq!(rows("klamm_ack_seconds"), pairs * 14);
    assert_eq!(rows("klamm_client_last_seen_timestamp_seconds"), 1000, "each client has rows of its own");
    let all: f64 = families["klamm_events_received_total"].rows.values().sum();
    assert_eq!(all, 300_000.0);
    let folded = families["klamm_metrics_folded_total"].rows["klamm_metrics_folded_total"];
    assert_eq!(folded, 298_000.0);
    let series: usize = families.values().map(|family| family.rows.len()).sum();
    assert!(series < pairs * 28, "{series}");
}
