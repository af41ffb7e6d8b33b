//! Rules for `kafka`: one cluster, brokers to start from, and properties that leave klamm's promises whole.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::{Rules, is_host_port};
use crate::config::fault::{Fault, Path};
use crate::config::secrets::Properties;
use crate::config::{Cluster, Config};
use crate::units::{ByteSize, Span};

/// Properties that klamm sets itself, and where to turn instead.
pub(super) const DERIVED: [(&str, &str); 22] = [
    ("topic.metadata.refresh.interval.ms", "set `metadata_refresh`"),
    ("bootstrap.servers", "set `bootstrap`"),
    ("metadata.broker.list", "set `bootstrap`"),
    ("linger.ms", "set `linger`"),
    ("queue.buffering.max.ms", "set `linger`"),
    ("batch.size", "set `batch_bytes`"),
    ("compression.type", "set `compression`"),
    ("compression.codec", "set `compression`"),
    ("message.timeout.ms", "set `delivery_timeout`"),
    ("delivery.timeout.ms", "set `delivery_timeout`"),
    ("message.max.bytes", "klamm derives it from the topics' `max_event` and `batch_bytes`"),
    ("queue.buffering.max.messages", "klamm derives it from `budget.total`"),
    ("queue.buffering.max.kbytes", "klamm derives it from `budget.total`"),
    ("queue.buffering.backpressure.threshold", "klamm derives it from `budget.total`"),
    ("statistics.interval.ms", "klamm needs its own for the metrics"),
    ("partitioner", "it is murmur2_random, so that keys go where Java's producers send them"),
    ("allow.auto.create.topics", "it is false: a topic that Kafka lacks is answered 404"),
    ("delivery.report.only.error", "klamm answers from delivery reports"),
    ("produce.offset.report", "klamm answers with offsets"),
    ("transactional.id", "klamm does not produce in transactions"),
    ("queuing.strategy", "it is fifo, so that order holds"),
    ("message.copy.max.bytes", "klamm decides what is copied"),
];

const NO_BROKER: &str = "is required: `host:port` of some brokers";

/// Whether `fault` says that no broker is named.
pub fn is_no_broker(fault: &Fault) -> bool {
    fault.message == NO_BROKER
}

pub(super) fn check(config: &Config, rules: &mut Rules) {
    if !config.kafka.contains_key("default") {
        let path = Path::of(["kafka", "default", "bootstrap"]);
        rules.fault(path, NO_BROKER);
    }
    for (name, cluster) in &config.kafka {
        let path = Path::of(["kafka", name]);
        if name != "default" {
            rules.fault(path, "only one cluster for now, and its name is `default`");
            continue;
        }
        check_cluster(config, cluster, &path, rules);
        for (name, value) in &cluster.properties {
            check_property(name, value, cluster.unsafe_, &path.key("properties").key(name), rules);
        }
    }
}

fn check_cluster(config: &Config, cluster: &Cluster, path: &Path, rules: &mut Rules) {
    let bootstrap = path.key("bootstrap");
    if cluster.bootstrap.is_empty() {
        rules.fault(bootstrap.clone(), NO_BROKER);
    }
    for (index, broker) in cluster.bootstrap.iter().enumerate() {
        if !is_host_port(broker) {
            rules.fault(bootstrap.index(index), format!("`{broker}` is not `host:port`"));
        }
    }
    rules.size(ByteSize::kib(1), ByteSize::mib(100), cluster.batch_bytes, path.key("batch_bytes"));
    let (delivery, wait) = (cluster.delivery_timeout, config.ingest.wait);
    if delivery <= wait {
        let message = format!("{delivery} must be longer than ingest.wait ({wait}): else no request is answered 504");
        rules.fault(path.key("delivery_timeout"), message);
    }
    let refresh = cluster.metadata_refresh;
    if refresh < Span::secs(1) || refresh > Span::secs(86_400) {
        rules.fault(path.key("metadata_refresh"), format!("{refresh} is not between 1s and 1d"));
    }
    if delivery > Span::secs(86_400) {
        rules.fault(path.key("delivery_timeout"), format!("{delivery} is longer than 1d"));
    }
    check_linger(cluster.linger, cluster, path.key("linger"), rules);
}

/// Librdkafka's own bounds.
pub(super) fn check_linger(linger: Span, cluster: &Cluster, path: Path, rules: &mut Rules) {
    let longest = Span::secs(900).min(cluster.delivery_timeout);
    if linger >= longest {
        rules.fault(path, format!("{linger} must be shorter than {longest} (15m, or delivery_timeout)"));
    }
}

fn check_property(name: &str, value: &str, allow_unsafe: bool, path: &Path, rules: &mut Rules) {
    if let Some((_, instead)) = DERIVED.iter().find(|(derived, _)| *derived == name) {
        rules.fault(path.clone(), format!("not to be set here: {instead}"));
        return;
    }
    if let (Some(promise), false) = (broken_promise(name, value), allow_unsafe) {
        rules.fault(path.clone(), format!("{promise}; allowed only with `unsafe: true`"));
        return;
    }
    if let Err(message) = ask_librdkafka(name, value) {
        rules.fault(path.clone(), message);
    }
}

/// What klamm could no longer promise with this property.
fn broken_promise(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    match name {
        "acks" | "request.required.acks" if value != "all" && value != "-1" => {
            Some("acknowledged events could be lost: acks must be `all`")
        }
        "enable.idempotence" if !value.eq_ignore_ascii_case("true") => {
            Some("retries could double and reorder events: enable.idempotence must be `true`")
        }
        "max.in.flight.requests.per.connection" | "max.in.flight"
            if !value.parse::<u32>().is_ok_and(|n| (1..=5).contains(&n)) =>
        {
            Some("the idempotent producer keeps order for 1 to 5 requests in flight")
        }
        "enable.gapless.guarantee" if !value.eq_ignore_ascii_case("false") => {
            Some("one client's faulty record would stop all others for good")
        }
        _ => None,
    }
}

/// Whether librdkafka knows the property and takes the value. Of secrets, only words that cannot repeat the value.
fn ask_librdkafka(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..))
            if !Properties::is_secret(name) || reason.contains("No such") || reason.contains("not supported") =>
        {
            Err(reason)
        }
        Err(_) => Err("librdkafka does not take this value".to_owned()),
    }
}
