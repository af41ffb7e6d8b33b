//! One rate limit in one atomic integer: the generic cell rate algorithm (ITU-T I.371), with costs above one.
//!
//! The state is the theoretical arrival time: the moment at which the limit will be as if never used. A cost moves it
//! on; it may not be further ahead than the burst. Invariant: over any window, granted - given back <= rate x window +
//! burst, where burst = rate x span, at least 1 unit. All rounding is against the caller: costs go up to whole
//! nanoseconds, what is given back goes down.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Nanos;
use crate::units::Rate;

/// So that sums of times cannot overflow: 73 years.
const LONGEST: u64 = u64::MAX / 8;

/// Why units were not granted. Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is room for them after this time, if nobody else takes it.
    Wait(Duration),
    /// There never is: they are more than the burst.
    TooBig {
        /// The burst.
        limit: u64,
    },
}

/// A limit of so many units over time. Starts with its burst full.
#[derive(Debug)]
pub struct Gcra {
    /// Nanoseconds on the caller's clock. Relaxed: it guards nothing but itself.
    arrival: AtomicU64,
    /// A unit lasts `period / units` nanoseconds, kept as the fraction it is: a byte at 50MiB/s is 19.07.
    period: u128,
    units: u128,
    /// How far `arrival` may be ahead of now.
    tolerance: u64,
    burst: u64,
}

impl Gcra {
    /// A limit of `rate`, of which `span` x `rate` (rounded down, at least 1) may come at once.
    pub fn new(rate: Rate, span: Duration) -> Self {
        let period = rate.period().as_nanos();
        let units = u128::from(rate.units().get());
        let unit = nanos(period.div_ceil(units));
        let span = nanos(span.as_nanos());
        let burst = u64::try_from(u128::from(span) * units / period).unwrap_or(u64::MAX).max(1);
        Self { arrival: AtomicU64::new(0), period, units, tolerance: span.max(unit), burst }
    }

    /// The most that can be granted at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// The time in which an empty limit fills up.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.tolerance)
    }

    /// Takes `n` units at `now`, or nothing.
    ///
    /// # Errors
    /// Why not, and how long to wait.
    pub fn try_take(&self, n: u64, now: Nanos) -> Result<(), Denied> {
        if n > self.burst {
            return Err(Denied::TooBig { limit: self.burst });
        }
        let cost = self.cost(n);
        let ahead = |arrival: u64| arrival.saturating_sub(now.0).saturating_add(cost);
        let step = |arrival| (ahead(arrival) <= self.tolerance).then(|| now.0.saturating_add(ahead(arrival)));
        match self.arrival.fetch_update(Relaxed, Relaxed, step) {
            Ok(_) => Ok(()),
            Err(arrival) => Err(Denied::Wait(Duration::from_nanos(ahead(arrival) - self.tolerance))),
        }
    }

    /// Gives back `n` units of what was taken, rounded down.
    pub fn refund(&self, n: u64) {
        self.give_back(nanos(u128::from(n) * self.period / self.units));
    }

    /// As if `n` had never been taken. Only for what was taken with the same `now`, in one piece, else rounding could
    /// grant more than the rate.
    pub(super) fn undo(&self, n: u64) {
        self.give_back(self.cost(n));
    }

    /// How many units could be taken at `now`.
    pub fn remaining(&self, now: Nanos) -> u64 {
        let free = self.tolerance.saturating_sub(self.behind(now));
        u64::try_from(u128::from(free) * self.units / self.period).unwrap_or(u64::MAX).min(self.burst)
    }

    /// How long until the burst is full again.
    pub fn reset(&self, now: Nanos) -> Duration {
        Duration::from_nanos(self.behind(now))
    }

    fn behind(&self, now: Nanos) -> u64 {
        self.arrival.load(Relaxed).saturating_sub(now.0)
    }

    fn cost(&self, n: u64) -> u64 {
        nanos((u128::from(n) * self.period).div_ceil(self.units))
    }

    fn give_back(&self, time: u64) {
        // Below now is no harm: idle time before now counts for nothing.
        let _ = self.arrival.fetch_update(Relaxed, Relaxed, |arrival| Some(arrival.saturating_sub(time)));
    }
}

fn nanos(time: u128) -> u64 {
    u64::try_from(time).unwrap_or(LONGEST).min(LONGEST)
}
