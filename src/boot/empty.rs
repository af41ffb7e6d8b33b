//! A spool without a gateway around it: sends what it holds, and ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{Core, Error};
use crate::config::Config;
use crate::ingest::spooling::{drain, letters};
use crate::shutdown::{Phase, Signals};
use crate::tasks::{OnEnd, Tasks};
use crate::telemetry::Metrics;

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(50);
/// How long what is under way may still be acknowledged at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Sends what the spool of `config` holds, without listeners, until it is empty, nothing has moved for `patience`, or a
/// signal comes. Returns how many events are left, which stay on disk.
///
/// # Errors
/// See [`Error`]; a running klamm has the spool locked.
pub async fn empty(config: Arc<Config>, patience: Duration, mut signals: Signals) -> Result<u64, Error> {
    let metrics = Metrics::new(config.metrics.pairs, config.admin.history.get() as usize);
    let (_phase, phases) = watch::channel(Phase::Serving);
    let Core { gateway, kafka, scout, .. } = Core::new(&config, &metrics, None, phases)?;
    let Some(spooling) = gateway.spooling.clone() else { return Ok(0) };
    let mut tasks = Tasks::default();
    let run = drain::run(Arc::clone(&gateway), Arc::clone(&spooling), config.drain_bytes());
    tasks.spawn("spool-drain", OnEnd::Shutdown, run);
    tasks.spawn("dead-letters", OnEnd::Shutdown, letters::watch(Arc::clone(&gateway), Arc::clone(&spooling)));
    tasks.spawn("producer-supervisor", OnEnd::Shutdown, Arc::clone(&kafka).supervise());
    tasks.spawn("kafka-health", OnEnd::Shutdown, Arc::clone(&gateway.health).watch(scout));

    let mut left = spooling.store.state().events;
    let mut moved = Instant::now();
    while left > 0 && moved.elapsed() < patience {
        tokio::select! {
            signal = signals.next() => {
                info!(signal, "stopping");
                break;
            }
            () = tasks.failed() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = spooling.store.state().events;
        if now < left {
            (left, moved) = (now, Instant::now());
        }
    }

    spooling.halt();
    let store = Arc::clone(&spooling.store);
    let given_up = tokio::task::spawn_blocking(move || {
        kafka.flush(Instant::now() + LAST_WORDS);
        kafka.give_up();
    });
    if given_up.await.is_err() {
        warn!("the producers did not end in order");
    }
    // What came back is given back to the store by the tasks that sent it.
    tokio::time::sleep(LOOK).await;
    let state = store.state();
    // It says itself what goes wrong; what is on disk stays there.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    let drained: u64 = gateway.metrics.pairs().iter().map(|pair| pair.snapshot().drained).sum();
    info!(drained, left = state.events, parked = state.parked, "spool drained as far as it goes");
    Ok(state.events)
}
