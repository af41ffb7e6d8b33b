//! What a connection is doing, and until when it may.
//!
//! One [`Activity`] a connection, shared by its socket, its service and its task. Invariant: outside `Busy` there is
//! always a deadline, so a connection on which nothing is served ends by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::listener::Timer;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Timeouts {
    /// To the first byte, and from there to the end of the head.
    pub(in crate::http) head: Duration,
    /// Between requests.
    pub(in crate::http) idle: Duration,
    /// While it takes no byte of an answer.
    pub(in crate::http) write: Duration,
}

impl Timeouts {
    /// The shortest: no deadline comes up sooner than this after the event that set it.
    pub(super) fn tick(&self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// No byte came yet.
    Fresh,
    /// A head has begun.
    Head,
    /// So many requests are served: their body is not read to the end, or their answer not handed over.
    Busy(u32),
    /// Between requests.
    Idle,
}

struct State {
    doing: Doing,
    /// When `doing` began; means nothing while it is `Busy`, which has no deadline.
    since: Instant,
    /// Known with the first request.
    h2: bool,
    /// When a write first found the socket full; `None` while writes go through.
    stalled: Option<Instant>,
    /// Answers over HTTP/2 that are not handed over yet: its windows can hold them back while the socket takes bytes.
    answers: u32,
    /// When the first of them began, or a part of one was last handed over.
    handed: Instant,
    /// A body that nobody wants to read. At most one: HTTP/1 has one request at a time, HTTP/2 leaves none.
    unread: Option<Unread>,
}

/// The rest of a body that its handler dropped; keeps the connection busy.
pub(super) struct Unread {
    pub(super) body: Incoming,
    pub(super) busy: Arc<Busy>,
}

/// See the module.
pub(super) struct Activity {
    timeouts: Timeouts,
    // std Mutex: held for a few lines, never across await, and over HTTP/1 only ever taken by the connection's task.
    state: Mutex<State>,
    /// Wakes the connection's task: there is an unread body, a protocol was put on the socket, or it turned out to be
    /// HTTP/2.
    pub(super) news: Notify,
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        let state =
            State { doing: Doing::Fresh, since: now, h2: false, stalled: None, answers: 0, handed: now, unread: None };
        Self { timeouts, state: Mutex::new(state), news: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    pub(super) fn bytes_came(&self, now: Instant) {
        let mut state = self.state();
        match state.doing {
            Doing::Fresh => (state.doing, state.since) = (Doing::Head, now),
            // HTTP/2 frames between requests (PING, SETTINGS, WINDOW_UPDATE) are no head, and no reason to stay.
            Doing::Idle if !state.h2 => (state.doing, state.since) = (Doing::Head, now),
            Doing::Head | Doing::Busy(_) | Doing::Idle => {}
        }
    }

    /// The socket takes no more bytes.
    pub(super) fn write_stalled(&self, now: Instant) {
        self.state().stalled.get_or_insert(now);
    }

    /// The socket took bytes.
    pub(super) fn write_went_on(&self) {
        self.state().stalled = None;
    }

    /// A request begins; it is served until the last clone of what this returns is dropped.
    pub(super) fn begin(self: &Arc<Self>, h2: bool) -> Arc<Busy> {
        let mut state = self.state();
        state.doing = match state.doing {
            Doing::Busy(others) => Doing::Busy(others + 1),
            Doing::Fresh | Doing::Head | Doing::Idle => Doing::Busy(1),
        };
        if h2 && !state.h2 {
            state.h2 = true;
            self.news.notify_one();
        }
        Arc::new(Busy { activity: Arc::clone(self), last: AtomicBool::default(), put_off: AtomicBool::default() })
    }

    /// An answer over HTTP/2 begins.
    pub(super) fn answer_begins(&self, now: Instant) {
        let mut state = self.state();
        if state.answers == 0 {
            state.handed = now;
        }
        state.answers += 1;
    }

    /// A part of such an answer was handed over.
    pub(super) fn answer_went_on(&self, now: Instant) {
        self.state().handed = now;
    }

    /// Such an answer is handed over, or given up.
    pub(super) fn answer_ends(&self, now: Instant) {
        let mut state = self.state();
        state.answers -= 1;
        state.handed = now;
    }

    fn end(&self, now: Instant) {
        let mut state = self.state();
        state.doing = match state.doing {
            Doing::Busy(all) if all > 1 => Doing::Busy(all - 1),
            Doing::Fresh | Doing::Head | Doing::Busy(_) | Doing::Idle => Doing::Idle,
        };
        state.since = now;
    }

    /// Hands over a body that is to be read to its end by the connection's task.
    pub(super) fn leave(&self, unread: Unread) {
        // Bound first: what it replaces ends a request when it is dropped, which takes the lock.
        let replaced = self.state().unread.replace(unread);
        drop(replaced);
        self.news.notify_one();
    }

    /// What [`leave`](Self::leave) left.
    pub(super) fn take_unread(&self) -> Option<Unread> {
        self.state().unread.take()
    }

    /// Whether this is known to be an HTTP/2 connection.
    pub(super) fn is_h2(&self) -> bool {
        self.state().h2
    }

    /// Since when nothing has been under way on an HTTP/1 connection that had a request. `None` while something is.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        let quiet = state.doing == Doing::Idle && !state.h2 && state.stalled.is_none() && state.unread.is_none();
        quiet.then_some(state.since)
    }

    /// The next deadline, and which timer it belongs to. `None` while requests are served and their answers are taken.
    pub(super) fn deadline(&self) -> Option<(Instant, Timer)> {
        let state = self.state();
        let doing = match state.doing {
            Doing::Fresh => Some((state.since + self.timeouts.head, Timer::Fresh)),
            Doing::Head => Some((state.since + self.timeouts.head, Timer::Head)),
            Doing::Idle => Some((state.since + self.timeouts.idle, Timer::Idle)),
            Doing::Busy(_) => None,
        };
        let held = (state.answers > 0).then_some(state.handed);
        let writing = state.stalled.into_iter().chain(held).map(|since| (since + self.timeouts.write, Timer::Write));
        doing.into_iter().chain(writing).min_by_key(|(at, _)| *at)
    }
}

/// A request that is served.
pub(super) struct Busy {
    activity: Arc<Activity>,
    last: AtomicBool,
    put_off: AtomicBool,
}

impl Busy {
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Says that what follows this request cannot be trusted to be one.
    pub(super) fn make_last(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// Whether the connection has to close after its answer.
    pub(super) fn is_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// Says that the client is told to come back later.
    pub(super) fn put_off(&self) {
        self.put_off.store(true, Ordering::Relaxed);
    }

    /// Whether it is told so.
    pub(super) fn is_put_off(&self) -> bool {
        self.put_off.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.end(Instant::now());
    }
}
