//! `capacity`: the highest rate that a target keeps.

use std::process::ExitCode;

use anyhow::Result;

use super::preset::{Load, Stepped};
use super::progress;
use crate::capacity::{self, Limits, Step};
use crate::load::{Meter, Stop};
use crate::report::plot::short;
use crate::report::{Outputs, Report};

/// Finds the highest rate with p99 and errors under their limits.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    limits: Limits,
    /// Requests per second to begin with; without it a quick closed loop gives the order of magnitude
    #[arg(long, value_name = "RATE")]
    from: Option<f64>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    load: Load<Stepped>,
}

impl Command {
    /// Exits with 1 if no rate was good.
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let (options, meter) = (self.load.options("capacity")?, Meter::start());
        let found = capacity::of(&options, &self.limits, self.from, &progress::shown(stop), tell)?;
        let none = found.rate.is_none();
        let conditions = meter.finish(&options, None);
        let report = Report { command: "capacity", result: found, notes: Vec::new(), conditions };
        self.outputs.say(&format!("{}\n{}", report.result.table().terminal(), report.result.sentence(&self.limits)));
        self.outputs.write(&report, || report.result.page(&self.limits, &report.facts()))?;
        Ok(ExitCode::from(u8::from(none)))
    }
}

/// A line for each rate, as it is known.
pub(super) fn tell(step: &Step) {
    let (rate, p99, verdict) = (short(step.rate), short(step.seen.p99), step.verdict.text());
    let doubt = step.seen.invalid.first().map_or_else(String::new, |reason| format!(" ({reason})"));
    eprintln!("{rate} requests/s: p99 {p99} ms, errors {:.3} %: {verdict}{doubt}", step.seen.errors);
}
