//! `klamm man`: the manual page, or one of each command, from the same definition as `--help`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Print the manual page, for man -l
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  klamm man | man -l -\n  klamm man --dir /usr/local/share/man/man1")]
pub(super) struct Man {
    /// Write a page for each command into this directory instead: klamm.1, klamm-serve.1 and so on
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        // `klamm help` has nothing to say that the pages do not.
        let definition = super::definition().disable_help_subcommand(true);
        match &self.dir {
            Some(dir) => clap_mangen::generate_to(definition, dir)?,
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(definition).render(&mut page)?;
                out.write_all(&page)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
