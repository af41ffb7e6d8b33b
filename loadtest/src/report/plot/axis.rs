//! Axes: where a value stands, which values get a line, how they are written.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten. Values of 0 and below stand at the least one.
    Log,
    /// Shares from 0 to 1 by their distance from 1: 90 %, 99 %, 99.9 % lie evenly.
    Percentile,
}

/// Below this no logarithm is taken: a microsecond where milliseconds are plotted.
const LEAST: f64 = 1e-3;
/// Percentiles above it have no place: 99.999 %.
const MOST: f64 = 0.99999;

impl Scale {
    /// Where a value stands.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => value.max(LEAST).log10(),
            Scale::Percentile => -(1.0 - value.clamp(0.0, MOST)).log10(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Scale::Linear => place,
            Scale::Log => 10_f64.powf(place),
            Scale::Percentile => 1.0 - 10_f64.powf(-place),
        }
    }
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is on it, and its unit.
    pub name: String,
    /// How it is spread.
    pub scale: Scale,
}

impl Axis {
    /// An axis.
    pub fn new(name: &str, scale: Scale) -> Self {
        Self { name: name.to_owned(), scale }
    }

    /// The stretch that holds all values, and the places of its lines.
    pub(super) fn span(&self, values: impl Iterator<Item = f64>) -> Stretch {
        let places = values.filter(|value| value.is_finite()).map(|value| self.scale.place(value));
        let (least, most) = places.fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at), most.max(at)));
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        match self.scale {
            Scale::Linear => {
                let step = step(most.max(f64::MIN_POSITIVE) / 5.0);
                let count = (most * 1.02 / step).ceil().max(1.0) as usize;
                Stretch {
                    range: 0.0..step * count as f64,
                    ticks: (0..=count).map(|index| step * index as f64).collect(),
                }
            }
            Scale::Log => {
                let (from, to) = (steps_of_ten(least, f64::floor), steps_of_ten(most + 1e-9, f64::ceil));
                let to = if to > from { to } else { from + 1.0 };
                Stretch { range: from..to, ticks: ticks_of_ten(from, to) }
            }
            Scale::Percentile => {
                let most = most.max(2.0);
                let mut ticks = vec![Scale::Percentile.place(0.5)];
                ticks.extend((1..=5).map(f64::from).filter(|nines| *nines <= most + 1e-9));
                Stretch { range: 0.0..most, ticks }
            }
        }
    }

    /// The value in the middle of the drawn stretch of these values.
    pub(super) fn middle(&self, values: impl Iterator<Item = f64>) -> f64 {
        let range = self.span(values).range;
        self.scale.value(f64::midpoint(range.start, range.end))
    }

    /// What is written at a place.
    pub(super) fn label(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear | Scale::Log => short(self.scale.value(place)),
            Scale::Percentile => {
                let share = format!("{:.4}", self.scale.value(place) * 100.0);
                format!("{}%", share.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

/// A stretch of places with its lines. `plotters` has one (`WithKeyPoints`), but refuses to write labels for it.
pub(super) struct Stretch {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Stretch {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, pixels: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(place, pixels)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// The ends of a logarithmic axis stand at 1, 2 or 5 times a power of ten.
const NICE: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

fn steps_of_ten(place: f64, round: fn(f64) -> f64) -> f64 {
    let whole = place.floor();
    let inside = 10_f64.powf(place - whole);
    let down = round(0.5) == 0.0;
    let nice = match down {
        true => NICE.iter().rev().find(|nice| **nice <= inside + 1e-9),
        false => NICE.iter().find(|nice| **nice >= inside - 1e-9),
    };
    whole + nice.copied().unwrap_or(1.0).log10()
}

/// At 1, 2 and 5 times each power of ten, or at the powers alone where these are many.
fn ticks_of_ten(from: f64, to: f64) -> Vec<f64> {
    let factors = if to - from > 2.5 { &NICE[..1] } else { &NICE[..3] };
    let powers = (from.floor() as i32)..=(to.ceil() as i32);
    let all = powers.flat_map(|power| factors.iter().map(move |factor| f64::from(power) + factor.log10()));
    all.filter(|at| *at >= from - 1e-9 && *at <= to + 1e-9).collect()
}

/// The next of 1, 2, 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powi(least.log10().floor() as i32);
    let nice = NICE.iter().find(|nice| **nice * power >= least * (1.0 - 1e-9));
    nice.copied().unwrap_or(10.0) * power
}

/// Three digits and a suffix: `1.5k`, `250k`, `2M`, `0.83`; `-` for what is no number.
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let (scaled, suffix) = match value.abs() {
        size if size >= 999_500_000.0 => (value / 1e9, "G"),
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (f64::NAN, "-"),
            (0.834, "0.83"),
            (1500.0, "1.5k"),
            (249_900.0, "250k"),
            (2e6, "2M"),
            (999.9, "1k"),
            (47.26, "47.3"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_holds_the_largest_value() {
        let Stretch { range, ticks } = Axis::new("x", Scale::Linear).span([130.0, 870.0].into_iter());
        assert_eq!(range, 0.0..1000.0);
        assert_eq!(ticks, [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
    }

    #[test]
    fn a_logarithmic_axis_ends_at_round_values() {
        let axis = Axis::new("x", Scale::Log);
        let Stretch { range, ticks } = axis.span([3.0, 42.0].into_iter());
        let labels: Vec<String> = ticks.iter().map(|at| axis.label(*at)).collect();
        assert_eq!(labels, ["2", "5", "10", "20", "50"]);
        assert_eq!((axis.label(range.start), axis.label(range.end)), ("2".to_owned(), "50".to_owned()));
    }

    #[test]
    fn percentiles_lie_evenly_by_their_nines() {
        let axis = Axis::new("x", Scale::Percentile);
        let Stretch { ticks, .. } = axis.span([0.0, 0.999].into_iter());
        let labels: Vec<String> = ticks.iter().map(|at| axis.label(*at)).collect();
        assert_eq!(labels, ["50%", "90%", "99%", "99.9%"]);
    }
}
