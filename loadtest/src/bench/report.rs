//! What a bench leaves behind: bench.json for programs, table.md for the documentation, report.html for people.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Bench;
use super::row::{HEAD, Row};
use crate::gateway;
use crate::report::html::{Page, Table};
use crate::report::json;
use crate::report::plot::{Axis, Scale, Series, lines};

/// Columns of the terminal's table: the text of a row is wrapped.
const WIDTH: u16 = 130;

/// `{"conditions": {...}, "rows": [...]}`.
#[derive(Serialize)]
pub(super) struct Report {
    conditions: Value,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(bench: &Bench<'_>, rows: Vec<Row>) -> Self {
        let settings = bench.settings;
        let mut conditions = json!({
            "klamm": gateway::version(&bench.klamm),
            "tool": env!("CARGO_PKG_VERSION"),
            "librdkafka": rdkafka::util::get_rdkafka_version().1,
            "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
            "kafka": bench.tier.describe(),
            "rounds": settings.rounds(),
            "seconds": settings.duration().as_secs_f64(),
            "warm_up": settings.warm_up.as_secs_f64(),
            "seed": settings.seed,
            "took": bench.began.elapsed().as_secs(),
            "stopped": bench.stop.is_stopped(),
            "notes": *bench.notes.borrow(),
            "by_round": *bench.rounds.borrow(),
        });
        let seen = bench.conditions.borrow();
        if let (Some(seen), Some(all)) = (seen.as_ref(), conditions.as_object_mut()) {
            for (name, value) in [
                ("time", json!(seen.time)),
                ("cpu", json!(seen.cpu)),
                ("cores", json!(seen.cores)),
                ("memory", json!(seen.memory)),
                ("kernel", json!(seen.kernel)),
            ] {
                all.insert(name.to_owned(), value);
            }
        }
        Self { conditions, rows }
    }

    /// Whether no bar is missed.
    pub(super) fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds != Some(false))
    }

    pub(super) fn terminal(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(HEAD);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(WIDTH);
        table.add_rows(self.rows.iter().map(Row::cells));
        format!("{table}\n{}\n", self.summary())
    }

    /// Writes all three into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        json::write(&folder.join("bench.json"), self)?;
        let table = folder.join("table.md");
        fs::write(&table, self.markdown()).with_context(|| format!("write {}", table.display()))?;
        self.page()?.write(&folder.join("report.html"))
    }

    fn markdown(&self) -> String {
        let mut text = self.table().markdown();
        text.push_str("\n| condition | |\n|---|---|\n");
        for (name, value) in self.facts() {
            text.push_str(&format!("| {name} | {value} |\n"));
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&HEAD);
        for row in &self.rows {
            if row.bar.is_some() {
                table.marked(row.cells())
            } else {
                table.row(row.cells())
            };
        }
        table
    }

    fn summary(&self) -> String {
        let judged: Vec<bool> = self.rows.iter().filter_map(|row| row.holds).collect();
        let held = judged.iter().filter(|holds| **holds).count();
        format!("{held} of {} bars hold", judged.len())
    }

    /// All conditions that are one word or figure, and how busy the machine was.
    fn facts(&self) -> Vec<(String, String)> {
        let conditions = self.conditions.as_object().into_iter().flatten();
        let plain = conditions.filter_map(|(name, value)| match value {
            Value::Array(_) | Value::Object(_) => None,
            Value::String(text) => Some((name.clone(), text.clone())),
            other => Some((name.clone(), other.to_string())),
        });
        let most = |name: &str| {
            let rounds = self.conditions.get("by_round").and_then(Value::as_array).into_iter().flatten();
            rounds.filter_map(|round| round.get(name)?.as_f64()).fold(0.0, f64::max)
        };
        let steal = ("steal, most of a round".to_owned(), format!("{:.1} %", most("steal") * 100.0));
        let load = ("load average, most of a round".to_owned(), format!("{:.1}", most("load")));
        plain.chain([steal, load]).collect()
    }

    fn page(&self) -> Result<Page> {
        let mut page = Page::new("klamm beside its yardsticks");
        page.lead(&self.summary());
        page.paragraph(
            "Where there is a yardstick, interval and bar are of the ratio of klamm to it, else of klamm's figure. A bar \
             holds if the median meets it and the far end of the 95 % bootstrap interval is within 5 % of it. Every \
             yardstick ran in the same rounds as the figure beside it.",
        );
        for note in self.conditions.get("notes").and_then(Value::as_array).into_iter().flatten() {
            page.warning(note.as_str().unwrap_or_default());
        }
        page.table(&self.table());
        let series: Vec<Series> =
            self.rows.iter().filter(|row| row.ratio.is_some() && row.bar.is_some()).map(ratios).collect();
        if !series.is_empty() {
            page.heading("Ratio to the yardstick, round by round");
            let (x, y) = (Axis::new("round", Scale::Linear), Axis::new("ratio", Scale::Linear));
            page.plots(&[lines("ratio to the yardstick", &x, &y, &series)?]);
        }
        page.heading("Conditions").facts(&self.facts());
        page.heading("The machine, round by round").table(&self.by_round());
        Ok(page)
    }

    fn by_round(&self) -> Table {
        let mut table = Table::new(&["rows", "round", "load average", "steal", "left out"]);
        for round in self.conditions.get("by_round").and_then(Value::as_array).into_iter().flatten() {
            let number = |name: &str| round.get(name).and_then(Value::as_f64).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let left_out = round.get("left_out").and_then(Value::as_array).into_iter().flatten();
            let left_out: Vec<String> = left_out.map(text).collect();
            table.row(vec![
                round.get("rows").map(text).unwrap_or_default(),
                format!("{:.0}", number("round")),
                format!("{:.1}", number("load")),
                format!("{:.1} %", number("steal") * 100.0),
                left_out.join("; "),
            ]);
        }
        table
    }
}

