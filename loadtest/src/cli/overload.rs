//! `overload`: what a target does with more than it can.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::preset::{Flooding, Load};
use super::{capacity::tell, progress};
use crate::capacity::{self, Capacity, Limits};
use crate::load::{Meter, Stop};
use crate::overload::{self, Overload};
use crate::report::{Outputs, Report, answers};

/// Offers a target more than its capacity: goodput, refusals with their latency, memory.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    limits: Limits,
    /// The capacity in requests per second, if it is known; without it it is looked for first
    #[arg(long, value_name = "RATE")]
    capacity: Option<f64>,
    /// How many times its capacity the target is offered
    #[arg(long, default_value_t = 2.0)]
    factor: f64,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    load: Load<Flooding>,
}

#[derive(Serialize)]
struct Both {
    /// None if it was given.
    search: Option<Capacity>,
    overload: Overload,
}

impl Command {
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let (options, meter) = (self.load.options("overload")?, Meter::start());
        ensure!(self.factor > 1.0, "--factor must be above 1");
        let loads = progress::shown(stop);
        let (rate, search) = match self.capacity {
            Some(rate) => (rate, None),
            None => {
                let found = capacity::of(&options, &self.limits, None, &loads, tell)?;
                self.outputs.say(&found.sentence(&self.limits));
                ensure!(!found.stopped && !found.quota, "the capacity was not found");
                (found.rate.context("no rate is good: there is nothing to overload")?, Some(found))
            }
        };
        ensure!(rate.is_finite() && rate > 0.0, "--capacity must be above 0");
        let overload = overload::of(&options, rate, self.factor, &loads)?;
        let (result, conditions) = (Both { search, overload }, meter.finish(&options, None));
        let report = Report { command: "overload", result, notes: Vec::new(), conditions };
        let seen = &report.result.overload;
        for reason in &seen.run.invalid {
            self.outputs.say(&format!("IN DOUBT: {reason}"));
        }
        self.outputs.say(&format!("{}\n{}", answers::table(&seen.run).terminal(), seen.sentence()));
        self.outputs.write(&report, || seen.page(&report.facts()))?;
        Ok(ExitCode::SUCCESS)
    }
}
