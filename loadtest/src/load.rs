//! One load: what is sent, how fast, for how long; and what was seen.
//!
//! Open loop: the time of each request is fixed before the start, and latency counts from that time, not from when a
//! connection was free (no coordinated omission). Closed loop (no rate): each connection sends as soon as it was
//! answered; for "the most it can do", never for latency.
//!
//! The way of a request: `schedule` says when it is due, `plan` which head and body it has, `h1` or `h2c` send it and
//! read the answer, `tally` counts how it ended. Each thread has its own of all but the plan; nothing is shared or
//! locked while a load runs.

mod answer;
mod body;
mod conditions;
mod control;
mod h1;
mod h2c;
mod latency;
mod options;
mod outcome;
mod plan;
pub(crate) mod priority;
mod process;
mod schedule;
mod scrape;
mod tally;
mod target;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustix::process::Resource;

pub use body::Bodies;
pub use conditions::{Conditions, Meter};
pub use control::{Fate, Ledger, Observer, Progress, Stop};
pub use latency::Latency;
pub(crate) use options::seconds;
pub use options::{Arrivals, Form, Options, Protocol};
pub use outcome::{Answers, Batches, Generator, Refused, Run, Schedule, Served};
pub use process::Usage;
pub use schedule::intended;
pub use scrape::metric;

use self::control::Window;
use self::plan::Plan;
use self::process::{Process, Snapshot};
use self::schedule::Source;
use self::scrape::Scraper;
use self::tally::Tally;

/// A thread that is busier than this share of a core is saturated: it no longer sends when it should.
const SATURATED: f64 = 0.85;
/// The tool may be later than this once in a hundred requests, no more often.
const LATEST: Duration = Duration::from_millis(1);
/// How often the stop is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// How often the target's metrics are read.
const SCRAPES: Duration = Duration::from_secs(2);

/// Sends `options` and blocks until it is over (warm-up, duration, and at most `last_answers` more).
///
/// # Errors
/// A fault in the options, a file that cannot be read, an address that does not resolve. Never what the target does:
/// that is in the [`Run`].
pub fn run(options: &Options, stop: &Stop) -> Result<Run> {
    run_with(options, stop, Observer::default())
}

/// The same, and `observer` looks on.
///
/// # Errors
/// As [`run`].
pub fn run_with(options: &Options, stop: &Stop, observer: Observer<'_>) -> Result<Run> {
    options.check()?;
    let plan = Plan::new(options, observer.ledger.is_some())?;
    let process = options.pid.map(Process::new);
    let scraper = options.metrics.as_deref().map(Scraper::new).transpose()?;
    if let Some(process) = &process {
        process.snapshot()?;
    }
    allow_many_files();
    let meter = conditions::Meter::start();
    let window = Window::new(options);
    // Twice: all connections are open; the clock runs.
    let gate = Barrier::new(options.threads + 1);
    let (tallies, watched) = thread::scope(|scope| {
        let (plan, window, gate) = (&plan, &window, &gate);
        let mut threads = Vec::with_capacity(options.threads);
        for index in 0..options.threads {
            let work = move || generate(options, plan, window, gate, observer, index);
            threads.push(thread::Builder::new().name(format!("load-{index}")).spawn_scoped(scope, work)?);
        }
        gate.wait();
        window.begin();
        gate.wait();
        let watched = watch(window, stop, process.as_ref(), scraper, || threads.iter().all(|t| t.is_finished()));
        let tallies = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        anyhow::Ok((tallies.collect::<Result<Vec<Tally<'_>>>>()?, watched))
    })?;
    Ok(report(options, stop, &window, &tallies, watched, meter))
}

/// How a command sends its loads, each with a word on which it is: [`run`] with a bar, or in tests something planted.
pub type Loads<'a> = dyn Fn(&Options, &str) -> Result<Run> + 'a;

/// One thread of the generator, from its first connection to its last answer.
fn generate<'a>(
    options: &Options,
    plan: &'a Plan,
    window: &'a Window,
    gate: &Barrier,
    observer: Observer<'a>,
    index: usize,
) -> Result<Tally<'a>> {
    priority::raise();
    let source = Source::new(options, index);
    let tally = Tally::new(window, observer, options.events);
    let share = options.connections / options.threads + usize::from(index < options.connections % options.threads);
    let start = || {
        gate.wait();
        gate.wait();
    };
    // The gate opens with a fault too: the others wait there.
    match options.protocol {
        Protocol::H1 => {
            let driver = h1::Driver::new(plan, window, source, tally, share);
            start();
            driver?.run()
        }
        Protocol::H2c => {
            let driver = h2c::Driver::new(plan, window, source, tally, share);
            start();
            driver?.run()
        }
    }
}