fn ratios(row: &Row) -> Series {
    let rounds = row.rounds.iter().enumerate().filter(|(_, ratio)| ratio.is_finite());
    Series::new(&row.id, rounds.map(|(round, ratio)| ((round + 1) as f64, *ratio)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::row::Bar;
    use super::*;

    fn report() -> Report {
        let by_round = json!([{ "rows": "P1", "round": 1, "load": 1.5, "steal": 0.02, "left_out": ["klamm: late"] }]);
        Report {
            conditions: json!({ "kernel": "Linux 6.1", "rounds": 3, "notes": ["a <word>"], "by_round": by_round }),
            rows: vec![
                Row::against("P1", "batches", "us", &[0.9, 0.8, 0.9], &[1.0, 1.0, 1.0], Bar::AtMost(1.0)),
                Row::alone("P5-idle", "idle", "MB", &[30.0], Bar::AtMost(20.0)),
            ],
        }
    }

    #[test]
    fn the_json_has_conditions_and_rows_and_nothing_else() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["conditions", "rows"]);
        assert_eq!((&json["rows"][0]["id"], &json["rows"][0]["holds"]), (&json!("P1"), &json!(true)));
        assert_eq!((&json["rows"][1]["yardstick"], &json["rows"][1]["holds"]), (&Value::Null, &json!(false)));
    }

    #[test]
    fn one_missed_bar_is_a_missed_bench() {
        let mut report = report();
        assert!(!report.holds());
        assert_eq!(report.summary(), "1 of 2 bars hold");
        report.rows.pop();
        assert!(report.holds());
    }

    #[test]
    fn the_files_are_written_and_the_page_needs_nothing_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        report().write(folder.path()).unwrap();
        let text = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("table.md").contains("| **P1** |") && text("table.md").contains("| kernel | Linux 6.1 |"));
        assert!(text("bench.json").contains("\"conditions\""));
        let page = text("report.html");
        for sign in ["http:", "https:", "<script", "src="] {
            assert!(!page.contains(sign), "{sign}");
        }
        assert!(page.contains("klamm: late") && page.contains("a &lt;word&gt;") && page.contains("<svg"));
    }
}
