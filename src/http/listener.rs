//! The accept loop.
//!
//! Owns how many connections there are and when no more are taken. Promises: never spins and never exits on a failed
//! accept; at the cap it stops accepting, so that more connections wait in the kernel's queue; when klamm stops it
//! waits for open connections up to a deadline and tells how many it cut.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::Live;
use super::conn::{self, Shared, Timeouts};
use super::front::Front;
use crate::config::Ingest;
use crate::shutdown::Phase;
use crate::stages::auth::Peer;

mod files;
mod socket;

pub use self::files::{files_for, fit_connections, raise_file_limit};
pub use self::socket::{Listener, Passed, Stream};

/// The first and the longest pause after a failed accept.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Something that accepts connections.
pub trait Accept: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    ///
    /// # Cancellation
    /// No connection is lost.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

/// How connections are served.
#[derive(Clone)]
pub struct Options {
    /// At the same time.
    pub connections: u32,
    /// From accept to the first byte, and from there to the end of the head.
    pub header_timeout: Duration,
    /// Between requests.
    pub keep_alive: Duration,
    /// While no byte of an answer is taken.
    pub write_timeout: Duration,
    /// From this phase on no connection is accepted: [`Phase::Closing`], or earlier where others wait for the rest.
    pub closed_from: Phase,
    /// How long open connections may take once the phase is [`Phase::Closing`].
    pub grace: Duration,
    /// The rest of a refused body is read up to four times its `caps.body`.
    pub live: Live,
    /// Is told what happens.
    pub events: Events,
}

impl Options {
    /// As configured.
    pub fn of(ingest: &Ingest, grace: Duration, live: Live, events: Events) -> Self {
        Self {
            connections: ingest.connections,
            header_timeout: ingest.header_timeout.get(),
            keep_alive: ingest.keep_alive.get(),
            write_timeout: ingest.write_timeout.get(),
            closed_from: Phase::Closing,
            grace,
            live,
            events,
        }
    }
}

/// Is called, on the hot path, with everything that happens to connections.
pub type Events = Arc<dyn Fn(ConnEvent) + Send + Sync>;

/// What happens to connections. Every `Accepted` is followed by exactly one `Closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnEvent {
    /// One more is open.
    Accepted,
    /// One less is open.
    Closed,
    /// One is about to be closed by one of its timers.
    TimedOut(Timer),
    /// hyper refused what came, with a bare answer or none, and closes.
    Refused(Refusal),
    /// Accepting failed for want of files or memory; it pauses.
    AcceptPaused,
}

/// The timers of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// No byte came after accept.
    Fresh,
    /// A head has begun but not ended.
    Head,
    /// No request came after the last one.
    Idle,
    /// No byte of an answer was taken.
    Write,
}

impl Timer {
    /// The label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Timer::Fresh => "fresh",
            Timer::Head => "head",
            Timer::Idle => "idle",
            Timer::Write => "write",
        }
    }
}

/// Why hyper refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Beyond even hyper's limits, which lie above klamm's.
    HeadTooLarge,
    /// Not HTTP.
    MalformedHead,
    /// Against the rules of HTTP/2, or one of its flood limits.
    Http2,
}

impl Refusal {
    /// The label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::MalformedHead => "malformed_head",
            Refusal::Http2 => "http2",
        }
    }
}

/// Serves connections until the phase is [`Phase::Closing`] (or nobody is left who could set it), and accepts them until
/// it is `options.closed_from`; then waits for those that are open up to `options.grace`. Returns how many were cut.
///
/// # Cancellation
/// Every open connection is cut.
pub async fn serve<A: Accept>(
    listener: A,
    front: impl Into<Front>,
    options: Options,
    mut stop: watch::Receiver<Phase>,
) -> usize {
    let slots = Arc::new(Semaphore::new(options.connections as usize));
    let (grace, closed_from) = (options.grace, options.closed_from);
    let mut listener = Some(listener);
    let events = Arc::clone(&options.events);
    let shared = Arc::new(Shared {
        front: front.into(),
        timeouts: Timeouts { head: options.header_timeout, idle: options.keep_alive, write: options.write_timeout },
        protocols: conn::protocols(Arc::clone(&options.live)),
        live: options.live,
        events: options.events,
    });
    let mut open = JoinSet::new();
    let mut pause = Pause::default();
    loop {
        let phase = *stop.borrow_and_update();
        listener = listener.filter(|_| phase < closed_from);
        if phase == Phase::Closing {
            break;
        }
        tokio::select! {
            changed = stop.changed() => if changed.is_err() { break },
            Some(ended) = open.join_next(), if !open.is_empty() => report(ended),
            accepted = accept(listener.as_ref(), &slots, pause.until) => match accepted {
                Ok((io, peer, slot)) => {
                    pause.over();
                    open.spawn(hold(slot, conn::drive(io, peer, Arc::clone(&shared), stop.clone())));
                }
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection ended before it was accepted"),
                Err(error) => {
                    pause.next(&error);
                    events(ConnEvent::AcceptPaused);
                }
            },
        }
    }
    drop(listener);
    let ended = timeout(grace, async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    });
    let cut = if ended.await.is_ok() { 0 } else { open.len() };
    open.shutdown().await;
    cut
}

async fn hold(_slot: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
}

async fn accept<A: Accept>(
    listener: Option<&A>,
    slots: &Arc<Semaphore>,
    pause: Option<Instant>,
) -> io::Result<(A::Io, Peer, OwnedSemaphorePermit)> {
    let Some(listener) = listener else { return pending().await };
    if let Some(until) = pause {
        sleep_until(until).await;
    }
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (io, peer) = listener.accept().await?;
    Ok((io, peer, slot))
}

/// Errors that say nothing about the listener: accept(2) passes on what is pending on the new socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    let of_one = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::CONNREFUSED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NOPROTOOPT,
        Errno::NONET,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| of_one.contains(&errno))
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "the task of a connection panicked");
    }
}

/// The pause after failed accepts: doubles while they go on failing, warns once a burst.
#[derive(Default)]
struct Pause {
    /// `None` outside a burst.
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    fn next(&mut self, error: &io::Error) {
        if self.until.is_none() {
            warn!(%error, "no connection can be accepted for now");
        }
        let (first, longest) = PAUSE;
        self.length = (self.length * 2).clamp(first, longest);
        self.until = Some(Instant::now() + self.length);
    }

    fn over(&mut self) {
        if self.until.take().is_some() {
            info!("connections are accepted again");
            self.length = Duration::ZERO;
        }
    }
}