/// What was seen of the target while the load ran.
#[derive(Default)]
struct Watched {
    usage: Option<Usage>,
    batches: Option<Batches>,
    build: Option<String>,
    fault: Option<String>,
}

/// Waits for the end of the measured time and looks at the target at both ends of it.
fn watch(
    window: &Window,
    stop: &Stop,
    process: Option<&Process>,
    mut scraper: Option<Scraper>,
    is_done: impl Fn() -> bool,
) -> Watched {
    let wait_until = |at: u64| {
        while window.now() < at.min(window.end()) {
            if stop.is_stopped() || is_done() {
                window.end_now();
                return;
            }
            thread::sleep(GLANCE.min(Duration::from_nanos(at.saturating_sub(window.now()))));
        }
    };
    let snapshot = || process.map(Process::snapshot).transpose();
    wait_until(window.from);
    let before = snapshot();
    let mut scrape_at = window.from;
    while window.now() < window.end() {
        scrape_at += control::nanos(SCRAPES);
        wait_until(scrape_at);
        if let Some(scraper) = scraper.as_mut().filter(|_| window.now() < window.end()) {
            scraper.sample();
        }
    }
    let after = snapshot();
    let (batches, build) = scraper.map_or((None, None), |mut scraper| {
        scraper.sample();
        scraper.finish()
    });
    let (usage, fault) = match (before, after) {
        (Ok(Some(before)), Ok(Some(after))) => (Some(Snapshot::since(&after, &before)), None),
        (Ok(_), Ok(_)) => (None, None),
        (Err(fault), _) | (_, Err(fault)) => (None, Some(format!("the measured process ended: {fault:#}"))),
    };
    Watched { usage, batches, build, fault }
}

fn report(
    options: &Options,
    stop: &Stop,
    window: &Window,
    tallies: &[Tally<'_>],
    watched: Watched,
    meter: conditions::Meter,
) -> Run {
    let seconds = window.seconds();
    let cpu: Vec<u64> = tallies.iter().map(Tally::cpu).collect();
    let mut all = Tally::new(window, Observer::default(), options.events);
    for tally in tallies {
        all.merge(tally);
    }
    let busiest = cpu.iter().max().map_or(0.0, |busiest| *busiest as f64 / 1e9 / seconds.max(1e-9));
    let generator = Generator { cpu_us: cpu.iter().sum::<u64>() / 1000, busiest, saturated: busiest > SATURATED };
    let schedule = all.schedule(options.rate);
    let mut invalid: Vec<String> = watched.fault.into_iter().collect();
    if seconds <= 0.0 {
        invalid.push("ended within the warm-up: nothing was measured".to_owned());
    }
    if options.rate.is_some() {
        let late = schedule.lateness.at(0.99);
        if late > LATEST {
            invalid.push(format!("the tool sent late: p99 {:.1} ms, at most 1 ms is right", late.as_secs_f64() * 1e3));
        }
        if generator.saturated {
            invalid
                .push(format!("a thread of the tool was busy {:.0} % of a core: use more --threads", busiest * 100.0));
        }
    }
    Run {
        seconds,
        quota: all.quota(),
        stopped: stop.is_stopped(),
        invalid,
        refused: all.take_refused(),
        errors: std::mem::take(&mut all.errors).into_iter().map(|(reason, seen)| (reason.to_owned(), seen)).collect(),
        accepted: all.accepted,
        served: all.served,
        schedule,
        generator,
        target: watched.usage,
        batches: watched.batches,
        conditions: meter.finish(options, watched.build),
    }
}

/// Each connection is a file; the soft limit is often 1024.
fn allow_many_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised, connections fail, and are counted.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// A run in which nothing happened, for tests of reports.
#[cfg(test)]
pub(crate) fn sample() -> Run {
    let options = Options { warm_up: Duration::ZERO, ..Options::default() };
    report(&options, &Stop::default(), &Window::new(&options), &[], Watched::default(), conditions::Meter::start())
}
