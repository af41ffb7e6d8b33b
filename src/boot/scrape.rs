//! What is computed at a scrape: the buffer, the quotas, the producers.

use std::sync::Arc;

use crate::ingest::Gateway;
use crate::stages::produce::context::reason;
use crate::stages::produce::statistics::Board;
use crate::stages::produce::supervisor::Mends;
use crate::telemetry::{Scrape, names};

/// Makes the metrics of `gateway` ask for them.
pub(super) fn install(gateway: &Arc<Gateway>, board: &Arc<Board>, mends: &Arc<Mends>) {
    // Weak: the metrics belong to the gateway.
    let gateway_of = Arc::downgrade(gateway);
    let (board, mends) = (Arc::clone(board), Arc::clone(mends));
    gateway.metrics.on_scrape(Box::new(move |scrape| {
        let Some(gateway) = gateway_of.upgrade() else { return };
        buffer(&gateway, scrape);
        quotas(&gateway, scrape);
        scrape.put(&names::KAFKA_UP, &[], truth(gateway.health.is_up()));
        spool(&gateway, scrape);
        for stats in board.read() {
            scrape.producer(&stats);
        }
        for (topic, thin) in gateway.catalog.thin() {
            scrape.put(&names::TOPIC_UNDER_MIN_ISR, &[topic.as_str()], thin as f64);
        }
        for (topic, late) in gateway.backlog.late_queues() {
            scrape.put(&names::TOPIC_LATE_QUEUES, &[&topic], late as f64);
        }
        for (topic, code, count) in board.failures() {
            scrape.put(&names::DELIVERY_FAILURES, &[&topic, &reason(code)], count as f64);
        }
        for (reason, count) in mends.replaced() {
            scrape.put(&names::PRODUCERS_REPLACED, &[reason], count as f64);
        }
        for (doubled, count) in mends.resent() {
            scrape.put(&names::EVENTS_RESENT, &[doubled], count as f64);
        }
    }));
}

fn buffer(gateway: &Gateway, scrape: &mut Scrape) {
    let usage = gateway.budget.usage();
    scrape.put(&names::ADMISSION_BYTES, &["used"], usage.used as f64);
    scrape.put(&names::ADMISSION_BYTES, &["total"], usage.total as f64);
}

fn spool(gateway: &Gateway, scrape: &mut Scrape) {
    let Some(spooling) = &gateway.spooling else { return };
    let state = spooling.store.state();
    scrape.put(&names::SPOOL_EVENTS, &["waiting"], state.events as f64);
    scrape.put(&names::SPOOL_EVENTS, &["parked"], state.parked as f64);
    scrape.put(&names::SPOOL_BYTES, &["waiting"], state.bytes as f64);
    scrape.put(&names::SPOOL_BYTES, &["disk"], state.disk as f64);
    let total = gateway.rules.load().config.spool.total.get();
    scrape.put(&names::SPOOL_BYTES, &["total"], total as f64);
    scrape.put(&names::SPOOL_OLDEST_SECONDS, &[], state.oldest.unwrap_or_default().as_secs_f64());
    scrape.put(&names::SPOOL_ROOM, &[], truth(state.room));
    scrape.put(&names::SPOOL_QUARANTINED, &[], state.quarantined.into());
    scrape.put(&names::SPOOL_LOST, &[], state.lost as f64);
    scrape.put(&names::SPOOLING, &[], truth(gateway.is_spooling()));
    for ((client, topic, reason), events) in spooling.letters() {
        scrape.put(&names::DEAD_LETTERED, &[client.as_str(), topic.as_str(), &reason], events as f64);
    }
    for topic in spooling.without_letters() {
        scrape.put(&names::DEAD_LETTER_MISSING, &[topic.as_str()], 1.0);
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
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
