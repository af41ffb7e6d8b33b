//! When requests fall due. Fixed by rate, arrivals and seed before the first is sent; nothing the target does moves it.
//!
//! Times are nanoseconds since the start of the load. Each thread of the generator has a source of its own; together
//! they make the whole schedule: every T-th request of a constant one, and T independent Poisson processes of rate / T,
//! whose union is one of the full rate.

use std::time::Duration;

use fastrand::Rng;

use super::options::{Arrivals, Options};

const SECOND: f64 = 1e9;

/// A request that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Counts the requests of the whole load from 0; says which client, topic and body.
    pub(super) number: u64,
    /// The intended time, or in a closed loop the time it was sent.
    pub(super) at: u64,
}

/// The requests of one thread, in their order.
#[derive(Debug)]
pub(super) struct Source {
    times: Option<Times>,
    /// When `number` falls due; none in a closed loop.
    next: Option<u64>,
    number: u64,
    threads: u64,
    limit: u64,
}

impl Source {
    pub(super) fn new(options: &Options, thread: usize) -> Self {
        let mut times = options.rate.map(|rate| Times::new(rate, options, thread));
        let next = times.as_mut().map(Times::next);
        Self {
            times,
            next,
            number: thread as u64,
            threads: options.threads as u64,
            limit: options.requests.unwrap_or(u64::MAX),
        }
    }

    /// Whether requests wait for nobody.
    pub(super) fn is_open(&self) -> bool {
        self.times.is_some()
    }

    /// The next request that fell due up to `now` and before `end`.
    pub(super) fn take_due(&mut self, now: u64, end: u64) -> Option<Due> {
        let at = self.next.filter(|&at| at <= now && at < end)?;
        let due = self.number(at)?;
        self.next = self.times.as_mut().map(Times::next);
        Some(due)
    }

    /// A request that is due because a connection is free.
    pub(super) fn take_now(&mut self, now: u64) -> Option<Due> {
        self.number(now)
    }

    /// When the next one falls due.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.next.filter(|_| !self.is_exhausted())
    }

    /// Whether all that were to be sent have been taken.
    pub(super) fn is_exhausted(&self) -> bool {
        self.number >= self.limit
    }

    fn number(&mut self, at: u64) -> Option<Due> {
        if self.is_exhausted() {
            return None;
        }
        let number = self.number;
        self.number += self.threads;
        Some(Due { number, at })
    }
}

/// The times at which a load of one thread is to send, from its start on and without an end; none in a closed loop.
/// Yardsticks that send no HTTP take their arrivals from here.
pub fn intended(options: &Options) -> impl Iterator<Item = Duration> {
    let mut times = options.rate.map(|rate| Times::new(rate, &Options { threads: 1, ..options.clone() }, 0));
    std::iter::from_fn(move || times.as_mut().map(|times| Duration::from_nanos(times.next())))
}

#[derive(Debug)]
enum Times {
    Constant { rate: f64, index: u64, threads: u64 },
    Poisson { rate: f64, at: f64, random: Rng },
}

impl Times {
    fn new(rate: f64, options: &Options, thread: usize) -> Self {
        let (index, threads) = (thread as u64, options.threads as u64);
        match options.arrivals {
            Arrivals::Constant => Self::Constant { rate, index, threads },
            Arrivals::Poisson => Self::Poisson {
                rate: rate / threads as f64,
                at: 0.0,
                // Odd multiplier: the seeds of two threads never meet.
                random: Rng::with_seed(options.seed ^ (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            },
        }
    }

    fn next(&mut self) -> u64 {
        match self {
            // From the index, not by adding gaps: rounding does not add up.
            Self::Constant { rate, index, threads } => {
                let at = *index as f64 / *rate;
                *index += *threads;
                (at * SECOND) as u64
            }
            Self::Poisson { rate, at, random } => {
                // 1 - f64() is in (0, 1]: its logarithm is finite.
                *at += -(1.0 - random.f64()).ln() / *rate;
                (*at * SECOND) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(options: &Options, thread: usize, count: usize) -> Vec<u64> {
        let mut source = Source::new(options, thread);
        (0..count).map_while(|_| source.take_due(u64::MAX, u64::MAX)).map(|due| due.at).collect()
    }

    #[test]
    fn constant_arrivals_of_two_threads_interleave() {
        let options = Options { rate: Some(1000.0), threads: 2, arrivals: Arrivals::Constant, ..Options::default() };
        assert_eq!(times(&options, 0, 3), [0, 2_000_000, 4_000_000]);
        assert_eq!(times(&options, 1, 3), [1_000_000, 3_000_000, 5_000_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_spread_of_the_rate() {
        let options = Options { rate: Some(2000.0), threads: 2, seed: 7, ..Options::default() };
        let times = times(&options, 1, 100_000);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.02, "mean {mean} ms");
        assert!((deviation - 1.0).abs() < 0.03, "an exponential's deviation is its mean: {deviation} ms");
    }

    #[test]
    fn the_seed_fixes_the_schedule_and_threads_differ() {
        let options = Options { rate: Some(100.0), threads: 2, ..Options::default() };
        assert_eq!(times(&options, 0, 50), times(&options, 0, 50));
        assert_ne!(times(&options, 0, 50), times(&options, 1, 50));
        assert_ne!(times(&options, 0, 50), times(&Options { seed: 2, ..options }, 0, 50));
    }

    #[test]
    fn nothing_falls_due_early_or_after_the_end() {
        let options = Options { rate: Some(1000.0), arrivals: Arrivals::Constant, ..Options::default() };
        let mut source = Source::new(&options, 0);
        assert_eq!(source.take_due(0, 10), Some(Due { number: 0, at: 0 }));
        assert_eq!(source.take_due(999_999, u64::MAX), None);
        assert_eq!(source.take_due(u64::MAX, 1_000_000), None);
        assert_eq!(source.next_at(), Some(1_000_000));
    }

    #[test]
    fn a_limit_is_shared_by_the_threads_without_gaps() {
        let options = Options { threads: 3, connections: 3, requests: Some(10), ..Options::default() };
        let mut numbers: Vec<u64> = (0..3)
            .flat_map(|thread| {
                let mut source = Source::new(&options, thread);
                std::iter::from_fn(move || source.take_now(0)).map(|due| due.number).collect::<Vec<_>>()
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    }
}
