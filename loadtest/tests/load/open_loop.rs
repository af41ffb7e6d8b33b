//! The schedule waits for nobody, and what waited is seen.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use klamm_load::load::{self, Arrivals, Options, Stop};

use crate::target::{self, ok};
use crate::{all, errors, options};

const STALL: Duration = Duration::from_millis(300);

/// All connections wait while the 50th request stalls.
fn stalling() -> String {
    let turn = Mutex::new(());
    target::start(move |request| {
        let _turn = turn.lock().unwrap();
        if request.number == 50 {
            thread::sleep(STALL);
        }
        ok()
    })
}

#[test]
fn a_stall_counts_for_every_request_that_fell_due_in_it() {
    let open = Options {
        rate: Some(200.0),
        arrivals: Arrivals::Constant,
        duration: Duration::from_secs(1),
        ..options(&stalling())
    };
    let run = load::run(&open, &Stop::default()).unwrap();
    assert_eq!(run.schedule.due, 200);
    assert_eq!(run.accepted.requests, 200, "{:?}", run.errors.keys());
    // 60 of 200 fell due in the stall; one that fell due in its middle waited for half of it.
    assert!(run.accepted.latency.at(0.99) >= STALL * 8 / 10, "{:?}", run.accepted.latency.at(0.99));
    assert!(run.accepted.latency.at(0.85) >= STALL * 4 / 10, "{:?}", run.accepted.latency.at(0.85));

    // The same in a closed loop: four requests saw it, the rest never knew. That is why it is no measure of latency.
    let closed = Options { requests: Some(1000), ..options(&stalling()) };
    let run = load::run(&closed, &Stop::default()).unwrap();
    assert_eq!(run.accepted.requests, 1000);
    assert!(run.accepted.latency.at(0.85) < STALL * 4 / 10);
    assert!(run.accepted.latency.max() >= STALL * 8 / 10);
}

#[test]
fn waiting_for_the_target_is_latency_but_not_the_tools_lateness() {
    let url = target::start(|_| {
        thread::sleep(Duration::from_millis(50));
        ok()
    });
    let options = Options {
        rate: Some(100.0),
        arrivals: Arrivals::Constant,
        duration: Duration::from_secs(1),
        connections: 1,
        ..options(&url)
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!(run.schedule.due, 100);
    assert_eq!(all(&run), 100, "nothing vanishes");
    // One connection answers at most 20 a second and one more is on its way at the end.
    assert!(run.schedule.missed >= 79, "{}", run.schedule.missed);
    assert_eq!(errors(&run, "missed"), run.schedule.missed);
    assert!(run.accepted.latency.max() >= Duration::from_millis(400), "{:?}", run.accepted.latency.max());
    assert!(run.schedule.lateness.at(0.5) < Duration::from_millis(40), "{:?}", run.schedule.lateness.at(0.5));
}

#[test]
fn what_fell_due_in_the_warm_up_is_left_out() {
    let options = Options {
        rate: Some(200.0),
        arrivals: Arrivals::Constant,
        warm_up: Duration::from_millis(500),
        duration: Duration::from_millis(500),
        events: 3,
        ..options(&target::start(|_| ok()))
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!((run.schedule.due, run.accepted.requests, run.accepted.events), (100, 100, 300));
    assert!((run.seconds - 0.5).abs() < 1e-9);
}

#[test]
fn threads_share_the_schedule() {
    let options = Options {
        rate: Some(300.0),
        arrivals: Arrivals::Constant,
        duration: Duration::from_millis(500),
        threads: 3,
        connections: 5,
        ..options(&target::start(|_| ok()))
    };
    let run = load::run(&options, &Stop::default()).unwrap();
    assert_eq!((run.schedule.due, run.accepted.requests), (150, 150));
}

#[test]
fn a_load_that_is_stopped_still_reports() {
    let url = target::start(|_| ok());
    let stop = Stop::default();
    let handle = stop.clone();
    let run =
        thread::spawn(move || load::run(&Options { duration: Duration::from_secs(600), ..options(&url) }, &handle));
    thread::sleep(Duration::from_millis(200));
    stop.stop();
    let run = run.join().unwrap().unwrap();
    assert!(run.stopped && run.seconds < 600.0 && run.accepted.requests > 0, "{} s", run.seconds);
    assert!((run.events_per_second() - run.served.events as f64 / run.seconds).abs() < 1e-6);
}
