//! The requests whose events are on their way, each with one completion.
//!
//! A producer reports an event by the place of its request in this table and its own place in the request. Invariant: a
//! flight leaves the table when its last event is settled, and each event is settled once; so what is reported always
//! finds its flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::partitions::Hold;
use super::{Completion, Fates, Run, Waiting};
use crate::event::Batch;

/// A flight as its sender knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    key: u32,
    /// Tells it from later flights with the same key.
    serial: u64,
}

struct Flight {
    serial: u64,
    events: usize,
    /// Events without a fate.
    left: usize,
    fates: Fates,
    done: Box<dyn Completion>,
    /// What is sent, for as long as it may have to be sent again.
    _batch: Arc<Batch>,
    /// Given back with the flight.
    _hold: Option<Hold>,
}

/// The table.
#[derive(Default)]
pub struct Flights {
    // One std Mutex: taken once a request and once or twice an array of reports, for some nanoseconds a run of events;
    // never across an await.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    flights: Slab<Flight>,
    serial: u64,
    events: usize,
}

impl Flights {
    /// Begins a flight of the events of `batch`; of none, it is settled at once. `batch` and `hold` are kept until it is
    /// over.
    pub fn begin(&self, batch: Arc<Batch>, done: Box<dyn Completion>, hold: Option<Hold>) -> Ticket {
        let events = batch.events.len();
        let mut open = self.lock();
        open.serial += 1;
        let serial = open.serial;
        if events == 0 {
            drop(open);
            done.settled(Fates::default());
            return Ticket { key: u32::MAX, serial };
        }
        open.events += events;
        let flight = Flight { serial, events, left: events, fates: Fates::default(), done, _batch: batch, _hold: hold };
        Ticket { key: open.flights.insert(flight) as u32, serial }
    }

    /// Gives events their fates, each run those of the flight with that token; the last event of a flight completes it.
    /// `runs` is read under the lock.
    pub(super) fn settle(&self, runs: impl IntoIterator<Item = (usize, Run)>) {
        let mut open = self.lock();
        for (token, run) in runs {
            if let Some(flight) = open.settle(token, run) {
                drop(open);
                flight.complete();
                open = self.lock();
            }
        }
    }

    /// See [`super::Sink::so_far`].
    pub fn so_far(&self, ticket: Ticket) -> Option<Fates> {
        let open = self.lock();
        let flight = open.flights.get(ticket.key as usize)?;
        let mut fates = (flight.serial == ticket.serial).then(|| flight.fates.clone())?;
        drop(open);
        fates.sort();
        Some(fates)
    }

    /// See [`super::Sink::waiting`].
    pub fn waiting(&self) -> Waiting {
        let open = self.lock();
        Waiting { requests: open.flights.len(), events: open.events }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Returns the flight that is over with this.
    fn settle(&mut self, token: usize, run: Run) -> Option<Flight> {
        let Some(flight) = self.flights.get_mut(token) else {
            debug_assert!(false, "a delivery report for no flight");
            return None;
        };
        flight.fates.add(run);
        flight.left -= run.count;
        self.events -= run.count;
        (flight.left == 0).then(|| self.flights.remove(token))
    }
}

impl Flight {
    fn complete(mut self) {
        self.fates.sort();
        debug_assert!(self.fates.cover(self.events), "an event settled twice");
        self.done.settled(self.fates);
    }
}

impl Ticket {
    /// What a producer calls this flight.
    pub(super) fn token(self) -> usize {
        self.key as usize
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::event::Event;
    use crate::stages::produce::Fate;

    fn settle(flights: &Flights, ticket: Ticket, place: usize, fate: Fate) {
        flights.settle([(ticket.token(), Run::of(place, fate))]);
    }

    fn batch(events: u32) -> Arc<Batch> {
        let mut batch = Batch::default();
        batch.events = (0..events).map(|n| Event::new(n, 0, None)).collect();
        Arc::new(batch)
    }

    struct Tell(mpsc::Sender<Fates>);

    impl Completion for Tell {
        fn settled(self: Box<Self>, fates: Fates) {
            self.0.send(fates).unwrap();
        }
    }

    fn acked(offset: i64) -> Fate {
        Fate::Acked { partition: 0, offset: Some(offset) }
    }

    #[test]
    fn a_flight_completes_once_with_every_fate_in_order() {
        let (tell, told) = mpsc::channel();
        let flights = Flights::default();
        let ticket = flights.begin(batch(3), Box::new(Tell(tell)), None);
        settle(&flights, ticket, 2, acked(2));
        settle(&flights, ticket, 0, acked(0));
        let known = flights.so_far(ticket).unwrap();
        assert_eq!(
            known.runs().iter().map(|run| (run.place, run.fate)).collect::<Vec<_>>(),
            [(0, acked(0)), (2, acked(2))]
        );
        assert_eq!(flights.waiting(), Waiting { requests: 1, events: 1 });
        assert!(told.try_recv().is_err());
        settle(&flights, ticket, 1, acked(1));
        assert_eq!(told.try_recv().unwrap().each(), [acked(0), acked(1), acked(2)]);
        assert_eq!(flights.so_far(ticket), None);
        assert_eq!(flights.waiting(), Waiting::default());
    }

    #[test]
    fn a_ticket_does_not_show_a_later_flight_in_the_same_place() {
        let (tell, _told) = mpsc::channel();
        let flights = Flights::default();
        let first = flights.begin(batch(1), Box::new(Tell(tell.clone())), None);
        settle(&flights, first, 0, acked(0));
        let second = flights.begin(batch(1), Box::new(Tell(tell)), None);
        assert_eq!(first.token(), second.token());
        assert_eq!(flights.so_far(first), None);
        assert_eq!(flights.so_far(second), Some(Fates::default()));
    }

    #[test]
    fn a_flight_of_nothing_is_over_at_once() {
        let (tell, told) = mpsc::channel();
        let flights = Flights::default();
        let ticket = flights.begin(batch(0), Box::new(Tell(tell)), None);
        assert_eq!(told.try_recv().unwrap(), Fates::default());
        assert_eq!(flights.so_far(ticket), None);
    }
}
