//! What each producer sent to each partition of late, by librdkafka's statistics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::row::round;
use super::track::RATE;
use crate::stages::produce::statistics::{TopicStats, Topics};

/// The topics of every producer, of the last [`RATE`] seconds; the newest last.
#[derive(Default)]
pub(super) struct Sent(VecDeque<Vec<Arc<Topics>>>);

impl Sent {
    /// Takes the word of this second.
    pub(super) fn push(&mut self, topics: Vec<Arc<Topics>>) {
        if self.0.len() > RATE {
            self.0.pop_front();
        }
        self.0.push_back(topics);
    }

    /// The last word on `topic`, of each producer that writes to it.
    pub(super) fn latest(&self, topic: &str) -> Vec<&TopicStats> {
        self.0.back().into_iter().flatten().filter_map(|topics| topics.get(topic)).collect()
    }

    /// By partition of `topic`, records sent in a second, over the last [`RATE`] seconds.
    pub(super) fn rates(&self, topic: &str) -> BTreeMap<i32, f64> {
        let (Some(old), Some(new)) = (self.0.front(), self.0.back()) else { return BTreeMap::new() };
        let seconds = (self.0.len() - 1).max(1) as f64;
        let sum = |all: &[Arc<Topics>]| {
            let mut sums = BTreeMap::<i32, u64>::new();
            for (partition, stats) in all.iter().filter_map(|topics| topics.get(topic)).flat_map(|t| &t.partitions) {
                *sums.entry(*partition).or_default() += stats.records;
            }
            sums
        };
        let old = sum(old);
        let rate = |partition: &i32, records: u64| {
            // What was not there before began within this span; so did, more or less, what has less than before.
            let before = old.get(partition).copied().unwrap_or_default();
            records.saturating_sub(before) as f64 / seconds
        };
        sum(new).into_iter().map(|(partition, records)| (partition, rate(&partition, records))).collect()
    }
}

/// How many times the mean the busiest partition has; `None` where nothing is sent.
pub(super) fn spread(rates: &BTreeMap<i32, f64>) -> Option<f64> {
    let sum: f64 = rates.values().sum();
    let most = rates.values().copied().fold(0.0, f64::max);
    (sum > 0.0).then(|| round(most * rates.len() as f64 / sum, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::produce::statistics::PartitionStats;

    fn word(records: &[u64]) -> Vec<Arc<Topics>> {
        let partition = |records: &u64| PartitionStats { leader: 1, records: *records };
        let partitions = (0..).zip(records.iter().map(partition)).collect();
        vec![Arc::new(Topics::from([("t".to_owned(), TopicStats { partitions, ..TopicStats::default() })]))]
    }

    #[test]
    fn rates_are_over_five_seconds_and_know_the_first_records_too() {
        let mut sent = Sent::default();
        sent.push(Vec::new());
        assert!(sent.rates("t").is_empty());
        sent.push(word(&[10, 0]));
        let rates = |sent: &Sent| sent.rates("t").into_values().collect::<Vec<_>>();
        assert_eq!(rates(&sent), [10.0, 0.0]);
        (0..4).for_each(|_| sent.push(word(&[10, 20])));
        assert_eq!(rates(&sent), [2.0, 4.0]);
        (0..3).for_each(|_| sent.push(word(&[1, 20])));
        assert_eq!(rates(&sent), [0.0, 0.0], "a producer in the place of another counts from 0");
        assert_eq!(sent.latest("t").len(), 1);
    }

    #[test]
    fn an_even_spread_is_one_and_a_hot_partition_is_seen() {
        let rates = |rates: &[f64]| (0..).zip(rates.iter().copied()).collect::<BTreeMap<i32, f64>>();
        assert_eq!(spread(&rates(&[5.0, 5.0, 5.0, 5.0])), Some(1.0));
        assert_eq!(spread(&rates(&[20.0, 0.0, 0.0, 0.0])), Some(4.0));
        assert_eq!((spread(&rates(&[0.0, 0.0])), spread(&rates(&[]))), (None, None));
    }
}
