//! What a run comes to: every fault with its trace and the time until all was well again, the audit, and what failed.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Book, Entry, Said};
use super::rig::{FLOODER, MEMORY_BAR};
use super::run::{Done, Evidence, Plan};
use super::schedule::Kind;
use super::watch::Look;

/// A fault slows klamm where the 99th percentile is so many times that of the quiet time.
const SLOWER: f64 = 3.0;
/// ... or where a round trip to a broker takes so much longer, in milliseconds.
const LONGER_MS: f64 = 100.0;
/// The part of the requests that a machine with other work may fail without a fault of ours.
const QUIET_UNHAPPY: f64 = 0.01;
/// The part of their requests that a flood may cost the other clients.
const HARMED: f64 = 0.001;
/// After the last fault every topic must be accepted again within this.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(5);
/// The part of the seconds in which the load must have run.
const LOAD_RAN: f64 = 0.7;

/// One fault, as it showed.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    done: Done,
    /// Requests answered otherwise than 200 or 202, or not at all.
    unhappy: usize,
    /// Errors, retries and log lines of the connections to Kafka, and connections that went down.
    kafka_errors: f64,
    /// While the fault lasted, in milliseconds.
    p99_ms: f64,
    /// The slowest broker's round trip, at most, in milliseconds.
    round_trip_ms: f64,
    /// From the healing to the last unhappy answer.
    recovery_s: f64,
}

/// The time before the first fault, against which the others are held.
#[derive(Debug, Serialize)]
struct Quiet {
    p99_ms: f64,
    /// The slowest broker's, in milliseconds; the median.
    round_trip_ms: f64,
    requests: usize,
    unhappy: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    plan: &'a Plan,
    quiet: Quiet,
    faults: Vec<Shown>,
    /// Requests by status; 0 is no answer.
    answers: BTreeMap<u16, usize>,
    audit: &'a super::audit::Findings,
    /// Events acknowledged in a second while Kafka was up.
    acked_per_second: f64,
    /// The part of the seconds in which at least half of what was due was sent.
    load_ran: f64,
    /// From the last healing until a request to each topic was accepted, the slowest.
    accepts_again_s: f64,
    /// From the last healing until less waited in the spool than comes in a second; none if that never was.
    drained_s: Option<f64>,
    most_spooled: f64,
    peak_resident_mib: f64,
    lives: usize,
    reading_s: f64,
    failed: Vec<String>,
}

impl<'a> Report<'a> {
    pub(super) fn of(plan: &'a Plan, evidence: &'a Evidence) -> Self {
        let Evidence { book, done, looks, findings, .. } = evidence;
        let quiet = Quiet::of(evidence);
        let mut answers = BTreeMap::new();
        book.entries.iter().for_each(|entry| *answers.entry(entry.status).or_default() += 1);
        let peak = looks.iter().map(|look| look.resident).max().unwrap_or_default();
        let mut report = Self {
            plan,
            quiet,
            faults: done.iter().map(|done| Shown::of(done, book, looks)).collect(),
            answers,
            audit: findings,
            acked_per_second: acked_per_second(plan, evidence),
            load_ran: load_ran(plan, evidence),
            accepts_again_s: accepts_again(evidence).as_secs_f64(),
            drained_s: drained(plan, evidence).map(|after| after.as_secs_f64()),
            most_spooled: looks.iter().map(|look| look.spooled).fold(0.0, f64::max),
            peak_resident_mib: peak as f64 / f64::from(1 << 20),
            lives: evidence.life_count,
            reading_s: evidence.reading.as_secs_f64(),
            failed: Vec::new(),
        };
        report.failed = report.judge(evidence, peak);
        report
    }

    /// What must not be.
    fn judge(&self, evidence: &Evidence, peak: u64) -> Vec<String> {
        let mut failed = self.audit.faults();
        failed.extend(evidence.lives.iter().cloned());
        let mut hold = |holds: bool, what: String| failed.extend((!holds).then_some(what));
        for shown in self.faults.iter().filter(|shown| !shown.left_a_trace(&self.quiet)) {
            hold(false, format!("{} left no trace", shown.done.fault));
        }
        for shown in self.faults.iter().filter(|shown| shown.done.fault.kind == Kind::Flood) {
            let (harmed, of) = harmed(&evidence.book, (shown.done.from, shown.done.healed));
            let share = harmed as f64 / f64::max(of as f64, 1.0);
            hold(
                share <= HARMED,
                format!("{harmed} of {of} requests of others were not accepted while one client flooded"),
            );
        }
        let share = self.quiet.unhappy as f64 / f64::max(self.quiet.requests as f64, 1.0);
        hold(share <= QUIET_UNHAPPY, format!("{} requests were not accepted in the quiet time", self.quiet.unhappy));
        let (acked, floor) = (self.acked_per_second, self.plan.floor);
        hold(acked >= floor, format!("{acked:.0} events/s acknowledged while Kafka was up, at least {floor} are due"));
        hold(self.load_ran >= LOAD_RAN, format!("the load ran {:.0} % of the time", self.load_ran * 100.0));
        let again = self.accepts_again_s;
        hold(
            again <= ACCEPTS_WITHIN.as_secs_f64(),
            format!("after the last fault nothing was accepted for {again:.1} s"),
        );
        let late = evidence.end.saturating_sub(self.plan.calm / 2);
        let unhappy = unhappy(&evidence.book, (late, evidence.end));
        hold(unhappy == 0, format!("{unhappy} requests were not accepted in the second half of the calm"));
        hold(self.drained_s.is_some(), "the spool was not drained before the load ended".to_owned());
        hold(
            peak <= MEMORY_BAR,
            format!("{:.0} MiB resident, at most {} are due", self.peak_resident_mib, MEMORY_BAR >> 20),
        );
        hold(!evidence.looks.is_empty(), "memory was never looked at".to_owned());
        failed
    }

