//! P5, overload: twice of what klamm can take. What it still gets done, what it holds, and what a refusal costs.
//!
//! Each round measures the capacity, by a closed loop, and then twice that at the same gateway.

use anyhow::{Result, ensure};

use super::machine::{Halves, Steal};
use super::row::{Bar, Row};
use super::{Bench, PARTITIONS};
use crate::gateway::Gateway;
use crate::load::{self, Run};
use crate::stage::Stage;

/// Connections at capacity: what they hold together fits the budget of (a).
const FITTING: usize = 64;
/// Connections of the overload: what they would hold together does not fit.
const CROWD: usize = 512;
/// Milliseconds that every answer of Kafka takes in (a): the five batches that may be in flight are then the limit.
const DELAY: u64 = 50;
/// The budget of (a), in MiB, and what klamm may hold beside it.
const BUDGET: f64 = 32.0;
const BESIDE: f64 = 64.0;
const MIB: f64 = (1 << 20) as f64;

/// (a), on a mock cluster with a round trip, whatever the rest runs on.
pub(super) fn kafka_is_the_limit(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = Stage::mock(1, PARTITIONS, DELAY)?;
    let mut setup = bench.setup(&stage);
    // The budget must hold a body and what it inflates to.
    let set = [("budget.total", "32MiB"), ("caps.body", "4MiB"), ("caps.inflated", "8MiB")];
    setup.set = set.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let seen = overload(bench, "P5a", &stage, || bench.start(&setup, &stage))?;
    let name = "overload 2x where Kafka is the limit (answers after 50 ms, budget 32 MiB), NDJSON x 500";
    let goodput = format!("{name}: accepted events per second, at least 95 % of the capacity");
    let memory = format!("{name}: peak of resident memory, at most the budget + 64 MiB");
    Ok(vec![
        Row::against("P5a", &goodput, "1/s", &seen.goodput, &seen.capacity, Bar::AtLeast(0.95)),
        Row::alone("P5a-memory", &memory, "MiB", &seen.peak, Bar::AtMost(BUDGET + BESIDE)),
    ])
}

/// (b), and the cost of a refusal. The tool keeps off the half of the cores that klamm has, and so does a broker that the
/// row starts: what they burn to offer twice the capacity is not klamm's to lose.
pub(super) fn cpu_is_the_limit(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let halves = Halves::part()?;
    let stage = bench.tier.stage(1, PARTITIONS)?;
    let setup = bench.setup(&stage);
    let seen = overload(bench, "P5b", &stage, || halves.measured(|| bench.start(&setup, &stage)))?;
    let (own, others) = halves.counts();
    drop(halves);
    let name =
        format!("overload 2x where CPU is the limit (cores: {own} for klamm, {others} for the load), NDJSON x 500");
    let goodput = format!("{name}: accepted events per second, at least 85 % of the capacity");
    let memory = format!("{name}: peak of resident memory (budget 256 MiB)");
    let refusal = "refusal of a single POST (429, quota): CPU per refusal";
    Ok(vec![
        Row::against("P5b", &goodput, "1/s", &seen.goodput, &seen.capacity, Bar::AtLeast(0.85)),
        Row::alone("P5b-memory", &memory, "MiB", &seen.peak, Bar::None),
        Row::alone("P5-refusal", refusal, "us", &refusals(bench, &stage)?, Bar::None),
    ])
}

/// By round.
#[derive(Default)]
struct Seen {
    capacity: Vec<f64>,
    goodput: Vec<f64>,
    peak: Vec<f64>,
}

fn overload(bench: &Bench<'_>, rows: &'static str, stage: &Stage, start: impl Fn() -> Result<Gateway>) -> Result<Seen> {
    let mut seen = Seen::default();
    for round in 0..bench.settings.rounds() {
        // A fresh one each round: the peak is of this round.
        let gateway = start()?;
        let steal = Steal::start();
        let fitting = load::Options { connections: FITTING, ..bench.batches(&gateway, stage, round) };
        let capacity = bench.http(&fitting)?;
        ensure!(capacity.served.requests > 0, "nothing is accepted: {:?}", capacity.refused);
        let rate = Some(capacity.requests_per_second() * 2.0);
        let crowd = load::Options { connections: CROWD, rate, ..bench.batches(&gateway, stage, round) };
        let run = bench.http(&crowd)?;
        let kept: Vec<String> = kept_busy(&run).into_iter().collect();
        let believed = |figure: f64| if kept.is_empty() { figure } else { f64::NAN };
        seen.capacity.push(capacity.events_per_second());
        seen.goodput.push(believed(run.events_per_second()));
        seen.peak.push(run.target.as_ref().map_or(f64::NAN, |usage| usage.peak as f64 / MIB));
        bench.log(rows, round, steal, kept);
    }
    Ok(seen)
}

/// Why a run was no overload, if it was none: the schedule was not kept busy. That the tool is late is not a fault here:
/// beyond capacity, latency is not what is measured.
fn kept_busy(run: &Run) -> Option<String> {
    (run.error_share() < 0.2).then(|| format!("only {:.0} % were more than it takes", run.error_share() * 100.0))
}

/// CPU-microseconds of a refusal, by round: single POSTs of a client that has used up its quota.
fn refusals(bench: &Bench<'_>, stage: &Stage) -> Result<Vec<f64>> {
    let mut setup = bench.setup(stage);
    setup.set = vec![("defaults.limits.requests".to_owned(), "1/s".to_owned())];
    let gateway = bench.start(&setup, stage)?;
    (0..bench.settings.rounds()).map(|round| refusal(&bench.http(&bench.singles(&gateway, stage, round))?)).collect()
}

fn refusal(run: &Run) -> Result<f64> {
    let refused: u64 = run.refused.iter().filter(|it| it.code == "rate_limited").map(|it| it.answers.requests).sum();
    ensure!(refused > run.accepted.requests * 100, "{refused} refused, {} accepted", run.accepted.requests);
    Ok(run.target.as_ref().map_or(f64::NAN, |usage| usage.cpu_us as f64 / refused as f64))
}
