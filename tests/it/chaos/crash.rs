//! Kills one gateway after another by SIGKILL under load: what any of them acknowledged is in Kafka.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::audit::{self, Findings, Window};
use super::event::Values;
use super::ledger::Ledger;
use super::load::Load;
use super::rig::Rig;
use super::run::{NAMES, blocking, open_topics, senders, settle_and_end};
use crate::support::scratch;

/// A life counts once it has accepted so many requests.
const ACCEPTED: usize = 100;
/// A life that has not by then is a fault of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a backlog piles up.
const BACKLOG: Duration = Duration::from_millis(500);

/// What came out.
pub(super) struct Crashes {
    findings: Findings,
    faults: Vec<String>,
    lives: usize,
    /// Requests on their way at each kill, together.
    in_flight: usize,
    /// Lives that ended with events in the spool.
    with_backlog: usize,
    accepted: usize,
    took: Duration,
}

impl Crashes {
    /// What must not be; empty where every promise was kept.
    pub(super) fn faults(&self) -> Vec<String> {
        self.findings.faults().into_iter().chain(self.faults.iter().cloned()).collect()
    }
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { findings, lives, in_flight, with_backlog, accepted, took, .. } = self;
        let took = took.as_secs_f64();
        let each = *in_flight as f64 / f64::max(*lives as f64, 1.0);
        writeln!(f, "crash: {lives} lives in {took:.0} s, {with_backlog} of them left events in the spool")?;
        writeln!(f, "requests: {accepted} accepted, {each:.0} on their way at a kill, on average")?;
        writeln!(
            f,
            "events: acked {}, spooled {}, unknown {} ({} of them in Kafka), lost {}, doubled {}",
            findings.acked,
            findings.spooled,
            findings.unknown_there + findings.unknown_missing,
            findings.unknown_there,
            findings.lost.count,
            findings.doubled.values().sum::<u64>()
        )
    }
}

/// Ends `lives` gateways, each with requests on the way and after it has accepted enough of them.
pub(super) async fn crash(lives: usize, rate: u32) -> Crashes {
    let start = Instant::now();
    let dir = scratch::dir("crash");
    let ledger = Arc::new(Ledger::create(&dir.path().join("ledger")));
    let (runtime, book) = (Handle::current(), Arc::clone(&ledger));
    let rig = Arc::new(blocking(move || Rig::start(1, book, runtime)).await);
    let mut topics = open_topics(&rig);
    let values = Values::new(1);
    ledger.begin();
    let load = Load::start(rig.address(), NAMES, &senders(rate), Arc::clone(&ledger), values.clone());
    let (mut in_flight, mut with_backlog) = (0, 0);
    for life in 0..lives {
        let (before, began) = (load.accepted(), Instant::now());
        while load.accepted() < before + ACCEPTED || load.in_flight() == 0 {
            assert!(
                began.elapsed() < LIMIT,
                "life {life}: {} requests accepted in {LIMIT:?}",
                load.accepted() - before
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Every other life ends with events in the spool that Kafka could not take.
        if life % 2 == 1 {
            rig.cut_off(true);
            tokio::time::sleep(BACKLOG).await;
            with_backlog += usize::from(rig.spooled().await.is_some_and(|events| events > 0.0));
        }
        in_flight += load.in_flight();
        let rig = Arc::clone(&rig);
        blocking(move || {
            rig.kill_gateway();
            rig.start_gateway();
            rig.cut_off(false);
        })
        .await;
        if (life + 1) % 25 == 0 {
            println!("{:6.1} s  {} lives ended", ledger.now().as_secs_f64(), life + 1);
        }
    }
    let accepted = load.accepted();
    load.stop().await;
    let last = Arc::clone(&rig);
    let mut faults = blocking(move || settle_and_end(&last, Instant::now())).await;
    for (number, life) in rig.lives().iter().enumerate() {
        faults.extend(life.faults.iter().map(|fault| format!("life {number}: {fault}")));
    }
    let (book, window) = (ledger.read(), [Window { kind: "kill", from: Duration::ZERO, to: Duration::MAX }]);
    let findings = blocking(move || audit::read(&book, &values, &window, &mut topics, &HashSet::new())).await;
    blocking(move || drop(rig)).await;
    // A look at a gateway that is too busy to answer proves nothing.
    if with_backlog * 10 < lives * 4 {
        faults.push(format!("only {with_backlog} of {lives} lives ended with events in the spool"));
    }
    Crashes { findings, faults, lives, in_flight, with_backlog, accepted, took: start.elapsed() }
}
