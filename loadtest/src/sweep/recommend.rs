//! From figures to advice: what to set, or to leave the defaults alone.
//!
//! A setting is called better than the default only where it is so by more than 5 %, and by more than rounds of one
//! setting differ among themselves, and in p99 by more than the tool itself was late. Settings that did not keep the
//! common rate, or whose p99 is the tool's lateness for a quarter or more, are not advised.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Fixed, Measured, Setting};
use crate::statistics::{RESOLUTION, median};

/// How much higher than the lowest p99 the knee's may be.
const KNEE: f64 = 1.5;
/// Percent of requests not accepted with which a setting is still advised.
const ERRORS: f64 = 0.1;

/// A setting with the medians of its rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What was set.
    pub setting: Setting,
    /// Rounds.
    pub rounds: usize,
    /// The most it did, events per second.
    pub events_per_second: f64,
    /// The tool was the limit in some round.
    pub at_least: bool,
    /// At the common rate, milliseconds.
    pub p50: f64,
    /// At the common rate, milliseconds.
    pub p99: f64,
    /// At the common rate, CPU-microseconds per event.
    pub cpu_per_event: Option<f64>,
    /// The worst round's, in percent.
    pub errors: f64,
    /// Mean bytes of a batch to Kafka, as sent.
    pub batch_bytes: Option<f64>,
    /// 99th percentile of the tool's own lateness in the median round, milliseconds.
    pub lateness: f64,
    /// Rounds that the tool marks invalid.
    pub invalid: usize,
    /// How far apart its rounds lie: (largest - smallest) / median, of the most it did and of p99.
    pub spread: (f64, f64),
    /// Latency by percentile of its first round.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// What to set.
#[derive(Debug, Clone, Serialize)]
pub struct Advice {
    /// For the lowest p99.
    pub latency: Choice,
    /// For the highest throughput.
    pub throughput: Choice,
    /// The highest throughput with p99 at most 1.5 times the lowest.
    pub knee: Choice,
    /// Shares below which nothing is called a difference: of throughput, of p99.
    pub resolution: (f64, f64),
}

/// One piece of advice.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// The best by the figures.
    pub best: Setting,
    /// What to set: the default where the best is not told from it.
    pub set: Setting,
    /// The default does as well, as far as can be told.
    pub keep_defaults: bool,
    /// How much better the best is than the default in its own measure: 1.2 = by 20 %.
    pub gain: f64,
}

/// The medians of each setting's rounds, in the settings' order.
pub fn summaries(measured: &[Measured]) -> Vec<Summary> {
    let mut by_setting: BTreeMap<Setting, Vec<(&Measured, &Fixed)>> = BTreeMap::new();
    for one in measured {
        if let Some(fixed) = &one.fixed {
            by_setting.entry(one.setting).or_default().push((one, fixed));
        }
    }
    by_setting.into_iter().filter_map(|(setting, rounds)| summary(setting, &rounds)).collect()
}

fn summary(setting: Setting, rounds: &[(&Measured, &Fixed)]) -> Option<Summary> {
    let of = |figure: &dyn Fn(&Measured, &Fixed) -> Option<f64>| -> Vec<f64> {
        rounds.iter().filter_map(|(measured, fixed)| figure(measured, fixed)).collect()
    };
    let most = of(&|measured, _| Some(measured.events_per_second));
    let p99 = of(&|_, fixed| Some(fixed.p99));
    Some(Summary {
        setting,
        rounds: rounds.len(),
        events_per_second: median(&most)?,
        at_least: rounds.iter().any(|(measured, _)| measured.at_least),
        p50: median(&of(&|_, fixed| Some(fixed.p50))).unwrap_or(f64::NAN),
        p99: median(&p99).unwrap_or(f64::NAN),
        cpu_per_event: median(&of(&|_, fixed| fixed.cpu_per_event)),
        errors: rounds.iter().map(|(_, fixed)| fixed.errors).fold(0.0, f64::max),
        batch_bytes: median(&of(&|_, fixed| fixed.batch_bytes)),
        lateness: median(&of(&|_, fixed| Some(fixed.lateness)))?,
        invalid: rounds.iter().filter(|(_, fixed)| !fixed.invalid.is_empty()).count(),
        spread: (spread(&most), spread(&p99)),
        curve: rounds.first().map(|(_, fixed)| fixed.curve.clone()).unwrap_or_default(),
    })
}

