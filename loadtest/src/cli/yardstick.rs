//! `klamm-load yardstick`: what klamm is held against, each as a process of its own.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::load::Stop;
use crate::yardstick::{broker, echo, raw};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    yardstick: Yardstick,
}

#[derive(Debug, Subcommand)]
enum Yardstick {
    /// Produce by librdkafka's C interface and print rate, CPU and latency as JSON
    Raw(Box<raw::Options>),
    /// Serve a bare axum server until standard input ends
    Echo(echo::Options),
    /// Serve librdkafka's mock cluster until standard input ends
    Broker(broker::Options),
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What the yardstick says.
    pub(super) fn run(self, stop: &Stop) -> anyhow::Result<ExitCode> {
        match self.yardstick {
            Yardstick::Raw(options) => {
                let report = raw::run(&options, stop)?;
                println!("{}", serde_json::to_string(&report)?);
            }
            Yardstick::Echo(options) => echo::run(&options, stop)?,
            Yardstick::Broker(options) => broker::run(&options, stop)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