    /// What failed; empty where every promise was kept.
    pub(super) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(self).expect("a report as JSON");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the report");
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Quiet {
    fn of(Evidence { book, looks, quiet, .. }: &Evidence) -> Self {
        let within = |at: Duration| at >= quiet.0 && at <= quiet.1;
        let mut round_trips: Vec<f64> =
            looks.iter().filter(|look| within(look.at)).map(|look| look.round_trip).collect();
        round_trips.sort_unstable_by(f64::total_cmp);
        Self {
            p99_ms: p99_ms(book, *quiet),
            round_trip_ms: round_trips.get(round_trips.len() / 2).map_or(f64::INFINITY, |seconds| seconds * 1e3),
            requests: book.entries.iter().filter(|entry| within(entry.sent)).count(),
            unhappy: unhappy(book, *quiet),
        }
    }
}

impl Shown {
    fn of(done: &Done, book: &Book, looks: &[Look]) -> Self {
        let during: Vec<_> = looks.iter().filter(|look| look.at >= done.from && look.at <= done.to).collect();
        let most_up = looks.iter().map(|look| look.brokers_up).fold(0.0, f64::max);
        let went_down = during.iter().map(|look| most_up - look.brokers_up).fold(0.0, f64::max);
        let kafka_errors = during.iter().map(|look| look.errors + look.complaints as f64).sum::<f64>() + went_down;
        let last = book.entries.iter().filter(|entry| !entry.is_accepted()).filter_map(|entry| entry.answered);
        let last = last.filter(|at| *at > done.healed && *at <= done.to).max();
        Self {
            unhappy: unhappy(book, (done.from, done.to)),
            kafka_errors,
            p99_ms: p99_ms(book, (done.from, done.healed)),
            round_trip_ms: during.iter().map(|look| look.round_trip * 1e3).fold(0.0, f64::max),
            recovery_s: last.map_or(0.0, |last| (last - done.healed).as_secs_f64()),
            done: done.clone(),
        }
    }

    fn left_a_trace(&self, quiet: &Quiet) -> bool {
        let longer = f64::min(SLOWER * quiet.round_trip_ms, quiet.round_trip_ms + LONGER_MS);
        let is_slower = self.p99_ms >= SLOWER * quiet.p99_ms || self.round_trip_ms >= longer;
        self.unhappy > 0 || self.kafka_errors > 0.0 || is_slower
    }
}

/// Of the requests that others than the flooder sent in this time: how many were not accepted, and all.
fn harmed(book: &Book, (from, to): (Duration, Duration)) -> (usize, usize) {
    let others =
        book.entries.iter().filter(|entry| entry.order.client != FLOODER && entry.sent >= from && entry.sent <= to);
    let all: Vec<&Entry> = others.collect();
    (all.iter().filter(|entry| !entry.is_accepted()).count(), all.len())
}

/// Requests that ended in this time otherwise than accepted.
fn unhappy(book: &Book, (from, to): (Duration, Duration)) -> usize {
    let ended = |entry: &&Entry| entry.answered.is_some_and(|at| at >= from && at <= to);
    book.entries.iter().filter(ended).filter(|entry| !entry.is_accepted()).count()
}

/// Of the requests sent in this time, however they ended.
fn p99_ms(book: &Book, (from, to): (Duration, Duration)) -> f64 {
    let sent = book.entries.iter().filter(|entry| entry.sent >= from && entry.sent <= to);
    let mut took: Vec<_> = sent.filter_map(|entry| Some(entry.answered? - entry.sent)).collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3)
}

