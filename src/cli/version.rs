//! `klamm version`: of klamm, and of the librdkafka in it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

/// Print the versions of klamm and of the librdkafka in it
#[derive(Debug, Args)]
pub(super) struct Version {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let klamm = env!("CARGO_PKG_VERSION");
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        if self.json {
            writeln!(out, "{}", serde_json::json!({ "version": klamm, "librdkafka": librdkafka }))?;
        } else {
            writeln!(out, "klamm {klamm} (librdkafka {librdkafka})")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
