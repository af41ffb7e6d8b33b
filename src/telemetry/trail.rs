//! What a client did last: when it was seen, its last requests, the latest refusal of each code.
//!
//! Bounded: [`REQUESTS`] requests and one body for each code, out of the [`Memory`] that all trails share. A request costs
//! one lock that only requests of the same client take; a problem body is asked for once a second and code at most.
//! Never holds a payload or a key.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::memory::{Grant, Memory};
use crate::event::{RequestId, TopicName};
use crate::reject::Code;

/// So many requests are kept.
pub const REQUESTS: usize = 50;
/// The most of a problem body that is kept, in bytes.
pub const BODY: usize = 1024;
/// The least time between two bodies of one code, in milliseconds.
const BODY_EVERY: u64 = 1000;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When its head was read, in milliseconds since the epoch.
    pub at: u64,
    /// klamm's own id of it.
    pub id: RequestId,
    /// Where it went, as asked for.
    pub topic: TopicName,
    /// Of the answer.
    pub status: u16,
    /// For refusals and failures, which.
    pub code: Option<Code>,
    /// How many the body held; 0 where it was refused before.
    pub events: u64,
    /// Of key, value and headers together.
    pub bytes: u64,
    /// From the head to the answer.
    pub took: Duration,
}

/// The latest refusal of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// The body of the answer, cut to [`BODY`] bytes.
    pub body: String,
}

/// The trail of one client, shared by all its counters.
#[derive(Debug)]
pub struct Trail {
    // Unix seconds; 0 is never.
    seen: AtomicU64,
    memory: Arc<Memory>,
    // std Mutex: held to write one row, or to copy at most REQUESTS of them.
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Counts the requests, so that a reader knows whether there is something new.
    version: u64,
    /// Some from the first request on, where there was memory for it.
    room: Option<Grant>,
    requests: VecDeque<Request>,
    problems: Vec<(Problem, Grant)>,
}

/// What a [`Trail`] held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// Rises with each request.
    pub version: u64,
    /// The newest first.
    pub requests: Vec<Request>,
    /// The newest first.
    pub problems: Vec<Problem>,
}

impl Trail {
    /// An empty one.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { seen: AtomicU64::new(0), memory, book: Mutex::default() }
    }

    /// Notes that the client sent a request at `unix_seconds`.
    pub fn note_seen(&self, unix_seconds: u64) {
        self.seen.fetch_max(unix_seconds, Relaxed);
    }

    /// When it last did.
    pub fn seen(&self) -> Option<u64> {
        Some(self.seen.load(Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// Writes a request down. Returns whether the body of its refusal is wanted: see [`Trail::problem`].
    pub fn request(&self, request: Request) -> bool {
        let mut book = self.book();
        book.version += 1;
        let latest = |code: Code| book.problems.iter().find(|(problem, _)| problem.code == code);
        let wanted = request.code.is_some_and(|code| {
            latest(code).is_none_or(|(problem, _)| request.at.saturating_sub(problem.at) >= BODY_EVERY)
        });
        if book.room.is_none() {
            book.room = self.memory.take(REQUESTS * size_of::<Request>());
            if book.room.is_none() {
                return wanted;
            }
            book.requests.reserve_exact(REQUESTS);
        }
        if book.requests.len() == REQUESTS {
            book.requests.pop_back();
        }
        book.requests.push_front(request);
        wanted
    }

    /// Keeps the body of a refusal in the place of the one before.
    pub fn problem(&self, code: Code, at: u64, body: &str) {
        let mut end = body.len().min(BODY);
        while !body.is_char_boundary(end) {
            end -= 1;
        }
        let body = body.get(..end).unwrap_or_default().to_owned();
        let mut book = self.book();
        book.problems.retain(|(problem, _)| problem.code != code);
        if let Some(grant) = self.memory.take(body.len() + size_of::<(Problem, Grant)>()) {
            book.problems.insert(0, (Problem { code, at, body }, grant));
        }
    }

    /// How many requests there were: whether [`Trail::read`] has something new.
    pub fn version(&self) -> u64 {
        self.book().version
    }

    /// A copy of all of it.
    pub fn read(&self) -> Steps {
        let book = self.book();
        Steps {
            version: book.version,
            requests: book.requests.iter().cloned().collect(),
            problems: book.problems.iter().map(|(problem, _)| problem.clone()).collect(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at: u64, code: Option<Code>) -> Request {
        let (topic, took) = ("t".into(), Duration::ZERO);
        Request { at, id: RequestId::new(), topic, status: 200, code, events: 1, bytes: 2, took }
    }

    #[test]
    fn the_last_fifty_requests_stay_the_newest_first() {
        let trail = Trail::new(Memory::new(1 << 20));
        for at in 0..60 {
            assert!(!trail.request(request(at, None)));
        }
        let steps = trail.read();
        let times: Vec<u64> = steps.requests.iter().map(|request| request.at).collect();
        assert_eq!((steps.version, times), (60, (10..60).rev().collect()));
    }

    #[test]
    fn a_body_is_wanted_once_a_second_and_code_and_is_cut() {
        let trail = Trail::new(Memory::new(1 << 20));
        assert!(trail.request(request(5000, Some(Code::RateLimited))));
        trail.problem(Code::RateLimited, 5000, &"ü".repeat(2000));
        assert!(!trail.request(request(5999, Some(Code::RateLimited))));
        assert!(trail.request(request(5999, Some(Code::NoEvents))));
        assert!(trail.request(request(6000, Some(Code::RateLimited))));
        trail.problem(Code::RateLimited, 6000, "second");
        let problems = trail.read().problems;
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].at, problems[0].body.as_str()), (6000, "second"));
        trail.problem(Code::NoEvents, 6000, &("x".to_owned() + &"ü".repeat(2000)));
        assert_eq!(trail.read().problems[0].body.len(), BODY - 1);
    }

    #[test]
    fn without_memory_nothing_is_kept_and_what_was_granted_is_given_back() {
        let memory = Memory::new(REQUESTS * size_of::<Request>());
        let (first, second) = (Trail::new(Arc::clone(&memory)), Trail::new(Arc::clone(&memory)));
        first.request(request(1, None));
        second.request(request(1, None));
        second.problem(Code::NoEvents, 1, "body");
        let steps = second.read();
        assert_eq!((first.read().requests.len(), steps.requests.len(), steps.problems.len()), (1, 0, 0));
        drop(first);
        second.request(request(2, None));
        assert_eq!(second.read().requests.len(), 1);
    }
}
