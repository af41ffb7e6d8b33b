//! A row of the page's tables: a client, a topic, or one of the two within the other.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::track::{Rates, Track};
use crate::reject::Code;
use crate::telemetry::histogram::{Buckets, Quantile, SECONDS, quantile};
use crate::telemetry::{Outcome, RequestResult};

/// A duration of the last minute: seconds, `null` where there was none, `"over"` beyond the last bucket.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Took(pub(super) Option<Quantile>);

impl Took {
    /// For curves, which have no word for "over": the last bound.
    pub(super) fn seconds(self) -> Option<f64> {
        self.0.map(|quantile| match quantile {
            Quantile::Within(seconds) => round(seconds, 1e6),
            Quantile::Beyond => SECONDS.last().copied().unwrap_or_default(),
        })
    }
}

impl Serialize for Took {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(Quantile::Within(seconds)) => serializer.serialize_f64(round(seconds, 1e6)),
            Some(Quantile::Beyond) => serializer.serialize_str("over"),
        }
    }
}

/// `value` to a part of 1, so that its text is short.
pub(super) fn round(value: f64, part: f64) -> f64 {
    (value * part).round() / part
}

/// What several pairs did together.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    pub(super) rates: Rates,
    pub(super) minute: Buckets,
    events: u64,
    bytes: u64,
    results: [u64; RequestResult::ALL.len()],
    outcomes: [u64; Outcome::ALL.len()],
    codes: BTreeMap<Code, u64>,
    recent: BTreeMap<Code, u64>,
    spooled: u64,
    seen: Option<u64>,
}

impl Flow {
    pub(super) fn add(&mut self, track: &Track) {
        for (sum, rate) in self.rates.iter_mut().zip(track.rates()) {
            *sum += rate;
        }
        for (sum, count) in self.minute.iter_mut().zip(track.minute()) {
            *sum += count;
        }
        let now = &track.last;
        self.events += now.received;
        self.bytes += now.bytes;
        self.spooled += now.spooled;
        for (sum, count) in self.results.iter_mut().zip(now.results) {
            *sum += count;
        }
        for (sum, count) in self.outcomes.iter_mut().zip(now.outcomes) {
            *sum += count;
        }
        for (code, count) in &now.refusals {
            *self.codes.entry(*code).or_default() += count;
        }
        for (code, count) in track.minute_refusals() {
            *self.recent.entry(code).or_default() += count;
        }
        self.seen = self.seen.max(now.seen);
    }

    /// Adds what others did.
    pub(super) fn merge(&mut self, other: &Flow) {
        self.rates.iter_mut().zip(other.rates).for_each(|(sum, rate)| *sum += rate);
        let counts = [
            (&mut self.minute[..], &other.minute[..]),
            (&mut self.results, &other.results),
            (&mut self.outcomes, &other.outcomes),
        ];
        for (sums, counts) in counts {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        for (sums, counts) in [(&mut self.codes, &other.codes), (&mut self.recent, &other.recent)] {
            counts.iter().for_each(|(code, count)| *sums.entry(*code).or_default() += count);
        }
        self.events += other.events;
        self.bytes += other.bytes;
        self.spooled += other.spooled;
        self.seen = self.seen.max(other.seen);
    }

    pub(super) fn quantile(&self, q: f64) -> Took {
        Took(quantile(q, &self.minute))
    }

    /// The row of these under the name `id`.
    pub(super) fn row(&self, id: &str) -> Row {
        let [events_per_second, bytes_per_second, requests_per_second, refusals_per_second, failures_per_second] =
            self.rates.map(|rate| round(rate, 10.0));
        Row {
            id: id.to_owned(),
            events_per_second,
            bytes_per_second,
            requests_per_second,
            refusals_per_second,
            failures_per_second,
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            events: self.events,
            bytes: self.bytes,
            requests: self.results.iter().sum(),
            outcomes: Outcome::ALL.iter().map(|o| o.name()).zip(self.outcomes).filter(|(_, n)| *n > 0).collect(),
            codes: self.codes.iter().map(|(code, count)| (code.name(), *count)).collect(),
            recent: self.recent.iter().map(|(code, count)| (code.name(), *count)).collect(),
            spooled: self.spooled,
            seen: self.seen,
            held: 0,
            share: None,
            room: None,
            partitions: None,
            spread: None,
        }
    }
}

/// See the module. Rates are over 5 s, durations over a minute, numbers since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    #[serde(rename = "ev")]
    pub(super) events_per_second: f64,
    #[serde(rename = "by")]
    pub(super) bytes_per_second: f64,
    #[serde(rename = "rq")]
    pub(super) requests_per_second: f64,
    #[serde(rename = "rf")]
    pub(super) refusals_per_second: f64,
    #[serde(rename = "fl")]
    pub(super) failures_per_second: f64,
    pub(super) p50: Took,
    pub(super) p99: Took,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// Fates of events that occurred.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Refused requests by code.
    pub(super) codes: BTreeMap<&'static str, u64>,
    /// Those of the last minute.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) recent: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) spooled: u64,
    /// In seconds since the epoch.
    pub(super) seen: Option<u64>,
    /// Bytes in flight.
    pub(super) held: u64,
    /// The fair share of them, for clients that hold some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<u64>,
    /// What is left of each quota, from 0 to 1, for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) room: Option<BTreeMap<&'static str, f64>>,
    /// How many there are, for topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partitions: Option<i32>,
    /// The busiest partition's rate over the mean, for topics that are written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spread: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The rows of one kind, each with when it changed.
#[derive(Default)]
pub(super) struct Table {
    rows: BTreeMap<String, Kept>,
    /// The rows that went, and the tick at which the last of them did.
    gone: Vec<String>,
    went: u64,
}

struct Kept {
    row: Row,
    /// The tick of its last change.
    changed: u64,
    /// The tick at which it was last put into a frame.
    sent: u64,
}

/// Of rows that change, so many (by events per second) are sent each second; of the others one in [`TURNS`].
const TOP: usize = 100;
/// After so many seconds every row that changed was sent.
pub(super) const TURNS: u64 = 10;

impl Table {
    /// Begins a tick: what went before it is told.
    pub(super) fn begin(&mut self) {
        self.gone.clear();
    }

