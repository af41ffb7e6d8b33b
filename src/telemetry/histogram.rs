//! A histogram of durations with fixed bounds, in atomics: recorded without a lock, read at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets for durations, in seconds; with the open one they are 12.
pub const SECONDS: [f64; 11] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The upper bounds of the buckets for events of a request; with the open one they are 12.
pub const EVENTS: [f64; 11] = [1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10_000.0];

/// Counts durations under [`SECONDS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; SECONDS.len()],
    over: AtomicU64,
    // Nanoseconds: 584 years of waiting fit.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let fits = SECONDS.iter().zip(&self.buckets).find(|(bound, _)| seconds <= **bound);
        fits.map_or(&self.over, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        self.sum.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// A number that is another one as soon as something was recorded.
    pub fn stamp(&self) -> u64 {
        let buckets = self.buckets.iter().chain([&self.over, &self.sum]);
        buckets.map(|count| count.load(Relaxed)).fold(0, u64::wrapping_add)
    }

    /// What has been counted so far.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut cumulative = [0; SECONDS.len()];
        for (sum, bucket) in cumulative.iter_mut().zip(&self.buckets) {
            count += bucket.load(Relaxed);
            *sum = count;
        }
        count += self.over.load(Relaxed);
        Reading { cumulative, count, sum: Duration::from_nanos(self.sum.load(Relaxed)) }
    }
}

/// What a [`Histogram`] held at one moment. Invariant: `cumulative` never falls, and `count` is not below its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// For each of [`SECONDS`], how many durations were not above it.
    pub cumulative: [u64; SECONDS.len()],
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

/// A point below which a given part of the durations lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantile {
    /// In seconds, interpolated within its bucket.
    Within(f64),
    /// Above the last bound of [`SECONDS`].
    Beyond,
}

/// How many durations there were in each bucket, the open one last.
pub type Buckets = [u64; SECONDS.len() + 1];

impl Reading {
    /// What was counted up to each bound, and in all.
    pub fn buckets(&self) -> Buckets {
        let mut buckets = [self.count; SECONDS.len() + 1];
        for (bucket, count) in buckets.iter_mut().zip(self.cumulative) {
            *bucket = count;
        }
        buckets
    }
}

/// The `q`-quantile (0 to 1) of durations by their `cumulative` counts, as Prometheus' `histogram_quantile` has it: linear
/// within a bucket, the first of which begins at 0. `None` where there were none.
pub fn quantile(q: f64, cumulative: &Buckets) -> Option<Quantile> {
    let count = cumulative.last().copied().filter(|count| *count > 0)?;
    let rank = q * count as f64;
    let (mut before, mut low) = (0, 0.0);
    for (bound, upto) in SECONDS.iter().zip(cumulative) {
        if *upto as f64 >= rank && *upto > before {
            let part = (rank - before as f64) / (*upto - before) as f64;
            return Some(Quantile::Within(low + (bound - low) * part));
        }
        (before, low) = (*upto, *bound);
    }
    Some(Quantile::Beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_the_bound_is_in_the_bucket() {
        let histogram = Histogram::default();
        for ms in [2, 3, 5, 30_000, 30_001] {
            histogram.record(Duration::from_millis(ms));
        }
        let reading = histogram.read();
        assert_eq!(reading.cumulative, [1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(reading.count, 5);
        assert_eq!(reading.sum, Duration::from_millis(60_011));
    }

    #[test]
    fn quantiles_are_those_of_histogram_quantile() {
        let of = |durations: &[f64]| {
            let histogram = Histogram::default();
            durations.iter().for_each(|seconds| histogram.record(Duration::from_secs_f64(*seconds)));
            histogram.read().buckets()
        };
        assert_eq!(quantile(0.99, &of(&[])), None);
        // 10 in (0.005, 0.01]: the median is at 5 tenths of the bucket, 0.0075; the first bucket begins at 0.
        assert_eq!(quantile(0.5, &of(&[0.007; 10])), Some(Quantile::Within(0.0075)));
        assert_eq!(quantile(0.5, &of(&[0.0001; 4])), Some(Quantile::Within(0.001)));
        // 90 and 10: the 99th percentile is at 9 tenths of (1, 5].
        let mut mixed = vec![0.003; 90];
        mixed.extend([2.0; 10]);
        let Some(Quantile::Within(p99)) = quantile(0.99, &of(&mixed)) else { panic!("within") };
        assert!((p99 - 4.6).abs() < 1e-9, "{p99}");
        assert_eq!(quantile(0.99, &of(&[31.0])), Some(Quantile::Beyond));
        assert_eq!(quantile(0.5, &of(&[0.001, 0.001, 31.0])), Some(Quantile::Within(0.0015)));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [SECONDS, EVENTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
