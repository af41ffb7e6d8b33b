//! Two targets under the same load, in turns: A B, B A, A B, ... Only ratios within a round are compared.
//!
//! Closed loop: throughput and CPU per event. At a rate: latency and CPU per event; throughput is what was asked for.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::capacity::{PATIENCE, complaint, errors};
use crate::load::{Loads, Options, Run, Stop};
use crate::report::answers;
use crate::report::html::{Page, Table};
use crate::report::plot::{self, Axis, Scale, Series, short};
use crate::statistics::{Estimate, Verdict, median};

/// How long a target may take for its first answer.
const FIRST: Duration = Duration::from_secs(30);

/// What is compared of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Accepted events per second.
    pub events_per_second: f64,
    /// CPU-microseconds of the target per event, if its process is known.
    pub cpu_per_event: Option<f64>,
    /// Of accepted requests, in milliseconds.
    pub p50: f64,
    /// Of accepted requests, in milliseconds.
    pub p99: f64,
    /// Requests that were not accepted, in percent.
    pub errors: f64,
    /// Why the tool does not stand by these figures.
    pub invalid: Vec<String>,
    /// Latency by percentile: share, milliseconds.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// Both targets, one after the other.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// The first target.
    pub a: Figures,
    /// The second.
    pub b: Figures,
    /// B was measured before A.
    pub b_first: bool,
}

/// What is said of one measure.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name and unit.
    pub measure: &'static str,
    /// Median of A's rounds.
    pub a: f64,
    /// Median of B's rounds.
    pub b: f64,
    /// The ratio B / A of a round: median and 95 % interval.
    pub ratio: Estimate,
    /// Whether a difference can be told.
    pub verdict: Verdict,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What A and B are.
    pub names: [String; 2],
    /// Round by round.
    pub rounds: Vec<Round>,
    /// By measure.
    pub findings: Vec<Finding>,
    /// What stands against believing it.
    pub doubts: Vec<String>,
    /// Ended by hand.
    pub stopped: bool,
}

impl Figures {
    /// The part of a run that is compared.
    pub fn of(run: &Run) -> Self {
        Self {
            events_per_second: run.events_per_second(),
            cpu_per_event: run.cpu_per_event(),
            p50: answers::percentile(&run.accepted, 0.5),
            p99: answers::percentile(&run.accepted, 0.99),
            errors: errors(run, PATIENCE),
            invalid: run.invalid.clone(),
            curve: answers::points(&run.accepted),
        }
    }
}

/// Loads `a` and `b` in turns, after one request to each: to connect to Kafka and ask for topics is no part of what is
/// compared.
///
/// # Errors
/// A fault in the options; a target that accepts nothing.
pub fn rounds(
    a: &Options,
    b: &Options,
    count: usize,
    stop: &Stop,
    loads: &Loads<'_>,
    tell: impl Fn(&Round),
) -> Result<Vec<Round>> {
    let measure = |options: &Options, label: &str| -> Result<Option<Figures>> {
        if stop.is_stopped() {
            return Ok(None);
        }
        let run = loads(options, label)?;
        ensure!(run.served.requests > 0 || run.stopped, "{} accepts nothing: {}", options.url, complaint(&run));
        ensure!(!run.quota, "{}: you measured the quota (429 rate_limited)", options.url);
        // What was cut short is no figure.
        Ok((!run.stopped).then(|| Figures::of(&run)))
    };
    for (options, name) in [(a, "A"), (b, "B")] {
        let (requests, warm_up, duration) = (Some(1), Duration::ZERO, FIRST);
        let first = Options { connections: 1, rate: None, requests, warm_up, duration, ..options.clone() };
        measure(&first, &format!("{name}: the first request"))?;
    }
    let mut rounds = Vec::new();
    for index in 0..count {
        let b_first = index % 2 == 1;
        let (first, second) = if b_first { ((b, "B"), (a, "A")) } else { ((a, "A"), (b, "B")) };
        let one = measure(first.0, &format!("{} {}/{count}", first.1, index + 1))?;
        let two = measure(second.0, &format!("{} {}/{count}", second.1, index + 1))?;
        let Some((one, two)) = one.zip(two) else { break };
        let (a, b) = if b_first { (two, one) } else { (one, two) };
        let round = Round { a, b, b_first };
        tell(&round);
        rounds.push(round);
    }
    Ok(rounds)
}

