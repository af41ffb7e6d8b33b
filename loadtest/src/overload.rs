//! What a target does with more than it can: how much it still accepts, how fast and by what word it refuses the rest,
//! and what that costs in memory.

use anyhow::Result;
use serde::Serialize;

use crate::load::{Loads, Options, Run};
use crate::report::answers;
use crate::report::html::Page;
use crate::report::plot::short;

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Overload {
    /// Requests per second that the target keeps.
    pub capacity: f64,
    /// Requests per second that it was offered.
    pub offered: f64,
    /// Accepted requests per second as a share of the capacity.
    pub goodput: f64,
    /// The run.
    pub run: Run,
}

/// Offers `factor` times `capacity` requests per second.
///
/// # Errors
/// A fault in the options.
pub fn of(options: &Options, capacity: f64, factor: f64, loads: &Loads<'_>) -> Result<Overload> {
    let offered = capacity * factor;
    let run = loads(&Options { rate: Some(offered), ..options.clone() }, "overload")?;
    Ok(Overload { capacity, offered, goodput: run.requests_per_second() / capacity, run })
}

impl Overload {
    /// The sentence that says it all.
    pub fn sentence(&self) -> String {
        if self.run.quota {
            return "You measured the quota: the target refused with 429 rate_limited.".to_owned();
        }
        let memory = self.run.target.as_ref().map_or_else(String::new, |usage| {
            format!(" Resident memory {} MiB, {} MiB at its peak.", usage.rss >> 20, usage.peak >> 20)
        });
        format!(
            "At {} requests/s ({} x its capacity of {}) the target accepts {} requests/s: {:.0} % of its capacity.{memory}",
            short(self.offered),
            short(self.offered / self.capacity),
            short(self.capacity),
            short(self.run.requests_per_second()),
            self.goodput * 100.0
        )
    }

    /// As a page.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub fn page(&self, facts: &[(String, String)]) -> Result<Page> {
        let mut page = Page::new("Overload");
        page.lead(&self.sentence());
        for reason in &self.run.invalid {
            page.warning(reason);
        }
        page.plots(&[answers::curves(&self.run)?]);
        page.heading("Answers").table(&answers::table(&self.run)).heading("Conditions").facts(facts);
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::sample;

    #[test]
    fn goodput_is_a_share_of_the_capacity_not_of_what_was_offered() {
        let seen = of(&Options::default(), 1000.0, 2.0, &|options, _| {
            assert_eq!(options.rate, Some(2000.0));
            let mut run = sample();
            run.seconds = 2.0;
            run.served.requests = 1800;
            Ok(run)
        })
        .unwrap();
        assert!((seen.goodput - 0.9).abs() < 1e-9, "{}", seen.goodput);
        assert!(seen.sentence().contains("90 % of its capacity"), "{}", seen.sentence());
        assert!(seen.page(&[]).is_ok());
    }
}
