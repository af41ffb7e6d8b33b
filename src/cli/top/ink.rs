//! How things look. Colours are the terminal's own sixteen; what they say stands in words or signs too, and with
//! `NO_COLOR` (no-color.org) there are none.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// To look at.
    Warn,
    /// Wrong.
    Bad,
    /// Neither.
    Plain,
    /// Less important.
    Soft,
}

impl Tone {
    /// The sign in front of words.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Tone::Good => "✓",
            Tone::Warn => "!",
            Tone::Bad => "✕",
            Tone::Plain | Tone::Soft => "·",
        }
    }

    /// That of what is left of a quota, or of anything that should not run out.
    pub(super) fn of_rest(left: f64) -> Self {
        match left {
            left if left < 0.1 => Tone::Bad,
            left if left < 0.3 => Tone::Warn,
            _ => Tone::Good,
        }
    }
}

/// The styles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    colour: bool,
}

impl Ink {
    /// As the variable `NO_COLOR` wants it: not empty is without.
    pub(super) fn new(no_color: Option<&OsString>) -> Self {
        Self { colour: no_color.is_none_or(|value| value.is_empty()) }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Good => self.colour(Color::Green),
            Tone::Warn => self.colour(Color::Yellow),
            Tone::Bad => self.colour(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Plain => Style::new(),
            Tone::Soft => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// Names of things on the screen.
    pub(super) fn title(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Curves.
    pub(super) fn curve(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// The row that keys act on.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Figures in the head.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}
