//! The handles of a running load: its clock and window, ending it, watching it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::Options;

/// Ends a load early, with a report of what was seen so far. Clones are handles of the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the load.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it should end.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// Answered with an accepted status.
    Accepted(u16),
    /// Answered with another status and this problem code (or an empty one).
    Refused(u16, &'a str),
    /// Not answered: `connect` (then it was not sent), `cut`, `malformed`, `unanswered`.
    Lost(&'a str),
}

/// Learns the fate of every request that was sent, warm-up included, from the threads that sent them.
///
/// With a ledger the bodies are numbered: event `k` of request `n` of `m` events is the event `n * m + k`, see
/// [`super::Bodies`].
pub trait Ledger: Sync {
    /// Request `request` has ended. Called once for each, and quickly: the sending thread waits.
    fn settled(&self, request: u64, fate: Fate<'_>);
}

/// Counts of a running load, for a bar. The warm-up is in them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Accepted events.
    pub events: AtomicU64,
    /// Accepted requests.
    pub accepted: AtomicU64,
    /// Requests that were refused or not answered.
    pub failed: AtomicU64,
}

/// Who looks on.
#[derive(Clone, Copy, Default)]
pub struct Observer<'a> {
    /// Learns each request's fate.
    pub ledger: Option<&'a dyn Ledger>,
    /// Is kept up to date.
    pub progress: Option<&'a Progress>,
}

/// The clock and the window of one load. Times are nanoseconds since its start.
#[derive(Debug)]
pub(super) struct Window {
    start: OnceLock<Instant>,
    /// End of the warm-up.
    pub(super) from: u64,
    /// End of the measured time; moves forward if the load is stopped.
    end: AtomicU64,
    last_answers: u64,
}

impl Window {
    pub(super) fn new(options: &Options) -> Self {
        let from = nanos(options.warm_up);
        let end = AtomicU64::new(from.saturating_add(nanos(options.duration)));
        Self { start: OnceLock::new(), from, end, last_answers: nanos(options.last_answers) }
    }

    /// The clock starts.
    pub(super) fn begin(&self) {
        self.start.get_or_init(Instant::now);
    }

    pub(super) fn now(&self) -> u64 {
        self.start.get().map_or(0, |start| nanos(start.elapsed()))
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Requests that are not answered by then count as unanswered.
    pub(super) fn last_call(&self) -> u64 {
        self.end().saturating_add(self.last_answers)
    }

    /// Ends it now, if it has not ended.
    pub(super) fn end_now(&self) {
        self.end.fetch_min(self.now(), Ordering::Relaxed);
    }

    /// What is measured, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.end().saturating_sub(self.from) as f64 / 1e9
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
