//! Looks at the gateway twice a second while faults come and go: memory, errors of its connections to Kafka.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::ledger::Ledger;
use super::rig::{Rig, resident, scrape};

const PERIOD: Duration = Duration::from_millis(500);

/// One look.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Look {
    pub(super) at: Duration,
    /// Bytes.
    pub(super) resident: u64,
    /// Brokers that klamm is connected to, by each of its producers.
    pub(super) brokers_up: f64,
    /// The slowest broker's round trip by klamm's producers, on average, in seconds.
    pub(super) round_trip: f64,
    /// Events in the spool.
    pub(super) spooled: f64,
    /// Lines of librdkafka, and warnings about Kafka, since the look before.
    pub(super) complaints: usize,
    /// Requests to brokers that failed or were sent again since the look before.
    pub(super) errors: f64,
}

/// Watches until `stop`; all looks.
pub(super) async fn watch(rig: Arc<Rig>, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) -> Vec<Look> {
    let mut looks = Vec::new();
    let (mut life, mut read, mut errors) = (0, 0, 0.0);
    let mut clock = tokio::time::interval(PERIOD);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(Ordering::Relaxed) {
        clock.tick().await;
        let Some((number, pid, admin, log)) = rig.running() else { continue };
        if number != life {
            (life, read, errors) = (number, 0, 0.0);
        }
        let Some(metrics) = scrape(&admin).await else { continue };
        let all = metrics.sum("klamm_broker_tx_errors_total", &[]) + metrics.sum("klamm_broker_tx_retries_total", &[]);
        // Counters of a new producer start from 0.
        let more = if all >= errors { all - errors } else { all };
        errors = all;
        looks.push(Look {
            at: ledger.now(),
            resident: resident(pid).unwrap_or_default(),
            brokers_up: metrics.sum("klamm_broker_up", &[]),
            round_trip: metrics.most("klamm_broker_rtt_seconds", &[("stat", "avg")]),
            spooled: metrics.sum("klamm_spool_events", &[("state", "waiting")]),
            complaints: complaints(&log, &mut read),
            errors: more,
        });
    }
    looks
}

/// How many lines about Kafka the log has got since it was `read` so far.
fn complaints(log: &Path, read: &mut u64) -> usize {
    let mut text = String::new();
    let mut more = || {
        let mut file = File::open(log).ok()?;
        file.seek(SeekFrom::Start(*read)).ok()?;
        *read += file.read_to_string(&mut text).ok()? as u64;
        Some(())
    };
    // A gateway that has just ended takes its log along.
    let _ = more();
    text.lines().filter(|line| line.contains("\"librdkafka\"") || line.contains("kafka: ")).count()
}
