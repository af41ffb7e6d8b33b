//! `klamm config`: a file to start from, the configuration in effect, its JSON Schema.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{BAD_CONFIG, ConfigArgs};
use crate::config::{self, environment, load};

/// Print a commented file, the effective configuration, or its JSON Schema
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  klamm config init > klamm.yaml")]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A file with every key, its default, unit and meaning
    Init,
    /// What is in effect after file, environment and flags; secrets are masked
    Show {
        #[command(flatten)]
        from: ConfigArgs,
        /// As JSON instead of YAML
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema, for editors
    Schema,
}

impl Config {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        match &self.command {
            Command::Init => out.write_all(config::TEMPLATE.as_bytes())?,
            Command::Schema => writeln!(out, "{:#}", config::schema())?,
            Command::Show { from, json } => {
                let loaded = match load::load(&from.source(environment())) {
                    Ok(loaded) => loaded,
                    Err(faults) => {
                        eprintln!("{faults}");
                        return Ok(ExitCode::from(BAD_CONFIG));
                    }
                };
                let masked = loaded.config.masked();
                if *json {
                    writeln!(out, "{masked:#}")?;
                } else {
                    out.write_all(config::to_yaml(&masked).as_bytes())?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
