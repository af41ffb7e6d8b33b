//! `klamm check`: is the configuration valid? Needs no Kafka and opens no port.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{BAD_CONFIG, ConfigArgs};
use crate::config::{environment, load};

/// Check the configuration without Kafka; exit code 78 and all faults on stderr if it is faulty
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    from: ConfigArgs,
}

impl Check {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        match load::load(&self.from.source(environment())) {
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
