//! S: events that are answered 202 once they are on disk, while the drain sends them on; against the same load answered
//! 200 by the same gateway.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::row::{Bar, Row};
use super::trial::{Sample, Trial};
use super::{Bench, PARTITIONS};
use crate::gateway::Gateway;
use crate::load::{self, metric};
use crate::stage::Stage;

/// Events a second that are offered.
const RATE: f64 = 50_000.0;
const EVENTS: usize = 50;
const SIZE: usize = 1024;
const CONNECTIONS: usize = 64;
const WAITING: &str = r#"klamm_spool_events{state="waiting"}"#;
/// Between two looks at what waits.
const LOOK: Duration = Duration::from_millis(250);
/// The most time for what the spool can take: the drain does not keep up with that, and the spool is full some day.
const BURST: Duration = Duration::from_secs(10);
/// How long a backlog may take to drain between two measurements.
const DRAIN: Duration = Duration::from_secs(120);

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    // Beside the report: where files are, not where they may be in memory.
    let dir = bench.settings.out.join("spool");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let mut setup = bench.setup(&stage);
    setup.set = vec![("spool.dir".to_owned(), dir.display().to_string())];
    let gateway = bench.start(&setup, &stage)?;
    let result = measure(bench, &gateway, &stage);
    drop(gateway);
    fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    result
}

fn measure(bench: &Bench<'_>, gateway: &Gateway, stage: &Stage) -> Result<Vec<Row>> {
    let direct = |round| load::Options {
        connections: CONNECTIONS,
        events: EVENTS,
        size: SIZE,
        accept: vec![200],
        ..bench.batches(gateway, stage, round)
    };
    let spooled = |round| {
        let mut load = load::Options { accept: vec![202], ..direct(round) };
        load.headers.push("Prefer: respond-async".to_owned());
        load
    };
    let growth = std::cell::RefCell::new(Vec::new());
    let [offered, most, straight] = bench.rounds(
        "S",
        &[
            Trial::new("202 at a rate", |round| {
                drained(gateway)?;
                let load = load::Options { rate: Some(RATE / EVENTS as f64), ..spooled(round) };
                let (sample, grown) = watched(bench, gateway, &load)?;
                growth.borrow_mut().push(grown);
                Ok(sample)
            }),
            Trial::new("202, the most", |round| {
                drained(gateway)?;
                let load = spooled(round);
                Ok(Sample::from(bench.http(&load::Options { duration: load.duration.min(BURST), ..load })?))
            }),
            // Behind a backlog of its stream a request would wait.
            Trial::new("200, the most", |round| {
                drained(gateway)?;
                Ok(Sample::from(bench.http(&direct(round))?))
            }),
        ],
    )?;
    let what = format!("NDJSON x {EVENTS}, {SIZE} B, answered 202 after fdatasync, the drain running");
    let at = format!("{what}, {RATE:.0} events/s offered");
    let rate = format!("{at}: events per second accepted, at least {:.0} %", 98.0);
    Ok(vec![
        Row::alone("S1", &rate, "1/s", &offered.rate(), Bar::AtLeast(0.98 * RATE)),
        Row::alone("S1-p99", &format!("{at}: p99"), "ms", &offered.p99(), Bar::AtMost(10.0)),
        Row::alone(
            "S1-backlog",
            &format!("{at}: growth of what waits in the second half, of what was offered in it"),
            "",
            &growth.into_inner(),
            Bar::AtMost(0.01),
        ),
        Row::alone("S1-cpu", &format!("{at}: CPU per event, way to Kafka included"), "us", &offered.cpu(), Bar::None),
        Row::against(
            "S2",
            &format!("{what}: the most events per second; at least 60 % of the same load answered 200"),
            "1/s",
            &most.rate(),
            &straight.rate(),
            Bar::AtLeast(0.6),
        ),
    ])
}

/// A load, and how much of what was offered in the second half of its time waits more at its end.
fn watched(bench: &Bench<'_>, gateway: &Gateway, load: &load::Options) -> Result<(Sample, f64)> {
    let over = AtomicBool::new(false);
    let time = load.warm_up + load.duration;
    let (run, seen) = thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let (began, mut seen) = (Instant::now(), Vec::new());
            while !over.load(Ordering::Relaxed) && began.elapsed() < time {
                if let Ok(waiting) = metric(&gateway.metrics(), WAITING) {
                    seen.push((began.elapsed(), waiting));
                }
                thread::sleep(LOOK);
            }
            seen
        });
        let run = bench.http(load);
        over.store(true, Ordering::Relaxed);
        (run, looks.join().unwrap_or_default())
    });
    let run = run?;
    // Means of eighths of the time, since a backlog goes up and down with every wave.
    let mean = |from: f64, to: f64| {
        let within = |at: Duration| at >= time.mul_f64(from) && at < time.mul_f64(to);
        let of: Vec<f64> = seen.iter().filter(|(at, _)| within(*at)).map(|(_, waiting)| *waiting).collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    let grown = mean(0.875, 1.0) - mean(0.5, 0.625);
    Ok((Sample::from(run), grown / (RATE * time.as_secs_f64() * 0.375)))
}

/// Waits until nothing waits.
fn drained(gateway: &Gateway) -> Result<()> {
    let began = Instant::now();
    while metric(&gateway.metrics(), WAITING)? > 0.0 {
        ensure!(began.elapsed() < DRAIN, "the spool is not drained {} s after the load", DRAIN.as_secs());
        thread::sleep(LOOK);
    }
    Ok(())
}
