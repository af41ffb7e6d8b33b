//! Events that are with the producer and may yet go to the spool: when they come back, or when their caller has waited
//! for long enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::book::{self, Run};
use super::{Parcel, Spooling, acked};
use crate::ingest::settlement::Settlement;
use crate::stages::produce::{Fate, Fates};
use crate::stages::spool::Receipt;
use crate::tasks;

/// One request's events with the producer. Shared by the caller who waits and the settlement that ends it.
pub struct Custody {
    spooling: Arc<Spooling>,
    parcel: Parcel,
    // std Mutex: held while an entry is copied into the store's queue, never across an await.
    stage: Mutex<Stage>,
}

enum Stage {
    /// Nothing is spooled; the caller waits, or is gone.
    Flying,
    /// The caller's wait is over, and an entry stands for what was unknown then.
    Insured(oneshot::Sender<Landed>),
    /// The producer has had its last word.
    Over,
}

/// The producer's last word, for whoever holds the entry.
type Landed = (Box<Settlement>, Fates);

impl Custody {
    /// Over the events of `parcel`, which are about to be sent.
    pub fn new(spooling: Arc<Spooling>, parcel: Parcel) -> Arc<Self> {
        Arc::new(Self { spooling, parcel, stage: Mutex::new(Stage::Flying) })
    }

    /// The caller's wait is over: spools what `known`, all fates so far, does not call acknowledged or refused. `None`
    /// where the producer has had its last word by now; else whether the disk has the events.
    ///
    /// # Cancellation
    /// The entry stays, if the disk took it.
    pub async fn insure(self: &Arc<Self>, known: &Fates) -> Option<bool> {
        let kept = {
            let mut stage = self.stage();
            match *stage {
                Stage::Over => return None,
                // It waits only once.
                Stage::Insured(_) => return Some(false),
                Stage::Flying => {}
            }
            let places = open(known, self.parcel.batch.events.len());
            let (word, told) = oneshot::channel();
            // Before the entry can come out of the store.
            self.spooling.insure(self.parcel.request, told);
            let Ok(receipt) = self.spooling.append(&self.parcel, Some(&places), known) else {
                self.forget();
                return Some(false);
            };
            let (land, landed) = oneshot::channel();
            *stage = Stage::Insured(land);
            let (keep, kept) = oneshot::channel();
            tasks::detach("spool-insure", Arc::clone(self).hold(receipt, places, keep, landed, word));
            kept
        };
        Some(kept.await.unwrap_or(false))
    }

    /// Holds an entry until the producer has had its last word on its events.
    async fn hold(
        self: Arc<Self>,
        receipt: Receipt,
        places: Vec<u32>,
        keep: oneshot::Sender<bool>,
        landed: oneshot::Receiver<Landed>,
        word: oneshot::Sender<Vec<Run>>,
    ) {
        let kept = receipt.await.is_ok();
        if !kept {
            self.forget();
        }
        // The caller may be gone.
        let _ = keep.send(kept);
        // It always comes: a flight that is given up is settled. But the process may end before.
        let Ok((settlement, fates)) = landed.await else { return };
        if !kept {
            return settlement.close(fates, None);
        }
        let mine = |place: usize| places.binary_search(&(place as u32)).is_ok();
        let acked = acked(&fates).filter(|(place, _)| mine(*place));
        let of = |(place, state)| Some((self.parcel.batch.events.get::<usize>(place)?.index, state));
        let runs = book::runs(acked.filter_map(of));
        settlement.close(fates, Some(&places));
        // The drain waits for it, or will look for it.
        let _ = word.send(runs);
    }

    /// The producer's last word. Spools what it did not deliver, while the caller waits.
    pub fn landed(self: &Arc<Self>, settlement: Box<Settlement>, fates: Fates) {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Insured(land) => {
                // Whoever holds the entry lives until then.
                if let Err((settlement, fates)) = land.send((settlement, fates)) {
                    settlement.close(fates, None);
                }
            }
            Stage::Flying | Stage::Over => {
                let places = open(&fates, self.parcel.batch.events.len());
                if places.is_empty() || settlement.caller.is_closed() {
                    return settlement.close(fates, None);
                }
                match self.spooling.append(&self.parcel, Some(&places), &fates) {
                    Err(_) => settlement.close(fates, None),
                    Ok(receipt) => {
                        let custody = Arc::clone(self);
                        tasks::detach_on(&self.spooling.runtime, "spool-rescue", async move {
                            let kept = receipt.await.is_ok();
                            if !kept {
                                custody.forget();
                            }
                            settlement.close(fates, kept.then_some(&places));
                        });
                    }
                }
            }
        }
    }

    fn forget(&self) {
        self.spooling.book.forget(self.parcel.request);
        drop(self.spooling.insured(self.parcel.request));
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places that `fates` calls neither acknowledged nor refused for good, of `events` events.
fn open(fates: &Fates, events: usize) -> Vec<u32> {
    let mut open = Vec::new();
    let mut next = 0;
    for run in fates.runs() {
        open.extend(next as u32..run.place as u32);
        next = run.place + run.count;
        match run.fate {
            Fate::Acked { .. } | Fate::Refused(_) => {}
            Fate::Failed(_) | Fate::Unknown(_) => open.extend(run.place as u32..next as u32),
        }
    }
    open.extend(next as u32..events as u32);
    open
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;
    use crate::stages::produce::Run;

    #[test]
    fn what_is_open_is_what_is_neither_acknowledged_nor_refused() {
        let acked = Fate::Acked { partition: 0, offset: Some(0) };
        let failed = Fate::Failed(RDKafkaErrorCode::MessageTimedOut);
        let refused = Fate::Refused(RDKafkaErrorCode::InvalidRecord);
        let mut fates = Fates::default();
        for (place, fate) in [(1, acked), (2, failed), (4, refused)] {
            fates.add(Run { place, count: 1, fate });
        }
        assert_eq!(open(&fates, 7), [0, 2, 3, 5, 6]);
        assert_eq!(open(&Fates::default(), 2), [0, 1]);
    }
}
