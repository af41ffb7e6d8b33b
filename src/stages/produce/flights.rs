//! The requests whose events are on their way, each with one completion.
//!
//! A producer reports an event by the place of its request in this table and its own place in the request. Invariant: a
//! flight leaves the table when its last event is settled, and each event is settled once; so what is reported always
//! finds its flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use slab::Slab;

use super::partitions::Hold;
use super::{Completion, Destination, Fate, Fates, Run, Waiting};
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
    batch: Arc<Batch>,
    /// Which way, where it may.
    course: Option<Course>,
    /// Places that were sent again and may have been persisted before. Almost always empty.
    doubtful: Vec<u32>,
    /// Given back with the flight.
    hold: Option<Hold>,
}

/// Which way a flight goes.
pub(super) struct Course {
    /// The number of its line.
    pub line: u32,
    /// To.
    pub to: Destination,
    /// When it began.
    pub began: Instant,
}

/// A flight with events that have no fate.
pub(super) struct Unsettled {
    /// Which.
    pub ticket: Ticket,
    /// All of its events.
    pub batch: Arc<Batch>,
    /// Where to.
    pub to: Destination,
    /// When it began.
    pub began: Instant,
    /// The partition of its events without a key.
    pub sticky: Option<i32>,
    /// Whether the event at each place still has no fate.
    pub open: Vec<bool>,
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
    /// over. Without a course nobody sends its events again.
    pub(super) fn begin(
        &self,
        batch: Arc<Batch>,
        done: Box<dyn Completion>,
        hold: Option<Hold>,
        course: Option<Course>,
    ) -> Ticket {
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
        let (fates, doubtful) = (Fates::default(), Vec::new());
        let flight = Flight { serial, events, left: events, fates, done, batch, course, doubtful, hold };
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

    /// Notes that these events, by flight and place, may be persisted though they have no fate. If sending them again
    /// fails, their fate is unknown.
    pub(super) fn doubt(&self, events: impl IntoIterator<Item = (usize, u32)>) {
        let mut open = self.lock();
        for (token, place) in events {
            if let Some(flight) = open.flights.get_mut(token) {
                flight.doubtful.push(place);
            }
        }
    }

    /// The flights of a line that began after the one with the number `after` (0: all), in the order of their beginning.
    pub(super) fn unsettled(&self, line: u32, after: u64) -> Vec<Unsettled> {
        let open = self.lock();
        let of_line = open.flights.iter().filter_map(|(key, flight)| {
            let course = flight.course.as_ref().filter(|course| course.line == line && flight.serial > after)?;
            Some(Unsettled {
                ticket: Ticket { key: key as u32, serial: flight.serial },
                batch: Arc::clone(&flight.batch),
                to: course.to.clone(),
                began: course.began,
                sticky: flight.hold.as_ref().map(Hold::partition),
                open: flight.fates.missing(flight.events),
            })
        });
        let mut unsettled: Vec<_> = of_line.collect();
        drop(open);
        unsettled.sort_unstable_by_key(|flight| flight.ticket.serial);
        unsettled
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
        flight.add(run);
        flight.left -= run.count;
        self.events -= run.count;
        (flight.left == 0).then(|| self.flights.remove(token))
    }
}

impl Flight {
    /// Adds fates. Of an event that may have been persisted when it was sent for the first time a failure says nothing.
    fn add(&mut self, run: Run) {
        match run.fate {
            Fate::Refused(code) | Fate::Failed(code) if !self.doubtful.is_empty() => {
                for place in run.place..run.place + run.count {
                    let doubtful = self.doubtful.contains(&(place as u32));
                    self.fates.add(Run::of(place, if doubtful { Fate::Unknown(code) } else { run.fate }));
                }
            }
            Fate::Acked { .. } | Fate::Refused(_) | Fate::Failed(_) | Fate::Unknown(_) => self.fates.add(run),
        }
    }

    fn complete(mut self) {
        self.fates.sort();
        debug_assert!(self.fates.cover(self.events), "an event settled twice");
        self.done.settled(self.fates);
    }
}

impl Ticket {
    /// Larger than that of every flight that began before.
    pub(super) fn serial(self) -> u64 {
        self.serial
    }

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
        let ticket = flights.begin(batch(3), Box::new(Tell(tell)), None, None);
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
        let first = flights.begin(batch(1), Box::new(Tell(tell.clone())), None, None);
        settle(&flights, first, 0, acked(0));
        let second = flights.begin(batch(1), Box::new(Tell(tell)), None, None);
        assert_eq!(first.token(), second.token());
        assert_eq!(flights.so_far(first), None);
        assert_eq!(flights.so_far(second), Some(Fates::default()));
    }

    #[test]
    fn events_without_a_fate_are_told_by_line_in_order_and_after_a_doubt_a_failure_is_unknown() {
        let (tell, told) = mpsc::channel();
        let flights = Flights::default();
        let begin = |line, events| {
            let known = super::super::catalog::Known { partitions: 1, max_message_bytes: None, demands: None };
            let to = Destination {
                topic: "t".into(),
                known,
                linger: None,
                client_id: None,
                patience: std::time::Duration::MAX,
            };
            let course = Some(Course { line, to, began: Instant::now() });
            flights.begin(batch(events), Box::new(Tell(tell.clone())), None, course)
        };
        let gone = begin(0, 1);
        let (first, other, last) = (begin(0, 3), begin(1, 1), begin(0, 1));
        settle(&flights, gone, 0, acked(0));
        settle(&flights, first, 1, acked(1));
        // In the place of the first, and yet the last.
        let later = begin(0, 2);
        let told_of = |line, after| {
            let unsettled = flights.unsettled(line, after).into_iter();
            unsettled.map(|flight| (flight.ticket, flight.open)).collect::<Vec<_>>()
        };
        let of_first = (first, vec![true, false, true]);
        assert_eq!(told_of(0, 0), [of_first, (last, vec![true]), (later, vec![true, true])]);
        assert_eq!(told_of(0, last.serial()), [(later, vec![true, true])]);
        assert_eq!(told_of(1, 0), [(other, vec![true])]);

        flights.doubt([(first.token(), 2)]);
        let failed = Fate::Failed(rdkafka::error::RDKafkaErrorCode::MessageTimedOut);
        settle(&flights, first, 0, failed);
        settle(&flights, first, 2, failed);
        let unknown = Fate::Unknown(rdkafka::error::RDKafkaErrorCode::MessageTimedOut);
        assert_eq!(told.try_iter().last().unwrap().each(), [failed, acked(1), unknown]);
    }

    #[test]
    fn a_flight_of_nothing_is_over_at_once() {
        let (tell, told) = mpsc::channel();
        let flights = Flights::default();
        let ticket = flights.begin(batch(0), Box::new(Tell(tell)), None, None);
        assert_eq!(told.try_recv().unwrap(), Fates::default());
        assert_eq!(flights.so_far(ticket), None);
    }
}
