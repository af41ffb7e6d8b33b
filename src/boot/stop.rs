//! From SIGTERM to the exit code.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Running;
use crate::shutdown::{Phase, Signals};
use crate::stages::produce::Waiting;
use crate::telemetry::Outcome;

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(10);
/// How long there is no connection before none is expected any more.
const QUIET: Duration = Duration::from_millis(100);
/// What connections get to say goodbye once everything is settled. Idle ones need none of it.
const GOODBYE: Duration = Duration::from_secs(2);

impl Running {
    /// Serves until a signal (or the end of a task that must not end), then stops in order: lame duck, drain, flush,
    /// close. A second signal cuts all that short. Returns whether every event got its outcome.
    pub async fn until_stopped(mut self, mut signals: Signals) -> bool {
        let failed = tokio::select! {
            signal = signals.next() => {
                info!(signal, "stopping");
                false
            }
            () = self.tasks.failed() => true,
        };
        let clean = tokio::select! {
            clean = self.stop() => clean,
            signal = signals.next() => {
                error!(signal, waiting = ?self.gateway.sink.waiting(), "stopped at once");
                return false;
            }
        };
        clean && !failed
    }

    async fn stop(&mut self) -> bool {
        let shutdown = self.live.current().shutdown.clone();
        self.notify.stopping();
        self.phase.send_replace(Phase::LameDuck);
        self.be_lame(shutdown.lame_duck.get()).await;

        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + shutdown.flush.get();
        while (self.requests.count() > 0 || self.gateway.sink.waiting().requests > 0 || self.drains())
            && Instant::now() < deadline
        {
            tokio::time::sleep(LOOK).await;
        }

        // Before the connections close, so that whoever waits for what is left hears of its end.
        let left = self.flush(deadline).await;
        self.phase.send_replace(Phase::Closing);
        let goodbye = tokio::time::Instant::now() + GOODBYE;
        for server in &mut self.servers {
            match tokio::time::timeout_at(goodbye, server).await {
                Ok(Ok(0)) => {}
                Ok(Ok(connections)) => warn!(connections, "connections were cut"),
                Ok(Err(_)) | Err(_) => warn!("connections were cut"),
            }
        }
        if let Some(spooling) = &self.gateway.spooling {
            let store = Arc::clone(&spooling.store);
            // It says itself what goes wrong; what is on disk stays there.
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
        }
        self.say_totals(left)
    }

    /// Serves on for `longest`; where nobody new comes in, until nobody is left.
    async fn be_lame(&self, longest: Duration) {
        if !self.connections.wait_elsewhere {
            return tokio::time::sleep(longest).await;
        }
        let deadline = Instant::now() + longest;
        let mut since = Instant::now();
        // One that was accepted just now counts only once it has run.
        while since.elapsed() < QUIET && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            if self.connections.open.load(Ordering::Relaxed) > 0 {
                since = Instant::now();
            }
        }
    }

    /// Whether the spool still gets emptier.
    fn drains(&self) -> bool {
        self.gateway.spooling.as_ref().is_some_and(|spooling| {
            let state = spooling.store.state();
            state.events > state.parked && self.gateway.health.is_up()
        })
    }

    /// What is left after the deadline, and does not go to the spool; it is settled as failed or unknown then.
    async fn flush(&self, deadline: Instant) -> Waiting {
        if let Some(spooling) = &self.gateway.spooling {
            spooling.halt();
        }
        let before = Totals::of(self);
        let left = self.flush_producers(deadline).await;
        if self.gateway.spooling.is_none() {
            return left;
        }
        // What came back is on its way to the disk.
        let patience = Instant::now() + GOODBYE;
        while (Totals::of(self).open() > 0 || self.requests.count() > 0) && Instant::now() < patience {
            tokio::time::sleep(LOOK).await;
        }
        let now = Totals::of(self);
        let events = now.failed + now.unknown + now.open() - before.failed - before.unknown;
        Waiting { requests: if events > 0 { left.requests } else { 0 }, events: events as usize }
    }

    async fn flush_producers(&self, deadline: Instant) -> Waiting {
        let kafka = Arc::clone(&self.kafka);
        let flushed = tokio::task::spawn_blocking(move || {
            let left = kafka.flush(deadline);
            kafka.give_up();
            left
        });
        flushed.await.unwrap_or_else(|_| self.gateway.sink.waiting())
    }

    fn say_totals(&self, left: Waiting) -> bool {
        let Totals { received, recovered, acked, rejected, failed, unknown, spooled } = Totals::of(self);
        let clean = left.events == 0;
        if !clean {
            let Waiting { requests, events } = left;
            error!(
                requests,
                events,
                received,
                recovered,
                acked,
                rejected,
                failed,
                unknown,
                spooled,
                "klamm stopped: some events were not delivered in time"
            );
        } else if spooled > 0 {
            info!(
                received,
                recovered, acked, rejected, failed, unknown, spooled, "klamm stopped: the spooled events stay on disk"
            );
        } else {
            info!(received, recovered, acked, rejected, failed, unknown, spooled, "klamm stopped");
        }
        clean
    }
}

/// The counters of all clients and topics.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    received: u64,
    recovered: u64,
    acked: u64,
    rejected: u64,
    failed: u64,
    unknown: u64,
    spooled: u64,
}

impl Totals {
    fn of(running: &Running) -> Self {
        let mut totals = Self::default();
        for pair in running.gateway.metrics.pairs() {
            let now = pair.snapshot();
            totals.received += now.received;
            totals.recovered += now.recovered;
            totals.acked += now.outcome(Outcome::Acked);
            totals.rejected += now.outcome(Outcome::Rejected);
            totals.failed += now.outcome(Outcome::Failed);
            totals.unknown += now.outcome(Outcome::Unknown);
            totals.spooled += now.spooled;
        }
        totals
    }

    /// Events without an outcome that the spool does not have.
    fn open(&self) -> u64 {
        let closed = self.acked + self.rejected + self.failed + self.unknown + self.spooled;
        (self.received + self.recovered).saturating_sub(closed)
    }
}
