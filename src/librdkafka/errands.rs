//! Work that a producer's own thread does for others.
//!
//! librdkafka locks a mutex of the whole producer and changes a counter of the topic for every record, when it takes it
//! and again when it lets it go. Threads that do so at the same time wait for each other and for each other's memory;
//! one that does it for all needs a third less. Promises: errands are run in the order in which they were given, one at
//! a time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Errand<C> = Box<dyn FnOnce(&C) + Send>;

/// The errands of one producer.
pub(super) struct Errands<C> {
    state: Mutex<State<C>>,
    /// Rung when an errand is done and somebody waits for that: a ring costs a system call.
    done: Condvar,
}

struct State<C> {
    waiting: VecDeque<Errand<C>>,
    /// One is run.
    busy: bool,
    /// So many wait for its end.
    awaited: usize,
}

impl<C> State<C> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }
}

impl<C> Default for Errands<C> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), busy: false, awaited: 0 }), done: Condvar::new() }
    }
}

impl<C> Errands<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none waits and none is run.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// Leaves one. Says whether who runs them may be asleep.
    pub(super) fn give(&self, errand: Errand<C>) -> bool {
        let mut state = self.lock();
        let idle = state.is_idle();
        state.waiting.push_back(errand);
        idle
    }

    /// Runs those that wait, and those that come meanwhile.
    pub(super) fn run(&self, context: &C) {
        while let Some((errand, _busy)) = self.next() {
            errand(context);
        }
    }

    fn next(&self) -> Option<(Errand<C>, Busy<'_, C>)> {
        let mut state = self.lock();
        let errand = state.waiting.pop_front()?;
        state.busy = true;
        drop(state);
        Some((errand, Busy(self)))
    }

    /// Drops those that wait, and waits for the end of the one that is run. Not from within one.
    pub(super) fn recall(&self) {
        let mut state = self.lock();
        let recalled = std::mem::take(&mut state.waiting);
        state.awaited += 1;
        state = self.done.wait_while(state, |state| state.busy).unwrap_or_else(PoisonError::into_inner);
        state.awaited -= 1;
        drop(state);
        // Freed while nothing is locked.
        drop(recalled);
    }

    /// Waits until all are done, for at most `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        let mut state = self.lock();
        state.awaited += 1;
        let waited = self.done.wait_timeout_while(state, patience, |state| !state.is_idle());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.awaited -= 1;
    }
}

/// An errand that is run, to its end or its panic.
struct Busy<'a, C>(&'a Errands<C>);

impl<C> Drop for Busy<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy = false;
        if state.awaited > 0 {
            self.0.done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    type Log = Mutex<Vec<u32>>;

    fn note(errands: &Errands<Log>, number: u32) -> bool {
        errands.give(Box::new(move |log| log.lock().unwrap().push(number)))
    }

    #[test]
    fn they_are_run_in_order_and_the_first_says_so() {
        let (errands, log) = (Errands::default(), Log::default());
        assert_eq!([1, 2, 3].map(|number| note(&errands, number)), [true, false, false]);
        assert!(!errands.is_idle());
        errands.run(&log);
        assert!(errands.is_idle() && note(&errands, 4));
        errands.run(&log);
        assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4]);
    }

    /// Errands of which one is run, until the sender is dropped.
    fn held() -> (Arc<Errands<Log>>, mpsc::Sender<()>, thread::JoinHandle<Log>) {
        let errands = Arc::new(Errands::<Log>::default());
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        errands.give(Box::new(move |log| {
            begin.send(()).unwrap();
            assert!(released.recv().is_err());
            log.lock().unwrap().push(0);
        }));
        let runner = thread::spawn({
            let errands = Arc::clone(&errands);
            move || {
                let log = Log::default();
                errands.run(&log);
                log
            }
        });
        begun.recv().unwrap();
        (errands, release, runner)
    }

    #[test]
    fn those_that_are_recalled_are_not_run_and_the_one_that_is_run_is_waited_for() {
        let (errands, release, runner) = held();
        assert!(!errands.is_idle() && !note(&errands, 1));
        let recalled = thread::spawn({
            let errands = Arc::clone(&errands);
            move || errands.recall()
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!recalled.is_finished());
        drop(release);
        recalled.join().unwrap();
        assert_eq!(*runner.join().unwrap().lock().unwrap(), [0]);
        assert!(errands.is_idle());
    }

    #[test]
    fn who_finishes_waits_for_all_but_not_for_ever() {
        let (errands, release, runner) = held();
        note(&errands, 1);
        errands.finish(Duration::from_millis(10));
        assert!(!errands.is_idle());
        drop(release);
        errands.finish(Duration::from_secs(20));
        assert!(errands.is_idle());
        assert_eq!(*runner.join().unwrap().lock().unwrap(), [0, 1]);
    }

    #[test]
    fn one_that_panics_is_not_waited_for() {
        let errands = Errands::<()>::default();
        errands.give(Box::new(|()| panic!("as it must in this test")));
        assert!(thread::scope(|scope| scope.spawn(|| errands.run(&())).join()).is_err());
        errands.recall();
        assert!(errands.is_idle());
    }
}
