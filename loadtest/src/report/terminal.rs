//! The table of one run on the terminal.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::load::{Answers, Run, Schedule};

/// What was seen, as text: what makes it worthless first, then answers, rates, cost.
pub fn table(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    for line in warnings(run) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "{}", answers(run));
    let _ = write!(out, "{}", figures(run));
    out
}

fn warnings(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    if run.quota {
        lines.push("You measured the quota: a client's rate limit refused requests (429 rate_limited).".to_owned());
    }
    lines.extend(run.invalid.iter().map(|reason| format!("INVALID: {reason}")));
    if run.stopped {
        lines.push("Stopped early: this is what was seen until then.".to_owned());
    }
    if run.schedule.rate.is_none() && run.generator.saturated {
        let busy = run.generator.busiest * 100.0;
        lines.push(format!("AT LEAST: a thread of the tool was busy {busy:.0} % of a core, the target may do more."));
    }
    lines
}

fn answers(run: &Run) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["requests", "count", "events", "p50", "p90", "p99", "p99.9", "max"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    row(&mut table, "accepted".to_owned(), &run.accepted);
    for refused in &run.refused {
        row(&mut table, format!("{} {}", refused.status, refused.code), &refused.answers);
    }
    for (reason, answers) in &run.errors {
        row(&mut table, reason.clone(), answers);
    }
    table
}

fn row(table: &mut Table, name: String, answers: &Answers) {
    let latency =
        |share| Cell::new(if answers.requests == 0 { "-".to_owned() } else { time(answers.latency.at(share)) });
    table.add_row([
        Cell::new(name),
        Cell::new(answers.requests),
        Cell::new(answers.events),
        latency(0.5),
        latency(0.9),
        latency(0.99),
        latency(0.999),
        latency(1.0),
    ]);
}

fn figures(run: &Run) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut add = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    add(
        "accepted",
        format!(
            "{:.0} events/s, {:.0} requests/s, {:.1} MB/s over {:.1} s",
            run.events_per_second(),
            run.requests_per_second(),
            run.bytes_per_second() / 1e6,
            run.seconds
        ),
    );
    if let Some(rate) = run.schedule.rate {
        let Schedule { due, missed, lateness, .. } = &run.schedule;
        add(
            "schedule",
            format!("{rate} requests/s, {due} due, {missed} missed, the tool late p99 {}", time(lateness.at(0.99))),
        );
    }
    add("not accepted", format!("{} requests, {:.3} %", run.failed(), run.error_share() * 100.0));
    if let Some(target) = &run.target {
        let each = per_event(run, target.cpu_us, 2);
        let cores = target.cpu_us as f64 / 1e6 / run.seconds.max(1e-9);
        let system = target.system_us as f64 / target.cpu_us.max(1) as f64 * 100.0;
        add("target CPU", format!("{each} us an event, {cores:.2} cores, {system:.0} % in the kernel"));
        add("by threads", groups(run));
        let (rss, peak) = (target.rss as f64 / 1e6, target.peak as f64 / 1e6);
        add("target memory", format!("{rss:.1} MB, peak {peak:.1} MB"));
        add("switches", format!("{} an event", per_event(run, target.switches, 3)));
    }
    if let Some(batches) = &run.batches {
        let records = batches.records.map_or_else(String::new, |records| format!("{records:.0} records, "));
        add("batches", format!("{records}{:.0} bytes in the mean", batches.bytes));
    }
    let (own, busiest) = (per_event(run, run.generator.cpu_us, 2), run.generator.busiest * 100.0);
    add("this tool", format!("{own} us an event, busiest thread {busiest:.0} % of a core"));
    let conditions = &run.conditions;
    add("machine", format!("{} x {}, {}", conditions.cores, conditions.cpu, conditions.kernel));
    let (before, after, steal) = (conditions.load_before, conditions.load_after, conditions.steal * 100.0);
    add("its load", format!("{before:.2} before, {after:.2} after, {steal:.1} % stolen"));
    if let Some(target) = &conditions.target {
        add("target", target.clone());
    }
    table
}

/// A figure for each accepted event, if there were any.
fn per_event(run: &Run, count: u64, digits: usize) -> String {
    match run.served.events {
        0 => "-".to_owned(),
        events => format!("{:.digits$}", count as f64 / events as f64),
    }
}

/// The thread groups that used the most: per event, or as shares where nothing was accepted.
fn groups(run: &Run) -> String {
    let Some(target) = &run.target else { return String::new() };
    let mut groups: Vec<(&str, u64)> = target.groups.iter().map(|(name, us)| (name.as_str(), *us)).collect();
    groups.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
    let show = |us| match run.served.events {
        0 => format!("{:.0} %", us as f64 / target.cpu_us as f64 * 100.0),
        _ => format!("{} us", per_event(run, us, 2)),
    };
    // Less than half a percent says nothing.
    let shown =
        groups.iter().filter(|(_, us)| *us * 200 > target.cpu_us).map(|(name, us)| format!("{name} {}", show(*us)));
    shown.collect::<Vec<_>>().join(", ")
}

fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 1.0 => format!("{:.0} us", ms * 1e3),
        ms if ms < 100.0 => format!("{ms:.2} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::sample;

    #[test]
    fn what_spoils_the_figures_stands_first() {
        let mut run = sample();
        run.quota = true;
        run.invalid.push("the tool sent late".into());
        run.generator.saturated = true;
        let text = table(&run);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("You measured the quota"), "{text}");
        assert!(lines[1].starts_with("INVALID: the tool sent late"), "{text}");
        assert!(lines[2].starts_with("AT LEAST"), "{text}");
    }

    #[test]
    fn every_sort_of_answer_has_a_row() {
        let mut run = sample();
        run.accepted.requests = 1;
        run.accepted.latency.record(Duration::from_micros(2500));
        run.errors.entry("cut".into()).or_default().requests = 7;
        run.refused.push(crate::load::Refused {
            status: 503,
            code: "kafka_unavailable".into(),
            answers: Answers { requests: 9, ..Answers::default() },
        });
        let text = table(&run);
        assert!(text.contains("503 kafka_unavailable") && text.contains("cut") && text.contains("2.50 ms"), "{text}");
    }

    #[test]
    fn times_have_fitting_units() {
        let shown = |us| time(Duration::from_micros(us));
        assert_eq!(
            [shown(12), shown(1234), shown(123_456), shown(12_345_678)],
            ["12 us", "1.23 ms", "123 ms", "12.3 s"]
        );
    }
}
