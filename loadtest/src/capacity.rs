//! The highest rate that a target keeps: p99 and errors under their limits, at a schedule that waits for nobody.
//!
//! Doubles the rate until it is too much, then halves the gap between the last good and the first bad rate until they
//! are 10 % apart. A rate counts as too much only if it is so twice in a row: one hiccup of a shared machine is no
//! limit. Where the tool itself was the limit, the capacity is "at least".

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::{Loads, Options, Run};
use crate::report::answers;
use crate::report::html::{Page, Table};
use crate::report::plot::{self, Axis, Scale, Series, short};

/// How close the last good and the first bad rate must come.
const CLOSE: f64 = 1.1;
/// Rates tried at most. Ten doublings and four halvings of the gap.
const MOST: usize = 28;

/// What is too much.
#[derive(Debug, Clone, Copy, clap::Args, Serialize)]
pub struct Limits {
    /// The highest p99 that is good, in milliseconds
    #[arg(long, default_value_t = 50.0)]
    pub p99: f64,
    /// The highest share of requests that are not accepted, in percent
    #[arg(long, default_value_t = 0.1)]
    pub errors: f64,
}

/// What was seen at one rate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// Accepted events per second.
    pub events_per_second: f64,
    /// Of accepted requests, in milliseconds.
    pub p50: f64,
    /// Of accepted requests, in milliseconds.
    pub p99: f64,
    /// The share of requests that were not accepted, in percent.
    pub errors: f64,
    /// CPU-microseconds of the target per event.
    pub cpu_per_event: Option<f64>,
    /// 99th percentile of the tool's own lateness, in milliseconds.
    pub lateness: f64,
    /// The tool's busiest thread was busy all the time.
    pub saturated: bool,
    /// Why the tool does not stand by these figures.
    pub invalid: Vec<String>,
    /// A quota of the target refused requests.
    pub quota: bool,
    /// Ended by hand.
    pub stopped: bool,
    /// Latency by percentile: share, milliseconds.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// How long a request may wait for a free connection at the end of a run before it counts as not accepted, where no
/// other limit says so.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// Requests that were not accepted, in percent. At the end of every run some requests have just fallen due and wait for
/// a connection; only where these had waited longer than `patience` did the target not keep up.
pub fn errors(run: &Run, patience: Duration) -> f64 {
    let waiting = run.errors.get("missed").filter(|missed| missed.latency.max() <= patience);
    let waiting = waiting.map_or(0, |missed| missed.requests);
    let all = (run.accepted.requests + run.failed()).saturating_sub(waiting);
    if all == 0 { 100.0 } else { run.failed().saturating_sub(waiting) as f64 * 100.0 / all as f64 }
}

impl Seen {
    /// The part of a run that is judged and drawn. `patience`: see [`errors`].
    pub fn of(run: &Run, patience: Duration) -> Self {
        Self {
            events_per_second: run.events_per_second(),
            p50: answers::percentile(&run.accepted, 0.5),
            p99: answers::percentile(&run.accepted, 0.99),
            errors: errors(run, patience),
            cpu_per_event: run.cpu_per_event(),
            lateness: millis(run.schedule.lateness.at(0.99)),
            saturated: run.generator.saturated,
            invalid: run.invalid.clone(),
            quota: run.quota,
            stopped: run.stopped,
            curve: answers::points(&run.accepted),
        }
    }
}

/// As a number of milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What a rate was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Under the limits.
    Good,
    /// p99 is over its limit.
    Slow,
    /// Errors are over their limit.
    Failing,
    /// The tool did not keep its schedule: this says nothing of the target.
    Tool,
    /// A quota refused.
    Quota,
}

impl Verdict {
    /// In a word or two.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Slow => "too slow",
            Verdict::Failing => "errors",
            Verdict::Tool => "the tool's limit",
            Verdict::Quota => "quota",
        }
    }
}

