//! What one thread of the generator counts. Every request that fell due ends in exactly one of: accepted, refused,
//! an error. What fell due in the warm-up is told to the ledger and the bar, and counted nowhere.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::control::{Fate, Observer, Window};
use super::schedule::Due;
use super::{Answers, Latency, Refused, Schedule, Served};

/// The code with which a gateway of ours says that a client's quota is used up.
const QUOTA: (u16, &str) = (429, "rate_limited");

/// The counts of one thread.
pub(super) struct Tally<'a> {
    window: &'a Window,
    observer: Observer<'a>,
    events: u64,
    pub(super) accepted: Answers,
    pub(super) served: Served,
    pub(super) refused: BTreeMap<(u16, String), Answers>,
    pub(super) errors: BTreeMap<&'static str, Answers>,
    pub(super) due: u64,
    pub(super) lateness: Latency,
    /// CPU of this thread, in nanoseconds, at both ends of the window.
    cpu: (Option<u64>, Option<u64>),
}

impl<'a> Tally<'a> {
    /// `events`: in each request.
    pub(super) fn new(window: &'a Window, observer: Observer<'a>, events: usize) -> Self {
        Self {
            window,
            observer,
            events: events as u64,
            accepted: Answers::default(),
            served: Served::default(),
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            due: 0,
            lateness: Latency::default(),
            cpu: (None, None),
        }
    }

    /// A request fell due.
    pub(super) fn due(&mut self, due: Due) {
        self.due += u64::from(due.at >= self.window.from);
    }

    /// It is about to be sent on a connection that was free since `free_since`.
    pub(super) fn sending(&mut self, due: Due, free_since: u64, now: u64) {
        if due.at >= self.window.from {
            self.lateness.record(Duration::from_nanos(now.saturating_sub(due.at.max(free_since))));
        }
    }

    /// It was answered with an accepted status; its body has `bytes`.
    pub(super) fn accepted(&mut self, due: Due, now: u64, status: u16, bytes: usize) {
        if now >= self.window.from && now < self.window.end() {
            self.served.requests += 1;
            self.served.events += self.events;
            self.served.bytes += bytes as u64;
        }
        if due.at >= self.window.from {
            add(&mut self.accepted, due, now, self.events, bytes);
        }
        if let Some(progress) = self.observer.progress {
            progress.accepted.fetch_add(1, Ordering::Relaxed);
            progress.events.fetch_add(self.events, Ordering::Relaxed);
        }
        self.settled(due, Fate::Accepted(status));
    }

    /// It was answered with another status.
    pub(super) fn refused(&mut self, due: Due, now: u64, status: u16, code: String, bytes: usize) {
        self.settled(due, Fate::Refused(status, &code));
        self.failed();
        if due.at >= self.window.from {
            add(self.refused.entry((status, code)).or_default(), due, now, self.events, bytes);
        }
    }

    /// It was not answered.
    pub(super) fn lost(&mut self, due: Due, now: u64, reason: &'static str, bytes: usize) {
        self.settled(due, Fate::Lost(reason));
        self.error(due, now, reason, bytes);
    }

    /// It could not be sent until the end.
    pub(super) fn missed(&mut self, due: Due, now: u64, bytes: usize) {
        self.error(due, now, "missed", bytes);
    }

    /// Takes this thread's CPU time when the window begins and ends. To be called soon after both.
    pub(super) fn mark(&mut self, now: u64) {
        if self.cpu.0.is_none() && now >= self.window.from {
            self.cpu.0 = Some(thread_cpu());
        }
        if self.cpu.1.is_none() && now >= self.window.end() {
            self.cpu.1 = Some(thread_cpu());
        }
    }

    /// The thread is done: what it uses from now on is not the load's.
    pub(super) fn finish(&mut self, now: u64) {
        self.mark(now);
        self.cpu.1.get_or_insert_with(thread_cpu);
    }

    /// CPU within the window, in nanoseconds.
    pub(super) fn cpu(&self) -> u64 {
        match self.cpu {
            (Some(from), Some(to)) => to.saturating_sub(from),
            _ => 0,
        }
    }

    /// Adds all of another thread's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.accepted.merge(&other.accepted);
        self.served.requests += other.served.requests;
        self.served.events += other.served.events;
        self.served.bytes += other.served.bytes;
        for (key, answers) in &other.refused {
            self.refused.entry(key.clone()).or_default().merge(answers);
        }
        for (reason, answers) in &other.errors {
            self.errors.entry(reason).or_default().merge(answers);
        }
        self.due += other.due;
        self.lateness.merge(&other.lateness);
    }

    /// Whether a quota of the target was met.
    pub(super) fn quota(&self) -> bool {
        self.refused.keys().any(|(status, code)| (*status, code.as_str()) == QUOTA)
    }

    /// The refusals, the most frequent first.
    pub(super) fn take_refused(&mut self) -> Vec<Refused> {
        let mut refused: Vec<Refused> = std::mem::take(&mut self.refused)
            .into_iter()
            .map(|((status, code), answers)| Refused { status, code, answers })
            .collect();
        refused.sort_by_key(|refused| std::cmp::Reverse(refused.answers.requests));
        refused
    }

    pub(super) fn schedule(&self, rate: Option<f64>) -> Schedule {
        let missed = self.errors.get("missed").map_or(0, |answers| answers.requests);
        Schedule { rate, due: self.due, missed, lateness: self.lateness.clone() }
    }

    fn error(&mut self, due: Due, now: u64, reason: &'static str, bytes: usize) {
        self.failed();
        if due.at >= self.window.from {
            add(self.errors.entry(reason).or_default(), due, now, self.events, bytes);
        }
    }

    fn failed(&self) {
        if let Some(progress) = self.observer.progress {
            progress.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settled(&self, due: Due, fate: Fate<'_>) {
        if let Some(ledger) = self.observer.ledger {
            ledger.settled(due.number, fate);
        }
    }
}

fn add(answers: &mut Answers, due: Due, now: u64, events: u64, bytes: usize) {
    answers.requests += 1;
    answers.events += events;
    answers.bytes += bytes as u64;
    answers.latency.record(Duration::from_nanos(now.saturating_sub(due.at)));
}

fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
