//! From start to stop: the phases, and what begins them.
//!
//! At SIGTERM or SIGINT readiness turns false at once and requests are still served for a lame duck's while, so that
//! load balancers can look away; then new ones are refused while those in flight finish; then the listeners close and
//! what is left is flushed. A second signal ends it all at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where klamm is between start and stop. Only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Requests are served.
    Serving,
    /// Requests are served, readiness is false, connections are asked to close.
    LameDuck,
    /// New requests are refused with 503 `draining`, those in flight finish.
    Draining,
    /// Nothing is accepted any more.
    Closing,
}

/// The signals that stop klamm.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the process may not.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next SIGTERM or SIGINT. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
