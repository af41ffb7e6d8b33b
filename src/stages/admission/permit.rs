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
    /// Of these: for the body as it comes.
    body: u64,
    /// Of these: not used yet, for what the body may turn into.
    ahead: u64,
}

impl Permit {
    pub(super) fn new(budget: Arc<Budget>, share: Share, topic: TopicName) -> Self {
        Self { budget, share, topic, held: 0, body: 0, ahead: 0 }
    }

    /// Takes `bytes` for as much more of the body, and ahead what its events will hold beside it, going by the last
    /// request of this client: what will not fit is to be refused before it is read and decoded, not after. All or
    /// none, at once.
    ///
    /// # Errors
    /// As [`Permit::grow`].
    pub fn admit(&mut self, bytes: u64) -> Result<(), Reject> {
        let most = self.budget.ahead().saturating_sub(self.ahead);
        let ahead = self.share.foresee(bytes).min(most);
        self.take(bytes.saturating_add(ahead))?;
        self.body += bytes;
        self.ahead += ahead;
        Ok(())
    }

    /// Takes `bytes` more, first of what was taken ahead; all or none, at once.
    ///
    /// # Errors
    /// [`Reject::ShareExhausted`] or [`Reject::Overloaded`]; what is held already stays held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Reject> {
        let ahead = bytes.min(self.ahead);
        self.take(bytes - ahead)?;
        self.ahead -= ahead;
        Ok(())
    }

    /// From here on it holds just `bytes`, until the last event is settled. The client's next request is taken to be
    /// like this one.
    ///
    /// # Errors
    /// As [`Permit::grow`].
    pub fn settle(&mut self, bytes: u64) -> Result<(), Reject> {
        self.share.learn(self.body, bytes);
        self.take(bytes.saturating_sub(self.held))?;
        self.release(self.held - bytes);
        self.ahead = 0;
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), Reject> {
        self.budget.take(&self.share, &self.topic, self.held, bytes)?;
        self.held += bytes;
        Ok(())
    }

    /// Gives back `bytes`, at most what is held.
    pub(super) fn release(&mut self, bytes: u64) {
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
