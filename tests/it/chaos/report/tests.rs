//! A run that went well, made by hand, and the same with one thing amiss.

use super::super::audit::Findings;
use super::super::ledger::Order;
use super::super::rig::TOPICS;
use super::super::schedule::{Fault, Kind};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    let (quiet, until, calm) = (10 * SECOND, 40 * SECOND, 20 * SECOND);
    Plan { seed: 1, brokers: 3, kinds: vec![Kind::Cut, Kind::AllDown], quiet, until, calm, rate: 300, floor: 200.0 }
}

/// 60 s with ten requests of ten events a second and topic; a cut from 10 s to 15 s, all brokers away from 20 s to 30 s.
fn evidence() -> Evidence {
    let mut book = Book::default();
    for tenth in 0..600_u32 {
        let sent = Duration::from_millis(100) * tenth;
        for topic in 0..TOPICS.len() {
            let is_away = (20 * SECOND..30 * SECOND).contains(&sent);
            let status = if is_away { 503 } else { 200 };
            let order = Order { client: 0, topic, stream: None, events: 10 };
            let slow = if (10 * SECOND..15 * SECOND).contains(&sent) { 40 } else { 10 };
            let answered = Some(sent + Duration::from_millis(slow));
            book.entries.push(Entry { order, sent, answered, status, failed: Vec::new() });
        }
    }
    let fault = |kind, at: u32, hold: u32| Done {
        fault: Fault { kind, at: at * SECOND, hold: hold * SECOND, slot: 10 * SECOND, broker: 1 },
        from: at * SECOND,
        healed: (at + hold) * SECOND,
        to: (at + 10) * SECOND,
    };
    let look = |at: u32| Look {
        at: at * SECOND,
        resident: 50 << 20,
        brokers_up: 3.0,
        round_trip: 0.002,
        spooled: 0.0,
        complaints: 0,
        errors: 0.0,
    };
    Evidence {
        book,
        done: vec![fault(Kind::Cut, 10, 5), fault(Kind::AllDown, 20, 10)],
        looks: (0..60).map(look).collect(),
        findings: Findings::default(),
        lives: Vec::new(),
        life_count: 1,
        quiet: (2 * SECOND, 9 * SECOND),
        end: 60 * SECOND,
        reading: SECOND,
    }
}

fn failed(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = evidence();
    change(&mut evidence);
    Report::of(&plan(), &evidence).failed
}

fn between(evidence: &mut Evidence, from: u32, to: u32) -> impl Iterator<Item = &mut Entry> {
    let (from, to) = (from * SECOND, to * SECOND);
    evidence.book.entries.iter_mut().filter(move |entry| entry.sent >= from && entry.sent < to)
}

#[test]
fn a_run_that_kept_every_promise_passes_and_its_figures_are_right() {
    let (plan, evidence) = (plan(), evidence());
    let report = Report::of(&plan, &evidence);
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!((report.answers[&200], report.answers[&503]), (1500, 300));
    assert!((report.acked_per_second - 300.0).abs() < 5.0, "the outage is left out: {}", report.acked_per_second);
    assert!((report.load_ran - 1.0).abs() < 0.01, "{}", report.load_ran);
    assert!(report.accepts_again_s < 0.2, "{}", report.accepts_again_s);
    assert!((report.faults[1].unhappy, report.faults[0].unhappy) == (300, 0));
    assert!(report.to_string().contains("every promise was kept"));
}

#[test]
fn whatever_went_wrong_fails_the_run() {
    let one = |failed: Vec<String>, word: &str| {
        assert!(failed.len() == 1 && failed[0].contains(word), "{word}: {failed:?}");
    };
    one(failed(|run| between(run, 10, 15).for_each(|entry| entry.answered = Some(entry.sent))), "cut");
    one(failed(|run| run.findings.lost.add(|| "1-1".to_owned())), "lost");
    one(failed(|run| run.lives.push("a panic".to_owned())), "a panic");
    one(failed(|run| run.looks[7].resident = MEMORY_BAR + 1), "resident");
    one(failed(|run| run.looks.iter_mut().for_each(|look| look.spooled = 1e6)), "drained");
    one(failed(|run| between(run, 30, 36).for_each(|entry| entry.status = 503)), "nothing was accepted");
    one(failed(|run| between(run, 55, 56).take(1).for_each(|entry| entry.status = 504)), "second half of the calm");
    one(failed(|run| between(run, 5, 6).for_each(|entry| entry.status = 504)), "quiet time");
    let flooded = |run: &mut Evidence| run.done[0].fault.kind = Kind::Flood;
    assert_eq!(failed(flooded), Vec::<String>::new());
    let harmed = failed(|run| {
        flooded(run);
        between(run, 12, 13).take(1).for_each(|entry| entry.status = 503);
    });
    one(harmed, "flooded");
    let idle = failed(|run| run.book.entries.retain(|entry| entry.sent < 32 * SECOND || entry.sent > 51 * SECOND));
    assert!(idle.iter().any(|fault| fault.contains("the load ran")), "{idle:?}");
    assert!(idle.iter().any(|fault| fault.contains("events/s acknowledged")), "{idle:?}");
}
