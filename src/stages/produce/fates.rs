//! What became of the events of one request: runs, since an acknowledged request is mostly one of them.

use super::Fate;

/// Events beside each other that share a fate; of acknowledged ones the offsets are consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Of the first event, among those that were sent.
    pub place: usize,
    /// How many.
    pub count: usize,
    /// Of the first event.
    pub fate: Fate,
}

impl Run {
    /// Of one event.
    pub(super) const fn of(place: usize, fate: Fate) -> Self {
        Self { place, count: 1, fate }
    }

    /// Takes `next` in, where that goes on with it; says whether.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        let joins = self.place + self.count == next.place && self.fate_of(self.count) == next.fate;
        if joins {
            self.count += next.count;
        }
        joins
    }

    /// The fate of its `n`th event.
    fn fate_of(&self, n: usize) -> Fate {
        match self.fate {
            Fate::Acked { partition, offset } => {
                Fate::Acked { partition, offset: offset.map(|offset| offset + n as i64) }
            }
            Fate::Refused(_) | Fate::Failed(_) | Fate::Unknown(_) => self.fate,
        }
    }
}

/// The runs, by place. Where events have no fate yet, there are gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fates(Vec<Run>);

impl Fates {
    /// The runs in the order of the events.
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// How many events have a fate.
    pub fn count(&self) -> usize {
        self.0.iter().map(|run| run.count).sum()
    }

    /// Adds events, in any order. Cheap where they go on with the run that was added to last.
    pub(crate) fn add(&mut self, run: Run) {
        if !self.0.last_mut().is_some_and(|last| last.join(&run)) {
            self.0.push(run);
        }
    }

    /// Which of `events` events have no fate.
    pub(super) fn missing(&self, events: usize) -> Vec<bool> {
        let mut missing = vec![true; events];
        for run in &self.0 {
            missing.get_mut(run.place..run.place + run.count).unwrap_or_default().fill(false);
        }
        missing
    }

    /// Puts the runs in the order of the events.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|run| run.place);
    }

    /// Whether each of `events` events has exactly one fate, once sorted.
    pub(super) fn cover(&self, events: usize) -> bool {
        let end = self.0.iter().try_fold(0, |end, run| (run.place == end).then_some(end + run.count));
        end == Some(events)
    }
}

/// For tests: the fates of events one after the other.
#[cfg(test)]
impl FromIterator<Fate> for Fates {
    fn from_iter<I: IntoIterator<Item = Fate>>(fates: I) -> Self {
        let mut made = Self::default();
        for (place, fate) in fates.into_iter().enumerate() {
            made.add(Run::of(place, fate));
        }
        made
    }
}

/// For tests: one fate an event.
#[cfg(test)]
impl Fates {
    /// All of them, in order.
    pub fn each(&self) -> Vec<Fate> {
        self.0.iter().flat_map(|run| (0..run.count).map(|n| run.fate_of(n))).collect()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    fn acked(partition: i32, offset: Option<i64>) -> Fate {
        Fate::Acked { partition, offset }
    }

    #[test]
    fn consecutive_offsets_of_one_partition_are_one_run() {
        let failed = Fate::Failed(RDKafkaErrorCode::MessageTimedOut);
        let each = [
            acked(0, Some(7)),
            acked(0, Some(8)),
            acked(0, Some(10)),
            acked(1, Some(11)),
            acked(1, None),
            acked(1, None),
            failed,
            failed,
        ];
        let fates: Fates = each.into_iter().collect();
        let runs: Vec<_> = fates.runs().iter().map(|run| (run.place, run.count)).collect();
        assert_eq!(runs, [(0, 2), (2, 1), (3, 1), (4, 2), (6, 2)]);
        assert_eq!((fates.each(), fates.count()), (each.to_vec(), 8));
    }

    #[test]
    fn reports_that_come_in_another_order_are_put_in_that_of_the_events() {
        let mut fates = Fates::default();
        for (place, partition, offset) in [(1, 1, 0), (3, 1, 1), (0, 0, 5), (2, 0, 6)] {
            fates.add(Run::of(place, acked(partition, Some(offset))));
        }
        fates.sort();
        assert_eq!(fates.each(), [acked(0, Some(5)), acked(1, Some(0)), acked(0, Some(6)), acked(1, Some(1))]);
        assert!(fates.cover(4));
        for events in [3, 5] {
            assert!(!fates.cover(events));
        }
        fates.add(Run::of(1, acked(1, Some(0))));
        fates.sort();
        assert!(!fates.cover(5), "an event with two fates");
    }
}
