//! What a command leaves behind: tables on the terminal, JSON, a page with plots, pictures.

pub mod answers;
pub mod html;
pub mod json;
pub mod plot;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::load::Conditions;

/// Where reports go, beside the terminal.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Outputs {
    /// Write everything measured as JSON to this file (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with tables and plots to this file; it needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A result with where and how it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report<T> {
    /// Which command made it.
    pub command: &'static str,
    /// What was measured.
    #[serde(flatten)]
    pub result: T,
    /// What else is worth knowing: versions, brokers. Name and value.
    pub notes: Vec<(String, String)>,
    /// The machine, how busy it was, the options.
    pub conditions: Conditions,
}

impl<T> Report<T> {
    /// Notes and conditions as a table lists them.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts = self.notes.clone();
        facts.extend(self.conditions.facts());
        facts
    }
}

impl Conditions {
    /// As a table lists them.
    pub fn facts(&self) -> Vec<(String, String)> {
        let options = &self.options;
        let mut facts = vec![
            ("time", utc(self.time)),
            ("machine", format!("{} x {}, {:.0} GiB", self.cores, self.cpu, self.memory as f64 / f64::from(1 << 30))),
            ("kernel", self.kernel.clone()),
            (
                "its load",
                format!(
                    "{:.2} before, {:.2} after, {:.1} % stolen",
                    self.load_before,
                    self.load_after,
                    self.steal * 100.0
                ),
            ),
            ("klamm-load", self.version.to_owned()),
        ];
        facts.extend(self.target.clone().map(|target| ("target", target)));
        let size = options
            .corpus
            .as_ref()
            .or(options.template.as_ref())
            .map_or_else(|| format!("{} bytes each", options.size), |path| format!("from {}", path.display()));
        let mut body = format!("{} x {:?}, {size}", options.events, options.form).to_lowercase();
        if options.keyed {
            body.push_str(", keyed");
        }
        if options.gzip {
            body.push_str(", gzip");
        }
        facts.push(("events a request", body));
        let (connections, threads) = (options.connections, options.threads);
        let protocol = format!("{:?}", options.protocol).to_lowercase();
        facts.push(("connections", format!("{connections} ({protocol}), threads of the tool {threads}")));
        facts.push(match options.requests {
            Some(requests) => ("requests", requests.to_string()),
            None => ("seconds", format!("{} after {} of warm-up", secs(options.duration), secs(options.warm_up))),
        });
        facts.push(("arrivals, seed", format!("{:?}, {}", options.arrivals, options.seed).to_lowercase()));
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Seconds since 1970 as a date and time (Howard Hinnant, chrono-compatible low-level date algorithms).
fn utc(time: u64) -> String {
    let (days, seconds) = (time / 86_400 + 719_468, time % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + later;
    format!("{year}-{month:02}-{date:02} {:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60)
}

impl Outputs {
    /// Prints for people, unless standard output is for the JSON.
    pub fn say(&self, text: &str) {
        if self.json.as_deref() != Some(Path::new("-")) {
            println!("{text}");
        }
    }

    /// Writes what was asked for.
    ///
    /// # Errors
    /// If a file cannot be written or a plot cannot be drawn.
    pub fn write(&self, facts: &impl Serialize, page: impl FnOnce() -> Result<html::Page>) -> Result<()> {
        if let Some(path) = &self.json {
            json::write(path, facts)?;
        }
        if let Some(path) = &self.html {
            page()?.write(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_375_260), "2026-11-22 19:21 UTC");
    }

    #[test]
    fn a_report_holds_its_result_beside_the_conditions() {
        #[derive(Serialize)]
        struct Result {
            rate: f64,
        }
        let conditions = crate::load::sample().conditions;
        let notes = vec![("broker".to_owned(), "one".to_owned())];
        let report = Report { command: "capacity", result: Result { rate: 2.0 }, notes, conditions };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["command"], &json["rate"]), (&"capacity".into(), &2.0.into()));
        assert!(json["conditions"]["cores"].as_u64().is_some());
        let facts = report.facts();
        assert_eq!(facts[0], ("broker".to_owned(), "one".to_owned()));
        assert!(facts.iter().any(|(name, _)| name == "kernel"));
    }
}
