//! P3: latency at half of klamm's own capacity, against raw librdkafka fed the same arrivals.
//!
//! The yardstick is the raw producer's p99 plus 1 ms: what a hop over HTTP may add. Where that p99 itself is more than
//! 20 ms over the linger, the broker or the machine was measured, and the row is void.

use anyhow::Result;

use super::row::{Bar, Row};
use super::trial::{Sample, Trial};
use super::{BATCH, Bench, PARTITIONS};
use crate::load;
use crate::statistics::median;

/// What klamm may add, in milliseconds.
const HOP: f64 = 1.0;
/// How far the raw producer's p99 may lie over the linger, in milliseconds.
const SANE: f64 = 20.0;

/// P3a.
pub(super) fn single(bench: &Bench<'_>) -> Result<Vec<Row>> {
    measure(bench, "P3a", "single POST", false)
}

/// P3b.
pub(super) fn batches(bench: &Bench<'_>) -> Result<Vec<Row>> {
    measure(bench, "P3b", "NDJSON x 500", true)
}

fn measure(bench: &Bench<'_>, id: &'static str, what: &str, batched: bool) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    let setup = bench.setup(&stage);
    let linger = setup.linger.as_millis();
    let gateway = bench.start(&setup, &stage)?;
    let options = |round| {
        if batched {
            // Enough for a burst of arrivals: one that waits for a connection would count as klamm's latency.
            load::Options { connections: 64, ..bench.batches(&gateway, &stage, round) }
        } else {
            bench.singles(&gateway, &stage, round)
        }
    };
    let rate = bench.most(options(0))? / 2.0;
    let open = |round| load::Options { rate: Some(rate), ..options(round) };
    let burst = if batched { BATCH } else { 1 }.to_string();
    let (rate_flag, linger_flag) = (rate.to_string(), linger.to_string());
    let flags = ["--rate", &rate_flag, "--burst", &burst, "--linger", &linger_flag];
    let [klamm, raw] = bench.rounds(
        id,
        &[
            Trial::new("klamm", |round| Ok(Sample::from(bench.http(&open(round))?))),
            Trial::new("raw", |round| Ok(Sample::from(bench.raw(&stage, round, &flags)?))),
        ],
    )?;
    let name = format!(
        "{what} at half of capacity ({rate:.0} requests/s), linger {linger} ms: p99; against the raw producer's, fed the \
         same arrivals, + 1 ms"
    );
    let allowed: Vec<f64> = raw.p99().iter().map(|p99| p99 + HOP).collect();
    let row = Row::against(id, &name, "ms", &klamm.p99(), &allowed, Bar::AtMost(1.0));
    let sane = median(&raw.p99()).is_none_or(|p99| p99 <= linger as f64 + SANE);
    Ok(vec![if sane { row } else { row.void("the raw producer's own p99 is over linger + 20 ms") }])
}
