//! From SIGTERM to the exit code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Running;
use crate::shutdown::{Phase, Signals};
use crate::stages::produce::Waiting;
use crate::telemetry::Outcome;

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(10);
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
        self.phase.send_replace(Phase::LameDuck);
        tokio::time::sleep(shutdown.lame_duck.get()).await;

        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + shutdown.flush.get();
        while (self.requests.count() > 0 || self.gateway.sink.waiting().requests > 0) && Instant::now() < deadline {
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
        self.say_totals(left)
    }

    /// What is left after the deadline; it is settled as failed or unknown then.
    async fn flush(&self, deadline: Instant) -> Waiting {
        let kafka = Arc::clone(&self.kafka);
        let flushed = tokio::task::spawn_blocking(move || {
            let left = kafka.flush(deadline);
            kafka.give_up();
            left
        });
        flushed.await.unwrap_or_else(|_| self.gateway.sink.waiting())
    }

    fn say_totals(&self, left: Waiting) -> bool {
        let pairs = self.gateway.metrics.pairs();
        let snapshots: Vec<_> = pairs.iter().map(|pair| pair.snapshot()).collect();
        let received: u64 = snapshots.iter().map(|snapshot| snapshot.received).sum();
        let [acked, rejected, failed, unknown] =
            Outcome::ALL.map(|outcome| snapshots.iter().map(|snapshot| snapshot.outcome(outcome)).sum::<u64>());
        let clean = left.events == 0;
        if clean {
            info!(received, acked, rejected, failed, unknown, "klamm stopped");
        } else {
            let Waiting { requests, events } = left;
            error!(
                requests,
                events,
                received,
                acked,
                rejected,
                failed,
                unknown,
                "klamm stopped: some events were not delivered in time"
            );
        }
        clean
    }
}
