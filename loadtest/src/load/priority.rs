//! The tool's threads go first where they may: on a machine that is shared with what is measured, a sender that waits
//! for a core would count as the target's latency.

/// Nice value of a thread that sends. Only for those who may go below 0 (root, CAP_SYS_NICE).
const FIRST: i32 = -10;

/// Raises the calling thread; it alone, though the call is named after the process (setpriority(2), "C library/kernel
/// differences"). Where it is not permitted, lateness tells.
pub(crate) fn raise() {
    let _ = rustix::process::setpriority_process(None, FIRST);
}
