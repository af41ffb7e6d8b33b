//! A sweep as tables, plots and a page.

use anyhow::Result;

use super::{Compression, Setting, Summary, Sweep, setting::Size};
use crate::report::html::{Page, Table};
use crate::report::plot::{self, Axis, Heat, Scale, Series, Svg, short};

/// Every setting; the advised ones are marked.
pub fn table(sweep: &Sweep) -> Table {
    let mut table =
        Table::new(&["setting", "most events/s", "p50 ms", "p99 ms", "CPU us/event", "batch", "errors %", ""]);
    for one in &sweep.summaries {
        let least = if one.at_least { ">= " } else { "" };
        let cells = vec![
            one.setting.to_string(),
            format!("{least}{}", short(one.events_per_second)),
            short(one.p50),
            short(one.p99),
            one.cpu_per_event.map_or_else(|| "-".to_owned(), short),
            one.batch_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{}B", short(bytes))),
            short(one.errors),
            remark(sweep, one),
        ];
        let marked = sweep.advice.as_ref().is_some_and(|advice| advice.knee.set == one.setting);
        table.rows.push((cells, marked));
    }
    table
}

fn remark(sweep: &Sweep, one: &Summary) -> String {
    let mut words = Vec::new();
    if one.setting == Setting::DEFAULT {
        words.push("default");
    }
    if let Some(advice) = &sweep.advice {
        let named = [(&advice.latency, "lowest p99"), (&advice.throughput, "most"), (&advice.knee, "knee")];
        words.extend(named.iter().filter(|(choice, _)| choice.best == one.setting).map(|(_, word)| *word));
    }
    if !one.keeps_the_rate() {
        words.push("does not keep the rate");
    } else if one.is_blurred() {
        words.push("p99 in doubt");
    }
    words.join(", ")
}

/// The classic step, if both of its ends were measured.
pub fn classic(sweep: &Sweep) -> Option<(Table, [&Summary; 2])> {
    let find = |setting| sweep.summaries.iter().find(|one| one.setting == setting);
    let (before, after) = (find(Setting::BEFORE)?, find(Setting::AFTER)?);
    let mut table = Table::new(&["", "before", "after", "after / before"]);
    table.row(vec!["setting".to_owned(), before.setting.to_string(), after.setting.to_string(), String::new()]);
    let mut line = |name: &str, before: Option<f64>, after: Option<f64>| {
        if let Some((before, after)) = before.zip(after) {
            table.row(vec![name.to_owned(), short(before), short(after), format!("{:.2}", after / before)]);
        }
    };
    line("most events/s", Some(before.events_per_second), Some(after.events_per_second));
    line("p50 ms", Some(before.p50), Some(after.p50));
    line("p99 ms", Some(before.p99), Some(after.p99));
    line("CPU us/event", before.cpu_per_event, after.cpu_per_event);
    Some((table, [before, after]))
}

/// All plots: for each compression the most and p99 by batch and linger; throughput against p99; the classic step.
///
/// # Errors
/// If one cannot be drawn.
pub fn plots(sweep: &Sweep) -> Result<Vec<Svg>> {
    let mut plots = Vec::new();
    let mut compressions: Vec<Compression> = sweep.summaries.iter().map(|one| one.setting.compression).collect();
    compressions.dedup();
    let all: Vec<&Summary> = sweep.summaries.iter().collect();
    let most = |one: &Summary| Some(one.events_per_second);
    let p99 = |one: &Summary| one.keeps_the_rate().then_some(one.p99);
    for compression in compressions {
        let of: Vec<&Summary> = sweep.summaries.iter().filter(|one| one.setting.compression == compression).collect();
        let name = compression.name();
        let most = Heat { range: range(&all, most), ..map(&of, most) };
        let p99 = Heat { range: range(&all, p99), log: true, ..map(&of, p99) };
        plots.push(plot::heat(&format!("{name}: most events/s"), &most)?);
        plots.push(plot::heat(&format!("{name}: p99 in ms at the common rate"), &p99)?);
    }
    plots.push(against(sweep)?);
    if let Some((_, [before, after])) = classic(sweep) {
        let curves = [
            Series::new(&format!("before: {}", before.setting), before.curve.clone()),
            Series::new(&format!("after: {}", after.setting), after.curve.clone()),
        ];
        let (x, y) = (Axis::new("percentile", Scale::Percentile), Axis::new("latency, ms", Scale::Log));
        plots.push(plot::lines("the classic step at the common rate", &x, &y, &curves)?);
    }
    Ok(plots)
}

fn range(all: &[&Summary], figure: impl Fn(&Summary) -> Option<f64>) -> Option<(f64, f64)> {
    let figures = || all.iter().filter_map(|one| figure(one));
    Some((figures().min_by(f64::total_cmp)?, figures().max_by(f64::total_cmp)?))
}

/// Linger from left to right, batches from small to large.
fn map(of: &[&Summary], figure: impl Fn(&Summary) -> Option<f64>) -> Heat {
    let mut lingers: Vec<u64> = of.iter().map(|one| one.setting.linger_ms).collect();
    let mut batches: Vec<u64> = of.iter().map(|one| one.setting.batch_bytes).collect();
    for axis in [&mut lingers, &mut batches] {
        axis.sort_unstable();
        axis.dedup();
    }
    let cell = |batch: &u64, linger: &u64| {
        let found = of.iter().find(|one| one.setting.batch_bytes == *batch && one.setting.linger_ms == *linger);
        found.and_then(|one| figure(one))
    };
    Heat {
        rows: batches.iter().map(|batch| Size(*batch).to_string()).collect(),
        columns: lingers.iter().map(|linger| format!("{linger}ms")).collect(),
        cells: batches.iter().map(|batch| lingers.iter().map(|linger| cell(batch, linger)).collect()).collect(),
        ..Heat::default()
    }
}

