//! Quotas: how many requests, events and bytes a client may send over time.
//!
//! A [`Quota`] holds up to three [`Gcra`] limits on one monotonic clock. Promises: over any window no more is granted
//! than rate x window + burst; a batch is charged in events and bytes together or not at all; what is given back is
//! never more than was charged. Never waits, never locks. State is this process's own.

pub mod gcra;
pub mod quota;
pub mod ratelimit;

use std::time::Instant;

pub use gcra::Gcra;
pub use quota::{Charge, Quota, Standing};

/// A moment on a [`Clock`]: nanoseconds since its origin. 64 bits last 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// Turns the standard library's opaque instants into [`Nanos`]. All limits of a process share one origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that counts from `origin`.
    pub fn starting_at(origin: Instant) -> Self {
        Self { origin }
    }

    /// `now` on this clock; 0 for what is before its origin.
    pub fn at(&self, now: Instant) -> Nanos {
        Nanos(u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