impl Limits {
    /// Judges what was seen. The tool's own lateness is part of every latency: a rate that is under the limits with it is
    /// good all the more; one that is over them may be the tool's fault.
    pub fn judge(&self, seen: &Seen) -> Verdict {
        if seen.quota {
            return Verdict::Quota;
        }
        let failing = seen.errors > self.errors;
        if !failing && seen.p99 <= self.p99 {
            return Verdict::Good;
        }
        // With a quarter of the latency its own, the tool cannot blame the target.
        let own = seen.saturated || (!failing && seen.lateness * 4.0 > seen.p99);
        match (own, failing) {
            (true, _) => Verdict::Tool,
            (false, true) => Verdict::Failing,
            (false, false) => Verdict::Slow,
        }
    }
}

/// One rate that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Requests per second.
    pub rate: f64,
    /// Whether it was good.
    pub verdict: Verdict,
    /// What was seen.
    #[serde(flatten)]
    pub seen: Seen,
}

/// What the search found.
#[derive(Debug, Clone, Serialize)]
pub struct Capacity {
    /// The last good rate, in requests per second; none if no rate was good.
    pub rate: Option<f64>,
    /// The same in events.
    pub events_per_second: Option<f64>,
    /// The tool was the limit, or the search ended before the target was.
    pub at_least: bool,
    /// A quota ended the search.
    pub quota: bool,
    /// Ended by hand.
    pub stopped: bool,
    /// Every rate tried, in their order.
    pub steps: Vec<Step>,
}

/// Searches from `start` requests per second.
///
/// # Errors
/// What `measure` says.
pub fn search(start: f64, limits: &Limits, mut measure: impl FnMut(f64) -> Result<Seen>) -> Result<Capacity> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut good, mut bad): (Option<f64>, Option<(f64, Verdict)>) = (None, None);
    let (mut quota, mut stopped, mut doubted) = (false, false, false);
    let mut rate = start;
    while steps.len() < MOST {
        let seen = measure(rate)?;
        if seen.stopped {
            stopped = true;
            break;
        }
        let verdict = limits.judge(&seen);
        steps.push(Step { rate, verdict, seen });
        match verdict {
            Verdict::Quota => {
                quota = true;
                break;
            }
            Verdict::Good => {
                good = Some(good.map_or(rate, |good: f64| good.max(rate)));
                doubted = false;
            }
            Verdict::Slow | Verdict::Failing | Verdict::Tool if !doubted => {
                doubted = true;
                continue;
            }
            Verdict::Slow | Verdict::Failing | Verdict::Tool => {
                bad = Some((rate, verdict));
                doubted = false;
            }
        }
        rate = match (good, bad) {
            (Some(good), Some((bad, _))) if bad / good <= CLOSE => break,
            (Some(good), Some((bad, _))) => (good * bad).sqrt().min(good * 2.0),
            (Some(good), None) => good * 2.0,
            (None, Some((bad, _))) => bad / 2.0,
            (None, None) => start,
        };
        if rate < 1.0 {
            break;
        }
    }
    let last = steps.iter().rfind(|step| step.verdict == Verdict::Good && Some(step.rate) == good);
    let events_per_second = last.map(|step| step.seen.events_per_second);
    let at_least = quota || bad.is_none_or(|(_, verdict)| verdict == Verdict::Tool);
    Ok(Capacity { rate: good, events_per_second, at_least: at_least || stopped, quota, stopped, steps })
}

/// Measures a target: a quick closed loop for the order of magnitude (unless `from` names a rate), then the search.
///
/// # Errors
/// A fault in the options; a target that accepts nothing.
pub fn of(
    options: &Options,
    limits: &Limits,
    from: Option<f64>,
    loads: &Loads<'_>,
    tell: impl Fn(&Step),
) -> Result<Capacity> {
    ensure!(options.rate.is_none(), "the rate is what is looked for: leave out --rate (--from says where to begin)");
    let start = match from {
        Some(rate) => rate,
        None => {
            let quick = Options { duration: Duration::from_secs(2), ..options.clone() };
            let run = loads(&quick, "estimate")?;
            if run.quota {
                let seen = Seen::of(&run, PATIENCE);
                let rate = run.requests_per_second();
                let steps = vec![Step { rate, verdict: Verdict::Quota, seen }];
                return Ok(Capacity {
                    rate: None,
                    events_per_second: None,
                    at_least: true,
                    quota: true,
                    stopped: false,
                    steps,
                });
            }
            ensure!(run.served.requests > 0 || run.stopped, "the target accepts nothing: {}", complaint(&run));
            (run.requests_per_second() * 0.3).max(1.0)
        }
    };
    ensure!(start.is_finite() && start > 0.0, "--from must be above 0");
    let patience = Duration::try_from_secs_f64(limits.p99 / 1e3)?;
    search(start, limits, |rate| {
        let run = loads(&Options { rate: Some(rate), ..options.clone() }, &format!("{rate:.0}/s"))?;
        let seen = Seen::of(&run, patience);
        tell(&Step { rate, verdict: limits.judge(&seen), seen: seen.clone() });
        Ok(seen)
    })
}

