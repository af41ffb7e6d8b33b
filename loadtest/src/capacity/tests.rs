use super::*;
use crate::load;

const LIMITS: Limits = Limits { p99: 50.0, errors: 0.1 };

/// A target that answers in 5 ms up to `knee` requests per second and falls behind above it.
fn knee(knee: f64) -> impl Fn(f64) -> Seen {
    move |rate| {
        let p99 = if rate <= knee { 5.0 } else { 900.0 };
        Seen { events_per_second: rate.min(knee), p50: 2.0, p99, lateness: 0.1, ..Seen::default() }
    }
}

#[test]
fn the_last_good_rate_is_within_a_tenth_of_the_knee_from_wherever_the_search_begins() {
    for start in [3.0, 300.0, 9_000.0, 40_000.0] {
        let target = knee(10_000.0);
        let found = search(start, &LIMITS, |rate| Ok(target(rate))).unwrap();
        let rate = found.rate.unwrap();
        assert!((9_000.0..=10_000.0).contains(&rate), "{rate} from {start}");
        assert!(!found.at_least && !found.quota, "{found:?}");
        assert!((found.events_per_second.unwrap() - rate).abs() < 1e-6);
    }
}

#[test]
fn one_hiccup_is_no_limit() {
    let (target, mut calls) = (knee(10_000.0), 0);
    let found = search(1_000.0, &LIMITS, |rate| {
        calls += 1;
        Ok(if calls == 2 { Seen { p99: 700.0, ..target(rate) } } else { target(rate) })
    })
    .unwrap();
    assert!(found.rate.unwrap() >= 9_000.0, "{found:?}");
}

#[test]
fn errors_limit_as_p99_does() {
    let found = search(100.0, &LIMITS, |rate| {
        let errors = if rate > 1_000.0 { 0.2 } else { 0.05 };
        Ok(Seen { events_per_second: rate, p99: 1.0, errors, ..Seen::default() })
    })
    .unwrap();
    assert!((900.0..=1_000.0).contains(&found.rate.unwrap()), "{found:?}");
    assert!(found.steps.iter().any(|step| step.verdict == Verdict::Failing));
}

#[test]
fn where_the_tool_is_the_limit_the_capacity_is_at_least() {
    let found = search(1_000.0, &LIMITS, |rate| {
        let late = rate > 20_000.0;
        let invalid = if late { vec!["late".to_owned()] } else { Vec::new() };
        Ok(Seen {
            events_per_second: rate,
            p99: if late { 300.0 } else { 3.0 },
            saturated: late,
            invalid,
            ..Seen::default()
        })
    })
    .unwrap();
    assert!(found.at_least && found.rate.unwrap() >= 18_000.0, "{found:?}");
    assert!(found.sentence(&LIMITS).contains("at least"));
}

#[test]
fn a_slow_target_is_not_excused_by_a_little_lateness_of_the_tool() {
    let seen = Seen { p99: 400.0, lateness: 3.0, invalid: vec!["late".to_owned()], ..Seen::default() };
    assert_eq!(LIMITS.judge(&seen), Verdict::Slow);
    assert_eq!(LIMITS.judge(&Seen { lateness: 200.0, ..seen }), Verdict::Tool);
}

#[test]
fn a_rate_under_the_limits_is_good_even_if_the_tool_was_late() {
    let seen = Seen { p99: 30.0, lateness: 20.0, invalid: vec!["late".to_owned()], ..Seen::default() };
    assert_eq!(LIMITS.judge(&seen), Verdict::Good);
}

#[test]
fn a_quota_ends_the_search_and_heads_the_report() {
    let found = search(1_000.0, &LIMITS, |rate| {
        Ok(Seen { events_per_second: rate, p99: 1.0, quota: rate > 3_000.0, ..Seen::default() })
    })
    .unwrap();
    assert!(found.quota && found.steps.len() == 3, "{found:?}");
    assert!(found.sentence(&LIMITS).starts_with("You measured the quota"));
}

#[test]
fn a_target_that_is_never_good_has_no_capacity() {
    let found = search(1_000.0, &LIMITS, |_| Ok(Seen { p99: 80.0, ..Seen::default() })).unwrap();
    assert_eq!((found.rate, found.at_least), (None, false));
    assert!(found.sentence(&LIMITS).starts_with("No rate was good"));
}

#[test]
fn what_was_tried_before_it_was_stopped_is_reported() {
    let mut calls = 0;
    let found = search(1_000.0, &LIMITS, |rate| {
        calls += 1;
        Ok(Seen { events_per_second: rate, p99: 1.0, stopped: calls == 3, ..Seen::default() })
    })
    .unwrap();
    assert_eq!((found.rate, found.stopped, found.steps.len()), (Some(2_000.0), true, 2));
    let page = found.page(&LIMITS, &[]).unwrap().render();
    assert!(page.contains("at least") && page.contains("Ended by hand"));
}

#[test]
fn what_just_fell_due_at_the_end_is_no_error_unless_it_had_waited() {
    let mut run = load::sample();
    run.accepted.requests = 997;
    run.errors.entry("cut".to_owned()).or_default().requests = 1;
    let missed = run.errors.entry("missed".to_owned()).or_default();
    missed.requests = 2;
    missed.latency.record(Duration::from_millis(4));
    assert!((errors(&run, PATIENCE) - 100.0 / 998.0).abs() < 1e-9);
    run.errors.entry("missed".to_owned()).or_default().latency.record(Duration::from_millis(400));
    assert!((errors(&run, PATIENCE) - 0.3).abs() < 1e-9);
    assert!((errors(&load::sample(), PATIENCE) - 100.0).abs() < 1e-9, "of nothing nothing was accepted");
}
