//! Draws a view of a model. Pure: the same of both is the same picture.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::grid::shares;
use super::ink::{Ink, Tone};
use super::model::{Model, Subject};
use super::view::View;

mod head;
mod over;
mod page;
mod pane;

/// Below this nothing useful fits.
const SMALLEST: (u16, u16) = (60, 16);
/// How much of the room for rows each pane gets: [`shares`].
const WEIGHTS: [usize; 3] = [5, 3, 3];
/// The line above a table, and its heads.
const CHROME: usize = 2;

/// Puts everything on the screen.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, model: &Model, ink: Ink, now: Instant) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let words = format!("klamm top needs {}x{}: this is {}x{}", SMALLEST.0, SMALLEST.1, area.width, area.height);
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let width = usize::from(area.width);
    let mut lines = head::lines(model, ink, width, now);
    lines.extend(match &view.screen().subject {
        Subject::All => head::figures(model, ink, width),
        subject => page::lines(subject, view, model, ink, width),
    });
    // Curves are the first to make room.
    if area.height >= 22 {
        lines.extend(head::curves(&view.screen().subject, model, ink, width));
    }
    let room = usize::from(area.height).saturating_sub(lines.len() + 1);
    lines.extend(panes(view, model, ink, width, room));
    lines.resize(usize::from(area.height).saturating_sub(1), Line::default());
    lines.push(head::foot(view, model, ink, now));
    frame.render_widget(Paragraph::new(lines), Rect { ..area });
    if let Some(over) = &view.over {
        over::draw(frame, over, view, model, ink);
    }
}

fn panes(view: &View, model: &Model, ink: Ink, width: usize, room: usize) -> Vec<Line<'static>> {
    let screen = view.screen();
    let grids: Vec<_> = screen.panes.iter().map(|pane| screen.grid(pane, model)).collect();
    let mut needs = [0; 3];
    for (need, grid) in needs.iter_mut().zip(&grids) {
        *need = grid.rows.len().max(1);
    }
    let rows = shares(room.saturating_sub(needs.len() * CHROME), needs, WEIGHTS);
    let mut lines = Vec::new();
    for (place, ((grid, pane), rows)) in grids.iter().zip(&screen.panes).zip(rows).enumerate() {
        let focused = place == screen.focus;
        let look = pane::Look { focused, typing: focused && view.typing, width, rows };
        lines.extend(pane::lines(grid, pane, look, ink));
    }
    lines
}

/// Words with spaces between them, and tones.
fn spans(parts: Vec<(String, Tone)>, ink: Ink) -> Line<'static> {
    parts.into_iter().map(|(text, tone)| Span::styled(text, ink.tone(tone))).collect()
}