/// What the rounds say. `fixed`: they were at a rate.
pub fn conclude(names: [String; 2], rounds: Vec<Round>, fixed: bool, seed: u64, stopped: bool) -> Comparison {
    type Figure = fn(&Figures) -> Option<f64>;
    let cpu: (&str, Figure) = ("CPU us/event", |figures| figures.cpu_per_event);
    let open: [(&str, Figure); 3] =
        [("p50 ms", |figures| Some(figures.p50)), ("p99 ms", |figures| Some(figures.p99)), cpu];
    let closed: [(&str, Figure); 2] = [("events/s", |figures| Some(figures.events_per_second)), cpu];
    let measures = if fixed { &open[..] } else { &closed[..] };
    let findings = measures
        .iter()
        .filter_map(|(measure, figure)| {
            let pairs: Vec<(f64, f64)> =
                rounds.iter().filter_map(|round| figure(&round.a).zip(figure(&round.b))).collect();
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let ratio = Estimate::of_ratios(&a, &b, seed)?;
            let verdict = if a.len() < 3 { Verdict::Untold } else { ratio.verdict() };
            Some(Finding { measure, a: median(&a)?, b: median(&b)?, ratio, verdict })
        })
        .collect();
    let mut doubts = Vec::new();
    if rounds.len() < 3 {
        doubts.push(format!("{} rounds are too few to tell anything.", rounds.len()));
    }
    let sides = |test: fn(&Figures) -> bool| rounds.iter().filter(|round| test(&round.a) || test(&round.b)).count();
    let (late, failing) = (sides(|figures| !figures.invalid.is_empty()), sides(|figures| figures.errors > 1.0));
    if late > 0 {
        doubts.push(format!("In {late} of {} rounds the tool did not keep its own schedule.", rounds.len()));
    }
    if failing > 0 {
        doubts
            .push(format!("In {failing} of {} rounds more than 1 % of the requests were not accepted.", rounds.len()));
    }
    Comparison { names, rounds, findings, doubts, stopped }
}

impl Finding {
    /// In a sentence.
    pub fn sentence(&self) -> String {
        let Estimate { median, low, high } = self.ratio;
        let percent = (median - 1.0).abs() * 100.0;
        let interval = format!("B / A = {median:.3}, 95 % interval {low:.3} to {high:.3}");
        match self.verdict {
            Verdict::Higher => format!("{}: B is {percent:.0} % higher ({interval}).", self.measure),
            Verdict::Lower => format!("{}: B is {percent:.0} % lower ({interval}).", self.measure),
            Verdict::Untold => format!("{}: no difference can be told ({interval}).", self.measure),
        }
    }
}

