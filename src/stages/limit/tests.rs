//! Facts about limits and quotas.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::gcra::Denied;
use super::*;
use crate::config::Quotas;
use crate::reject::{Policy, Reject};
use crate::units::{Limit, Rate, Span};

const SECOND: u64 = 1_000_000_000;
const T0: Nanos = Nanos(7 * SECOND);

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn gcra(text: &str, span: Duration) -> Gcra {
    Gcra::new(rate(text), span)
}

fn after(nanos: u64) -> Nanos {
    Nanos(T0.0 + nanos)
}

fn wait(nanos: u64) -> Result<(), Denied> {
    Err(Denied::Wait(Duration::from_nanos(nanos)))
}

fn quotas(requests: &str, events: &str, bytes: &str, burst: u64) -> Quotas {
    let limit = |text: &str| text.parse::<Limit<Rate>>().unwrap();
    Quotas { requests: limit(requests), events: limit(events), bytes: limit(bytes), burst: Span::secs(burst) }
}

#[test]
fn the_burst_comes_at_once_and_then_the_rate() {
    let limit = gcra("10/s", Duration::from_secs(2));
    assert_eq!((limit.burst(), limit.remaining(T0)), (20, 20));
    assert_eq!(limit.try_take(20, T0), Ok(()));
    assert_eq!(limit.remaining(T0), 0);
    assert_eq!(limit.reset(T0), Duration::from_secs(2));
    assert_eq!(limit.try_take(1, T0), wait(SECOND / 10));
    assert_eq!(limit.try_take(3, after(SECOND / 5)), wait(SECOND / 10));
    assert_eq!(limit.try_take(3, after(3 * SECOND / 10)), Ok(()));
    assert_eq!(limit.remaining(after(60 * SECOND)), 20);
}

#[test]
fn the_wait_is_exact_to_the_nanosecond() {
    let limit = gcra("50MiB/s", Duration::from_secs(1));
    limit.try_take(50 << 20, T0).unwrap();
    let Err(Denied::Wait(time)) = limit.try_take(1000, T0) else { panic!("granted") };
    let time = time.as_nanos() as u64;
    assert_eq!(time, 19_074, "1000 bytes at 19.0735 ns");
    assert_eq!(limit.try_take(1000, after(time - 1)), wait(1));
    assert_eq!(limit.try_take(1000, after(time)), Ok(()));
}

#[test]
fn more_than_the_burst_is_never_granted() {
    let limit = gcra("10/s", Duration::from_secs(2));
    assert_eq!(limit.try_take(21, T0), Err(Denied::TooBig { limit: 20 }));
    assert_eq!(limit.try_take(u64::MAX, T0), Err(Denied::TooBig { limit: 20 }));
    assert_eq!(limit.remaining(T0), 20);
}

#[test]
fn a_burst_is_at_least_one_unit() {
    let limit = gcra("3/m", Duration::ZERO);
    assert_eq!(limit.burst(), 1);
    assert_eq!(limit.try_take(1, T0), Ok(()));
    assert_eq!(limit.try_take(1, T0), wait(20 * SECOND));
    let fast = Gcra::new(Rate::per_second(NonZeroU64::MAX), Duration::ZERO);
    assert_eq!((fast.burst(), fast.try_take(1, T0)), (1, Ok(())));
}

#[test]
fn nothing_costs_nothing_even_when_all_is_spent() {
    let limit = gcra("10/s", Duration::from_secs(2));
    limit.try_take(20, T0).unwrap();
    assert_eq!(limit.try_take(0, T0), Ok(()));
}

#[test]
fn absurd_rates_and_spans_do_not_overflow() {
    for units in [1, u64::MAX] {
        let limit = Gcra::new(Rate::per_second(NonZeroU64::new(units).unwrap()), Duration::MAX);
        assert_eq!(limit.try_take(limit.burst(), T0), Ok(()));
        limit.refund(u64::MAX);
        assert!(limit.remaining(T0) > 0);
    }
}

