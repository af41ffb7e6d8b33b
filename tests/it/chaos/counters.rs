//! The gateway's own counters against the ledger (I9), life by life.
//!
//! While requests are on their way a count can only be bounded: from below by what this life surely had answered before
//! the look, from above by what it may have seen before the look ended. When nothing is on its way the bounds meet.

use std::time::Duration;

use super::ledger::{Book, Entry, Said};
use super::rig::{CLIENTS, Life, TOPICS};
use crate::support::metrics::Metrics;

/// What is wrong with the counters of this life, at its last look.
pub(super) fn faults(number: usize, life: &Life, book: &Book) -> Vec<String> {
    let Some((from, to, metrics)) = &life.last else {
        return vec![format!("life {number}: its metrics were never read")];
    };
    let mut faults = Vec::new();
    for (client, name) in CLIENTS.iter().enumerate() {
        for (topic, topic_name) in TOPICS.iter().enumerate() {
            let ours = |entry: &&Entry| entry.order.client == client && entry.order.topic == topic;
            let entries: Vec<&Entry> = book.entries.iter().filter(ours).collect();
            let counts = Counts::of(metrics, name, topic_name);
            let bounds = Bounds::of(&entries, life.from, (*from, *to));
            let who = format!("life {number}, {name} to {topic_name}");
            faults.extend(bounds.faults(&counts).into_iter().map(|fault| format!("{who}: {fault}")));
        }
    }
    faults
}

/// Of one client and topic. The outcomes that are not listed are those still waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) received: f64,
    pub(super) acked: f64,
    /// In the spool when this life began.
    pub(super) recovered: f64,
    pub(super) rejected: f64,
    pub(super) failed: f64,
    pub(super) unknown: f64,
}

impl Counts {
    pub(super) fn of(metrics: &Metrics, client: &str, topic: &str) -> Self {
        let labels = [("client", client), ("topic", topic)];
        let of = |outcome| metrics.sum("klamm_events_total", &[labels[0], labels[1], ("outcome", outcome)]);
        Self {
            received: metrics.sum("klamm_events_received_total", &labels),
            acked: of("acked"),
            recovered: metrics.sum("klamm_spool_recovered_events_total", &labels),
            rejected: of("rejected"),
            failed: of("failed"),
            unknown: of("unknown"),
        }
    }

    /// Events without an outcome yet.
    pub(super) fn waiting(&self) -> f64 {
        self.received + self.recovered - self.acked - self.rejected - self.failed - self.unknown
    }
}

/// What the ledger lets a life have counted.
#[derive(Debug)]
struct Bounds {
    received: (u64, u64),
    acked: (u64, u64),
}

impl Bounds {
    fn of(entries: &[&Entry], born: Duration, (from, to): (Duration, Duration)) -> Self {
        let mut bounds = Self { received: (0, 0), acked: (0, 0) };
        for entry in entries {
            let events = u64::from(entry.order.events);
            let is_sure = entry.sent >= born && entry.answered.is_some_and(|answered| answered <= from);
            // These answers come after the body was read and decoded.
            if is_sure && matches!(entry.status, 200 | 202 | 207 | 500 | 504) {
                bounds.received.0 += events;
                bounds.acked.0 += entry.count(Said::Acked);
            }
            if entry.sent <= to && entry.answered.is_none_or(|answered| answered >= born) {
                bounds.received.1 += events;
                let refused = if entry.answered.is_some_and(|at| at <= from) { entry.count(Said::Refused) } else { 0 };
                bounds.acked.1 += events - refused;
            }
        }
        bounds
    }

    fn faults(&self, counts: &Counts) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |what: &str, count: f64, least: u64, most: f64| {
            if count < least as f64 || count > most {
                faults.push(format!("{what} {count}, by the ledger {least} to {most}"));
            }
        };
        check("received", counts.received, self.received.0, self.received.1 as f64);
        check("acked", counts.acked, self.acked.0, self.acked.1 as f64 + counts.recovered);
        if counts.waiting() < 0.0 {
            faults.push(format!("more outcomes than events: {counts:?}"));
        }
        faults
    }
}

#[test]
fn counts_that_the_ledger_does_not_allow_are_found() {
    use super::ledger::Order;
    let second = Duration::from_secs;
    let entry = |sent: u64, answered: Option<u64>, status| Entry {
        order: Order { client: 0, topic: 0, stream: None, events: 10 },
        sent: second(sent),
        answered: answered.map(second),
        status,
        failed: Vec::new(),
    };
    // Before its birth; sure; refused; unknown; on its way; after the look.
    let book = [
        entry(1, Some(2), 200),
        entry(5, Some(6), 200),
        entry(5, Some(7), 503),
        entry(6, Some(8), 504),
        entry(9, None, 0),
        entry(20, Some(21), 200),
    ];
    let entries: Vec<&Entry> = book.iter().collect();
    let bounds = Bounds::of(&entries, second(4), (second(10), second(11)));
    assert_eq!((bounds.received, bounds.acked), ((20, 40), (10, 30)));
    let counts = |received, acked| Counts { received, acked, recovered: 0.0, rejected: 0.0, failed: 0.0, unknown: 0.0 };
    for (received, acked, wrong) in
        [(20.0, 10.0, 0), (40.0, 30.0, 0), (19.0, 10.0, 1), (41.0, 31.0, 2), (20.0, 9.0, 1), (20.0, 30.0, 1)]
    {
        assert_eq!(bounds.faults(&counts(received, acked)).len(), wrong, "{received} {acked}");
    }
}
