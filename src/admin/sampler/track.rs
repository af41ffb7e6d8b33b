//! What one pair of client and topic did of late: enough for rates over 5 s and percentiles over 60 s.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::reject::Code;
use crate::telemetry::histogram::{Buckets, SECONDS};
use crate::telemetry::{Pair, Snapshot};

/// Rates are over so many seconds.
pub(super) const RATE: usize = 5;
/// Between two readings of a histogram, in ticks: percentiles are over 60 to 64 s.
pub(super) const SLOT: u64 = 5;
/// librdkafka's word on what was sent may be so many ticks behind the counters.
const STATISTICS: u64 = 2;
/// Readings kept.
const SLOTS: usize = 60 / SLOT as usize + 1;

/// The counters that rates are made of, in this order: events, bytes, requests, refusals, failures.
pub(super) type Counts = [u64; 5];
/// Each of them in a second.
pub(super) type Rates = [f64; 5];

/// After so many seconds without a change all that is kept says the same: there is nothing to do but to look.
const SETTLED: u64 = SLOT * (SLOTS as u64 + 1);

/// See the module.
pub(super) struct Track {
    pub(super) pair: Arc<Pair>,
    pub(super) last: Snapshot,
    /// Of the pair, when it was last read; `None` before.
    stamp: Option<u64>,
    /// For how many ticks nothing was counted.
    still: u64,
    /// Whether a quota was found spent since the tick before.
    pub(super) is_limited: bool,
    /// The newest last; at most RATE + 1. Differences of times are a tick each.
    counts: VecDeque<Counts>,
    slots: VecDeque<Slot>,
}

/// What had been counted at one moment of the last minute.
struct Slot {
    // u32 wraps after 4 billion requests of a pair; differences over a minute stay right.
    acks: [u32; SECONDS.len() + 1],
    refusals: Vec<(Code, u64)>,
}

impl Track {
    /// Of a pair that was not there before: all it counted, it counted since the tick before.
    pub(super) fn new(pair: Arc<Pair>) -> Self {
        let last = pair.snapshot();
        let (counts, slots) = (VecDeque::from([Counts::default()]), VecDeque::new());
        Self { pair, last, stamp: None, still: 0, is_limited: false, counts, slots }
    }

    /// Reads the pair at `tick`. Returns whether what a row says of it may be another thing than before.
    pub(super) fn read(&mut self, tick: u64) -> bool {
        let stamp = self.pair.stamp();
        self.is_limited = false;
        if self.stamp == Some(stamp) {
            self.still += 1;
        } else {
            let before = self.stamp.map_or(0, |_| limited(&self.last));
            (self.stamp, self.still) = (Some(stamp), 0);
            self.last = self.pair.snapshot();
            self.is_limited = limited(&self.last) > before;
        }
        if self.still > SETTLED {
            return false;
        }
        if self.counts.len() > RATE {
            self.counts.pop_front();
        }
        self.counts.push_back(counts(&self.last));
        let is_slot = tick.is_multiple_of(SLOT);
        if is_slot {
            if self.slots.len() == SLOTS {
                self.slots.pop_front();
            }
            let acks = self.last.ack.buckets().map(|count| count as u32);
            self.slots.push_back(Slot { acks, refusals: self.last.refusals.clone() });
        }
        is_slot || self.still <= RATE as u64 + STATISTICS
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
        if let Some(oldest) = self.a_minute_ago() {
            for (bucket, old) in buckets.iter_mut().zip(oldest.acks) {
                *bucket = (*bucket as u32).wrapping_sub(old).into();
            }
        }
        buckets
    }

    /// The refusals of the last minute, for the codes that occurred in it.
    pub(super) fn minute_refusals(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        let old = self.a_minute_ago().map(|slot| slot.refusals.as_slice()).unwrap_or_default();
        let before = move |code| old.iter().find(|(known, _)| *known == code).map_or(0, |(_, count)| *count);
        let since = self.last.refusals.iter().map(move |(code, count)| (*code, count.saturating_sub(before(*code))));
        since.filter(|(_, count)| *count > 0)
    }

    /// While there are fewer slots than make a minute, all there is happened within it.
    fn a_minute_ago(&self) -> Option<&Slot> {
        self.slots.front().filter(|_| self.slots.len() == SLOTS)
    }
}

fn limited(now: &Snapshot) -> u64 {
    now.refusals.iter().find(|(code, _)| *code == Code::RateLimited).map_or(0, |(_, count)| *count)
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
        track.read(1);
        assert_eq!(track.rates(), [10.0, 1000.0, 1.0, 1.0, 1.0]);
        for tick in 2..=5 {
            pair.received(10);
            track.read(tick);
        }
        assert_eq!(track.rates(), [10.0, 200.0, 0.2, 0.2, 0.2]);
        track.read(6);
        assert_eq!(track.rates(), [8.0, 0.0, 0.0, 0.0, 0.0]);
        for tick in 7..=10 {
            track.read(tick);
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
                track.read(tick);
                let expected = u64::from((came..=last).contains(&tick));
                assert_eq!(track.minute().last().copied(), Some(expected), "of {came} at {tick}");
            }
        }
    }

    #[test]
    fn refusals_count_by_code_for_a_minute_and_up_to_four_seconds_more() {
        let pair = pair();
        let mut track = Track::new(Arc::clone(&pair));
        let mut found = Vec::new();
        for tick in 0..=200 {
            if tick == 10 || tick == 40 {
                pair.refused(Code::RateLimited);
            }
            if tick == 40 {
                pair.refused(Code::MalformedBody);
            }
            track.read(tick);
            if [9, 10, 40, 75, 110, 200].contains(&tick) {
                found.push(track.minute_refusals().collect::<Vec<_>>());
            }
        }
        let (limited, malformed) = (Code::RateLimited, Code::MalformedBody);
        let both = |n| vec![(malformed, 1), (limited, n)];
        assert_eq!(found, [vec![], vec![(limited, 1)], both(2), both(1), vec![], vec![]]);
        assert_eq!(track.last.refusals.len(), 2, "the counts since the start stay");
    }

    #[test]
    fn who_does_nothing_stirs_no_row_until_it_does_something_again() {
        let pair = pair();
        let mut track = Track::new(Arc::clone(&pair));
        for tick in 1..=1000 {
            track.read(tick);
        }
        assert!((1001..=1100).all(|tick| !track.read(tick)));
        pair.ack(Duration::from_millis(7));
        pair.request(RequestResult::Ok);
        assert!((1101..=1105).all(|tick| track.read(tick)));
        assert_eq!((track.rates()[2], track.minute().last().copied()), (0.2, Some(1)));
        let stirred: Vec<_> = (1106..=1300).filter(|tick| track.read(*tick)).collect();
        assert!(stirred.iter().skip(3).all(|tick| tick.is_multiple_of(SLOT)), "{stirred:?}");
        assert!(stirred.len() < 20 && track.rates() == Rates::default() && track.minute() == Buckets::default());
    }
}
