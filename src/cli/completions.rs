//! `klamm completions`: for bash, elvish, fish, PowerShell, zsh.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  klamm completions bash > /etc/bash_completion.d/klamm")]
pub(super) struct Completions {
    /// Whose
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        // The generator panics where it cannot write, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::definition(), "klamm", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
