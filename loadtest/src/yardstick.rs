//! What klamm is held against: librdkafka alone, a web server alone, and the broker that costs them nothing.
//!
//! Each runs as a process of its own (`klamm-load yardstick ...`), so that its CPU is all its own and none of the
//! tool's. One that serves prints a line of JSON with its address once it is ready, and ends with its standard input:
//! the program that started it cannot leave it behind.

pub mod broker;
pub mod echo;
pub mod kafka;
pub mod raw;

mod process;

pub use process::{Server, call};

use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::load::Stop;

/// What a yardstick that serves prints first.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    /// `host:port`.
    address: String,
}

impl Ready {
    /// Prints it, at once.
    fn tell(address: &impl ToString) -> anyhow::Result<()> {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &Self { address: address.to_string() })?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }
}

/// Blocks until nobody can write to standard input any more, or Ctrl-C.
fn until_stdin_ends(stop: &Stop) {
    let ended = thread::spawn(|| std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
    while !ended.is_finished() && !stop.is_stopped() {
        thread::sleep(Duration::from_millis(50));
    }
}
