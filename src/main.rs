//! The `klamm` program. See `klamm --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    klamm::cli::run()
}
