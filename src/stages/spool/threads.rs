//! The two threads of a spool: `klamm-spool` writes, `klamm-spool-keep` tidies once a second.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Refusal;
use super::index::{Health, Index};
use super::store::Store;
use super::tidy;

/// Between checkpoints.
const TICK: Duration = Duration::from_secs(1);

/// What the threads and the callers of a spool share.
pub(super) struct Shared {
    pub store: Store,
    /// Some entries may be had.
    pub ready: Notify,
    /// With the index's lock: the writer sleeps on it.
    work: Condvar,
    /// Whether the writer sleeps until something is queued, or until so much is that it need not wait longer.
    sleeps: Mutex<Sleeps>,
    closing: AtomicBool,
    /// Some until it is unlocked.
    lock: Mutex<Option<File>>,
    keeper: Mutex<Option<thread::Thread>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleeps {
    /// It works, or will look by itself.
    No,
    UntilAny,
    UntilBatch,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(store: Store, lock: File) -> Self {
        Self {
            store,
            ready: Notify::new(),
            work: Condvar::new(),
            sleeps: Mutex::new(Sleeps::No),
            closing: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            keeper: Mutex::new(None),
        }
    }

    pub(super) fn start(shared: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        let mine = Arc::clone(shared);
        let writer = thread::Builder::new().name("klamm-spool".into()).spawn(move || mine.write())?;
        let mine = Arc::clone(shared);
        let keeper = thread::Builder::new().name("klamm-spool-keep".into()).spawn(move || mine.keep());
        let keeper = keeper.inspect_err(|_| shared.close())?;
        *lock(&shared.keeper) = Some(keeper.thread().clone());
        Ok(vec![writer, keeper])
    }

    /// Something was queued.
    pub(super) fn queued(&self) {
        let mut sleeps = lock(&self.sleeps);
        let wake = match *sleeps {
            Sleeps::No => false,
            Sleeps::UntilAny => true,
            Sleeps::UntilBatch => self.store.index().queued >= self.store.settings.batch as u64,
        };
        if wake {
            *sleeps = Sleeps::No;
            self.work.notify_one();
        }
    }

    /// The writer: commits at least `delay` apart, sooner where much waits; what comes to an idle spool goes at once.
    fn write(&self) {
        let _end = End(self);
        let mut last: Option<Instant> = None;
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            let now = Instant::now();
            let (queued, bytes, health) = {
                let index = self.store.index();
                (!index.queue.is_empty(), index.queued, index.health)
            };
            let due = last.map_or(now, |last| last + self.store.settings.delay);
            if queued && (closing || now >= due || bytes >= self.store.settings.batch as u64) {
                last = Some(now);
                self.store.commit(now);
                if self.store.index().has_ready() {
                    self.ready.notify_one();
                }
            } else if queued {
                self.sleep(Sleeps::UntilBatch, due - now);
            } else if closing {
                self.store.retire(now);
                return;
            } else {
                if matches!(health, Health::Broken | Health::Full) {
                    self.store.commit(now);
                }
                self.sleep(Sleeps::UntilAny, TICK);
            }
        }
    }

    fn sleep(&self, how: Sleeps, most: Duration) {
        let mut sleeps = lock(&self.sleeps);
        // Under the lock, so that nothing is queued between this look and the sleep.
        let index: MutexGuard<'_, Index> = self.store.index();
        let go_on = match how {
            Sleeps::UntilAny => !index.queue.is_empty(),
            Sleeps::UntilBatch => index.queued >= self.store.settings.batch as u64,
            Sleeps::No => true,
        };
        drop(index);
        if go_on || self.closing.load(Ordering::Acquire) {
            return;
        }
        *sleeps = how;
        let (mut sleeps, _) = self.work.wait_timeout(sleeps, most).unwrap_or_else(PoisonError::into_inner);
        *sleeps = Sleeps::No;
    }

    /// The keeper.
    fn keep(&self) {
        while !self.closing.load(Ordering::Acquire) {
            thread::park_timeout(TICK);
            if let Err(error) = self.store.tidy(Instant::now()) {
                tidy::failed(&error);
            }
        }
    }

    /// Tells the threads to end, once all that is queued is written.
    pub(super) fn close(&self) {
        self.store.index().health = Health::Closed;
        self.closing.store(true, Ordering::Release);
        drop(lock(&self.sleeps));
        self.work.notify_all();
        lock(&self.keeper).iter().for_each(thread::Thread::unpark);
    }

    /// The last checkpoint, and the end of the lock.
    pub(super) fn unlock(&self) {
        let Some(held) = lock(&self.lock).take() else { return };
        if let Err(error) = self.store.checkpoint(Instant::now()) {
            tidy::failed(&error);
        }
        drop(held);
    }
}

/// Whatever ends the writer, nobody waits for it for ever.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store.refuse_all(Refusal::Broken, Some(Health::Broken));
    }
}
