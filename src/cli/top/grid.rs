//! Tables: columns that can be sorted by, rows that can be filtered. What they hold is [`super::tables`]'s business.

use std::cmp::Ordering;

use ratatui::text::Span;

use super::ink::Tone;

/// What a column sorts by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Key {
    /// Numbers go up.
    Number(f64),
    /// Text goes by its letters.
    Text(String),
}

impl Key {
    fn compare(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Number(_), Key::Text(_)) => Ordering::Less,
            (Key::Text(_), Key::Number(_)) => Ordering::Greater,
        }
    }
}

/// What stands in a row and column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    pub(super) key: Key,
}

impl Cell {
    /// Text that sorts by itself.
    pub(super) fn word(text: &str) -> Self {
        Self { text: text.to_owned(), tone: Tone::Plain, key: Key::Text(text.to_lowercase()) }
    }

    /// Words for a number.
    pub(super) fn number(text: String, number: f64) -> Self {
        Self { text, tone: Tone::Plain, key: Key::Number(number) }
    }

    /// The same in another tone.
    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// In cells; 0 takes what is left.
    pub(super) width: usize,
    /// Numbers stand at the right.
    pub(super) right: bool,
    /// The width of the screen from which on it is shown.
    pub(super) from: usize,
}

impl Column {
    /// At the right, from 80 wide on.
    pub(super) const fn figures(title: &'static str, width: usize) -> Self {
        Self { title, width, right: true, from: 0 }
    }

    /// At the left.
    pub(super) const fn words(title: &'static str, width: usize) -> Self {
        Self { title, width, right: false, from: 0 }
    }

    /// Only on a screen of that width.
    pub(super) const fn from(self, from: usize) -> Self {
        Self { from, ..self }
    }
}

/// By which column a table is sorted, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: usize,
    pub(super) falling: bool,
}

/// A table as it is shown: sorted, filtered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<(String, Vec<Cell>)>,
    /// Without the filter.
    pub(super) all: usize,
    pub(super) sort: Sort,
    /// What stands there while there is no row.
    pub(super) empty: &'static str,
}

impl Grid {
    /// Sorted as `sort` says, with the rows whose names have `filter` in them.
    pub(super) fn arranged(mut self, sort: Sort, filter: &str) -> Self {
        self.all = self.rows.len();
        let filter = filter.to_lowercase();
        self.rows.retain(|(id, _)| id.to_lowercase().contains(&filter));
        self.rows.sort_by(|(a_id, a), (b_id, b)| {
            let keys = a.get(sort.column).zip(b.get(sort.column));
            let order = keys.map_or(Ordering::Equal, |(a, b)| a.key.compare(&b.key));
            let order = if sort.falling { order.reverse() } else { order };
            order.then_with(|| a_id.cmp(b_id))
        });
        Self { sort, ..self }
    }

    /// Where the row `id` stands; the first where there is none.
    pub(super) fn place(&self, id: Option<&str>) -> usize {
        let place = self.rows.iter().position(|(row, _)| Some(row.as_str()) == id);
        place.unwrap_or_default()
    }

    /// The columns that a screen of `width` shows, with their places and widths.
    pub(super) fn shown(&self, width: usize) -> Vec<(usize, Column)> {
        let mut shown: Vec<_> =
            self.columns.iter().copied().enumerate().filter(|(_, column)| column.from <= width).collect();
        // A mark in front, a blank between two.
        let taken = 1 + shown.len().saturating_sub(1) + shown.iter().map(|(_, column)| column.width).sum::<usize>();
        for (_, column) in shown.iter_mut().filter(|(_, column)| column.width == 0) {
            column.width = width.saturating_sub(taken).max(4);
        }
        shown
    }
}

