//! A line of the table: a figure of klamm, its yardstick of the same run, and whether the bar holds.

use serde::Serialize;

use crate::statistics::{Estimate, median};

/// How far the bound of the interval may lie beyond the bar.
const SLACK: f64 = 1.05;

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bar {
    /// Median at most this, upper bound at most 1.05 times this.
    AtMost(f64),
    /// Median at least this, lower bound at least this divided by 1.05. The row's name says "at least".
    AtLeast(f64),
    /// Reported only.
    None,
}

/// A line of the table. Where there is a yardstick, `low`, `high` and `bar` are of the ratio, else of the value.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Unique: `P1`, `P2b`, ...
    pub(super) id: String,
    /// What is measured, and against what.
    pub(super) name: String,
    /// klamm's median.
    pub(super) value: Option<f64>,
    /// Of the value and the yardstick.
    pub(super) unit: &'static str,
    /// The yardstick's median.
    pub(super) yardstick: Option<f64>,
    /// Median of the ratios of the rounds, value to yardstick.
    pub(super) ratio: Option<f64>,
    /// Lower end of the 95 % interval.
    pub(super) low: Option<f64>,
    /// Upper end of it.
    pub(super) high: Option<f64>,
    /// What it is held to; none where it is reported only.
    pub(super) bar: Option<f64>,
    /// Whether it is met; none where there is no bar, or where the row is void.
    pub(super) holds: Option<bool>,
    /// The judged figure of each round, for the plot.
    #[serde(skip)]
    pub(super) rounds: Vec<f64>,
}

impl Row {
    /// A figure by itself.
    pub(super) fn alone(id: &str, name: &str, unit: &'static str, values: &[f64], bar: Bar) -> Self {
        Self::new(id, name, unit, values, values.to_vec(), bar)
    }

    /// A figure and its yardstick, round by round.
    pub(super) fn against(
        id: &str,
        name: &str,
        unit: &'static str,
        values: &[f64],
        yardsticks: &[f64],
        bar: Bar,
    ) -> Self {
        let mut row = Self::new(id, name, unit, values, quotients(values, yardsticks), bar);
        row.yardstick = median(yardsticks);
        row.ratio = median(&row.rounds);
        row
    }

    fn new(id: &str, name: &str, unit: &'static str, values: &[f64], judged: Vec<f64>, bar: Bar) -> Self {
        // Fixed seed: the same rounds give the same interval.
        let estimate = Estimate::of(&judged, 1);
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            value: median(values),
            unit,
            yardstick: None,
            ratio: None,
            low: estimate.map(|estimate| estimate.low),
            high: estimate.map(|estimate| estimate.high),
            bar: match bar {
                Bar::AtMost(bar) | Bar::AtLeast(bar) => Some(bar),
                Bar::None => None,
            },
            holds: bar.judge(estimate, &judged),
            rounds: judged,
        }
    }

    /// Says why the row cannot be judged.
    pub(super) fn void(mut self, why: &str) -> Self {
        self.name = format!("{} (void: {why})", self.name);
        self.holds = None;
        self
    }

    /// The cells of the table on the terminal, on the page and in Markdown, as [`HEAD`] names them.
    pub(super) fn cells(&self) -> Vec<String> {
        let number = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), digits);
        let range = match (self.low, self.high) {
            (Some(low), Some(high)) => format!("{} .. {}", digits(low), digits(high)),
            _ => "-".to_owned(),
        };
        let holds = match self.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        vec![
            self.id.clone(),
            self.name.clone(),
            number(self.value),
            self.unit.to_owned(),
            number(self.yardstick),
            number(self.ratio),
            range,
            number(self.bar),
            holds.to_owned(),
        ]
    }
}

/// The columns of [`Row::cells`].
pub(super) const HEAD: [&str; 9] = ["row", "what", "klamm", "unit", "yardstick", "ratio", "interval", "bar", "holds"];

