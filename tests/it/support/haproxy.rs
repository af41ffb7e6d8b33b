//! HAProxy as a child process: another reader of the same bytes.
//!
//! One listener a backend. Backends get their requests over connections that are kept and shared, where one request
//! read as two would show.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::child::Process;
use super::kafka::free_port;
use super::{child, eventually, scratch};

/// A running proxy; killed when dropped.
pub(crate) struct Haproxy {
    _process: Process,
    addresses: Vec<String>,
    _dir: TempDir,
}

impl Haproxy {
    /// Starts one with a listener for each of `backends` (`127.0.0.1:8080`).
    pub(crate) fn start(backends: &[&str]) -> Self {
        let mut config =
            String::from("defaults\n  mode http\n  timeout connect 10s\n  timeout client 10s\n  timeout server 10s\n");
        let mut addresses = Vec::new();
        for (at, backend) in backends.iter().enumerate() {
            let address = format!("127.0.0.1:{}", free_port());
            let _ = writeln!(config, "listen l{at}\n  bind {address}\n  http-reuse always\n  server s {backend}");
            addresses.push(address);
        }
        Self::with(&config, addresses)
    }

    /// Starts one that listens on `addresses`, as this config says.
    pub(crate) fn with(config: &str, addresses: Vec<String>) -> Self {
        let dir = scratch::dir("haproxy");
        let (file, log) = (dir.path().join("haproxy.cfg"), dir.path().join("haproxy.log"));
        fs::write(&file, config).expect("the config is written");
        let output = File::create(&log).expect("a log file");
        let mut command = child::command(&program());
        command.arg("-db").arg("-f").arg(&file);
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        let mut process = Process::start(command);
        eventually("haproxy listens", Duration::from_secs(20), || {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "haproxy ended at its start:\n{}", log());
            addresses.iter().all(|address| TcpStream::connect(address).is_ok()).then_some(())
        });
        Self { _process: process, addresses, _dir: dir }
    }

    /// Where the listener before `backends[at]` is.
    pub(crate) fn address(&self, at: usize) -> &str {
        &self.addresses[at]
    }
}

/// Debian puts it where only root's PATH leads.
fn program() -> String {
    let found = Command::new("haproxy").arg("-v").output().is_ok();
    if found { "haproxy".to_owned() } else { "/usr/sbin/haproxy".to_owned() }
}