/// What a target says that accepts nothing.
pub fn complaint(run: &Run) -> String {
    let refused = run.refused.iter().map(|one| format!("{} x {} {}", one.answers.requests, one.status, one.code));
    let errors = run.errors.iter().map(|(reason, answers)| format!("{} x {reason}", answers.requests));
    let all: Vec<String> = refused.chain(errors).collect();
    if all.is_empty() { "no answer at all".to_owned() } else { all.join(", ") }
}

impl Capacity {
    /// The sentence that says it all.
    pub fn sentence(&self, limits: &Limits) -> String {
        if self.quota {
            return "You measured the quota: the target refused with 429 rate_limited. Raise the client's quota above \
                    the rate, or measure with more clients (--keys)."
                .to_owned();
        }
        let Some((rate, events)) = self.rate.zip(self.events_per_second) else {
            return format!(
                "No rate was good: p99 over {} ms or errors over {} % at all of them.",
                limits.p99, limits.errors
            );
        };
        let least = if self.at_least { "at least " } else { "" };
        let why = match (self.at_least, self.stopped) {
            (_, true) => " Ended by hand before the limit was found.",
            (true, false) => " This tool, not the target, was the limit: more --threads, or another machine.",
            (false, false) => "",
        };
        format!(
            "Capacity: {least}{} events/s ({} requests/s) with p99 <= {} ms and errors <= {} %.{why}",
            short(events),
            short(rate),
            limits.p99,
            limits.errors
        )
    }

    /// Every rate that was tried; the capacity is marked.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["requests/s", "events/s", "p50 ms", "p99 ms", "errors %", "CPU us/event", ""]);
        for step in &self.steps {
            let seen = &step.seen;
            let cells = vec![
                short(step.rate),
                short(seen.events_per_second),
                short(seen.p50),
                short(seen.p99),
                short(seen.errors),
                seen.cpu_per_event.map_or_else(|| "-".to_owned(), short),
                step.verdict.text().to_owned(),
            ];
            let marked = step.verdict == Verdict::Good && Some(step.rate) == self.rate;
            table.rows.push((cells, marked));
        }
        table
    }

    /// Throughput against p99, and latency by percentile at some of the rates.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub fn page(&self, limits: &Limits, facts: &[(String, String)]) -> Result<Page> {
        let mut page = Page::new("Capacity");
        page.lead(&self.sentence(limits));
        let mut by_rate: Vec<&Step> = self.steps.iter().collect();
        by_rate.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let against = by_rate.iter().map(|step| (step.seen.events_per_second, step.seen.p99)).collect();
        let good = by_rate.iter().rposition(|step| step.verdict == Verdict::Good && Some(step.rate) == self.rate);
        let mut series = Series::new("p99", against);
        if let Some(index) = good {
            series = series.mark(index, "capacity");
        }
        let (x, y) = (Axis::new("accepted events/s", Scale::Linear), Axis::new("p99, ms", Scale::Log));
        let first = plot::points("p99 against throughput", &x, &y, &[series])?;
        let curves: Vec<Series> = by_rate
            .iter()
            .filter(|step| step.verdict == Verdict::Good)
            .rev()
            .step_by(2)
            .take(4)
            .map(|step| Series::new(&format!("{}/s", short(step.rate)), step.seen.curve.clone()))
            .collect();
        let (x, y) = (Axis::new("percentile", Scale::Percentile), Axis::new("latency, ms", Scale::Log));
        let second = plot::lines("latency by percentile, good rates", &x, &y, &curves)?;
        page.plots(&[first, second]).heading("Every rate tried").table(&self.table());
        page.heading("Conditions").facts(facts);
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