fn against(sweep: &Sweep) -> Result<Svg> {
    let mut series: Vec<(Compression, Vec<&Summary>)> = Vec::new();
    for one in &sweep.summaries {
        match series.last_mut() {
            Some((compression, of)) if *compression == one.setting.compression => of.push(one),
            _ => series.push((one.setting.compression, vec![one])),
        }
    }
    let knee = sweep.advice.as_ref().map(|advice| advice.knee.set);
    let series: Vec<Series> = series
        .into_iter()
        .map(|(compression, of)| {
            let points = of.iter().map(|one| (one.events_per_second, one.p99)).collect();
            let mut series = Series::new(compression.name(), points);
            for (index, one) in of.iter().enumerate() {
                let (default, knee) = (one.setting == Setting::DEFAULT, Some(one.setting) == knee);
                match (default, knee) {
                    (true, true) => series = series.mark(index, "default = knee"),
                    (true, false) => series = series.mark(index, "default"),
                    (false, true) => series = series.mark(index, "knee"),
                    (false, false) => {}
                }
            }
            series
        })
        .collect();
    let (x, y) = (Axis::new("most events/s", Scale::Linear), Axis::new("p99 at the common rate, ms", Scale::Log));
    plot::points("p99 against throughput", &x, &y, &series)
}

/// What to do, in lines and lines to paste.
pub fn advice(sweep: &Sweep) -> (Vec<String>, Option<String>) {
    let Some(advice) = &sweep.advice else {
        return (
            vec![
                "No advice: the default, or every setting, was not measured or does not keep the common rate."
                    .to_owned(),
            ],
            None,
        );
    };
    let snippet = (!advice.knee.keep_defaults).then(|| advice.knee.set.snippet());
    (advice.lines(), snippet)
}

/// As a page.
///
/// # Errors
/// If a plot cannot be drawn.
pub fn page(sweep: &Sweep, facts: &[(String, String)]) -> Result<Page> {
    let mut page = Page::new("Sweep of linger, batch size and compression");
    if sweep.stopped {
        page.warning("Ended by hand: some settings or rounds are missing.");
    }
    if let Some(fault) = &sweep.fault {
        page.warning(&format!("Ended early: {fault}"));
    }
    let (lines, snippet) = advice(sweep);
    for line in lines {
        page.lead(&line);
    }
    if let Some(snippet) = snippet {
        page.paragraph("For klamm.yaml, the knee:").code(&snippet);
    }
    page.paragraph(&common_rate(sweep)).plots(&plots(sweep)?);
    if let Some((table, _)) = classic(sweep) {
        page.heading("The classic step").table(&table);
    }
    page.heading("Every setting").table(&table(sweep)).heading("Conditions").facts(facts);
    Ok(page)
}

/// At what rate latencies and CPU were compared, and how late the tool was.
pub fn common_rate(sweep: &Sweep) -> String {
    let worst = short(sweep.summaries.iter().map(|one| one.lateness).fold(0.0, f64::max));
    let late = if sweep.summaries.iter().any(|one| one.invalid > 0) {
        format!(
            " The tool itself was late by up to {worst} ms at p99 (1 ms is right): latencies are that much too high."
        )
    } else {
        String::new()
    };
    format!(
        "Latency and CPU were measured at one rate for all, {} events/s ({} requests/s of {} events): half of what the \
         default does.{late}",
        short(sweep.rate * sweep.events as f64),
        short(sweep.rate),
        sweep.events
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Fixed, Measured, plan, recommend};
    use super::*;

    fn sweep() -> Sweep {
        let fixed = Fixed { p50: 3.0, p99: 9.0, curve: vec![(0.5, 3.0), (0.99, 9.0)], ..Fixed::default() };
        let measured: Vec<Measured> = plan::grid(&plan::LINGERS, &plan::BATCHES, &plan::COMPRESSIONS)
            .into_iter()
            .map(|setting| Measured {
                setting,
                events_per_second: 100e3 + setting.batch_bytes as f64 / 100.0,
                cpu_at_most: None,
                at_least: false,
                fixed: Some(fixed.clone()),
            })
            .collect();
        let summaries = recommend::summaries(&measured);
        let advice = recommend::advise(&summaries);
        Sweep { rate: 100.0, events: 500, measured, summaries, advice, stopped: false, fault: None }
    }

    #[test]
    fn a_page_has_a_row_for_each_setting_and_maps_for_each_compression() {
        let page = page(&sweep(), &[]).unwrap().render();
        assert_eq!(page.matches("<svg").count(), 3 * 2 + 2);
        assert!(page.contains("zstd: most events/s") && page.contains("The classic step"));
        assert_eq!(table(&sweep()).rows.len(), 60);
        assert!(!page.contains("http"), "nothing from elsewhere");
    }

    #[test]
    fn a_map_has_lingers_across_and_batches_down() {
        let sweep = sweep();
        let of: Vec<&Summary> = sweep.summaries.iter().take(20).collect();
        let map = map(&of, |one| Some(one.events_per_second));
        assert_eq!(map.columns, ["0ms", "1ms", "5ms", "20ms", "50ms"]);
        assert_eq!(map.rows, ["16KiB", "64KiB", "256KiB", "1000KB"]);
        assert_eq!(map.cells[3][4], Some(110e3));
    }
}
