//! Every background task, with what happens when it ends.
//!
//! No other place spawns: a task has a name that logs show, and a policy for its failure.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info_span};

#[cfg(feature = "failpoints")]
pub mod hang;

/// What the end of a task means for the process, when it was not asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEnd {
    /// Nothing.
    Ignore,
    /// The process cannot go on: it is shut down as by SIGTERM.
    Shutdown,
}

/// The long-lived tasks of a gateway. Dropping it aborts them all.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    failed: Arc<Notify>,
}

impl Tasks {
    /// Runs `task` until it ends or this is dropped, wherever it may be then.
    pub fn spawn(&mut self, name: &'static str, on_end: OnEnd, task: impl Future<Output = ()> + Send + 'static) {
        let failed = Arc::clone(&self.failed);
        let run = async move {
            let guard = Ended { name, on_end, failed };
            task.await;
            guard.ended();
        };
        self.running.spawn(run.instrument(info_span!("task", name)));
    }

    /// Waits for the end of a task without which the process cannot go on.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }
}

/// Tells a task that panicked or ended from one that was aborted.
struct Ended {
    name: &'static str,
    on_end: OnEnd,
    failed: Arc<Notify>,
}

impl Ended {
    fn ended(&self) {
        if self.on_end == OnEnd::Shutdown {
            error!(task = self.name, "a task that must not end has ended: shutting down");
            self.failed.notify_one();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(task = self.name, "task panicked");
            self.ended();
        }
    }
}

/// As [`detach`], from a thread outside of `runtime`.
pub fn detach_on(runtime: &Handle, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(task.instrument(info_span!("task", name)));
}

/// Runs a short task that nobody waits for and whose end means nothing.
pub fn detach(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task.instrument(info_span!("task", name)));
}
