//! What repeated runs allow to say: medians, ratios of paired rounds, and whether a difference can be told at all.
//!
//! Rounds on a shared machine are noisy and drift together: only ratios *within* a round are compared, by their median,
//! with a percentile bootstrap interval around it (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

use serde::Serialize;

/// Differences below this share are never called one, however narrow the interval.
pub const RESOLUTION: f64 = 0.05;

/// Resamples of a bootstrap. More would not move its ends by a thousandth at the few rounds there are.
const RESAMPLES: usize = 4000;

/// The median; `None` for no values. Values that are no numbers are left out.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    middle(&sorted)
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if !sorted.len().is_multiple_of(2) {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// A median and the 95 % interval in which resampled medians fall.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The median of the values.
    pub median: f64,
    /// 2.5th percentile of the resampled medians.
    pub low: f64,
    /// 97.5th percentile of them.
    pub high: f64,
}

impl Estimate {
    /// Of `values`; `None` for none. The same seed gives the same interval.
    pub fn of(values: &[f64], seed: u64) -> Option<Self> {
        let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let median = median(&values)?;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut medians = Vec::with_capacity(RESAMPLES);
        let mut sample = vec![0.0; values.len()];
        for _ in 0..RESAMPLES {
            for slot in &mut sample {
                *slot = random.choice(&values).copied()?;
            }
            sample.sort_unstable_by(f64::total_cmp);
            medians.push(middle(&sample)?);
        }
        medians.sort_unstable_by(f64::total_cmp);
        Some(Self { median, low: quantile(&medians, 0.025)?, high: quantile(&medians, 0.975)? })
    }

    /// Of the ratios `b / a` of paired rounds. Pairs without both, or where `a` is 0, are left out.
    pub fn of_ratios(a: &[f64], b: &[f64], seed: u64) -> Option<Self> {
        let ratios: Vec<f64> = a.iter().zip(b).filter(|(a, _)| **a > 0.0).map(|(a, b)| b / a).collect();
        Self::of(&ratios, seed)
    }

    /// What an estimate of ratios `b / a` says.
    pub fn verdict(&self) -> Verdict {
        let told = (self.low > 1.0 || self.high < 1.0) && (self.median - 1.0).abs() >= RESOLUTION;
        match told {
            true if self.median > 1.0 => Verdict::Higher,
            true => Verdict::Lower,
            false => Verdict::Untold,
        }
    }
}

/// Nearest rank.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * (sorted.len().checked_sub(1)?) as f64).round() as usize;
    sorted.get(rank).copied()
}

/// Whether B is above or below A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is higher by 5 % or more, and the interval excludes 1.
    Higher,
    /// B is lower by 5 % or more, and the interval excludes 1.
    Lower,
    /// No difference can be told.
    Untold,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_middle_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
        assert_eq!(median(&[5.0, f64::NAN, 1.0, 3.0]), Some(3.0));
    }

    #[test]
    fn the_interval_of_known_data_holds_its_median_and_shrinks_with_more_rounds() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut noisy = |count: usize| -> Vec<f64> { (0..count).map(|_| 2.0 + random.f64() - 0.5).collect() };
        let (few, many) = (Estimate::of(&noisy(7), 1).unwrap(), Estimate::of(&noisy(200), 1).unwrap());
        for estimate in [few, many] {
            assert!(estimate.low <= estimate.median && estimate.median <= estimate.high, "{estimate:?}");
            assert!(estimate.low < 2.0 && estimate.high > 2.0, "{estimate:?}");
        }
        assert!(many.high - many.low < (few.high - few.low) / 2.0, "{few:?} {many:?}");
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        let covered = (0..60)
            .filter(|seed| {
                let mut random = fastrand::Rng::with_seed(*seed);
                let values: Vec<f64> = (0..15).map(|_| 1.0 + random.f64() - 0.5).collect();
                let estimate = Estimate::of(&values, *seed).unwrap();
                estimate.low <= 1.0 && 1.0 <= estimate.high
            })
            .count();
        assert!((50..=60).contains(&covered), "{covered} of 60");
    }

    #[test]
    fn one_seed_gives_one_interval() {
        let values = [1.0, 1.2, 0.9, 1.4, 1.1, 1.05, 0.97];
        assert_eq!(Estimate::of(&values, 3), Estimate::of(&values, 3));
    }

    #[test]
    fn drift_common_to_both_sides_of_a_round_cancels_in_ratios() {
        let drift = [1.0, 2.0, 0.5, 3.0, 1.5, 0.8, 2.2];
        let a: Vec<f64> = drift.iter().map(|d| 100.0 * d).collect();
        let b: Vec<f64> = drift.iter().map(|d| 120.0 * d).collect();
        let ratio = Estimate::of_ratios(&a, &b, 1).unwrap();
        assert!((ratio.median - 1.2).abs() < 1e-9 && (ratio.high - ratio.low).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratio.verdict(), Verdict::Higher);
    }

    #[test]
    fn a_difference_below_five_percent_or_with_one_in_the_interval_is_not_told() {
        let told = |median, low, high| Estimate { median, low, high }.verdict();
        assert_eq!(told(1.04, 1.03, 1.05), Verdict::Untold);
        assert_eq!(told(1.30, 0.99, 1.60), Verdict::Untold);
        assert_eq!(told(1.06, 1.01, 1.10), Verdict::Higher);
        assert_eq!(told(0.90, 0.85, 0.98), Verdict::Lower);
        assert_eq!(told(0.97, 0.96, 0.98), Verdict::Untold);
    }

    #[test]
    fn pairs_without_a_base_are_left_out() {
        assert_eq!(Estimate::of_ratios(&[0.0], &[1.0], 1), None);
        assert_eq!(Estimate::of_ratios(&[0.0, 2.0], &[1.0, 4.0], 1).unwrap().median, 2.0);
    }
}
