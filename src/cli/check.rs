//! `klamm check`: is the configuration valid? Needs no Kafka and opens no port.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{BAD_CONFIG, ConfigArgs};
use crate::config::load::{self, Loaded};
use crate::config::validate::is_no_broker;
use crate::config::{Faults, environment};

/// Check the configuration without Kafka; exit code 78 and all faults on stderr if it is faulty
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    from: ConfigArgs,

    /// Ask only whether a broker is named: exit code 1 if none is, 0 if so, whatever else is wrong
    #[arg(long)]
    broker: bool,
}

impl Check {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let loaded = load::load(&self.from.source(environment()));
        if self.broker {
            return Ok(asks_for_a_broker(&loaded));
        }
        match loaded {
            Ok(loaded) => {
                for warning in loaded.warnings {
                    eprintln!("warning: {warning}");
                }
                writeln!(out, "ok")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) => {
                eprintln!("{faults}");
                Ok(ExitCode::from(BAD_CONFIG))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn args(&self) -> &ConfigArgs {
        &self.from
    }
}

/// For `ExecCondition=` of a unit: a machine that is not set up yet is no failure, any other fault is one to be told.
fn asks_for_a_broker(loaded: &Result<Loaded, Faults>) -> ExitCode {
    match loaded {
        Err(faults) if faults.0.iter().any(is_no_broker) => {
            eprintln!("no broker is named: set kafka.default.bootstrap");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
