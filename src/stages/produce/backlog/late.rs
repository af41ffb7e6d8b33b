//! The topics with late queues, over all producers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Clears, Forecast, Measured, Probe};
use crate::event::TopicName;
use crate::stages::produce::Lane;

/// Topics of which it is told how many queues are late.
const COUNTED: usize = 1000;

/// The topics that have late queues, for those who ask before they send.
#[derive(Default)]
pub struct Backlog {
    /// Whether there is one: what a request pays while there is none is this.
    any: AtomicBool,
    late: RwLock<HashMap<Lane, HashMap<TopicName, Arc<Late>>>>,
    /// Of every topic that was measured, how many queues do not flow. For people.
    counts: Mutex<HashMap<Lane, BTreeMap<TopicName, usize>>>,
    /// Topics that refused a record for what the gate should have known.
    surprises: Mutex<BTreeSet<String>>,
}

struct Late {
    measured: Measured,
    probe: Arc<Probe>,
}

impl Backlog {
    /// Notes what was measured of the topics of `lane`, by all of its producers.
    pub fn note(&self, lane: Lane, topics: impl IntoIterator<Item = (TopicName, Measured)>) {
        let mut all = self.late.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = all.remove(&lane).unwrap_or_default();
        let mut counts = BTreeMap::new();
        let late = topics.into_iter().filter(|(topic, measured)| {
            *counts.entry(topic.clone()).or_default() += measured.late;
            measured.worst != Clears::Flows
        });
        let late = late.map(|(topic, measured)| {
            let probe = before.remove(&topic).map_or_else(Arc::default, |late| Arc::clone(&late.probe));
            (topic, Arc::new(Late { measured, probe }))
        });
        let late = late.collect();
        all.insert(lane, late);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(lane, counts);
        self.any.store(all.values().any(|topics| !topics.is_empty()), Ordering::Relaxed);
    }

    /// How many queues do not flow, for each topic that something was sent to: of at most `COUNTED` topics, the rest as
    /// `_other`.
    pub fn late_queues(&self) -> BTreeMap<String, usize> {
        let mut topics = BTreeMap::<String, usize>::new();
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, late) in counts.values().flatten() {
            let has_row = topics.len() < COUNTED || topics.contains_key(topic.as_str());
            let row = if has_row { topic.as_str() } else { "_other" };
            *topics.entry(row.to_owned()).or_default() += late;
        }
        topics
    }

    /// Notes that `topic` refused what it was believed to take: its settings may have changed.
    pub fn surprised(&self, topic: &str) {
        let mut surprises = self.surprises.lock().unwrap_or_else(PoisonError::into_inner);
        if !surprises.contains(topic) {
            surprises.insert(topic.to_owned());
        }
    }

    /// The topics that did, once.
    pub fn take_surprises(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.surprises.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether any topic has a late queue.
    pub fn is_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The topics that have one.
    pub fn topics(&self) -> Vec<TopicName> {
        let late = self.late.read().unwrap_or_else(PoisonError::into_inner);
        late.values().flat_map(|topics| topics.keys().cloned()).collect()
    }

    /// For a request to `topic` that failed, wherever it went: by its worst queue.
    pub fn worst(&self, topic: &TopicName) -> Forecast {
        let late = self.late.read().unwrap_or_else(PoisonError::into_inner);
        let worst = late.values().filter_map(|topics| topics.get(topic)).map(|late| late.measured.worst).max();
        Forecast::of(worst.unwrap_or(Clears::Flows), Duration::ZERO)
    }

    /// Whether a request to `topic` that waits for `wait` should be sent at `now`. Once a second it should to a topic
    /// that is stuck.
    pub fn forecast(&self, lane: Lane, topic: &TopicName, wait: Duration, now: Instant) -> Forecast {
        let late = self.late.read().unwrap_or_else(PoisonError::into_inner);
        let Some(late) = late.get(&lane).and_then(|topics| topics.get(topic)).cloned() else { return Forecast::GoOn };
        let clears = late.measured.best;
        match Forecast::of(clears, wait) {
            Forecast::Refuse { .. } if matches!(clears, Clears::Stuck(_)) && late.probe.take(now) => Forecast::GoOn,
            forecast => forecast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LATE, Ledger, TURN};
    use super::*;

    #[test]
    fn late_queues_are_counted_for_every_topic_and_their_rows_are_bounded() {
        let (ledger, backlog) = (Ledger::default(), Backlog::default());
        let (now, topic) = (Instant::now(), TopicName::from("t"));
        let queues = ledger.open(&topic, 3);
        queues.iter().skip(1).for_each(|queue| queue.give(1));
        backlog.note(Lane::Express, ledger.measure(now + TURN));
        assert_eq!(backlog.late_queues(), BTreeMap::from([("t".to_owned(), 0)]));
        backlog.note(Lane::Express, ledger.measure(now + LATE * 2));
        assert_eq!(backlog.late_queues(), BTreeMap::from([("t".to_owned(), 2)]));
        queues[2].settle(1, 1);
        backlog.note(Lane::Express, ledger.measure(now + LATE * 2 + TURN));
        assert_eq!(backlog.late_queues(), BTreeMap::from([("t".to_owned(), 1)]));

        let late = Measured { best: Clears::Flows, worst: Clears::Stuck(LATE), late: 1 };
        let many = (0..COUNTED + 5).map(|n| (TopicName::from(format!("topic-{n}").as_str()), late));
        backlog.note(Lane::Express, many);
        let rows = backlog.late_queues();
        assert_eq!((rows.len(), rows.get("_other").copied()), (COUNTED + 1, Some(5)));
    }
}
