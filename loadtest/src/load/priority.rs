//! The tool's threads go first where they may: on a machine that is shared with what is measured, a sender that waits
//! for a core would count as the target's latency.
#![allow(unsafe_code, reason = "no safe crate has sched_setattr(2)")]

use libc::{SYS_sched_setattr, sched_attr};

/// Nice value of a thread that sends. Only for those who may go below 0 (root, CAP_SYS_NICE).
const FIRST: i32 = -10;
/// The share of a core's time that a thread asks for at once, in nanoseconds. From Linux 6.12 on a thread that wakes takes
/// the core from one that asked for more, where it would else wait for the end of that one's turn (milliseconds). Anyone
/// may; it gives no more time in all.
const SLICE: u64 = 100_000;

/// Raises the calling thread. Where that is not permitted, lateness tells.
pub(crate) fn raise() {
    if !schedule(FIRST) {
        schedule(0);
    }
}

/// Whether the calling thread now has this nice value and [`SLICE`].
fn schedule(nice: i32) -> bool {
    let attributes = sched_attr {
        size: size_of::<sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a struct of that size, which lives until the call is over, and nothing
    // else. 0 is the calling thread.
    unsafe { libc::syscall(SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_understands_what_it_is_asked() {
        let refused = std::thread::spawn(|| (!schedule(0)).then(std::io::Error::last_os_error)).join().unwrap();
        let not_here = |error: std::io::Error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS));
        assert!(refused.is_none_or(not_here), "neither done nor forbidden");
    }
}
