//! CPU, memory, threads and files of this process, read at the scrape.

use super::export::Scrape;
use super::names;

/// Puts what the system tells into `scrape`; what it does not tell is left out.
// Not `metrics_process::Collector`: it rounds CPU time to whole seconds, too coarse for CPU per event.
pub(super) fn collect(scrape: &mut Scrape) {
    let now = metrics_process::collector::collect();
    let whole = |n: Option<u64>| n.map(|n| n as f64);
    let rows = [
        (&names::PROCESS_CPU_SECONDS, now.cpu_seconds_total),
        (&names::PROCESS_OPEN_FDS, whole(now.open_fds)),
        (&names::PROCESS_MAX_FDS, whole(now.max_fds)),
        (&names::PROCESS_RESIDENT_BYTES, whole(now.resident_memory_bytes)),
        (&names::PROCESS_VIRTUAL_BYTES, whole(now.virtual_memory_bytes)),
        (&names::PROCESS_START_TIME, whole(now.start_time_seconds)),
        (&names::PROCESS_THREADS, whole(now.threads)),
    ];
    for (def, value) in rows {
        if let Some(value) = value {
            scrape.put(def, &[], value);
        }
    }
}
