//! Reads records from a source and holds each against what was sent and what was said of it.

use anyhow::Result;
use serde::Serialize;

use super::book::{Closed, Said};
use crate::load::Bodies;
use crate::report::html::Table;

/// How many offenders of a kind are named.
const NAMED: usize = 5;

/// A record as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The event id that klamm gave it, in the header `klamm-event-id`.
    pub event_id: Option<&'a [u8]>,
}

/// Where records come from: a topic, or in tests what is done to one.
pub trait Source {
    /// Hands the next record to `take`; false at the end.
    ///
    /// # Errors
    /// If it cannot be read.
    fn next(&mut self, take: &mut dyn FnMut(Record<'_>)) -> Result<bool>;
}

/// Events of one sort: how many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Offenders {
    /// How many.
    pub count: u64,
    /// The first of them, described.
    pub first: Vec<String>,
}

impl Offenders {
    /// One more; described where it is among the first.
    pub fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(describe());
        }
    }
}

/// What stands in Kafka, against what was said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Records read.
    pub records: u64,
    /// Records that are not of this load.
    pub foreign: u64,
    /// Events acknowledged.
    pub acknowledged: u64,
    /// Events refused.
    pub refused: u64,
    /// Events whose fate is unknown, and that are there.
    pub unknown_there: u64,
    /// Events whose fate is unknown, and that are not there.
    pub unknown_missing: u64,
    /// Acknowledged and not there.
    pub lost: Offenders,
    /// There more than once.
    pub doubled: Offenders,
    /// Not the bytes that were sent.
    pub altered: Offenders,
    /// Refused, or never sent, and there all the same.
    pub unwanted: Offenders,
}

/// Reads `source` to its end.
///
/// # Errors
/// If it cannot be read.
pub fn read(source: &mut impl Source, book: &Closed, bodies: &Bodies, events: usize) -> Result<Findings> {
    let events = events.max(1) as u64;
    let mut findings = Findings::default();
    // Copies of each event, up to 255.
    let mut copies = vec![0_u8; usize::try_from(book.requests() * events)?];
    let mut take = |record: Record<'_>| {
        findings.records += 1;
        let place = || format!("partition {} offset {}", record.partition, record.offset);
        let value = record.value.unwrap_or_default();
        let Some(number) = bodies.number_of(value) else {
            findings.foreign += 1;
            return;
        };
        let Some(seen) = usize::try_from(number).ok().and_then(|number| copies.get_mut(number)) else {
            findings.unwanted.add(|| format!("event {number} at {}: no such event was sent", place()));
            return;
        };
        *seen = seen.saturating_add(1);
        if *seen > 1 {
            findings.doubled.add(|| format!("event {number} once more at {}", place()));
        }
        if bodies.event(number).as_deref() != Some(value) {
            findings.altered.add(|| format!("event {number} at {}", place()));
        }
    };
    while source.next(&mut take)? {}
    for (number, seen) in (0_u64..).zip(&copies) {
        let (request, there) = (number / events, *seen > 0);
        match (book.said(request), there) {
            (Said::Written, there) => {
                findings.acknowledged += 1;
                if !there {
                    findings.lost.add(|| format!("event {number}, number {} of request {request}", number % events));
                }
            }
            (Said::Unknown, true) => findings.unknown_there += 1,
            (Said::Unknown, false) => findings.unknown_missing += 1,
            (said @ (Said::Refused | Said::Unsent), there) => {
                findings.refused += u64::from(said == Said::Refused);
                if there {
                    findings.unwanted.add(|| format!("event {number} of request {request}, which was not accepted"));
                }
            }
        }
    }
    Ok(findings)
}

impl Findings {
    /// Every promise was kept.
    pub fn holds(&self) -> bool {
        [&self.lost, &self.doubled, &self.altered, &self.unwanted].iter().all(|offenders| offenders.count == 0)
    }

    /// The counts.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["", "events"]);
        let mut line = |name: &str, count: u64, bad: bool| {
            table.rows.push((vec![name.to_owned(), count.to_string()], bad && count > 0));
        };
        line("acknowledged", self.acknowledged, false);
        line("  lost", self.lost.count, true);
        line("doubled", self.doubled.count, true);
        line("altered", self.altered.count, true);
        line("refused", self.refused, false);
        line("  or unsent, and there all the same", self.unwanted.count, true);
        line("unknown, and there", self.unknown_there, false);
        line("unknown, and not there", self.unknown_missing, false);
        line("records read", self.records, false);
        line("  of others", self.foreign, false);
        table
    }

    /// The first offenders of each kind.
    pub fn offenders(&self) -> Vec<String> {
        let kinds = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("altered", &self.altered),
            ("unwanted", &self.unwanted),
        ];
        kinds.iter().flat_map(|(kind, of)| of.first.iter().map(move |one| format!("{kind}: {one}"))).collect()
    }
}
