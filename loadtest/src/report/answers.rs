//! The answers of one run, by status and code, each with its own latency.

use anyhow::Result;

use super::html::{Page, Table};
use super::plot::{self, Axis, Scale, Series, Svg, short};
use crate::capacity::millis;
use crate::load::{Answers, Run};

/// Answers by status and code, and requests without one.
pub fn table(run: &Run) -> Table {
    let mut table = Table::new(&["answer", "requests", "share %", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
    let all = (run.accepted.requests + run.failed()).max(1) as f64;
    for (name, answers) in sorts(run) {
        let ms = |share| short(percentile(answers, share));
        let share = short(answers.requests as f64 * 100.0 / all);
        let count = answers.requests.to_string();
        table.row(vec![name, count, share, ms(0.5), ms(0.9), ms(0.99), ms(0.999), ms(1.0)]);
    }
    table
}

/// Latency by percentile, a line for each sort of answer.
///
/// # Errors
/// If it cannot be drawn.
pub fn curves(run: &Run) -> Result<Svg> {
    let curve = |(name, answers): (String, &Answers)| Series::new(&name, points(answers));
    let curves: Vec<Series> = sorts(run).filter(|(_, answers)| answers.requests > 0).map(curve).collect();
    let (x, y) = (Axis::new("percentile", Scale::Percentile), Axis::new("latency, ms", Scale::Log));
    plot::lines("latency by percentile", &x, &y, &curves)
}

/// The latency in milliseconds that `share` of them did not exceed; no number if there are none.
pub fn percentile(answers: &Answers, share: f64) -> f64 {
    if answers.latency.count() == 0 { f64::NAN } else { millis(answers.latency.at(share)) }
}

/// Latency by percentile: share, milliseconds.
pub fn points(answers: &Answers) -> Vec<(f64, f64)> {
    answers.latency.curve().into_iter().map(|(share, latency)| (share, millis(latency))).collect()
}

fn sorts(run: &Run) -> impl Iterator<Item = (String, &Answers)> {
    let refused = run.refused.iter().map(|one| (format!("{} {}", one.status, one.code), &one.answers));
    let errors = run.errors.iter().map(|(reason, answers)| (reason.clone(), answers));
    std::iter::once(("accepted".to_owned(), &run.accepted)).chain(refused).chain(errors)
}

/// One run as a page.
///
/// # Errors
/// If a plot cannot be drawn.
pub fn page(run: &Run) -> Result<Page> {
    let mut page = Page::new("Load");
    if run.quota {
        page.warning("You measured the quota: a client's rate limit refused requests (429 rate_limited).");
    }
    for reason in &run.invalid {
        page.warning(&format!("Do not believe these figures: {reason}."));
    }
    page.lead(&format!(
        "{} events/s ({} requests/s) accepted, {:.3} % of the requests not.",
        short(run.events_per_second()),
        short(run.requests_per_second()),
        run.error_share() * 100.0
    ));
    if run.schedule.rate.is_none() {
        page.paragraph(
            "Closed loop: each connection waits for its answer before it sends again. Latencies are those of \
                        a saturated target.",
        );
    }
    page.plots(&[curves(run)?]).heading("Answers").table(&table(run));
    if let Some(usage) = &run.target {
        let per_event = |us: u64| short(us as f64 / run.served.events.max(1) as f64);
        let mut table = Table::new(&["threads", "CPU us/event"]);
        for (group, us) in &usage.groups {
            table.row(vec![group.clone(), per_event(*us)]);
        }
        table.marked(vec!["whole process".to_owned(), per_event(usage.cpu_us)]);
        page.heading("CPU of the target").table(&table);
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        page.paragraph(&format!("Memory {:.1} MB, {:.1} MB at its peak.", megabytes(usage.rss), megabytes(usage.peak)));
    }
    page.heading("Conditions").facts(&run.conditions.facts());
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::sample;

    #[test]
    fn every_sort_of_answer_has_a_row_and_a_line() {
        let mut run = sample();
        for answers in [&mut run.accepted, run.errors.entry("cut".to_owned()).or_default()] {
            answers.requests = 1;
            answers.latency.record(Duration::from_millis(3));
        }
        assert_eq!(table(&run).rows.len(), 2);
        let page = page(&run).unwrap().render();
        assert!(page.contains("cut") && page.contains("<polyline") && page.contains("Closed loop"), "{page}");
    }
}
