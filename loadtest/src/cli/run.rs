//! `run`: one load, one report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::assert::{Assertions, Broken};
use super::progress::Bar;
use crate::load::{self, Observer, Options, Run, Stop};
use crate::report::{answers, terminal};

/// Sends one load and reports what was seen.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    options: Options,
    /// Exits with 1 unless all of these hold, e.g. `p99<20ms,errors<0.1%`: p50 p90 p99 p999 max mean (latency of
    /// accepted requests), lateness (p99 of the tool's own), rate (accepted events per second), errors (share of
    /// requests that were not accepted)
    #[arg(long, value_name = "TERMS")]
    assert: Option<Assertions>,
    /// Writes the report as JSON to this file; `-` = standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with tables and plots to this file; it needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// An assertion does not hold.
const BROKEN: u8 = 1;

impl Command {
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let bar = Bar::new(&self.options, "load");
        let run = load::run_with(&self.options, stop, Observer { progress: Some(bar.counts()), ledger: None });
        drop(bar);
        let run = run?;
        let json = self.json.as_deref();
        if json != Some(Path::new("-")) {
            println!("{}", terminal::table(&run));
        }
        if let Some(file) = json {
            write_json(&run, file)?;
        }
        if let Some(file) = &self.html {
            answers::page(&run)?.write(file)?;
        }
        Ok(self.check(&run))
    }

    fn check(&self, run: &Run) -> ExitCode {
        let broken: Vec<Broken> = self.assert.as_ref().map(|terms| terms.broken(run)).unwrap_or_default();
        for broken in &broken {
            eprintln!("klamm-load: {broken}");
        }
        if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) }
    }
}

fn write_json(run: &Run, file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(run)? + "\n";
    if file == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}
