//! The real binary, `klamm serve`, as a child process.
//!
//! The config's listeners must be on port 0: `--ready-file` tells which ports they got.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::child::{self, Process};
use super::client::Client;
use super::metrics::Metrics;
use super::{eventually, scratch};

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    process: Process,
    ingest: String,
    admin: String,
    dir: TempDir,
}

/// The klamm that the tests start: the one in `KLAMM_BINARY`, else the one built with them.
pub(crate) fn binary() -> String {
    std::env::var("KLAMM_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_klamm").to_owned())
}

impl Gateway {
    /// Starts it with this config and waits until both listeners are bound; Kafka may still be missing.
    pub(crate) fn start(config_yaml: &str) -> Self {
        let dir = scratch::dir("gateway");
        let (config, ready, log) = (dir.path().join("klamm.yaml"), dir.path().join("ready.json"), log_in(&dir));
        fs::write(&config, config_yaml).expect("the config is written");
        let log = File::create(log).expect("a log file");
        let mut command = child::command(&binary());
        command.arg("serve").arg("--config").arg(&config).arg("--ready-file").arg(&ready);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut process = Process::start(command);
        let addresses = eventually("the gateway binds its listeners", Duration::from_secs(20), || {
            if let Some(status) = process.ended() {
                panic!("klamm serve ended at its start, {status}:\n{}", log_text(&dir));
            }
            let text = fs::read_to_string(&ready).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let address = |name: &str| addresses[name].as_str().expect("an address in the ready file").to_owned();
        Self { ingest: address("ingest"), admin: address("admin"), process, dir }
    }

    /// The address events are posted to.
    pub(crate) fn ingest(&self) -> &str {
        &self.ingest
    }

    /// The address of the operators' listener.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Waits until `/readyz` answers 200: Kafka's metadata is there.
    pub(crate) async fn ready(&self) {
        let admin = Client::new(self.admin());
        for _ in 0..600 {
            if admin.get("/readyz", &[]).await.status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway is not ready after 30 s:\n{}", self.log());
    }

    /// What `/metrics` says now.
    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = Client::new(self.admin()).get("/metrics", &[]).await;
        assert_eq!(answer.status, 200, "/metrics");
        Metrics::parse(&String::from_utf8_lossy(&answer.body))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM; its exit code, see [`Gateway::exit_code`].
    pub(crate) fn terminate(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.exit_code()
    }

    /// Its exit code. Panics if it still runs after 40 s or was ended by a signal.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let ended = self.ended_within(Duration::from_secs(40));
        ended.unwrap_or_else(|| panic!("the gateway still runs after 40 s:\n{}", self.log()))
    }

    /// Its exit code; `None` if it still runs after `limit`. Panics if a signal ended it.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let status = self.process.ended_within(limit)?;
        Some(status.code().unwrap_or_else(|| panic!("the gateway was ended by a signal, {status}:\n{}", self.log())))
    }

    /// Puts another config in its place, as editors do: written beside, renamed over.
    pub(crate) fn rewrite(&self, config_yaml: &str) {
        let (new, config) = (self.dir.path().join("klamm.yaml.new"), self.config());
        fs::write(&new, config_yaml).and_then(|()| fs::rename(&new, config)).expect("the config is replaced");
    }

    /// Where its config lies.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("klamm.yaml")
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Where its log lies; gone with the gateway.
    pub(crate) fn log_path(&self) -> PathBuf {
        log_in(&self.dir)
    }

    /// All it has written to stdout and stderr.
    pub(crate) fn log(&self) -> String {
        log_text(&self.dir)
    }
}

impl Drop for Gateway {
    /// A test that fails shows what the gateway said last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let ended = self.process.ended().map_or_else(|| "runs".to_owned(), |status| format!("ended, {status}"));
            eprintln!("the gateway {ended}; its last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

fn log_in(dir: &TempDir) -> PathBuf {
    dir.path().join("klamm.log")
}

fn log_text(dir: &TempDir) -> String {
    fs::read_to_string(log_in(dir)).unwrap_or_default()
}
