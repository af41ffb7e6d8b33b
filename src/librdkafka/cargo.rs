//! The bytes that librdkafka reads: kept for as long as it may.
//!
//! librdkafka does not copy values. Its contract (rdkafka.h, `rd_kafka_produce`): the bytes of a value stay valid and
//! unchanged until the record's delivery report; those of a key and of headers are copied within the call.
//!
//! So a producer has a table of loads, each with the [`Cargo`] that its records point into. A load stays in the table
//! while records may still be added to it, and then until as many were reported as librdkafka took. A record that is
//! never reported keeps its cargo until the table goes, which is after librdkafka has been destroyed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

/// What holds the bytes of records: shared, and never changed while it is.
///
/// What [`Cargo::record`] lends is read for as long as some `Arc` of the cargo lives. That is no longer than it is
/// valid: nobody can have the cargo for himself while the table shares it, and what a shared borrow lends stays
/// valid until somebody can.
pub trait Cargo: Send + Sync + 'static {
    /// The record at `place`.
    fn record(&self, place: u32) -> Record<'_>;
}

/// A record to be.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// `None` is no key.
    pub key: Option<&'a [u8]>,
}

/// The loads of one producer.
#[derive(Default)]
pub(super) struct Loads(Mutex<Slab<Load>>);

struct Load {
    _cargo: Arc<dyn Cargo>,
    /// What the sender calls it.
    token: usize,
    /// Records that librdkafka took less those that it reported. Below zero while it is open: those taken are added
    /// when it is closed.
    left: isize,
    /// Whether records may still be added.
    open: bool,
}

/// Records of one load that were reported one after the other.
#[derive(Clone, Copy)]
pub(super) struct Run {
    key: u32,
    count: isize,
    pub(super) token: usize,
}

impl Loads {
    /// Takes `cargo` in; it is open until [`Loads::close`].
    pub(super) fn open(&self, cargo: Arc<dyn Cargo>, token: usize) -> u32 {
        let key = self.lock().insert(Load { _cargo: cargo, token, left: 0, open: true });
        // A load that got another's number would be freed by the other's reports.
        u32::try_from(key).unwrap_or_else(|_| panic!("more than {} requests under way", u32::MAX))
    }

    /// No record is added to it any more; librdkafka took `taken`.
    pub(super) fn close(&self, key: u32, taken: usize) {
        let mut loads = self.lock();
        if let Some(load) = loads.get_mut(key as usize) {
            load.open = false;
            load.left += taken as isize;
        }
        let over = Self::over(&mut loads, key);
        drop(loads);
        // Freed while nothing is locked.
        drop(over);
    }

    /// Counts the record with this `opaque` as reported: on `run` where that goes on, else on another run. Returns where,
    /// and the place of the record; none where no load has it.
    pub(super) fn count(&self, run: &mut Option<Run>, opaque: usize) -> Option<(usize, u32)> {
        let (key, place) = ((opaque >> 32) as u32, opaque as u32);
        if let Some(run) = run
            && run.key == key
        {
            run.count += 1;
            return Some((run.token, place));
        }
        let mut loads = self.lock();
        let over = run.take().and_then(|run| Self::settle(&mut loads, run));
        let token = loads.get(key as usize).map(|load| load.token);
        drop(loads);
        drop(over);
        *run = token.map(|token| Run { key, count: 1, token });
        debug_assert!(token.is_some(), "a report for no load");
        Some((token?, place))
    }

    /// Ends a run.
    pub(super) fn end(&self, run: Run) {
        let mut loads = self.lock();
        let over = Self::settle(&mut loads, run);
        drop(loads);
        drop(over);
    }

    fn settle(loads: &mut Slab<Load>, run: Run) -> Option<Load> {
        loads.get_mut(run.key as usize)?.left -= run.count;
        Self::over(loads, run.key)
    }

    /// The load, where nothing needs it any more.
    fn over(loads: &mut Slab<Load>, key: u32) -> Option<Load> {
        let load = loads.get(key as usize)?;
        (load.left == 0 && !load.open).then(|| loads.remove(key as usize))
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Load>> {
        // Nothing panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record carries through librdkafka.
pub(super) fn opaque(key: u32, place: u32) -> usize {
    const _: () = assert!(usize::BITS >= 64, "an opaque holds two numbers of 32 bits");
    (key as usize) << 32 | place as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Cargo for Nothing {
        fn record(&self, _: u32) -> Record<'_> {
            Record { value: None, key: None }
        }
    }

    /// Reports that come one after the other.
    fn report(loads: &Loads, opaques: impl IntoIterator<Item = usize>) -> Vec<Option<(usize, u32)>> {
        let mut run = None;
        let told = opaques.into_iter().map(|opaque| loads.count(&mut run, opaque)).collect();
        run.into_iter().for_each(|run| loads.end(run));
        told
    }

    #[test]
    fn cargo_is_kept_until_it_is_closed_and_all_that_was_taken_is_reported() {
        let (loads, cargo) = (Loads::default(), Arc::new(Nothing));
        let kept = || Arc::strong_count(&cargo) > 1;
        let key = loads.open(cargo.clone(), 7);
        // Two are reported before it is known that three were taken.
        assert_eq!(report(&loads, [opaque(key, 0), opaque(key, 2)]), [Some((7, 0)), Some((7, 2))]);
        assert!(kept());
        loads.close(key, 3);
        assert!(kept());
        assert_eq!(report(&loads, [opaque(key, 1)]), [Some((7, 1))]);
        assert!(!kept());
    }

    #[test]
    fn one_of_which_nothing_was_taken_is_let_go_when_it_is_closed() {
        let (loads, cargo) = (Loads::default(), Arc::new(Nothing));
        let key = loads.open(cargo.clone(), 0);
        loads.close(key, 0);
        assert_eq!(Arc::strong_count(&cargo), 1);
    }

    #[test]
    fn reports_of_several_loads_in_turns_are_counted_each_on_its_own() {
        let (loads, cargo) = (Loads::default(), Arc::new(Nothing));
        let keys = [0, 1].map(|token| loads.open(cargo.clone(), token));
        keys.iter().for_each(|key| loads.close(*key, 3));
        let turns = (0..3).flat_map(|place| keys.map(|key| opaque(key, place)));
        let (most, last): (Vec<_>, Vec<_>) = turns.enumerate().partition(|(n, _)| *n < 4);
        report(&loads, most.into_iter().map(|(_, opaque)| opaque));
        assert_eq!(Arc::strong_count(&cargo), 3);
        let told = report(&loads, last.into_iter().map(|(_, opaque)| opaque));
        assert_eq!(told, [Some((0, 2)), Some((1, 2))]);
        assert_eq!(Arc::strong_count(&cargo), 1);
    }
}
