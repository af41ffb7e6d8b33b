//! A report as one HTML file: tables, text and plots, no script and nothing loaded from elsewhere.
//!
//! Light or dark as the reader's system is; wide tables scroll by themselves, so that the page fits a phone.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::plot::Svg;

const STYLE: &str = "
:root{color-scheme:light dark;--fg:#1c2128;--bg:#fff;--dim:#57606a;--line:#d0d7de;--mark:#0969da}
@media(prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--dim:#9198a1;--line:#30363d;--mark:#4493f8}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1080px;color:var(--fg);background:var(--bg);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.5rem 0;max-width:70ch}
p.lead{font-size:1.1rem}
p.warning{border-left:4px solid #d29922;padding-left:12px}
.plots{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}
.plots svg{width:100%;height:auto;max-width:640px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}
table.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}
table.facts td:first-child{color:var(--dim);white-space:nowrap}
thead th{color:var(--dim);font-weight:600}
tr.mark td{font-weight:600}
tr.mark td:first-child{box-shadow:inset 3px 0 var(--mark)}
pre{overflow-x:auto;padding:12px;border:1px solid var(--line);border-radius:6px;font-size:.85rem}
";

/// A page, built from top to bottom.
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    body: String,
}

/// Rows of cells under a head; a row may be marked.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// The cells, and whether the row is marked.
    pub rows: Vec<(Vec<String>, bool)>,
}

impl Table {
    /// An empty one with these columns.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) -> &mut Self {
        self.rows.push((cells, false));
        self
    }

    /// Adds a row that stands out.
    pub fn marked(&mut self, cells: Vec<String>) -> &mut Self {
        self.rows.push((cells, true));
        self
    }

    /// For a terminal; marked rows begin with `*`.
    pub fn terminal(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        // 60 settings with a line between each two would fill two screens.
        table.remove_style(comfy_table::TableComponent::HorizontalLines);
        table.remove_style(comfy_table::TableComponent::MiddleIntersections);
        table.remove_style(comfy_table::TableComponent::LeftBorderIntersections);
        table.remove_style(comfy_table::TableComponent::RightBorderIntersections);
        table.set_header(&self.head);
        for (cells, marked) in &self.rows {
            let cells = cells.iter().enumerate().map(|(index, cell)| match (index, marked) {
                (0, true) => format!("* {cell}"),
                _ => cell.clone(),
            });
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
        table.to_string()
    }

    /// For a Markdown file; marked rows are bold.
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", self.head.join(" | "), "---|".repeat(self.head.len()));
        for (cells, marked) in &self.rows {
            let cells: Vec<String> =
                cells.iter().map(|cell| if *marked { format!("**{cell}**") } else { cell.clone() }).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: format!("<h1>{}</h1>\n", escape(title)) }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
        self
    }

    /// The sentence that says it all.
    pub fn lead(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p class=\"lead\">{}</p>", escape(text));
        self
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
        self
    }

    /// What the reader must know before believing the figures.
    pub fn warning(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p class=\"warning\">{}</p>", escape(text));
        self
    }

    /// Text to copy.
    pub fn code(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<pre>{}</pre>", escape(text));
        self
    }

    /// Plots, beside each other where there is room.
    pub fn plots(&mut self, plots: &[Svg]) -> &mut Self {
        self.body.push_str("<div class=\"plots\">\n");
        for plot in plots {
            self.body.push_str(&plot.inline());
        }
        self.body.push_str("</div>\n");
        self
    }

    /// A table of figures.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.body.push_str("<div class=\"wide\"><table><thead><tr>");
        for name in &table.head {
            let _ = write!(self.body, "<th>{}</th>", escape(name));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for (cells, marked) in &table.rows {
            self.body.push_str(if *marked { "<tr class=\"mark\">" } else { "<tr>" });
            for cell in cells {
                let _ = write!(self.body, "<td>{}</td>", escape(cell));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
        self
    }

    /// Names and what they are: the conditions of a measurement.
    pub fn facts(&mut self, facts: &[(String, String)]) -> &mut Self {
        self.body.push_str("<table class=\"facts\"><tbody>\n");
        for (name, value) in facts {
            let _ = writeln!(self.body, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
        }
        self.body.push_str("</tbody></table>\n");
        self
    }

    /// The whole file.
    pub fn render(&self) -> String {
        let title = escape(&self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            self.body
        )
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.render()).with_context(|| format!("write {}", path.display()))
    }
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::{Axis, Heat, Scale, Series, heat, lines};

    fn page() -> String {
        let series = Series::new("p99 <of> A", vec![(1000.0, 3.0), (2000.0, 9.0)]);
        let (x, y) = (Axis::new("events/s", Scale::Linear), Axis::new("p99, ms", Scale::Log));
        let plot = lines("latency", &x, &y, &[series, Series::new("B", vec![(1500.0, 4.0)])]);
        let map = Heat {
            rows: vec!["16 KiB".to_owned()],
            columns: vec!["0 ms".to_owned(), "5 ms".to_owned()],
            cells: vec![vec![Some(1.0), None]],
            ..Heat::default()
        };
        let mut table = Table::new(&["setting", "rate"]);
        table.row(vec!["a & b".to_owned(), "1".to_owned()]).marked(vec!["c".to_owned(), "2".to_owned()]);
        let mut page = Page::new("A <report>");
        page.lead("it is so").table(&table).plots(&[plot.unwrap(), heat("map", &map).unwrap()]);
        page.facts(&[("kernel".to_owned(), "6.1".to_owned())]).code("kafka:\n  default: {}");
        page.render()
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let page = page();
        for sign in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "onload"] {
            assert!(!page.contains(sign), "{sign} in {page}");
        }
    }

    #[test]
    fn a_page_is_light_and_dark_and_fits_a_phone() {
        let page = page();
        assert!(page.contains("color-scheme:light dark") && page.contains("width=device-width"));
        assert!(page.contains("currentColor") && !page.contains("#000000"), "plots take the colour of the text");
    }

    #[test]
    fn what_is_written_in_cells_is_text() {
        let page = page();
        assert!(page.contains("<td>a &amp; b</td>") && page.contains("A &lt;report&gt;"));
        assert!(page.contains("p99 &lt;of&gt; A"));
        assert_eq!(page.matches("<tr class=\"mark\">").count(), 1);
    }

    #[test]
    fn one_table_reads_the_same_on_a_terminal_and_in_markdown() {
        let mut table = Table::new(&["setting", "rate"]);
        table.row(vec!["a".to_owned(), "1".to_owned()]).marked(vec!["b".to_owned(), "22".to_owned()]);
        assert_eq!(table.markdown(), "| setting | rate |\n|---|---|\n| a | 1 |\n| **b** | **22** |\n");
        assert!(table.terminal().contains("* b"));
    }
}