#[test]
fn threads_together_get_the_burst_and_no_more() {
    let limit = gcra("1000/s", Duration::from_secs(1));
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    granted.fetch_add(u64::from(limit.try_take(1, T0).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 1000);
}

#[test]
fn a_refund_in_small_parts_gives_back_no_more_than_was_taken() {
    let limit = gcra("50MiB/s", Duration::from_secs(1));
    limit.try_take(50 << 20, T0).unwrap();
    for _ in 0..10_000 {
        limit.refund(1);
    }
    let back = limit.remaining(T0);
    assert!((9_900..=10_000).contains(&back), "{back}, a byte is 19.07 ns and 19 ns are given back");
}

/// One step of a schedule: how long after the last one, how many units, and whether they are given back.
type Step = (u64, u64, bool);

fn schedules() -> impl Strategy<Value = (u64, u64, u64, Vec<Step>)> {
    let units = prop_oneof![1..20u64, 1..200_000_000u64, 1_000_000_000..20_000_000_000u64];
    let seconds = prop_oneof![Just(1u64), Just(60), Just(3600)];
    let span = prop_oneof![0..3u64, 0..5_000u64, 0..3 * SECOND];
    let gap = prop_oneof![Just(0u64), 0..50u64, 0..SECOND];
    let step = (gap, 0..=100u64, prop::bool::weighted(0.2));
    (units, seconds, span, prop::collection::vec(step, 1..60))
}

proptest! {
    #[test]
    fn no_window_is_granted_more_than_rate_and_burst((units, seconds, span, steps) in schedules()) {
        let text = format!("{units}/{}", match seconds { 1 => "s", 60 => "m", _ => "h" });
        let limit = gcra(&text, Duration::from_nanos(span));
        let period = u128::from(seconds * SECOND);
        let (units, burst) = (u128::from(units), u128::from(span) * u128::from(units));
        let mut now = T0.0;
        let mut charged: Vec<u64> = Vec::new();
        let mut log: Vec<(u64, i128)> = Vec::new();
        for (gap, part, back) in steps {
            now += gap;
            if back {
                if let Some(n) = charged.pop() {
                    limit.refund(n);
                    log.push((now, -i128::from(n)));
                }
            } else {
                // Of what may ever come at once, or of what is there: both sides of the edge are met often.
                let n = (limit.burst() / 100 * part).max(part % 5).max(limit.remaining(Nanos(now)) * (part % 2));
                if limit.try_take(n, Nanos(now)).is_ok() {
                    charged.push(n);
                    log.push((now, i128::from(n)));
                }
            }
        }
        // In units x period, so that nothing is rounded.
        let allowance = burst.max(period);
        for (i, (from, _)) in log.iter().enumerate() {
            let mut sum = 0;
            for (to, n) in &log[i..] {
                sum += n;
                let bound = (allowance + u128::from(to - from) * units) as i128;
                prop_assert!(sum * period as i128 <= bound, "{sum} units from {from} to {to}");
            }
        }
    }

    #[test]
    fn what_remains_can_be_taken_and_one_more_cannot(
        (units, _, span, steps) in schedules(),
    ) {
        let limit = gcra(&format!("{units}/s"), Duration::from_nanos(span));
        let mut now = T0.0;
        for (gap, n, _) in steps {
            now += gap;
            let _ = limit.try_take(n, Nanos(now));
            let rest = limit.remaining(Nanos(now));
            prop_assert!(limit.try_take(rest + 1, Nanos(now)).is_err());
            prop_assert_eq!(limit.try_take(rest, Nanos(now)), Ok(()));
            limit.refund(rest);
            prop_assert!(limit.remaining(Nanos(now)) <= rest);
        }
    }

    #[test]
    fn a_denied_taker_that_waits_is_served(
        (units, _, span, steps) in schedules(),
    ) {
        let limit = gcra(&format!("{units}/s"), Duration::from_nanos(span));
        let mut now = T0.0;
        for (gap, part, _) in steps {
            now += gap;
            let n = (limit.burst() / 100 * part).max(1);
            if let Err(Denied::Wait(time)) = limit.try_take(n, Nanos(now)) {
                now += time.as_nanos() as u64;
                prop_assert_eq!(limit.try_take(n, Nanos(now)), Ok(()));
            }
        }
    }

    #[test]
    fn a_batch_is_charged_whole_or_not_at_all(batches in prop::collection::vec((0..40u64, 0..4000u64), 1..40)) {
        let quota = Quota::new(&quotas("off", "100/s", "10000/s", 1));
        let (mut events, mut bytes) = (100, 10_000);
        for batch in batches {
            let fits = batch.0 <= events && batch.1 <= bytes;
            prop_assert_eq!(quota.batch(batch.0, batch.1, T0).is_ok(), fits);
            if fits {
                (events, bytes) = (events - batch.0, bytes - batch.1);
            }
            let rest: Vec<_> = quota.standing(T0).map(|s| s.remaining).collect();
            prop_assert_eq!(rest, [events, bytes]);
        }
    }
}

#[test]
fn batches_from_many_threads_are_charged_whole_or_not_at_all() {
    let quota = Quota::new(&quotas("off", "1000/s", "1000000/s", 1));
    let (events, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (quota, events, bytes) = (&quota, &events, &bytes);
            scope.spawn(move || {
                for i in 0..2000u64 {
                    // Some run out of events first, some of bytes.
                    let asked = if (i + thread) % 2 == 0 { (3, 10) } else { (1, 2500) };
                    if let Ok(mut charge) = quota.batch(asked.0, asked.1, T0) {
                        if i % 5 == 0 {
                            quota.refund(charge.split(1, 5));
                        }
                        events.fetch_add(charge.events(), Ordering::Relaxed);
                        bytes.fetch_add(charge.bytes(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (events, bytes) = (events.into_inner(), bytes.into_inner());
    let rest: Vec<_> = quota.standing(T0).map(|s| s.remaining).collect();
    assert_eq!(rest, [1000 - events, 1_000_000 - bytes]);
    assert!(events > 900 || bytes > 900_000, "{events} events, {bytes} bytes");
}

#[test]
fn a_refused_batch_names_every_spent_limit_and_the_longest_wait() {
    let quota = Quota::new(&quotas("off", "10/s", "1000/s", 1));
    let _kept = quota.batch(10, 1000, T0).unwrap();
    let refusal = quota.batch(1, 300, T0).unwrap_err();
    let violated = vec![Policy::Events, Policy::Bytes];
    assert_eq!(refusal, Reject::RateLimited { violated, retry_after: Duration::from_millis(300) });
    let refusal = quota.batch(0, 1, T0).unwrap_err();
    let violated = vec![Policy::Bytes];
    assert_eq!(refusal, Reject::RateLimited { violated, retry_after: Duration::from_millis(1) });
}

#[test]
fn a_batch_over_the_burst_is_refused_for_good_even_when_the_other_limit_is_spent() {
    let quota = Quota::new(&quotas("off", "10/s", "1000/s", 2));
    let _kept = quota.batch(20, 0, T0).unwrap();
    let refusal = quota.batch(1, 2001, T0).unwrap_err();
    assert_eq!(refusal, Reject::BatchOverBurst { policy: Policy::Bytes, limit: 2000, got: 2001 });
    let refusal = quota.batch(21, 0, T0).unwrap_err();
    assert_eq!(refusal, Reject::BatchOverBurst { policy: Policy::Events, limit: 20, got: 21 });
}

#[test]
fn a_charge_is_given_back_whole_or_in_parts_and_never_more() {
    let quota = Quota::new(&quotas("off", "100/s", "1000/s", 1));
    let mut charge = quota.batch(100, 1000, T0).unwrap();
    let part = charge.split(40, u64::MAX);
    assert_eq!((part.events(), part.bytes(), charge.events(), charge.bytes()), (40, 1000, 60, 0));
    quota.refund(part);
    let rest = |quota: &Quota| quota.standing(T0).map(|s| s.remaining).collect::<Vec<_>>();
    assert_eq!(rest(&quota), [40, 1000]);
    quota.refund(charge);
    assert_eq!(rest(&quota), [100, 1000]);
}

#[test]
fn requests_are_limited_by_themselves() {
    let quota = Quota::new(&quotas("2/s", "off", "off", 1));
    assert_eq!((quota.request(T0), quota.request(T0)), (Ok(()), Ok(())));
    let violated = vec![Policy::Requests];
    let refusal = Reject::RateLimited { violated, retry_after: Duration::from_millis(500) };
    assert_eq!(quota.request(T0), Err(refusal));
    assert!(quota.batch(u64::MAX, u64::MAX, T0).is_ok());
}

#[test]
fn what_is_off_refuses_nothing_and_is_not_shown() {
    let quota = Quota::new(&quotas("off", "off", "off", 0));
    for _ in 0..1000 {
        quota.request(T0).unwrap();
        quota.refund(quota.batch(u64::MAX, u64::MAX, T0).unwrap());
    }
    assert_eq!(quota.standing(T0).count(), 0);
    assert_eq!(ratelimit::fields(&quota, T0), None);
}

#[test]
fn the_fields_say_what_the_draft_says() {
    let quota = Quota::new(&Quotas::default());
    quota.request(T0).unwrap();
    let _kept = quota.batch(75_000, 8192, T0).unwrap();
    let (policy, limit) = ratelimit::fields(&quota, T0).unwrap();
    assert_eq!(
        policy,
        "\"requests\";q=2000;w=2, \"events\";q=100000;w=2;klamm-unit=\"events\", \
         \"bytes\";q=104857600;w=2;qu=\"content-bytes\""
    );
    assert_eq!(limit, "\"requests\";r=1999;t=1, \"events\";r=25000;t=2, \"bytes\";r=104849408;t=1");
    let (_, later) = ratelimit::fields(&quota, after(2 * SECOND)).unwrap();
    assert_eq!(later, "\"requests\";r=2000;t=0, \"events\";r=100000;t=0, \"bytes\";r=104857600;t=0");
}

#[test]
fn the_fields_show_only_limits_that_are_on_and_keep_to_the_integers_of_their_syntax() {
    let quota = Quota::new(&quotas("off", "1/h", "99999999GB/s", 1));
    let (policy, limit) = ratelimit::fields(&quota, T0).unwrap();
    assert_eq!(
        policy,
        "\"events\";q=1;w=3600;klamm-unit=\"events\", \"bytes\";q=999999999999999;w=1;qu=\"content-bytes\""
    );
    assert_eq!(limit, "\"events\";r=1;t=0, \"bytes\";r=999999999999999;t=0");
}

#[test]
fn a_quota_knows_whether_the_config_changed() {
    let quota = Quota::new(&quotas("1/s", "2/s", "off", 1));
    assert!(quota.same_as(&quotas("1/s", "2/s", "off", 1)));
    assert!(!quota.same_as(&quotas("1/s", "2/s", "off", 2)));
    assert!(!quota.same_as(&quotas("1/s", "2/s", "3/s", 1)));
}

#[test]
fn a_clock_counts_from_its_origin() {
    let origin = Instant::now();
    let clock = Clock::starting_at(origin);
    assert_eq!(clock.at(origin + Duration::from_micros(3)), Nanos(3000));
    assert_eq!(clock.at(origin - Duration::from_micros(3)), Nanos(0));
}
