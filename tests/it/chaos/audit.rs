//! Holds what stands in Kafka against the ledger: the invariants that can be seen from outside.
//!
//! Reads each topic once, after the load, from its start to its end, as a `read_committed` consumer: each on a thread of
//! its own. Keeps 5 bytes an event, and a place for each event of a keyed stream.

mod look;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use klamm_load::verify::{Offenders, Source, Topic};
use serde::Serialize;

use self::look::{Looker, Seen};
use super::event::{Id, Values};
use super::ledger::{Book, Entry, Said};

/// How many handfuls of records wait for the auditor.
const AHEAD: usize = 16;

/// An event may be sent again so long after its answer: while it waits in the producer, ...
const AFTERLIFE: Duration = Duration::from_secs(30);
/// ... or in the spool.
const AFTERLIFE_SPOOLED: Duration = Duration::from_secs(90);

/// A time in which a fault may show.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Window {
    pub(super) kind: &'static str,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    pub(super) records: u64,
    /// Events by what was said of them.
    pub(super) acked: u64,
    pub(super) spooled: u64,
    pub(super) refused: u64,
    pub(super) unknown_there: u64,
    pub(super) unknown_missing: u64,
    /// Spooled events whose bytes on disk the run itself destroyed, and that are not there.
    pub(super) destroyed: u64,
    /// Promised and not there.
    pub(super) lost: Offenders,
    /// Not the bytes that were sent.
    pub(super) altered: Offenders,
    /// Never sent.
    pub(super) strangers: Offenders,
    /// Under another key or in another topic than asked for.
    pub(super) misplaced: Offenders,
    /// Refused, and there all the same.
    pub(super) unwanted: Offenders,
    /// Promised one after another, and not in that order.
    pub(super) disordered: Offenders,
    /// Copies beyond the first, by the kind of fault that overlaps the life of the event.
    pub(super) doubled: BTreeMap<&'static str, u64>,
    /// Copies beyond the first where no fault explains them.
    pub(super) doubled_without_fault: Offenders,
    /// Copies whose event ids differ.
    pub(super) forged: Offenders,
}

impl Findings {
    /// The sorts of events that must not be, by name.
    pub(super) fn offenders(&self) -> [(&'static str, &Offenders); 8] {
        [
            ("lost", &self.lost),
            ("altered", &self.altered),
            ("never sent", &self.strangers),
            ("misplaced", &self.misplaced),
            ("refused and there", &self.unwanted),
            ("out of order", &self.disordered),
            ("doubled without a fault", &self.doubled_without_fault),
            ("copies with another event id", &self.forged),
        ]
    }

    /// Every promise was kept; else what was not.
    pub(super) fn faults(&self) -> Vec<String> {
        let bad = self.offenders().into_iter().filter(|(_, found)| found.count > 0);
        bad.map(|(name, found)| format!("{} events {name}: {}", found.count, found.first.join("; "))).collect()
    }
}

/// Remembers what was seen.
struct Auditor<'a> {
    book: &'a Book,
    windows: &'a [Window],
    /// Where the events of each request begin in `copies`.
    starts: Vec<usize>,
    /// Of each event, up to 255.
    copies: Vec<u8>,
    /// A digest of the event id of the first copy; 0 where it has none.
    event_ids: Vec<u32>,
    /// Where the events of each request of a stream begin in `places`.
    place_starts: Vec<usize>,
    /// Partition and offset of the first copy of each event of a stream.
    places: Vec<Option<(i32, i64)>>,
    findings: Findings,
}

impl<'a> Auditor<'a> {
    fn new(book: &'a Book, windows: &'a [Window]) -> Self {
        let (mut starts, mut place_starts) = (Vec::new(), Vec::new());
        let (mut events, mut keyed) = (0, 0);
        for entry in &book.entries {
            starts.push(events);
            place_starts.push(keyed);
            events += entry.order.events as usize;
            keyed += entry.order.stream.map_or(0, |_| entry.order.events as usize);
        }
        let (copies, event_ids, places) = (vec![0; events], vec![0; events], vec![None; keyed]);
        Self { book, windows, starts, copies, event_ids, place_starts, places, findings: Findings::default() }
    }

