//! `klamm probe`: asks a klamm how it is, for health checks where there is no shell and no curl.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::admin::{Address, Admin};
use crate::units::Span;

/// Far more than any answer to a probe has.
const LONGEST: u64 = 64 * 1024;

/// Ask a running klamm how it is; exit code 0 if it is well, else 1
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// Whether it can serve requests (/readyz); the default
    #[arg(long)]
    ready: bool,

    /// Whether the process answers at all (/livez)
    #[arg(long, conflicts_with = "ready")]
    live: bool,

    /// Whether its listeners are bound (/startupz)
    #[arg(long, conflicts_with_all = ["ready", "live"])]
    startup: bool,

    /// Its admin listener
    #[arg(long, value_name = "URL|unix:PATH", default_value = "http://127.0.0.1:8081")]
    admin: Address,

    /// How long it may take as a whole
    #[arg(long, value_name = "TIME", default_value = "2s")]
    timeout: Span,
}

impl Probe {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let path = match (self.live, self.startup) {
            (true, _) => "/livez",
            (_, true) => "/startupz",
            (false, false) => "/readyz",
        };
        let (tell, told) = mpsc::channel();
        let (admin, timeout) = (Admin::without_key(self.admin.clone()), self.timeout.get());
        // Names are looked up too, which nothing bounds: so the thread is left behind when the time is over.
        thread::spawn(move || tell.send(ask(&admin, path, timeout)));
        let (code, words) = match told.recv_timeout(timeout) {
            Ok(Ok((200, text))) => (ExitCode::SUCCESS, text),
            Ok(Ok((status, text))) => (ExitCode::FAILURE, format!("{status} {text}")),
            Ok(Err(error)) if !is_late(&error) => (ExitCode::FAILURE, error.to_string()),
            Ok(Err(_)) | Err(_) => (ExitCode::FAILURE, format!("no answer within {}", self.timeout)),
        };
        writeln!(out, "{path}: {}", words.trim())?;
        Ok(code)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The status, and the first line of the body.
fn ask(admin: &Admin, path: &str, timeout: Duration) -> io::Result<(u16, String)> {
    let mut answer = admin.get(path, None, timeout)?;
    let body = answer.text(LONGEST)?;
    Ok((answer.status, body.lines().next().unwrap_or_default().to_owned()))
}
