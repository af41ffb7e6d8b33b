//! The yardsticks as child processes of this program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use super::Ready;
use crate::load::Stop;

/// A yardstick that serves; ends when dropped.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts `klamm-load yardstick ARGUMENTS` and waits for its address.
    ///
    /// # Errors
    /// If it ends before it is ready.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let mut command = own(arguments)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start a yardstick")?;
        let out = child.stdout.take().context("the yardstick's output")?;
        let mut server = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let ready: Ready = serde_json::from_str(&line)
            .with_context(|| format!("yardstick {}: ended before it was ready", arguments.join(" ")))?;
        server.address = ready.address;
        Ok(server)
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `klamm-load yardstick ARGUMENTS` to its end and reads what it printed. `stop` kills it.
///
/// # Errors
/// If it fails, or is stopped; what it says on standard error is seen by the user.
pub fn call<T: DeserializeOwned>(arguments: &[String], stop: &Stop) -> Result<T> {
    let mut child =
        own(arguments)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start a yardstick")?;
    // Its report is one line: it fits the pipe, nobody has to read while it runs.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.is_stopped() {
            let _ = child.kill();
            let _ = child.wait();
            bail!("stopped");
        }
        thread::sleep(Duration::from_millis(5));
    };
    ensure!(status.success(), "yardstick {}: {status}", arguments.join(" "));
    let out = child.stdout.take().context("the yardstick's output")?;
    serde_json::from_reader(out).context("the yardstick's report")
}

fn own(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("where this program lies")?);
    command.arg("yardstick").args(arguments);
    // Ctrl-C is for the program that started it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}
