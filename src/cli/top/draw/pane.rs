//! A table: a line with its name, its heads, its rows.

use ratatui::text::{Line, Span};

use super::super::grid::{Column, Grid, fit};
use super::super::ink::{Ink, Tone};
use super::super::view::Pane;
use crate::cli::figures::{count, plain};

/// How a table is to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Keys act on it.
    pub(super) focused: bool,
    /// Its filter is being typed.
    pub(super) typing: bool,
    pub(super) width: usize,
    pub(super) rows: usize,
}

pub(super) fn lines(grid: &Grid, pane: &Pane, look: Look, ink: Ink) -> Vec<Line<'static>> {
    let shown = grid.shown(look.width);
    let mut lines = vec![rule(grid, pane, look, &shown, ink), heads(grid, &shown, ink)];
    let chosen = grid.place(pane.chosen.as_deref());
    let first = (chosen + 1).saturating_sub(look.rows);
    for (place, (_, cells)) in grid.rows.iter().enumerate().skip(first).take(look.rows) {
        let is_chosen = look.focused && place == chosen;
        let mut spans = vec![Span::raw(if is_chosen { "›" } else { " " })];
        for (at, (column, of)) in shown.iter().enumerate() {
            let Some(cell) = cells.get(*column) else { continue };
            let gap = if at == 0 { "" } else { " " };
            let text = gap.to_owned() + &fit(&plain(&cell.text), of.width, of.right);
            // Colours turned round are hard to read.
            spans.push(Span::styled(text, ink.tone(if is_chosen { Tone::Plain } else { cell.tone })));
        }
        let line = Line::from(spans);
        lines.push(if is_chosen { line.style(ink.chosen()) } else { line });
    }
    if grid.rows.is_empty() && look.rows > 0 {
        let words = if grid.all > 0 { "No name has that in it." } else { grid.empty };
        lines.push(Line::styled(format!("  {words}"), ink.tone(Tone::Soft)));
    }
    lines.resize(look.rows + 2, Line::default());
    lines
}

fn arrow(grid: &Grid) -> &'static str {
    if grid.sort.falling { "▼" } else { "▲" }
}

/// The name, how many, the filter, and what sorts where that is not shown.
fn rule(grid: &Grid, pane: &Pane, look: Look, shown: &[(usize, Column)], ink: Ink) -> Line<'static> {
    let many = match (grid.rows.len(), grid.all) {
        (shown, all) if shown < all || !pane.filter.is_empty() => {
            format!("{} of {}", count(shown as u64), count(all as u64))
        }
        (_, all) => count(all as u64),
    };
    let filter = match (&pane.filter, look.typing) {
        (filter, true) => format!(" /{filter}▏"),
        (filter, false) if filter.is_empty() => String::new(),
        (filter, false) => format!(" /{filter}"),
    };
    let hidden = shown.iter().all(|(place, _)| *place != grid.sort.column);
    let by = grid.columns.get(grid.sort.column).filter(|_| hidden);
    let by = by.map(|column| format!(" by {}{}", column.title, arrow(grid))).unwrap_or_default();
    let name = format!("{} {many}{filter}{by} ", grid.title);
    let style = if look.focused { ink.title() } else { ink.strong() };
    let dashes = look.width.saturating_sub(3 + Span::raw(&name).width());
    Line::from(vec![
        Span::styled("── ", ink.tone(Tone::Soft)),
        Span::styled(name, style),
        Span::styled("─".repeat(dashes), ink.tone(Tone::Soft)),
    ])
}

/// The heads; the one that sorts shows which way.
fn heads(grid: &Grid, shown: &[(usize, Column)], ink: Ink) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (at, (place, column)) in shown.iter().enumerate() {
        let sorts = *place == grid.sort.column;
        let title = if sorts { format!("{}{}", column.title, arrow(grid)) } else { column.title.to_owned() };
        let gap = if at == 0 { "" } else { " " };
        let style = if sorts { ink.strong() } else { ink.tone(Tone::Soft) };
        spans.push(Span::styled(gap.to_owned() + &fit(&title, column.width, column.right), style));
    }
    Line::from(spans)
}
