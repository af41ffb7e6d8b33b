//! Ctrl-C and SIGTERM end the load, and the report is still printed; the second one ends the tool.

use std::process;

use tokio::signal::unix::{SignalKind, signal};

use crate::load::Stop;

/// As shells report a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Watches for signals on a thread of its own.
pub(super) fn watch(stop: &Stop) {
    let stop = stop.clone();
    let watch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_stopped() {
                    process::exit(INTERRUPTED);
                }
                stop.stop();
            }
        })
    };
    let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let watched: std::io::Result<()> = watch();
        watched
    });
    if let Err(fault) = spawned {
        eprintln!("klamm-load: Ctrl-C will end it without a report: {fault}");
    }
}
