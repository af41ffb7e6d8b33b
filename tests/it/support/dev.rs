//! `klamm dev`, as a person starts it.

use std::fs::{self, File};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::child::{self, Process};
use super::gateway::binary;
use super::{eventually, scratch};

/// A running `klamm dev`; killed when dropped.
pub(crate) struct Dev {
    _process: Process,
    dir: TempDir,
    ingest: String,
    admin: String,
    /// It looks for free ports by itself: two that look at the same time could find the same.
    _turn: MutexGuard<'static, ()>,
}

impl Dev {
    /// Starts it, and waits for its welcome.
    pub(crate) fn start(flags: &[&str]) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = scratch::dir("dev");
        let log = File::create(dir.path().join("out")).expect("a file");
        let mut command = child::command(&binary());
        command.arg("dev").args(flags).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut process = Process::start(command);
        let welcome = eventually("the welcome is printed", Duration::from_secs(20), || {
            let text = said(&dir);
            if let Some(status) = process.ended() {
                panic!("klamm dev ended at its start, {status}: {text}");
            }
            text.contains("{\"hello\":\"world\"}").then_some(text)
        });
        let address = |name: &str| {
            let line =
                welcome.lines().find(|line| line.trim_start().starts_with(name)).expect("a line with the address");
            let (_, rest) = line.split_once("http://").expect("a URL");
            rest.split('/').next().expect("an address").to_owned()
        };
        Self { ingest: address("ingest"), admin: address("metrics"), _process: process, dir, _turn: turn }
    }

    /// Where events are posted to.
    pub(crate) fn ingest(&self) -> &str {
        &self.ingest
    }

    /// Where the live page is.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// All it has written so far.
    pub(crate) fn said(&self) -> String {
        said(&self.dir)
    }

    /// Waits until a line has all of `words`.
    pub(crate) fn line_with(&self, words: &[&str]) -> String {
        eventually(&format!("a line with {words:?}"), Duration::from_secs(30), || {
            let said = said(&self.dir);
            said.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }
}

fn said(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("out")).unwrap_or_default()
}
