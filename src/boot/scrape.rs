//! What is computed at a scrape: the buffer, the quotas, the producers.

use std::sync::Arc;

use crate::ingest::Gateway;
use crate::stages::produce::statistics::Board;
use crate::telemetry::{Scrape, names};

/// Makes the metrics of `gateway` ask for them.
pub(super) fn install(gateway: &Arc<Gateway>, board: &Arc<Board>) {
    // Weak: the metrics belong to the gateway.
    let gateway_of = Arc::downgrade(gateway);
    let board = Arc::clone(board);
    gateway.metrics.on_scrape(Box::new(move |scrape| {
        let Some(gateway) = gateway_of.upgrade() else { return };
        buffer(&gateway, scrape);
        quotas(&gateway, scrape);
        let up = f64::from(u8::from(gateway.health.is_up()));
        scrape.put(&names::KAFKA_UP, &[], up);
        for stats in board.read() {
            scrape.producer(&stats);
        }
    }));
}

fn buffer(gateway: &Gateway, scrape: &mut Scrape) {
    let usage = gateway.budget.usage();
    scrape.put(&names::ADMISSION_BYTES, &["used"], usage.used as f64);
    scrape.put(&names::ADMISSION_BYTES, &["total"], usage.total as f64);
}

fn quotas(gateway: &Gateway, scrape: &mut Scrape) {
    let now = gateway.now();
    for client in gateway.rules.load().clients.values() {
        for standing in client.quota.standing(now) {
            let ratio = standing.remaining as f64 / (standing.quota as f64).max(1.0);
            scrape.put(&names::LIMIT_REMAINING, &[client.id.as_str(), standing.policy.name()], ratio);
        }
    }
}
