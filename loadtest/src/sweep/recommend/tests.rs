use super::super::Compression;
use super::*;

fn one(setting: Setting, events_per_second: f64, p99: f64) -> Summary {
    Summary {
        setting,
        rounds: 2,
        events_per_second,
        at_least: false,
        p50: p99 / 3.0,
        p99,
        cpu_per_event: Some(1.0),
        errors: 0.0,
        batch_bytes: None,
        lateness: 0.1,
        invalid: 0,
        spread: (0.02, 0.03),
        curve: Vec::new(),
    }
}

const FAST: Setting = Setting::new(0, 1_000_000, Compression::None);
const WIDE: Setting = Setting::new(50, 1_000_000, Compression::Lz4);
const MIDDLE: Setting = Setting::new(1, 262_144, Compression::Lz4);

#[test]
fn where_the_defaults_are_best_they_are_kept() {
    let advice = advise(&[one(Setting::DEFAULT, 100e3, 8.0), one(FAST, 60e3, 9.0), one(WIDE, 90e3, 60.0)]).unwrap();
    assert!(advice.latency.keep_defaults && advice.throughput.keep_defaults && advice.knee.keep_defaults, "{advice:?}");
    assert!(advice.lines()[0].starts_with("Keep the defaults"));
}

#[test]
fn within_five_percent_there_is_no_difference() {
    let advice = advise(&[one(Setting::DEFAULT, 100e3, 8.0), one(FAST, 104e3, 7.7)]).unwrap();
    assert_eq!((advice.latency.best, advice.latency.set), (FAST, Setting::DEFAULT));
    assert!(advice.throughput.keep_defaults && advice.knee.keep_defaults);
}

#[test]
fn what_rounds_of_one_setting_differ_by_is_no_difference_either() {
    let mut noisy = [one(Setting::DEFAULT, 100e3, 8.0), one(FAST, 115e3, 6.5)];
    assert!(!advise(&noisy).unwrap().throughput.keep_defaults);
    noisy.iter_mut().for_each(|one| one.spread = (0.3, 0.4));
    let advice = advise(&noisy).unwrap();
    assert!(advice.throughput.keep_defaults && advice.latency.keep_defaults, "{advice:?}");
}

#[test]
fn the_knee_is_the_most_throughput_near_the_lowest_p99() {
    let all =
        [one(Setting::DEFAULT, 100e3, 20.0), one(FAST, 80e3, 4.0), one(MIDDLE, 150e3, 5.9), one(WIDE, 300e3, 60.0)];
    let advice = advise(&all).unwrap();
    assert_eq!(advice.latency.set, FAST);
    assert_eq!(advice.throughput.set, WIDE);
    assert_eq!(advice.knee.set, MIDDLE);
    assert_eq!(advice.knee.gain, 1.5);
    assert_eq!(advice.lines().len(), 3);
}

#[test]
fn a_knee_is_taken_over_a_default_with_as_much_throughput_but_too_high_a_p99() {
    let advice = advise(&[one(Setting::DEFAULT, 152e3, 20.0), one(FAST, 80e3, 4.0), one(MIDDLE, 150e3, 5.9)]).unwrap();
    assert_eq!(advice.knee.set, MIDDLE);
}

#[test]
fn settings_that_refuse_or_were_not_measured_soundly_are_not_advised() {
    let refusing = Summary { errors: 3.0, ..one(FAST, 900e3, 0.1) };
    let doubtful = Summary { lateness: 0.05, ..one(WIDE, 900e3, 0.1) };
    let silent = Summary { errors: 100.0, p99: f64::NAN, ..one(MIDDLE, 1e3, 0.0) };
    let advice = advise(&[one(Setting::DEFAULT, 100e3, 8.0), refusing.clone(), doubtful, silent]).unwrap();
    assert!(advice.latency.keep_defaults && advice.throughput.keep_defaults);
    assert!(advise(&[refusing]).is_none());
    assert!(advise(&[one(FAST, 1e3, 1.0)]).is_none(), "nothing is better than what was not measured");
}

#[test]
fn a_p99_that_is_better_by_less_than_the_tool_was_late_is_not_told() {
    let late = |one: Summary| Summary { lateness: 0.8, ..one };
    let advice = advise(&[late(one(Setting::DEFAULT, 100e3, 6.0)), late(one(FAST, 100e3, 5.4))]).unwrap();
    assert!(advice.latency.keep_defaults, "{advice:?}");
    let advice = advise(&[late(one(Setting::DEFAULT, 100e3, 6.0)), late(one(FAST, 100e3, 4.4))]).unwrap();
    assert!(!advice.latency.keep_defaults, "{advice:?}");
}

#[test]
fn a_default_that_refuses_is_not_kept() {
    let refusing = Summary { errors: 3.0, ..one(Setting::DEFAULT, 100e3, 8.0) };
    let advice = advise(&[refusing, one(FAST, 99e3, 8.1)]).unwrap();
    assert_eq!(advice.throughput.set, FAST);
}

#[test]
fn rounds_are_folded_into_medians_and_their_spread() {
    let round = |events_per_second, p99| Measured {
        setting: FAST,
        events_per_second,
        cpu_at_most: None,
        at_least: false,
        fixed: Some(Fixed { p99, ..Fixed::default() }),
    };
    let cut = Measured { fixed: None, ..round(1.0, 1.0) };
    let all = summaries(&[round(90e3, 4.0), round(110e3, 6.0), cut]);
    assert_eq!((all.len(), all[0].rounds, all[0].events_per_second, all[0].p99), (1, 2, 100e3, 5.0));
    assert!((all[0].spread.0 - 0.2).abs() < 1e-9 && (all[0].spread.1 - 0.4).abs() < 1e-9);
}
