//! The command line of the load tool: parse, run, turn the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    klamm_load::cli::main()
}
