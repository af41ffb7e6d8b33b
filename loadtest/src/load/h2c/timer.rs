//! Waits of microseconds in an async runtime, by timerfd.

use std::io::{ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[allow(deprecated, reason = "unsound only for types whose AsRawFd changes; what replaces it is unsafe to call")]
    pub(super) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    /// Sleeps at least this long.
    pub(super) async fn wait(&self, duration: Duration) -> Result<()> {
        // Zero would disarm it.
        let duration = duration.max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        let mut expirations = [0_u8; 8];
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                Ok(Err(fault)) if fault.kind() == ErrorKind::Interrupted => {}
                Ok(read) => return read.map(|_| ()),
                Err(_) => {}
            }
        }
    }
}
