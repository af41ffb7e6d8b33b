//! What the tests stand on: a real Kafka, the gateway as a child process, an HTTP client, raw sockets.
//!
//! Nothing here mocks anything but [`mock`], a broker that fails when it is told to. Every helper panics with what it saw, so that a test's failure tells its cause.

#[cfg(feature = "ui")]
pub(crate) mod browser;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod dev;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod gateway;
pub(crate) mod haproxy;
pub(crate) mod kafka;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod mock;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod scratch;
pub(crate) mod steady;
#[cfg_attr(not(feature = "failpoints"), allow(dead_code, reason = "who hangs by a failpoint is watched"))]
pub(crate) mod supervisor;
pub(crate) mod tmux;

use std::thread;
use std::time::{Duration, Instant};

/// Asks `probe` every 20 ms until it gives something. Panics after `limit`, naming `what`.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// As [`eventually`], for a probe that awaits; 20 s.
pub(crate) async fn soon<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Duration::from_secs(20);
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
