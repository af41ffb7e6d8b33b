//! What one request holds of the budget.

use std::sync::Arc;

use super::{Budget, Share};
use crate::event::TopicName;
use crate::reject::Reject;

/// The bytes of one request. Dropping it frees them all; until then they count, whoever has the permit.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    share: Share,
    topic: TopicName,
    held: u64,
}

impl Permit {
    pub(super) fn new(budget: Arc<Budget>, share: Share, topic: TopicName) -> Self {
        Self { budget, share, topic, held: 0 }
    }

    /// Takes `bytes` more, all or none, at once.
    ///
    /// # Errors
    /// [`Reject::ShareExhausted`] or [`Reject::Overloaded`]; what is held already stays held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Reject> {
        self.budget.take(&self.share, &self.topic, self.held, bytes)?;
        self.held += bytes;
        Ok(())
    }

    /// Gives back `bytes`, at most what is held.
    pub fn release(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.budget.give(&self.share, &self.topic, bytes);
        self.held -= bytes;
    }

    /// Whether the permits of its client together have held more than a 64th of the budget since they last held
    /// nothing: a client whose events queue up, and had better queue among themselves.
    pub fn is_heavy(&self) -> bool {
        self.budget.is_heavy(&self.share)
    }

    /// How many bytes it holds.
    pub fn held(&self) -> u64 {
        self.held
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release(self.held);
    }
}