fn spread(values: &[f64]) -> f64 {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
    median(values).filter(|middle| *middle > 0.0).map_or(0.0, |middle| (most - least) / middle)
}

impl Summary {
    /// It kept the common rate.
    pub fn keeps_the_rate(&self) -> bool {
        self.errors <= ERRORS && self.p99.is_finite()
    }

    /// Its p99 is the tool's own lateness for a quarter or more.
    pub fn is_blurred(&self) -> bool {
        self.lateness * 4.0 > self.p99
    }

    fn is_sound(&self) -> bool {
        self.keeps_the_rate() && !self.is_blurred()
    }
}

/// None if the default was not measured, or nothing was measured soundly.
pub fn advise(summaries: &[Summary]) -> Option<Advice> {
    let sound: Vec<&Summary> = summaries.iter().filter(|one| one.is_sound()).collect();
    let default = summaries.iter().find(|one| one.setting == Setting::DEFAULT)?;
    // Half of the settings differ by more than this between their own rounds.
    let noise = |of: fn(&Summary) -> f64| median(&summaries.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0);
    let resolution = (noise(|one| one.spread.0).max(RESOLUTION), noise(|one| one.spread.1).max(RESOLUTION));

    let latency = *sound.iter().min_by(|a, b| a.p99.total_cmp(&b.p99))?;
    let throughput = *sound.iter().max_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second))?;
    let near = |one: &&&Summary| one.p99 <= latency.p99 * KNEE;
    let knee = *sound.iter().filter(near).max_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second))?;
    // A default that is not sound itself is never kept.
    let sound_default = Some(default).filter(|default| default.is_sound());
    let choice = |best: &Summary, gain: &dyn Fn(&Summary) -> f64, resolution: f64, told: bool, fits: bool| {
        let better = sound_default.is_none_or(|default| (told && gain(default) > 1.0 + resolution) || !fits);
        let set = if better { best.setting } else { Setting::DEFAULT };
        Choice { best: best.setting, set, keep_defaults: set == Setting::DEFAULT, gain: gain(default) }
    };
    let faster = |best: &Summary| {
        let rate = best.events_per_second;
        move |default: &Summary| rate / default.events_per_second
    };
    let default_is_near = sound_default.is_none_or(|default| default.p99 <= latency.p99 * KNEE * (1.0 + resolution.1));
    // What the tool itself was late by is in both.
    let told = default.p99 - latency.p99 > default.lateness.max(latency.lateness);
    Some(Advice {
        latency: choice(latency, &|default| default.p99 / latency.p99, resolution.1, told, true),
        throughput: choice(throughput, &faster(throughput), resolution.0, true, true),
        knee: choice(knee, &faster(knee), resolution.0, true, default_is_near),
        resolution,
    })
}

impl Advice {
    /// In words, a line for each piece.
    pub fn lines(&self) -> Vec<String> {
        if self.latency.keep_defaults && self.throughput.keep_defaults && self.knee.keep_defaults {
            return vec![format!(
                "Keep the defaults: no setting is told from them (differences under {:.0} % in throughput and {:.0} % in \
                 p99 are none here).",
                self.resolution.0 * 100.0,
                self.resolution.1 * 100.0
            )];
        }
        let line = |name: &str, choice: &Choice, measure: &str| {
            let Choice { set, gain, .. } = choice;
            if choice.keep_defaults {
                format!("{name}: keep the defaults ({set}), no difference to the best can be told.")
            } else if gain.is_finite() {
                format!("{name}: {set}, {measure} {gain:.2} times as good as the default's.")
            } else {
                format!("{name}: {set}; the default does not keep the common rate.")
            }
        };
        vec![
            line("Lowest p99", &self.latency, "p99"),
            line("Highest throughput", &self.throughput, "throughput"),
            line("Knee (highest throughput with p99 within 1.5 times the lowest)", &self.knee, "throughput"),
        ]
    }
}

#[cfg(test)]
mod tests;