    /// Puts `row` in the place of the one before of its name.
    pub(super) fn put(&mut self, row: Row, tick: u64) {
        match self.rows.get_mut(&row.id) {
            Some(kept) if kept.row == row => {}
            Some(kept) => (kept.row, kept.changed) = (row, tick),
            None => {
                self.rows.insert(row.id.clone(), Kept { row, changed: tick, sent: 0 });
            }
        }
    }

    /// Lets those go whose name is not `there`.
    pub(super) fn keep(&mut self, there: impl Fn(&str) -> bool, tick: u64) {
        self.rows.retain(|id, _| {
            let stays = there(id);
            if !stays {
                self.gone.push(id.clone());
                self.went = tick;
            }
            stays
        });
    }

    /// Those that went at this tick.
    pub(super) fn gone(&self) -> &[String] {
        &self.gone
    }

    /// All rows.
    pub(super) fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|kept| &kept.row)
    }

    /// The rows that a viewer who was there at `tick` may not have; `None` where it may have rows that are gone.
    pub(super) fn since(&self, tick: u64) -> Option<Vec<&Row>> {
        let missed = self.rows.values().filter(|kept| kept.changed + TURNS >= tick);
        (self.went <= tick).then(|| missed.map(|kept| &kept.row).collect())
    }

    /// Whoever watches has all rows as they are.
    pub(super) fn note_sent(&mut self) {
        self.rows.values_mut().for_each(|kept| kept.sent = kept.changed);
    }

    /// The rows to send at `tick`, which count as sent from then on.
    pub(super) fn due(&mut self, tick: u64) -> Vec<Row> {
        let mut rates: Vec<f64> = self.rows.values().map(|kept| kept.row.events_per_second).collect();
        let line =
            if rates.len() > TOP { *rates.select_nth_unstable_by(TOP - 1, |a, b| b.total_cmp(a)).1 } else { 0.0 };
        let few = self.rows.len() <= TOP;
        let mut due = Vec::new();
        for (place, kept) in self.rows.values_mut().enumerate() {
            let its_turn = few || kept.row.events_per_second >= line.max(0.1) || place as u64 % TURNS == tick % TURNS;
            if kept.changed > kept.sent && its_turn {
                kept.sent = tick;
                due.push(kept.row.clone());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, rate: f64) -> Row {
        let flow = Flow { rates: [rate, 0.0, 0.0, 0.0, 0.0], ..Flow::default() };
        flow.row(id)
    }

    /// The rows of one tick, and no others.
    fn fill(table: &mut Table, rows: Vec<Row>, tick: u64) {
        table.begin();
        let names: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        rows.into_iter().for_each(|row| table.put(row, tick));
        table.keep(|id| names.iter().any(|name| name == id), tick);
    }

    fn ids(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn only_rows_that_changed_are_sent_and_once() {
        let mut table = Table::default();
        fill(&mut table, vec![row("a", 1.0), row("b", 1.0)], 1);
        assert_eq!(ids(&table.due(1)), ["a", "b"]);
        fill(&mut table, vec![row("a", 1.0), row("b", 2.0)], 2);
        assert_eq!(ids(&table.due(2)), ["b"]);
        assert!(table.due(3).is_empty());
        fill(&mut table, vec![row("b", 2.0)], 4);
        assert_eq!((table.gone(), table.all().count()), (&["a".to_owned()][..], 1));
        assert!(table.since(3).is_none(), "it may have the row that went");
        fill(&mut table, vec![row("b", 2.0)], 5);
        assert!(table.gone().is_empty());
        assert_eq!(table.since(4).unwrap().len(), 1);
        assert_eq!(table.since(20).unwrap().len(), 0);
        fill(&mut table, vec![row("b", 3.0)], 6);
        table.note_sent();
        assert!(table.due(7).is_empty(), "whoever watches begins with it");
    }

    #[test]
    fn of_many_rows_the_busiest_come_each_second_and_all_within_ten() {
        let mut table = Table::default();
        let rows = |rate: f64| (0..1000).map(|n| row(&format!("c{n:04}"), rate + f64::from(n))).collect::<Vec<_>>();
        let mut sent = std::collections::BTreeMap::<String, u32>::new();
        for tick in 1..=10 {
            fill(&mut table, rows(tick as f64), tick);
            let due = table.due(tick);
            assert!((100..=210).contains(&due.len()), "{}", due.len());
            due.into_iter().for_each(|row| *sent.entry(row.id).or_default() += 1);
        }
        assert_eq!((sent.len(), sent["c0999"]), (1000, 10));
        for tick in 11..=20 {
            fill(&mut table, rows(10.0), tick);
            table.due(tick);
        }
        assert!(table.due(21).is_empty() && table.rows.values().all(|kept| kept.sent >= kept.changed));
    }

    #[test]
    fn durations_are_numbers_null_or_over() {
        let text = |took: Took| serde_json::to_string(&took).unwrap();
        assert_eq!(text(Took(None)), "null");
        assert_eq!(text(Took(Some(Quantile::Within(0.001_234_567)))), "0.001235");
        assert_eq!(text(Took(Some(Quantile::Beyond))), "\"over\"");
        assert_eq!(Took(Some(Quantile::Beyond)).seconds(), Some(30.0));
    }
}
