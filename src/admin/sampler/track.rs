//! What one pair of client and topic did of late: enough for rates over 5 s and percentiles over 60 s.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::telemetry::histogram::{Buckets, SECONDS};
use crate::telemetry::{Pair, Snapshot};

/// Rates are over so many seconds.
pub(super) const RATE: usize = 5;
/// Between two readings of a histogram, in ticks: percentiles are over 60 to 64 s.
pub(super) const SLOT: u64 = 5;
/// Readings kept.
const SLOTS: usize = 60 / SLOT as usize + 1;

/// The counters that rates are made of, in this order: events, bytes, requests, refusals, failures.
pub(super) type Counts = [u64; 5];
/// Each of them in a second.
pub(super) type Rates = [f64; 5];

/// See the module.
pub(super) struct Track {
    pub(super) pair: Arc<Pair>,
    pub(super) last: Snapshot,
    /// The newest last; at most RATE + 1. Differences of times are a tick each.
    counts: VecDeque<Counts>,
    // u32 wraps after 4 billion requests of a pair; differences over a minute stay right.
    slots: VecDeque<[u32; SECONDS.len() + 1]>,
    /// The tick at which the pair was last there.
    pub(super) tick: u64,
}

impl Track {
    /// Of a pair that was not there before: all it counted, it counted since the tick before.
    pub(super) fn new(pair: Arc<Pair>) -> Self {
        let last = pair.snapshot();
        Self { pair, last, counts: VecDeque::from([Counts::default()]), slots: VecDeque::new(), tick: 0 }
    }

    /// Reads the pair at `tick`.
    pub(super) fn read(&mut self, pair: &Arc<Pair>, tick: u64) {
        if !Arc::ptr_eq(&self.pair, pair) {
            *self = Self::new(Arc::clone(pair));
        }
        self.tick = tick;
        self.last = self.pair.snapshot();
        if self.counts.len() > RATE {
            self.counts.pop_front();
        }
        self.counts.push_back(counts(&self.last));
        if tick.is_multiple_of(SLOT) {
            if self.slots.len() == SLOTS {
                self.slots.pop_front();
            }
            self.slots.push_back(self.last.ack.buckets().map(|count| count as u32));
        }
    }

    /// Whether it has a row: klamm's own names (`_unknown`, `_other`) have none while nothing is counted there.
    pub(super) fn is_told(&self) -> bool {
        let now = &self.last;
        !self.pair.topic().as_str().starts_with('_')
            || now.received + now.recovered + now.results.iter().sum::<u64>() > 0
    }

    /// Over the last [`RATE`] seconds; over less for a pair that is younger.
    pub(super) fn rates(&self) -> Rates {
        let (Some(old), Some(new)) = (self.counts.front(), self.counts.back()) else { return Rates::default() };
        let seconds = (self.counts.len() - 1).max(1) as f64;
        let mut rates = Rates::default();
        for (rate, (old, new)) in rates.iter_mut().zip(old.iter().zip(new)) {
            *rate = new.saturating_sub(*old) as f64 / seconds;
        }
        rates
    }

    /// The acknowledgements of the last minute.
    pub(super) fn minute(&self) -> Buckets {
        let mut buckets = self.last.ack.buckets();
        // While there are fewer slots than make a minute, all there is happened within it.
        if let Some(oldest) = self.slots.front().filter(|_| self.slots.len() == SLOTS) {
            for (bucket, old) in buckets.iter_mut().zip(oldest) {
                *bucket = (*bucket as u32).wrapping_sub(*old).into();
            }
        }
        buckets
    }
}

fn counts(now: &Snapshot) -> Counts {
    let requests = now.results.iter().sum();
    let [.., unavailable, unknown] = now.results;
    let refusals = now.refusals.iter().map(|(_, count)| count).sum();
    [now.received, now.bytes, requests, refusals, unavailable + unknown]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reject::Code;
    use crate::telemetry::{Metrics, RequestResult};

    fn pair() -> Arc<Pair> {
        Metrics::new(10, 1 << 20).pair(&"c".into(), &"t".into())
    }

    #[test]
    fn rates_are_over_the_last_five_seconds_and_over_less_at_first() {
        let pair = pair();
        let mut track = Track::new(Arc::clone(&pair));
        pair.received(10);
        pair.bytes(1000);
        pair.request(RequestResult::Unavailable);
        pair.refused(Code::Overloaded);
        track.read(&pair, 1);
        assert_eq!(track.rates(), [10.0, 1000.0, 1.0, 1.0, 1.0]);
        for tick in 2..=5 {
            pair.received(10);
            track.read(&pair, tick);
        }
        assert_eq!(track.rates(), [10.0, 200.0, 0.2, 0.2, 0.2]);
        track.read(&pair, 6);
        assert_eq!(track.rates(), [8.0, 0.0, 0.0, 0.0, 0.0]);
        for tick in 7..=10 {
            track.read(&pair, tick);
        }
        assert_eq!(track.rates(), Rates::default());
    }

    #[test]
    fn an_acknowledgement_counts_for_a_minute_and_up_to_four_seconds_more() {
        for (came, last) in [(100, 159), (101, 164), (104, 164), (105, 164)] {
            let pair = pair();
            let mut track = Track::new(Arc::clone(&pair));
            for tick in 0..=200 {
                if tick == came {
                    pair.ack(Duration::from_millis(7));
                }
                track.read(&pair, tick);
                let expected = u64::from((came..=last).contains(&tick));
                assert_eq!(track.minute().last().copied(), Some(expected), "of {came} at {tick}");
            }
        }
    }

    #[test]
    fn a_pair_that_takes_the_place_of_another_begins_anew() {
        let (one, two) = (pair(), pair());
        let mut track = Track::new(Arc::clone(&one));
        one.received(100);
        track.read(&one, 1);
        two.received(3);
        track.read(&two, 2);
        assert_eq!((track.rates()[0], track.last.received), (3.0, 3));
    }
}