impl Bar {
    /// A bar does not hold where more than half of the rounds had to be left out.
    fn judge(self, estimate: Option<Estimate>, judged: &[f64]) -> Option<bool> {
        let believed = judged.iter().filter(|figure| figure.is_finite()).count();
        let estimate = estimate.filter(|_| believed * 2 >= judged.len());
        match self {
            Self::AtMost(bar) => Some(estimate.is_some_and(|it| it.median <= bar && it.high <= bar * SLACK)),
            Self::AtLeast(bar) => Some(estimate.is_some_and(|it| it.median >= bar && it.low >= bar / SLACK)),
            Self::None => None,
        }
    }
}

/// Round by round; not a number where either is missing.
pub(super) fn quotients(values: &[f64], yardsticks: &[f64]) -> Vec<f64> {
    values.iter().zip(yardsticks).map(|(value, yardstick)| value / yardstick).collect()
}

/// Three digits that count.
fn digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_by_the_median_and_by_the_upper_bound() {
        let against = |values: &[f64], bar| Row::against("P1", "x", "us", values, &vec![1.0; values.len()], bar);
        let steady = against(&[0.99, 1.0, 0.98, 1.0, 0.99], Bar::AtMost(1.0));
        assert_eq!((steady.holds, steady.bar, steady.ratio), (Some(true), Some(1.0), Some(0.99)));
        let high_median = against(&[1.01, 1.02, 1.01, 1.02, 1.01], Bar::AtMost(1.0));
        assert_eq!(high_median.holds, Some(false));
        let wide = against(&[0.9, 0.95, 0.99, 1.3, 1.2], Bar::AtMost(1.0));
        assert_eq!(wide.holds, Some(false), "the interval reaches {:?}", wide.high);
    }

    #[test]
    fn a_floor_holds_by_the_median_and_by_the_lower_bound() {
        let floor = |values: &[f64]| Row::alone("P5", "x", "%", values, Bar::AtLeast(0.95)).holds;
        assert_eq!(floor(&[0.97, 0.96, 0.98]), Some(true));
        assert_eq!(floor(&[0.94, 0.94, 0.96]), Some(false));
        assert_eq!(floor(&[0.97, 0.5, 0.97]), Some(false), "the interval begins at 0.5");
    }

    #[test]
    fn without_most_of_its_rounds_a_bar_does_not_hold_and_without_a_bar_nothing_is_judged() {
        let at_most = |values: &[f64]| Row::alone("a", "x", "us", values, Bar::AtMost(1.0)).holds;
        let nan = f64::NAN;
        assert_eq!((at_most(&[]), at_most(&[nan]), at_most(&[0.5, nan, nan])), (Some(false), Some(false), Some(false)));
        assert_eq!(at_most(&[0.5, 0.5, nan]), Some(true));
        assert_eq!(Row::alone("a", "x", "us", &[1.0], Bar::None).holds, None);
    }

    #[test]
    fn ratios_are_of_the_rounds_not_of_the_medians_and_rounds_left_out_are_no_rounds() {
        let row = Row::against("P1", "x", "us", &[2.0, 4.0, f64::NAN, 12.0], &[1.0, 4.0, 1.0, 4.0], Bar::AtMost(2.0));
        assert_eq!(row.ratio, Some(2.0));
        assert_eq!((row.value, row.yardstick), (Some(4.0), Some(2.5)));
    }

    #[test]
    fn a_row_has_the_agreed_keys_and_no_others() {
        let row = Row::against("P1", "x", "us", &[1.0], &[2.0], Bar::AtMost(1.0));
        let json = serde_json::to_value(&row).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        let mut agreed = ["id", "name", "value", "unit", "yardstick", "ratio", "low", "high", "bar", "holds"];
        agreed.sort_unstable();
        assert_eq!(keys, agreed);
        assert_eq!((json["ratio"].as_f64(), json["holds"].as_bool()), (Some(0.5), Some(true)));
        let void = serde_json::to_value(row.void("noise")).unwrap();
        assert!(void["holds"].is_null() && void["name"].as_str().unwrap().contains("void: noise"));
        assert_eq!(Row::alone("a", "x", "us", &[1.0], Bar::None).cells().len(), HEAD.len());
    }
}
