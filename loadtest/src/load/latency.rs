//! Latencies as an HdrHistogram: microseconds, three digits, up to ten minutes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// The longest latency that is told from longer ones.
const LONGEST: u64 = 600_000_000;

/// A histogram of latencies.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "constants that the crate accepts")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("valid bounds"))
    }
}

impl Latency {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST).max(1));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        #[allow(clippy::expect_used, reason = "both have the same bounds")]
        self.0.add(&other.0).expect("same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `share` (0 to 1) of them did not exceed; zero if there is none.
    pub fn at(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// Points (share, latency) for a plot of latency by percentile, from 0 to 0.99999 as far as the count carries.
    pub fn curve(&self) -> Vec<(f64, Duration)> {
        self.0
            .iter_quantiles(5)
            .map(|step| (step.quantile(), Duration::from_micros(step.value_iterated_to())))
            .collect()
    }
}

/// `{"count", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"}`.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Summary {
            count: u64,
            mean_ms: f64,
            p50_ms: f64,
            p90_ms: f64,
            p99_ms: f64,
            p999_ms: f64,
            max_ms: f64,
        }
        let ms = |share| self.at(share).as_secs_f64() * 1e3;
        Summary {
            count: self.count(),
            mean_ms: self.0.mean() / 1e3,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: self.max().as_secs_f64() * 1e3,
        }
        .serialize(serializer)
    }
}
