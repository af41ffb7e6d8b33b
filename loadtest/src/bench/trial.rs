//! One measurement of one candidate, and rounds of several: all in turn, the order turned around each round, so that
//! what the machine does meanwhile falls on each alike.

use crate::load::Run;
use crate::yardstick::raw;

/// Answers that are not accepted beyond this share: something else was measured than was meant.
const ERRORS: f64 = 0.001;

/// What one measurement says. Not numbers (NaN) where it must not be believed: statistics leave those out.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// CPU-microseconds of the candidate for each event (a single POST is one).
    pub(super) cpu: f64,
    /// Events per second.
    pub(super) rate: f64,
    /// Of the latency from the intended time, in milliseconds.
    pub(super) p99: f64,
    /// Why it, or its latency, is left out; empty = nothing is.
    pub(super) faults: Vec<String>,
}

impl Sample {
    /// `faults` are against all of it; `late` only against the latency: what an event costs does not depend on whether
    /// it was sent a millisecond after its time.
    fn of(cpu: f64, rate: f64, p99: f64, faults: Vec<String>, late: Vec<String>) -> Self {
        let believed = |figure: f64, without: bool| if without { figure } else { f64::NAN };
        let (sound, punctual) = (faults.is_empty(), faults.is_empty() && late.is_empty());
        let late = late.into_iter().map(|fault| format!("{fault} (latency left out)"));
        Self {
            cpu: believed(cpu, sound),
            rate: believed(rate, sound),
            p99: believed(p99, punctual),
            faults: faults.into_iter().chain(late).collect(),
        }
    }
}

/// A load over HTTP in which everything was to be accepted.
impl From<Run> for Sample {
    fn from(run: Run) -> Self {
        let mut faults = Vec::new();
        if run.quota {
            faults.push("the quota refused requests".to_owned());
        }
        if run.error_share() > ERRORS {
            let refused = run.refused.iter();
            let refused = refused.map(|it| format!("{} {}: {}", it.status, it.code, it.answers.requests));
            let errors = run.errors.iter().map(|(reason, answers)| format!("{reason}: {}", answers.requests));
            let kinds: Vec<String> = refused.chain(errors).collect();
            faults.push(format!("{:.1} % not accepted ({})", run.error_share() * 100.0, kinds.join(", ")));
        }
        let p99 = run.accepted.latency.at(0.99).as_secs_f64() * 1e3;
        // Without the process or without an event there is no cost, whatever else `invalid` says.
        let cpu = run.cpu_per_event().unwrap_or(f64::NAN);
        Self::of(cpu, run.events_per_second(), p99, faults, run.invalid)
    }
}

impl From<raw::Report> for Sample {
    fn from(report: raw::Report) -> Self {
        let (mut faults, mut late) = (Vec::new(), Vec::new());
        if report.failed + report.unanswered > 0 {
            faults.push(format!("{} messages failed, {} unanswered", report.failed, report.unanswered));
        }
        if let Some(lateness) = report.lateness.filter(|lateness| lateness.p99_ms > 1.0) {
            late.push(format!("the raw producer sent late: p99 {:.1} ms", lateness.p99_ms));
        }
        let p99 = report.latency.map_or(f64::NAN, |latency| latency.p99_ms);
        Self::of(report.cpu_per_message_us, report.messages_per_second, p99, faults, late)
    }
}

type Measure<'a> = Box<dyn Fn(usize) -> anyhow::Result<Sample> + 'a>;

/// A candidate, measured once a round; it gets the round's number, counted from 0.
pub(super) struct Trial<'a> {
    pub(super) name: &'static str,
    pub(super) measure: Measure<'a>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(name: &'static str, measure: impl Fn(usize) -> anyhow::Result<Sample> + 'a) -> Self {
        Self { name, measure: Box::new(measure) }
    }
}

/// The samples of one trial, by round.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(pub(super) Vec<Sample>);

impl Series {
    pub(super) fn cpu(&self) -> Vec<f64> {
        self.0.iter().map(|sample| sample.cpu).collect()
    }

    pub(super) fn rate(&self) -> Vec<f64> {
        self.0.iter().map(|sample| sample.rate).collect()
    }

    pub(super) fn p99(&self) -> Vec<f64> {
        self.0.iter().map(|sample| sample.p99).collect()
    }
}

/// The order in which a round measures `count` trials.
pub(super) fn order(round: usize, count: usize) -> Vec<usize> {
    let forth = 0..count;
    if round.is_multiple_of(2) { forth.collect() } else { forth.rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_turns_around_each_round() {
        assert_eq!((order(0, 3), order(1, 3), order(2, 3)), (vec![0, 1, 2], vec![2, 1, 0], vec![0, 1, 2]));
    }

    #[test]
    fn what_must_not_be_believed_is_no_number() {
        let report = |failed, late| raw::Report {
            seconds: 1.0,
            messages: 100,
            failed,
            unanswered: 0,
            cpu_us: 80.0,
            cpu_per_message_us: 0.8,
            messages_per_second: 100.0,
            latency: Some(raw::Percentiles { count: 1, p50_ms: 5.0, p99_ms: 6.0, max_ms: 6.0 }),
            lateness: Some(raw::Percentiles { count: 1, p50_ms: 0.1, p99_ms: late, max_ms: late }),
        };
        let good = Sample::from(report(0, 0.5));
        assert_eq!((good.cpu, good.p99, good.faults.len()), (0.8, 6.0, 0));
        let failed = Sample::from(report(1, 0.5));
        assert!(failed.cpu.is_nan() && failed.rate.is_nan() && failed.p99.is_nan() && !failed.faults.is_empty());
        let late = Sample::from(report(0, 1.5));
        assert!(late.p99.is_nan() && !late.faults.is_empty());
        assert_eq!(late.cpu, 0.8, "the cost stands");
    }
}
