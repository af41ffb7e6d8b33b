//! The command line: one file a command.

mod assert;
mod bench;
mod capacity;
mod compare;
mod interrupt;
mod overload;
mod preset;
mod progress;
mod run;
mod sweep;
mod verify;
mod yardstick;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::load::Stop;

/// Loads HTTP gateways into Kafka, and says when its figures must not be believed.
#[derive(Debug, Parser)]
#[command(name = "klamm-load", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends one load and reports what was seen
    Run(run::Command),
    Capacity(capacity::Command),
    Overload(overload::Command),
    Sweep(Box<sweep::Command>),
    Compare(Box<compare::Command>),
    Verify(Box<verify::Command>),
    /// Measures klamm beside its yardsticks, as `make bench` does: a table of rows, each with its bar
    Bench(Box<bench::Command>),
    /// Runs what klamm is held against: librdkafka alone, a web server alone, or a mock broker
    Yardstick(yardstick::Command),
}

/// The command line itself is wrong, or what it names is not there.
const USAGE: u8 = 2;

/// Parses the command line and runs it: 0 = done, 1 = an assertion does not hold, 2 = bad usage or a fault.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = Stop::default();
    interrupt::watch(&stop);
    let done = match cli.command {
        Command::Run(command) => command.run(&stop),
        Command::Capacity(command) => command.run(&stop),
        Command::Overload(command) => command.run(&stop),
        Command::Sweep(command) => command.run(&stop),
        Command::Compare(command) => command.run(&stop),
        Command::Verify(command) => command.run(&stop),
        Command::Bench(command) => command.run(&stop),
        Command::Yardstick(command) => command.run(&stop),
    };
    done.unwrap_or_else(|fault| {
        eprintln!("klamm-load: {fault:#}");
        ExitCode::from(USAGE)
    })
}
