//! What the first screen says above its tables.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::Sources;
use super::row::{Row, round};
use crate::ingest::Gateway;
use crate::shutdown::Phase;
use crate::telemetry::{BrokerStats, ProducerStats, Window};

/// See the module.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Head {
    phase: &'static str,
    kafka_up: bool,
    /// How long Kafka has not answered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<u64>,
    complaints: Vec<String>,
    #[serde(rename = "unsafe")]
    unsafe_: bool,
    brokers: Brokers,
    pub(super) total: Option<Row>,
    pub(super) budget: Part,
    pub(super) queue: Part,
    queue_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spool: Option<Spool>,
    reload: Reload,
    history: Part,
    tap_payload: bool,
    uptime: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Brokers {
    up: usize,
    known: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Part {
    pub(super) used: u64,
    pub(super) of: u64,
}

impl Part {
    /// From 0 to 1.
    pub(super) fn ratio(&self) -> f64 {
        self.used as f64 / (self.of as f64).max(1.0)
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Spool {
    active: bool,
    events: u64,
    parked: u64,
    pub(super) bytes: u64,
    disk: Part,
    oldest: f64,
    room: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Reload {
    ok: bool,
    generation: u64,
    /// In seconds since the epoch.
    at: Option<i64>,
}

impl Head {
    /// As it is now; `total` is the row of everything together, `budget` what is held of the whole budget.
    pub(super) fn of(sources: &Sources, total: Row, budget: Part) -> Self {
        let Sources { gateway, live, board, .. } = sources;
        let config = live.current();
        let status = live.status();
        let (used, of) = gateway.metrics.memory.usage();
        let (queue, queue_records, brokers) = board.view(|producers| {
            let each = || producers.values();
            let used = each().map(|producer| producer.queue_bytes.get()).sum();
            let of = each().map(|producer| producer.queue_limit.get()).max().unwrap_or_default();
            (Part { used, of }, each().map(|producer| producer.queue_messages).sum(), brokers(each()))
        });
        Self {
            phase: phase(gateway),
            kafka_up: gateway.health.is_up(),
            outage: gateway.health.outage().map(|outage| outage.as_secs()),
            complaints: gateway.health.complaints(),
            unsafe_: config.kafka.values().any(|cluster| cluster.unsafe_),
            brokers,
            total: Some(total),
            budget,
            queue,
            queue_records,
            spool: spool(gateway, config.spool.total.get()),
            reload: Reload {
                ok: status.last_reload_ok,
                generation: status.generation,
                at: status.last_reload_at.map(|at| at.unix_timestamp()),
            },
            history: Part { used: used as u64, of: of as u64 },
            tap_payload: gateway.metrics.tap.shows_payload(),
            uptime: gateway.metrics.uptime().as_secs(),
        }
    }
}

fn phase(gateway: &Gateway) -> &'static str {
    match *gateway.phase.borrow() {
        Phase::Serving => "serving",
        Phase::LameDuck => "stopping, still serving",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
    }
}

/// A broker is up if one of the producers is connected to it.
fn brokers<'a>(producers: impl Iterator<Item = &'a ProducerStats>) -> Brokers {
    let mut up = BTreeMap::<&str, bool>::new();
    for broker in producers.flat_map(|producer| &producer.brokers) {
        *up.entry(&broker.name).or_default() |= broker.up;
    }
    Brokers { up: up.values().filter(|up| **up).count(), known: up.len() }
}

fn spool(gateway: &Gateway, total: u64) -> Option<Spool> {
    let state = gateway.spooling.as_ref()?.store.state();
    Some(Spool {
        active: gateway.is_spooling(),
        events: state.events,
        parked: state.parked,
        bytes: state.bytes,
        disk: Part { used: state.disk, of: total },
        oldest: round(state.oldest.unwrap_or_default().as_secs_f64(), 10.0),
        room: state.room,
    })
}

/// The producers and their brokers: times in seconds, sizes in bytes.
pub(super) fn kafka<'a>(producers: impl Iterator<Item = &'a ProducerStats>) -> Value {
    let window = |window: Window<Duration>| json!({ "avg": window.avg.as_secs_f64(), "p99": window.p99.as_secs_f64() });
    let broker = |broker: &BrokerStats| {
        json!({
            "name": broker.name,
            "up": broker.up,
            "rtt": window(broker.rtt),
            "queue": window(broker.queue),
            "send": window(broker.send),
            "throttle": window(broker.throttle),
            "errors": broker.tx_errors,
            "retries": broker.tx_retries,
        })
    };
    let producer = |producer: &ProducerStats| {
        json!({
            "name": producer.name,
            "queue_records": producer.queue_messages,
            "queue_bytes": producer.queue_bytes.get(),
            "queue_limit": producer.queue_limit.get(),
            "batch": { "avg": producer.batch.avg.get(), "p99": producer.batch.p99.get() },
            "brokers": producer.brokers.iter().map(broker).collect::<Vec<_>>(),
        })
    };
    producers.map(producer).collect()
}