impl Comparison {
    /// Medians and ratios.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["measure", "A", "B", "B / A", "95 % interval", ""]);
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Higher => "B higher",
                Verdict::Lower => "B lower",
                Verdict::Untold => "no difference can be told",
            };
            table.row(vec![
                finding.measure.to_owned(),
                short(finding.a),
                short(finding.b),
                format!("{:.3}", finding.ratio.median),
                format!("{:.3} - {:.3}", finding.ratio.low, finding.ratio.high),
                verdict.to_owned(),
            ]);
        }
        table
    }

    /// As a page.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub fn page(&self, fixed: bool, facts: &[(String, String)]) -> Result<Page> {
        let mut page = Page::new("Comparison");
        page.paragraph(&format!("A: {}", self.names[0])).paragraph(&format!("B: {}", self.names[1]));
        for finding in &self.findings {
            page.lead(&finding.sentence());
        }
        for doubt in &self.doubts {
            page.warning(doubt);
        }
        let mut plots = Vec::new();
        if fixed && let Some(round) = self.rounds.get(self.rounds.len() / 2) {
            let curves = [Series::new("A", round.a.curve.clone()), Series::new("B", round.b.curve.clone())];
            let (x, y) = (Axis::new("percentile", Scale::Percentile), Axis::new("latency, ms", Scale::Log));
            plots.push(plot::lines("latency by percentile, a round", &x, &y, &curves)?);
        }
        let figure = |figures: &Figures| if fixed { figures.p99 } else { figures.events_per_second };
        let by_round = |side: fn(&Round) -> &Figures| {
            (1..).zip(&self.rounds).map(|(index, round)| (f64::from(index), figure(side(round)))).collect()
        };
        let series = [Series::new("A", by_round(|round| &round.a)), Series::new("B", by_round(|round| &round.b))];
        let name = if fixed { "p99, ms" } else { "events/s" };
        let (x, y) = (Axis::new("round", Scale::Linear), Axis::new(name, Scale::Linear));
        plots.push(plot::lines("round by round", &x, &y, &series)?);
        page.plots(&plots).table(&self.table()).heading("Conditions").facts(facts);
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of a machine that drifts, B `factor` times A but for a little noise.
    fn planted(count: usize, factor: f64) -> Vec<Round> {
        let mut random = fastrand::Rng::with_seed(5);
        let mut figures = |scale: f64| Figures {
            events_per_second: 1e5 * scale * (1.0 + 0.02 * (random.f64() - 0.5)),
            cpu_per_event: Some(1.0 / scale),
            p99: 10.0 / scale,
            ..Figures::default()
        };
        let drift = [1.0, 0.6, 1.4, 0.8, 1.1, 0.9, 1.3];
        let round = |index: usize| (drift[index % drift.len()], index % 2 == 1);
        (0..count)
            .map(|index| {
                let (drift, b_first) = round(index);
                Round { a: figures(drift), b: figures(drift * factor), b_first }
            })
            .collect()
    }

    fn names() -> [String; 2] {
        ["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn a_difference_is_told_through_the_machine_s_drift() {
        let comparison = conclude(names(), planted(7, 1.2), false, 1, false);
        assert_eq!(comparison.findings.len(), 2, "throughput and CPU");
        assert_eq!(comparison.findings[0].verdict, Verdict::Higher);
        assert_eq!(comparison.findings[1].verdict, Verdict::Lower);
        assert!(comparison.doubts.is_empty());
        assert!(
            comparison.findings[0].sentence().contains("B is 20 % higher"),
            "{}",
            comparison.findings[0].sentence()
        );
    }

    #[test]
    fn below_five_percent_no_difference_can_be_told() {
        let comparison = conclude(names(), planted(7, 1.04), false, 1, false);
        assert!(comparison.findings.iter().all(|finding| finding.verdict == Verdict::Untold), "{comparison:?}");
        assert!(comparison.findings[0].sentence().contains("no difference can be told"));
    }

    #[test]
    fn at_a_rate_latency_is_compared_and_throughput_is_not() {
        let comparison = conclude(names(), planted(7, 0.5), true, 1, false);
        let measures: Vec<&str> = comparison.findings.iter().map(|finding| finding.measure).collect();
        assert_eq!(measures, ["p50 ms", "p99 ms", "CPU us/event"].into_iter().skip(1).collect::<Vec<_>>());
        assert_eq!(comparison.findings[0].verdict, Verdict::Higher);
    }

    #[test]
    fn two_rounds_tell_nothing() {
        let comparison = conclude(names(), planted(2, 2.0), false, 1, true);
        assert!(comparison.findings.iter().all(|finding| finding.verdict == Verdict::Untold));
        assert!(comparison.doubts[0].contains("too few"));
        assert!(comparison.page(false, &[]).is_ok());
    }

    #[test]
    fn rounds_that_fail_or_were_sent_late_raise_doubts() {
        let mut rounds = planted(7, 1.2);
        rounds[2].a.errors = 5.0;
        rounds[3].b.invalid = vec!["late".to_owned()];
        assert_eq!(conclude(names(), rounds, true, 1, false).doubts.len(), 2);
    }
}
