//! `klamm spool`: what a spool's directory holds, and its repair.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BAD_CONFIG, ConfigArgs};
use crate::config::{self, environment, load};
use crate::stages::spool::{Settings, inspect};

mod drain;
mod show;

/// The exit code where events are left: try again later (`EX_TEMPFAIL` of sysexits.h).
pub(super) const NOT_YET: u8 = 75;

/// Look into a spool, repair it, or send what it holds
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  klamm spool ls --config klamm.yaml
  klamm spool verify --dir /var/lib/klamm/spool
  klamm spool dump --dir /var/lib/klamm/spool --topic orders > orders.ndjson")]
pub(super) struct Spool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What waits: events, bytes and the oldest event of each client and topic, and damaged files
    Ls {
        #[command(flatten)]
        at: At,
        /// As one JSON document
        #[arg(long)]
        json: bool,
        /// Exit code 75 where events wait, damaged files lie there or a klamm runs on it
        #[arg(long)]
        exit_code: bool,
    },
    /// Read every byte; exit code 1 where something is damaged, with file, offset and the events lost
    Verify {
        #[command(flatten)]
        at: At,
    },
    /// The events that wait, one a line as JSON; keys, values and values of headers in base64
    Dump {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        filter: Filter,
    },
    /// Move what can be read of damaged files to new ones and set the damaged ones aside; shows it unless --yes
    Repair {
        #[command(flatten)]
        at: At,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    Drain(drain::Drain),
}

/// Where the spool is.
#[derive(Debug, Args)]
struct At {
    /// Its directory; default: `spool.dir` of the configuration
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Which events.
#[derive(Debug, Args)]
struct Filter {
    /// Of this client
    #[arg(long)]
    client: Option<String>,
    /// For this topic
    #[arg(long)]
    topic: Option<String>,
    /// Received then or later, as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<SystemTime>,
    /// Received before
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<SystemTime>,
}

fn instant(text: &str) -> Result<SystemTime, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "no time such as 2026-11-22T10:00:00Z")?;
    Ok(time.into())
}

impl Filter {
    fn takes(&self, entry: &inspect::Shown<'_>) -> bool {
        self.client.as_ref().is_none_or(|client| client == entry.client)
            && self.topic.as_ref().is_none_or(|topic| topic == entry.topic)
            && self.since.is_none_or(|since| entry.received >= since)
            && self.until.is_none_or(|until| entry.received < until)
    }
}

impl At {
    /// What `look` finds there; says why where that is nowhere.
    fn with(&self, look: impl FnOnce(Settings) -> io::Result<ExitCode>) -> io::Result<ExitCode> {
        if let Some(dir) = &self.dir {
            return look(Settings::of(&config::Spool { dir: dir.clone(), ..config::Spool::default() }));
        }
        match load::load(&self.config.source(environment())) {
            Ok(loaded) if loaded.config.spool.is_on() => return look(Settings::of(&loaded.config.spool)),
            Ok(_) => eprintln!("klamm: no spool is configured (spool.dir); or give --dir"),
            Err(faults) => eprintln!("{faults}"),
        }
        Ok(ExitCode::from(BAD_CONFIG))
    }
}

impl Spool {
    pub(super) fn run(self, out: &mut dyn Write) -> io::Result<ExitCode> {
        match self.command {
            Command::Ls { at, json, exit_code } => at.with(|settings| list(&settings, json, exit_code, out)),
            Command::Verify { at } => at.with(|settings| verify(&settings, out)),
            Command::Dump { at, filter } => at.with(|settings| dump(&settings, &filter, out)),
            Command::Repair { at, yes } => at.with(|settings| repair(settings, yes, out)),
            Command::Drain(drain) => drain.run(),
        }
    }
}

fn list(settings: &Settings, json: bool, exit_code: bool, out: &mut dyn Write) -> io::Result<ExitCode> {
    let report = inspect::report(&settings.dir)?;
    if json {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        show::list(&report, SystemTime::now(), out)?;
    }
    Ok(if exit_code && !report.is_empty() { ExitCode::from(NOT_YET) } else { ExitCode::SUCCESS })
}

fn verify(settings: &Settings, out: &mut dyn Write) -> io::Result<ExitCode> {
    let report = inspect::report(&settings.dir)?;
    show::damage(&report, out)?;
    Ok(if report.is_damaged() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn dump(settings: &Settings, filter: &Filter, out: &mut dyn Write) -> io::Result<ExitCode> {
    inspect::entries(&settings.dir, |entry| match filter.takes(entry) {
        true => show::events(entry, out),
        false => Ok(()),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn repair(settings: Settings, yes: bool, out: &mut dyn Write) -> io::Result<ExitCode> {
    let report = inspect::report(&settings.dir)?;
    if report.running {
        let message = format!("{} is in use by a running klamm", settings.dir.display());
        return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
    }
    show::damage(&report, out)?;
    if !report.is_damaged() {
        return Ok(ExitCode::SUCCESS);
    }
    let files: Vec<_> = report.files.iter().filter(|file| !file.damage.is_empty()).collect();
    let events: u64 = files.iter().map(|file| file.events).sum();
    if yes {
        inspect::repair(settings)?;
        writeln!(out, "{} files set aside (*.bad), {events} events of them saved", files.len())?;
    } else {
        writeln!(
            out,
            "would set {} files aside (*.bad) and save {events} events of them; do it with --yes",
            files.len()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
