//! Nothing acknowledged is lost, nothing is doubled, nothing is altered, nothing refused was written all the same.
//!
//! Every event sent has a number in it and can be made again from that number alone, byte for byte
//! ([`Bodies`]): so a byte for each request ([`Book`]) and one for each event ([`check`]) are all that is remembered.

pub mod book;
pub mod check;
pub mod topic;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

pub use book::{Book, Said};
pub use check::{Findings, Offenders, Record, Source};
pub use topic::Topic;

use crate::load::{Bodies, Ledger, Options, Run};
use crate::report::plot::short;
use crate::topics::Cluster;

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The load.
    pub run: Run,
    /// What stands in Kafka, against what was said.
    pub findings: Findings,
    /// How long the reading took, in seconds.
    pub reading_seconds: f64,
}

/// Sends `options` to its one topic, waits `settle` where some outcomes are unknown, and reads the topic back.
///
/// # Errors
/// A fault in the options; Kafka cannot be read.
pub fn verify(
    options: &Options,
    cluster: &Cluster,
    settle: Duration,
    load: impl FnOnce(&Options, &dyn Ledger) -> Result<Run>,
) -> Result<Verified> {
    let [name] = options.topics.as_slice() else { anyhow::bail!("verify takes one topic") };
    let bodies = Bodies::new(options, true)?;
    let mut topic = Topic::open(cluster, name)?;
    let book = Book::default();
    let run = load(options, &book)?;
    let book = book.close();
    if book.has_unknown() {
        std::thread::sleep(settle);
    }
    topic.mark_end()?;
    let start = std::time::Instant::now();
    let findings = check::read(&mut topic, &book, &bodies, options.events)?;
    ensure!(book.requests() > 0, "nothing was sent");
    Ok(Verified { run, findings, reading_seconds: start.elapsed().as_secs_f64() })
}

impl Verified {
    /// The sentence that says it all.
    pub fn sentence(&self) -> String {
        let findings = &self.findings;
        let speed = findings.records as f64 / self.reading_seconds.max(1e-3);
        let read = format!("{} records read in {:.1} s ({}/s).", findings.records, self.reading_seconds, short(speed));
        if findings.holds() {
            let acknowledged = findings.acknowledged;
            return format!(
                "Every promise was kept: {acknowledged} acknowledged events are there once, unaltered. {read}"
            );
        }
        format!(
            "BROKEN: {} lost, {} doubled, {} altered, {} there that were not accepted. {read}",
            findings.lost.count, findings.doubled.count, findings.altered.count, findings.unwanted.count
        )
    }
}

#[cfg(test)]
mod tests;
