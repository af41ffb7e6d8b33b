//! Fates on their way from the producer's thread to the callers that wait for them.
//!
//! A producer reports many requests at once. To wake each caller from its thread would take a lock of the runtime and
//! often a system call for each; so one task is woken, and wakes the callers from within.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::stages::produce::Fates;

/// What a caller is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// What became of the events.
    pub fates: Fates,
    /// Whether the spool has those that are neither acknowledged nor refused for good.
    pub spooled: bool,
}

/// Where a caller waits, or has waited.
pub type Caller = oneshot::Sender<Word>;

/// The fates that no caller has been told yet.
#[derive(Default)]
pub struct Replies {
    // std Mutex: held to push or to take all, never across an await.
    waiting: Mutex<Vec<(Caller, Word)>>,
    news: Notify,
}

impl Replies {
    /// Leaves `word` for `caller`. From any thread; never blocks.
    pub fn leave(&self, caller: Caller, word: Word) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((caller, word));
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.news.notify_one();
        }
    }

    /// Tells the callers, for ever. Runs as a task.
    ///
    /// # Cancellation
    /// Callers that were not told wait in vain, to the end of their patience.
    pub async fn tell(&self) {
        let mut told = Vec::new();
        loop {
            self.news.notified().await;
            std::mem::swap(&mut told, &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for (caller, word) in told.drain(..) {
                // The caller may have gone: nothing else depends on it.
                let _ = caller.send(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn every_caller_is_told_also_beside_one_that_has_gone() {
        let replies = Arc::<Replies>::default();
        let callers: Vec<_> = (0..100)
            .map(|n| {
                let (caller, told) = oneshot::channel();
                let replies = Arc::clone(&replies);
                std::thread::spawn(move || replies.leave(caller, Word::default()));
                (n % 7 > 0).then_some(told)
            })
            .collect();
        let task = tokio::spawn({
            let replies = Arc::clone(&replies);
            async move { replies.tell().await }
        });
        for told in callers.into_iter().flatten() {
            assert_eq!(told.await, Ok(Word::default()));
        }
        task.abort();
    }
}
