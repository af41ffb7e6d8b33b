//! What lies over a view: the keys, or an answer that a client got.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::super::ink::{Ink, Tone};
use super::super::model::Model;
use super::super::view::{Over, View};
use crate::cli::figures::{clock, plain};

const KEYS: &str = "\
↑ ↓ PgUp PgDn Home End   choose a row
Tab, Shift-Tab           the next table, the one before
Enter                    open the client or topic; of a refusal: who
                         gets it most, or its latest answer
Esc                      drop the filter, or go back
s or →, S or ←           sort by the next column, the one before
r                        turn the order round
/                        only rows whose names have that in them
q, Ctrl-C                quit

Rates are over 5 s, p50 and p99 over 60 s, all else since klamm
started. QUOTA LEFT is that of the scarcest quota (re, ev, by:
requests, events, bytes). This klamm alone: all replicas are in
Grafana. Times are UTC.";

pub(super) fn draw(frame: &mut Frame<'_>, over: &Over, view: &View, model: &Model, ink: Ink) {
    let (title, text) = match over {
        Over::Help => (" keys ".to_owned(), KEYS.to_owned()),
        Over::Problem(code) => problem(code, view, model),
    };
    let all = frame.area();
    let width = all.width.saturating_sub(4).min(72);
    let wrapped = |line: &str| line.chars().count().max(1).div_ceil(usize::from(width.saturating_sub(4)).max(1));
    let lines: usize = text.lines().map(wrapped).sum();
    let height = u16::try_from(lines + 2).unwrap_or(u16::MAX).min(all.height.saturating_sub(2));
    let area = Rect { x: (all.width - width) / 2, y: (all.height - height) / 2, width, height };
    let close = Line::styled(" any key closes this ", ink.tone(Tone::Soft)).right_aligned();
    let block = Block::bordered().title(Line::styled(title, ink.title())).title_bottom(close);
    let words: Vec<_> = text.lines().map(|line| Line::raw(format!(" {line}"))).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: false }).block(block), area);
}

/// The latest answer with `code`, as the client got it.
fn problem(code: &str, view: &View, model: &Model) -> (String, String) {
    let page = model.page(&view.screen().subject);
    let problems = page.and_then(|page| page.problems.as_deref()).unwrap_or_default();
    let Some(problem) = problems.iter().find(|problem| problem.code == code) else {
        return (format!(" {code} "), "No answer with this code was kept.".to_owned());
    };
    let pretty = serde_json::from_str::<serde_json::Value>(&problem.body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| problem.body.clone());
    let text: Vec<_> = pretty.lines().map(plain).collect();
    (format!(" {code}, the latest answer, at {} ", clock(problem.at)), text.join("\n"))
}
