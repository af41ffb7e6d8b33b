//! What is looked at, and what the keys do about it. Pure: a key goes in, what is to happen comes out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::grid::{Grid, Sort};
use super::model::{Model, Subject};
use super::tables::{Kind, first_sort, kinds, table};

/// Lines that a page key moves.
const PAGE: usize = 10;

/// A table's state.
#[derive(Debug, Clone)]
pub(super) struct Pane {
    pub(super) kind: Kind,
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// The row that keys act on, by name: it stays so wherever it moves. `None` is the first.
    pub(super) chosen: Option<String>,
}

/// A view: of everything, of a client, of a topic.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    pub(super) subject: Subject,
    pub(super) panes: [Pane; 3],
    /// The place of the pane that keys act on.
    pub(super) focus: usize,
}

impl Screen {
    fn new(subject: Subject) -> Self {
        let pane = |kind| Pane { kind, sort: first_sort(kind), filter: String::new(), chosen: None };
        Self { panes: kinds(&subject).map(pane), subject, focus: 0 }
    }

    /// The table of `pane`, sorted and filtered.
    pub(super) fn grid(&self, pane: &Pane, model: &Model) -> Grid {
        table(pane.kind, &self.subject, model).arranged(pane.sort, &pane.filter)
    }

    fn pane(&mut self) -> Option<&mut Pane> {
        self.panes.get_mut(self.focus)
    }

    /// The table that keys act on, and the name of its chosen row.
    fn focused(&self, model: &Model) -> Option<(&Pane, Grid, Option<String>)> {
        let pane = self.panes.get(self.focus)?;
        let grid = self.grid(pane, model);
        let chosen = grid.rows.get(grid.place(pane.chosen.as_deref())).map(|(id, _)| id.clone());
        Some((pane, grid, chosen))
    }
}

/// What lies over the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// The keys.
    Help,
    /// The latest answer with this code.
    Problem(String),
}

/// What a key wants to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but to be drawn.
    Nothing,
    /// The stream is to tell of this.
    Follow(Subject),
    /// The end.
    Quit,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The overview.
    ground: Screen,
    /// What was opened from there, the last on top.
    opened: Vec<Screen>,
    pub(super) over: Option<Over>,
    /// The filter is being typed.
    pub(super) typing: bool,
}

impl Default for View {
    fn default() -> Self {
        Self { ground: Screen::new(Subject::All), opened: Vec::new(), over: None, typing: false }
    }
}

impl View {
    /// What is looked at.
    pub(super) fn screen(&self) -> &Screen {
        self.opened.last().unwrap_or(&self.ground)
    }

    fn screen_mut(&mut self) -> &mut Screen {
        self.opened.last_mut().unwrap_or(&mut self.ground)
    }

    /// From the overview to here.
    pub(super) fn path(&self) -> Vec<&Subject> {
        self.opened.iter().map(|screen| &screen.subject).collect()
    }

    /// Does what `key` says.
    pub(super) fn press(&mut self, key: KeyEvent, model: &Model) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::Quit } else { Wish::Nothing };
        }
        if self.typing {
            return self.edit(key.code);
        }
        if self.over.take().is_some() {
            return if key.code == KeyCode::Char('q') { Wish::Quit } else { Wish::Nothing };
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.over = Some(Over::Help),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc | KeyCode::Backspace => return self.back(),
            KeyCode::Enter => return self.open(model),
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(2),
            KeyCode::Char('s') | KeyCode::Right => self.sort(model, true),
            KeyCode::Char('S') | KeyCode::Left => self.sort(model, false),
            KeyCode::Char('r') => {
                if let Some(pane) = self.screen_mut().pane() {
                    pane.sort.falling = !pane.sort.falling;
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.choose(model, |place| place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(model, |place| place + 1),
            KeyCode::PageUp => self.choose(model, |place| place.saturating_sub(PAGE)),
            KeyCode::PageDown => self.choose(model, |place| place + PAGE),
            KeyCode::Home => self.choose(model, |_| 0),
            KeyCode::End => self.choose(model, |_| usize::MAX),
            _ => {}
        }
        Wish::Nothing
    }

    fn edit(&mut self, code: KeyCode) -> Wish {
        let typing = !matches!(code, KeyCode::Esc | KeyCode::Enter);
        self.typing = typing;
        if let Some(pane) = self.screen_mut().pane() {
            match code {
                KeyCode::Esc => pane.filter.clear(),
                KeyCode::Backspace => drop(pane.filter.pop()),
                KeyCode::Char(c) => pane.filter.push(c),
                _ => {}
            }
        }
        Wish::Nothing
    }

    /// The filter goes first, then the view.
    fn back(&mut self) -> Wish {
        if let Some(pane) = self.screen_mut().pane().filter(|pane| !pane.filter.is_empty()) {
            pane.filter.clear();
            return Wish::Nothing;
        }
        match self.opened.pop() {
            Some(_) => Wish::Follow(self.screen().subject.clone()),
            None => Wish::Nothing,
        }
    }

    fn open(&mut self, model: &Model) -> Wish {
        let screen = self.screen();
        let Some((pane, _, Some(chosen))) = screen.focused(model) else { return Wish::Nothing };
        let subject = match (pane.kind, &screen.subject) {
            (Kind::Clients, _) => Subject::Client(chosen),
            (Kind::Topics, _) => Subject::Topic(chosen),
            // Whoever gets it most.
            (Kind::Codes, Subject::All) => {
                let of = |code: &str, id: &&String| model.clients.get(*id).and_then(|row| row.codes.get(code).copied());
                let Some(most) = model.clients.keys().max_by_key(|id| of(&chosen, id)) else { return Wish::Nothing };
                Subject::Client(most.clone())
            }
            (Kind::Codes, _) => {
                self.over = Some(Over::Problem(chosen));
                return Wish::Nothing;
            }
            (Kind::Requests | Kind::Partitions | Kind::Errors, _) => return Wish::Nothing,
        };
        // Back and forth between a client and its topic does not pile up.
        match self.opened.iter().position(|screen| screen.subject == subject) {
            Some(place) => self.opened.truncate(place + 1),
            None => self.opened.push(Screen::new(subject.clone())),
        }
        Wish::Follow(subject)
    }

    fn turn(&mut self, by: usize) {
        let screen = self.screen_mut();
        screen.focus = (screen.focus + by) % screen.panes.len();
    }

    /// The next column to sort by, or the one before. Numbers fall at first, names rise.
    fn sort(&mut self, model: &Model, next: bool) {
        let Some((_, grid, _)) = self.screen().focused(model) else { return };
        let many = grid.columns.len().max(1);
        let Some(pane) = self.screen_mut().pane() else { return };
        let column = (pane.sort.column + if next { 1 } else { many - 1 }) % many;
        let falling = grid.columns.get(column).is_some_and(|column| column.right);
        pane.sort = Sort { column, falling };
    }

    fn choose(&mut self, model: &Model, to: impl Fn(usize) -> usize) {
        let Some((pane, grid, _)) = self.screen().focused(model) else { return };
        let place = to(grid.place(pane.chosen.as_deref())).min(grid.rows.len().saturating_sub(1));
        let chosen = grid.rows.get(place).map(|(id, _)| id.clone());
        if let Some(pane) = self.screen_mut().pane() {
            pane.chosen = chosen;
        }
    }
}