    /// Takes note of a record of the topic with this number.
    fn take(&mut self, topic: usize, seen: &Seen) {
        self.findings.records += 1;
        let place = || format!("topic {topic} partition {} offset {}", seen.place.0, seen.place.1);
        let id = match &seen.of {
            Ok(id) => *id,
            Err(text) => return self.findings.strangers.add(|| format!("{text} at {}", place())),
        };
        let entry = &self.book.entries[id.request as usize];
        if seen.is_altered {
            self.findings.altered.add(|| format!("{id} at {}", place()));
        }
        if seen.is_misplaced {
            self.findings.misplaced.add(|| format!("{id} at {}", place()));
        }
        let at = self.starts[id.request as usize] + id.index as usize;
        self.copies[at] = self.copies[at].saturating_add(1);
        if self.copies[at] == 1 {
            self.event_ids[at] = seen.event_id;
            if entry.order.stream.is_some() {
                self.places[self.place_starts[id.request as usize] + id.index as usize] = Some(seen.place);
            }
            return;
        }
        if self.event_ids[at] != seen.event_id {
            self.findings.forged.add(|| format!("{id} at {}", place()));
        }
        match fault_in_life(self.windows, entry) {
            Some(kind) => *self.findings.doubled.entry(kind).or_default() += 1,
            None => self.findings.doubled_without_fault.add(|| format!("{id} at {}", place())),
        }
    }

    /// Everything is read. Spooled events of the requests in `destroyed` need not be there.
    fn finish(mut self, destroyed: &HashSet<u64>) -> Findings {
        for (request, entry) in self.book.entries.iter().enumerate() {
            for index in 0..entry.order.events {
                let id = Id { request: request as u64, index };
                let is_there = self.copies[self.starts[request] + index as usize] > 0;
                let found = &mut self.findings;
                let said = entry.said(index);
                match said {
                    Said::Acked => found.acked += 1,
                    Said::Spooled => found.spooled += 1,
                    Said::Refused => found.refused += 1,
                    Said::Unknown if is_there => found.unknown_there += 1,
                    Said::Unknown => found.unknown_missing += 1,
                }
                if said.is_promise() && !is_there {
                    if said == Said::Spooled && destroyed.contains(&id.request) {
                        found.destroyed += 1;
                    } else {
                        found.lost.add(|| format!("{id}, {} after {:?}", entry.status, entry.sent));
                    }
                }
                if said == Said::Refused && is_there {
                    found.unwanted.add(|| format!("{id}, {} after {:?}", entry.status, entry.sent));
                }
            }
        }
        self.check_order();
        self.findings
    }

    /// Promised events of a stream stand in one partition in the order in which they were sent, by their first copies.
    fn check_order(&mut self) {
        let mut last = HashMap::<u32, (i32, i64, Id)>::new();
        for (request, entry) in self.book.entries.iter().enumerate() {
            let Some(stream) = entry.order.stream else { continue };
            for index in (0..entry.order.events).filter(|index| entry.said(*index).is_promise()) {
                let id = Id { request: request as u64, index };
                // One that is lost is said elsewhere.
                let place = self.places[self.place_starts[request] + index as usize];
                let Some((partition, offset)) = place else { continue };
                let before = last.insert(stream, (partition, offset, id));
                if let Some((old_partition, old_offset, old)) = before
                    && (old_partition != partition || old_offset >= offset)
                {
                    self.findings.disordered.add(|| {
                        format!("{id} at {partition}/{offset}, the one before it {old} at {old_partition}/{old_offset}")
                    });
                }
            }
        }
    }
}

/// Reads all topics, by their numbers, to where they end now.
pub(super) fn read(
    book: &Book,
    values: &Values,
    windows: &[Window],
    topics: &mut [Topic],
    destroyed: &HashSet<u64>,
) -> Findings {
    topics.iter_mut().for_each(|topic| topic.mark_end().expect("the ends of a topic"));
    read_all(book, values, windows, topics, destroyed)
}

/// Reads all topics to their ends, beside one another.
fn read_all<S: Source + Send>(
    book: &Book,
    values: &Values,
    windows: &[Window],
    topics: &mut [S],
    destroyed: &HashSet<u64>,
) -> Findings {
    let (mut auditor, looker) = (Auditor::new(book, windows), Looker::new(book, values));
    let (to, handfuls) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        for (number, topic) in topics.iter_mut().enumerate() {
            let (looker, to) = (&looker, to.clone());
            scope.spawn(move || looker.look_at(number, topic, &to));
        }
        // Those of the threads are left: what they see ends with the last of them.
        drop(to);
        for (number, some) in handfuls {
            some.iter().for_each(|seen| auditor.take(number, seen));
        }
    });
    auditor.finish(destroyed)
}

/// The first fault in whose window the event may have been sent again.
fn fault_in_life(windows: &[Window], entry: &Entry) -> Option<&'static str> {
    let grace = match entry.status {
        200 => Duration::ZERO,
        202 | 207 => AFTERLIFE_SPOOLED,
        _ => AFTERLIFE,
    };
    let end = entry.answered.map_or(Duration::MAX, |answered| answered + grace);
    windows.iter().find(|window| window.from <= end && window.to >= entry.sent).map(|window| window.kind)
}
