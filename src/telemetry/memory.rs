//! What history may take: one account for the live page's curves, the last requests and the problem bodies.
//!
//! Invariant: the grants together never exceed the limit. Who gets no grant keeps nothing, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The account.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
}

impl Memory {
    /// An account of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// `bytes` of it; `None` where so much is not left.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Grant> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Grant { memory: Arc::clone(self), bytes })
    }

    /// How many bytes are granted, and how many may be.
    pub fn usage(&self) -> (usize, usize) {
        (self.used.load(Relaxed), self.limit)
    }
}

/// Bytes of a [`Memory`], given back when dropped.
#[derive(Debug)]
pub struct Grant {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_granted_than_there_is_and_what_is_dropped_is_there_again() {
        let memory = Memory::new(10);
        let (six, four) = (memory.take(6), memory.take(4));
        assert!(six.is_some() && four.is_some() && memory.take(1).is_none());
        drop(six);
        assert_eq!(memory.usage(), (4, 10));
        assert!(memory.take(usize::MAX).is_none() && memory.take(6).is_some());
    }
}
