//! `klamm-load bench`: klamm beside its yardsticks, what `make bench` runs.

use std::process::ExitCode;

use clap::Args;

use crate::bench::{self, Settings};
use crate::load::Stop;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// 0 if every bar holds, 1 if one does not.
    pub(super) fn run(self, stop: &Stop) -> anyhow::Result<ExitCode> {
        let holds = bench::run(&self.settings, stop)?;
        Ok(ExitCode::from(u8::from(!holds)))
    }
}
