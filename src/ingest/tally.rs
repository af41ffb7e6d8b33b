//! The account of one request's events. Invariant: every event that was received gets exactly one outcome, here or, once
//! the spool has it, from its drain.

use std::sync::Arc;

use tracing::error;

use crate::telemetry::{Outcome, Pair};

/// Events that are received and have no outcome yet. Dropped before [`Tally::sent`], it rejects what is left: an early
/// return is a refusal.
pub struct Tally {
    pair: Arc<Pair>,
    open: u64,
    sent: bool,
}

impl Tally {
    /// Opens the account with `events` received events of `bytes` bytes.
    pub fn open(pair: Arc<Pair>, events: usize, bytes: u64) -> Self {
        let open = events as u64;
        pair.received(open);
        pair.bytes(bytes);
        Self { pair, open, sent: false }
    }

    /// Gives `events` of them their outcome.
    pub fn settle(&mut self, outcome: Outcome, events: usize) {
        debug_assert!(events as u64 <= self.open, "more outcomes than events");
        self.open = self.open.saturating_sub(events as u64);
        self.pair.outcome(outcome, events as u64);
    }

    /// Leaves `events` of them to the spool, whose drain gives them their outcome.
    pub fn spooled(&mut self, events: usize) {
        if events > 0 {
            debug_assert!(events as u64 <= self.open, "more spooled than events");
            self.open = self.open.saturating_sub(events as u64);
            self.pair.spooled(events as u64);
        }
    }

    /// From here on what is left is with the producer, whose reports settle it.
    pub fn sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.open == 0 {
            return;
        }
        if !self.sent {
            return self.pair.outcome(Outcome::Rejected, self.open);
        }
        error!(client = %self.pair.client(), events = self.open, "events were dropped without an outcome");
        self.pair.outcome(Outcome::Unknown, self.open);
        debug_assert!(std::thread::panicking(), "events were dropped without an outcome");
    }
}