/// `text` in exactly `width` cells, cut by an ellipsis or filled with blanks.
pub(super) fn fit(text: &str, width: usize, right: bool) -> String {
    let wide = |text: &str| Span::raw(text).width();
    let mut text = text.to_owned();
    if wide(&text) > width {
        while wide(&text) + 1 > width && text.pop().is_some() {}
        if width > 0 {
            text.push('…');
        }
    }
    let blanks = " ".repeat(width.saturating_sub(wide(&text)));
    if right { blanks + &text } else { text + &blanks }
}

/// How `room` lines are shared by tables that need so many: each gets one, then all by weight, none more than it needs
/// while another needs some.
pub(super) fn shares(room: usize, needs: [usize; 3], weights: [usize; 3]) -> [usize; 3] {
    let mut given = [0; 3];
    for _ in 0..room {
        let hungry = |place: &usize| given.get(*place) < needs.get(*place);
        let weight = |place: usize| weights.get(place).copied().unwrap_or(1).max(1);
        let part = |place: usize| given.get(place).copied().unwrap_or_default() * 60 / weight(place);
        let poorest = (0..3).filter(hungry).min_by_key(|place| part(*place));
        let next = poorest.or_else(|| (0..3).min_by_key(|place| part(*place)));
        if let Some(lines) = next.and_then(|place| given.get_mut(place)) {
            *lines += 1;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::words("NAME", 0), Column::figures("N", 5), Column::figures("M", 9).from(100)];

    fn grid() -> Grid {
        let row = |id: &str, n: f64| (id.to_owned(), vec![Cell::word(id), Cell::number(n.to_string(), n)]);
        let rows = vec![row("Shop", 2.0), row("till", 10.0), row("a-shop", 2.0)];
        let sort = Sort { column: 0, falling: false };
        Grid { title: "x", columns: COLUMNS, rows, all: 0, sort, empty: "" }
    }

    fn names(grid: &Grid) -> Vec<&str> {
        grid.rows.iter().map(|(id, _)| id.as_str()).collect()
    }

    #[test]
    fn rows_are_sorted_both_ways_by_numbers_and_names_and_filtered_by_name() {
        let by = |column, falling, filter: &str| grid().arranged(Sort { column, falling }, filter);
        assert_eq!(names(&by(1, true, "")), ["till", "Shop", "a-shop"]);
        assert_eq!(names(&by(1, false, "")), ["Shop", "a-shop", "till"]);
        assert_eq!(names(&by(0, false, "")), ["a-shop", "Shop", "till"]);
        let shops = by(0, true, "SHOP");
        assert_eq!((names(&shops), shops.all), (vec!["Shop", "a-shop"], 3));
        assert_eq!((shops.place(Some("a-shop")), shops.place(Some("till")), shops.place(None)), (1, 0, 0));
    }

    #[test]
    fn columns_fill_the_width() {
        let widths = |width| grid().shown(width).iter().map(|(_, column)| column.width).collect::<Vec<_>>();
        assert_eq!((widths(80), widths(100), widths(5)), (vec![73, 5], vec![83, 5, 9], vec![4, 5]));
    }

    #[test]
    fn texts_are_cut_by_an_ellipsis_or_filled() {
        assert_eq!((fit("abc", 5, false), fit("abc", 5, true)), ("abc  ".into(), "  abc".into()));
        assert_eq!(
            (fit("abcdef", 4, true), fit("日本語", 4, false), fit("ab", 0, false)),
            ("abc…".into(), "日… ".into(), String::new())
        );
    }

    #[test]
    fn lines_go_to_who_needs_them_by_weight() {
        assert_eq!(shares(11, [20, 20, 20], [5, 3, 3]), [5, 3, 3]);
        assert_eq!(shares(11, [2, 20, 1], [5, 3, 3]), [2, 8, 1]);
        assert_eq!(shares(11, [1, 1, 1], [5, 3, 3]), [5, 3, 3]);
        assert_eq!(shares(0, [1, 1, 1], [5, 3, 3]), [0, 0, 0]);
    }
}
