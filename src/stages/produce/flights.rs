//! The requests whose events are on their way, each with one completion.
//!
//! A message carries two numbers through librdkafka: the place of its request in this table and its own place in the
//! request. Invariant: a flight leaves the table when its last event is settled, and each event is settled once;
//! so a number that comes back from librdkafka always finds its flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::{Completion, Fate, Waiting};

/// What a message carries: 32 bits of flight, 32 bits of place.
pub(super) type Opaque = usize;
const _: () = assert!(usize::BITS >= 64, "an opaque holds two numbers of 32 bits");

/// A flight as its sender knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    key: u32,
    /// Tells it from later flights with the same key.
    serial: u64,
}

struct Flight {
    serial: u64,
    /// Events without a fate.
    left: usize,
    fates: Vec<Option<Fate>>,
    done: Box<dyn Completion>,
}

/// The table.
#[derive(Default)]
pub struct Flights {
    // One std Mutex: held for a few lines by one poller thread a producer and by the senders; never across an await.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    flights: Slab<Flight>,
    serial: u64,
    events: usize,
}

impl Flights {
    /// Begins a flight of `events` events; of none, it is settled at once.
    pub fn begin(&self, events: usize, done: Box<dyn Completion>) -> Ticket {
        let mut open = self.lock();
        open.serial += 1;
        let serial = open.serial;
        if events == 0 {
            drop(open);
            done.settled(Vec::new());
            return Ticket { key: u32::MAX, serial };
        }
        open.events += events;
        let key = open.flights.insert(Flight { serial, left: events, fates: vec![None; events], done });
        Ticket { key: key as u32, serial }
    }

    /// Gives the event behind `opaque` its fate; the last one completes the flight.
    pub(super) fn settle(&self, opaque: Opaque, fate: Fate) {
        let (key, place) = (opaque >> 32, opaque & 0xffff_ffff);
        let mut open = self.lock();
        let Some(flight) = open.flights.get_mut(key) else {
            debug_assert!(false, "a delivery report for no flight");
            return;
        };
        match flight.fates.get_mut(place) {
            Some(slot @ None) => *slot = Some(fate),
            _ => {
                debug_assert!(false, "an event settled twice");
                return;
            }
        }
        flight.left -= 1;
        let last = flight.left == 0;
        open.events -= 1;
        if last {
            let flight = open.flights.remove(key);
            drop(open);
            flight.done.settled(flight.fates.into_iter().flatten().collect());
        }
    }

    /// See [`super::Sink::so_far`].
    pub fn so_far(&self, ticket: Ticket) -> Option<Vec<Option<Fate>>> {
        let open = self.lock();
        let flight = open.flights.get(ticket.key as usize)?;
        (flight.serial == ticket.serial).then(|| flight.fates.clone())
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

impl Ticket {
    /// What the event at `place` of this flight carries.
    pub(super) fn opaque(self, place: usize) -> Opaque {
        (self.key as usize) << 32 | place
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Tell(mpsc::Sender<Vec<Fate>>);

    impl Completion for Tell {
        fn settled(self: Box<Self>, fates: Vec<Fate>) {
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
        let ticket = flights.begin(3, Box::new(Tell(tell)));
        flights.settle(ticket.opaque(2), acked(2));
        flights.settle(ticket.opaque(0), acked(0));
        assert_eq!(flights.so_far(ticket), Some(vec![Some(acked(0)), None, Some(acked(2))]));
        assert_eq!(flights.waiting(), Waiting { requests: 1, events: 1 });
        assert!(told.try_recv().is_err());
        flights.settle(ticket.opaque(1), acked(1));
        assert_eq!(told.try_recv().unwrap(), [acked(0), acked(1), acked(2)]);
        assert_eq!(flights.so_far(ticket), None);
        assert_eq!(flights.waiting(), Waiting::default());
    }

    #[test]
    fn a_ticket_does_not_show_a_later_flight_in_the_same_place() {
        let (tell, _told) = mpsc::channel();
        let flights = Flights::default();
        let first = flights.begin(1, Box::new(Tell(tell.clone())));
        flights.settle(first.opaque(0), acked(0));
        let second = flights.begin(1, Box::new(Tell(tell)));
        assert_eq!(first.opaque(0), second.opaque(0));
        assert_eq!(flights.so_far(first), None);
        assert_eq!(flights.so_far(second), Some(vec![None]));
    }

    #[test]
    fn a_flight_of_nothing_is_over_at_once() {
        let (tell, told) = mpsc::channel();
        let flights = Flights::default();
        let ticket = flights.begin(0, Box::new(Tell(tell)));
        assert_eq!(told.try_recv().unwrap(), []);
        assert_eq!(flights.so_far(ticket), None);
    }
}
