//! Counts delivery reports and times bursts. Written by the one thread that polls, read by the others; no lock and no
//! atomic addition a message: counting must not be what is measured.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::producer::Deliveries;
use crate::load::Latency;

pub(super) struct Tally {
    /// When the schedule begins; nothing is timed before that.
    start: OnceLock<Instant>,
    /// Bursts that are due before it are not timed.
    warm_up: Duration,
    bursts: Vec<Burst>,
    delivered: AtomicU64,
    failed: AtomicU64,
    latency: Mutex<Latency>,
}

struct Burst {
    due: Duration,
    left: AtomicU32,
}

impl Tally {
    /// `schedule` has the intended time of each burst; it is empty where nothing is timed.
    pub(super) fn new(warm_up: Duration, schedule: &[Duration], burst: usize) -> Self {
        let left = u32::try_from(burst).unwrap_or(u32::MAX);
        let bursts = schedule.iter().map(|&due| Burst { due, left: AtomicU32::new(left) }).collect();
        let (delivered, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { start: OnceLock::new(), warm_up, bursts, delivered, failed, latency: Mutex::default() }
    }

    /// The schedule begins at `start`.
    pub(super) fn begin(&self, start: Instant) {
        let _ = self.start.set(start);
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn latency(&self) -> Latency {
        self.timed().clone()
    }

    fn timed(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliveries for Tally {
    fn delivered(&self, tag: usize, failed: bool) {
        let counter = if failed { &self.failed } else { &self.delivered };
        // One writer: load and store, not an addition that locks the bus.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let Some(burst) = self.bursts.get(tag) else { return };
        let left = burst.left.load(Ordering::Relaxed).saturating_sub(1);
        burst.left.store(left, Ordering::Relaxed);
        if left == 0 && burst.due >= self.warm_up {
            let start = self.start.get().copied().unwrap_or_else(Instant::now);
            self.timed().record((start + burst.due).elapsed());
        }
    }
}
