//! What is done when the producer has settled every event of a request, whether the caller still waits or not.

use std::sync::Arc;
use std::time::Instant;

use super::replies::{Caller, Replies};
use super::tally::Tally;
use crate::stages::admission::Permit;
use crate::stages::limit::{Charge, Quota};
use crate::stages::produce::{Completion, Fate, Fates};
use crate::telemetry::{Outcome, Pair};

/// Lives with the producer until then.
pub struct Settlement {
    /// Its events.
    pub tally: Tally,
    /// What they cost.
    pub charge: Charge,
    /// Whom.
    pub quota: Arc<Quota>,
    /// Where the wait is counted.
    pub pair: Arc<Pair>,
    /// Who waits, or has waited.
    pub caller: Caller,
    /// Who tells the caller.
    pub replies: Arc<Replies>,
    /// When the events were handed over.
    pub began: Instant,
    /// Given back with this.
    pub _permit: Permit,
}

impl Completion for Settlement {
    fn settled(mut self: Box<Self>, fates: Fates) {
        self.pair.ack(self.began.elapsed());
        let mut failed = 0;
        for run in fates.runs() {
            let outcome = outcome_of(&run.fate);
            self.tally.settle(outcome, run.count);
            if outcome == Outcome::Failed {
                failed += run.count as u64;
            }
        }
        if failed > 0 {
            // Sizes are not kept for every event: a part of the request gets back its part of the bytes.
            let bytes = self.charge.bytes() * failed / (fates.count() as u64).max(1);
            self.quota.refund(self.charge.split(failed, bytes));
        }
        self.replies.leave(self.caller, fates);
    }
}

fn outcome_of(fate: &Fate) -> Outcome {
    match fate {
        Fate::Acked { .. } => Outcome::Acked,
        Fate::Refused(_) => Outcome::Rejected,
        Fate::Failed(_) => Outcome::Failed,
        Fate::Unknown(_) => Outcome::Unknown,
    }
}