fn acked_per_second(plan: &Plan, evidence: &Evidence) -> f64 {
    let is_down = |at: Duration| {
        let outages = evidence.done.iter().filter(|done| done.fault.kind.is_outage(plan.brokers));
        outages.map(|done| (done.from, done.healed)).any(|(from, to)| at >= from && at < to)
    };
    let start = evidence.book.entries.first().map_or(Duration::ZERO, |entry| entry.sent);
    let mut up = 0.0;
    let step = Duration::from_millis(100);
    let mut at = start;
    while at < evidence.end {
        up += if is_down(at) { 0.0 } else { step.as_secs_f64() };
        at += step;
    }
    let answered_up = |entry: &&Entry| entry.answered.is_some_and(|at| at <= evidence.end && !is_down(at));
    let entries = evidence.book.entries.iter().filter(answered_up);
    entries.map(|entry| entry.count(Said::Acked) + entry.count(Said::Spooled)).sum::<u64>() as f64 / f64::max(up, 1.0)
}

fn load_ran(plan: &Plan, evidence: &Evidence) -> f64 {
    let start = evidence.book.entries.first().map_or(Duration::ZERO, |entry| entry.sent);
    let seconds = (evidence.end - start).as_secs();
    let mut sent = vec![0_u64; seconds as usize + 1];
    for entry in &evidence.book.entries {
        if let Some(second) = sent.get_mut((entry.sent - start).as_secs() as usize) {
            *second += u64::from(entry.order.events);
        }
    }
    let ran = sent.iter().take(seconds as usize).filter(|events| **events >= u64::from(plan.rate) / 2).count();
    ran as f64 / f64::max(seconds as f64, 1.0)
}

/// From the last healing until every topic had accepted a request sent after it.
fn accepts_again(evidence: &Evidence) -> Duration {
    let Some(healed) = evidence.done.last().map(|done| done.healed) else { return Duration::ZERO };
    let topics = 0..super::rig::TOPICS.len();
    let first = |topic: usize| {
        let after = evidence.book.entries.iter().filter(|entry| entry.sent >= healed && entry.order.topic == topic);
        after.filter(|entry| entry.is_accepted()).filter_map(|entry| entry.answered).min()
    };
    topics.map(|topic| first(topic).map_or(Duration::MAX, |at| at - healed)).max().unwrap_or_default()
}

/// From the last healing until the backlog was gone.
fn drained(plan: &Plan, evidence: &Evidence) -> Option<Duration> {
    let healed = evidence.done.last().map_or(Duration::ZERO, |done| done.healed);
    let mut after = evidence.looks.iter().filter(|look| look.at >= healed);
    after.find(|look| look.spooled < f64::from(plan.rate)).map(|look| look.at - healed)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = self.audit;
        writeln!(f, "\nfault                             non-200  kafka errors   p99 ms  recovered after s")?;
        for shown in &self.faults {
            let fault = &shown.done.fault;
            let held = (shown.done.healed - shown.done.from).as_secs_f64();
            writeln!(
                f,
                "{:<16} {:6.1} s + {held:4.1} s {:>8} {:>13.0} {:>8.0} {:>18.1}",
                fault.kind.name(),
                shown.done.from.as_secs_f64(),
                shown.unhappy,
                shown.kafka_errors,
                shown.p99_ms,
                shown.recovery_s
            )?;
        }
        let answers: Vec<_> = self.answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(f, "quiet p99 {:.0} ms; answers {}; {} lives", self.quiet.p99_ms, answers.join(", "), self.lives)?;
        writeln!(
            f,
            "events: acked {}, spooled {}, refused {}, unknown {} ({} of them in Kafka), destroyed on disk {}, lost {}",
            audit.acked,
            audit.spooled,
            audit.refused,
            audit.unknown_there + audit.unknown_missing,
            audit.unknown_there,
            audit.destroyed,
            audit.lost.count
        )?;
        let mut doubled = String::new();
        for (kind, count) in &audit.doubled {
            write!(doubled, " {kind} {count}")?;
        }
        let doubled = if doubled.is_empty() { " none" } else { &doubled };
        writeln!(f, "doubled, by fault:{doubled}; without a fault: {}", audit.doubled_without_fault.count)?;
        writeln!(
            f,
            "{:.0} events/s acknowledged while Kafka was up; the load ran {:.0} % of the time; accepted again {:.1} s after \
             the last fault, the spool drained {:.1} s after; at most {:.0} events in the spool, {:.0} MiB resident; {} records read \
             in {:.0} s",
            self.acked_per_second,
            self.load_ran * 100.0,
            self.accepts_again_s,
            self.drained_s.unwrap_or(f64::NAN),
            self.most_spooled,
            self.peak_resident_mib,
            audit.records,
            self.reading_s
        )?;
        for fault in &self.failed {
            writeln!(f, "FAILED: {fault}")?;
        }
        if self.failed.is_empty() {
            writeln!(f, "every promise was kept")?;
        }
        Ok(())
    }
}

mod tests;
