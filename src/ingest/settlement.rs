//! What is done when the producer has settled every event of a request, whether the caller still waits or not.

use std::sync::Arc;
use std::time::Instant;

use super::replies::{Caller, Replies, Word};
use super::spooling::custody::Custody;
use super::tally::Tally;
use crate::stages::admission::Permit;
use crate::stages::limit::{Charge, Quota};
use crate::stages::produce::{Completion, Fate, Fates, Run};
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
    /// Where the events may go to the spool. Some until the producer has had its last word.
    pub custody: Option<Arc<Custody>>,
    /// When the events were handed over.
    pub began: Instant,
    /// Given back with this.
    pub _permit: Permit,
}

impl Completion for Settlement {
    fn settled(mut self: Box<Self>, fates: Fates) {
        self.pair.ack(self.began.elapsed());
        match self.custody.take() {
            Some(custody) => custody.landed(self, fates),
            None => self.close(fates, None),
        }
    }
}

impl Settlement {
    /// Counts the fates and tells the caller. The spool has the events at the places `spooled` (ascending): those of
    /// them that are not acknowledged are its from here on.
    pub fn close(mut self, fates: Fates, spooled: Option<&[u32]>) {
        let mut failed = 0;
        for run in fates.runs() {
            let outcome = outcome_of(&run.fate);
            let kept = match outcome {
                Outcome::Acked => 0,
                Outcome::Rejected | Outcome::Failed | Outcome::Unknown => {
                    spooled.map_or(0, |places| within(places, run))
                }
            };
            self.tally.spooled(kept);
            self.tally.settle(outcome, run.count - kept);
            if outcome == Outcome::Failed {
                failed += (run.count - kept) as u64;
            }
        }
        if failed > 0 {
            // Sizes are not kept for every event: a part of the request gets back its part of the bytes.
            let bytes = self.charge.bytes() * failed / (fates.count() as u64).max(1);
            self.quota.refund(self.charge.split(failed, bytes));
        }
        self.replies.leave(self.caller, Word { fates, spooled: spooled.is_some() });
    }
}

/// How many of `places` are of `run`.
fn within(places: &[u32], run: &Run) -> usize {
    let before = |end: usize| places.partition_point(|place| (*place as usize) < end);
    before(run.place + run.count) - before(run.place)
}

fn outcome_of(fate: &Fate) -> Outcome {
    match fate {
        Fate::Acked { .. } => Outcome::Acked,
        Fate::Refused(_) => Outcome::Rejected,
        Fate::Failed(_) => Outcome::Failed,
        Fate::Unknown(_) => Outcome::Unknown,
    }
}
