//! P2: single POSTs, CPU per request against a bare web server at the same rate.

use std::time::Duration;

use anyhow::Result;

use super::row::{Bar, Row};
use super::trial::{Sample, Trial};
use super::{Bench, PARTITIONS};
use crate::gateway::Gateway;
use crate::load;
use crate::yardstick::Server;

/// How much of what the connections carry with the usual linger is offered at most: each of them waits for it.
const OF_THE_USUAL: f64 = 0.8;

/// The rate is half of the most that klamm takes with linger 1 ms on this machine, or what the connections can carry
/// with linger 5 ms where that is less.
pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    let mut setup = bench.setup(&stage);
    setup.linger = Duration::from_millis(1);
    let (quick, usual) = (bench.start(&setup, &stage)?, bench.start(&bench.setup(&stage), &stage)?);
    let echo = Server::start(&["echo".to_owned()])?;
    let most = |gateway| bench.most(bench.singles(gateway, &stage, 0));
    let rate = (most(&quick)? / 2.0).min(most(&usual)? * OF_THE_USUAL);
    let open = |gateway: &Gateway, round| load::Options { rate: Some(rate), ..bench.singles(gateway, &stage, round) };
    let bare = |round| {
        let url = format!("http://{}/v1/topics/{{topic}}/events", echo.address());
        load::Options { url, pid: Some(echo.pid()), ..open(&quick, round) }
    };
    let [klamm, bare, linger_5, most] = bench.rounds(
        "P2",
        &[
            Trial::new("klamm, linger 1 ms", |round| Ok(Sample::from(bench.http(&open(&quick, round))?))),
            Trial::new("echo", |round| Ok(Sample::from(bench.http(&bare(round))?))),
            Trial::new("klamm, linger 5 ms", |round| Ok(Sample::from(bench.http(&open(&usual, round))?))),
            Trial::new("closed loop", |round| Ok(Sample::from(bench.http(&bench.singles(&quick, &stage, round))?))),
        ],
    )?;
    let name = format!("single POST acknowledged, 160 B, 256 connections, open loop at {rate:.0}/s");
    let row = |id, linger, cpu: &[f64], bar| {
        let name = format!("{name}, linger {linger} ms: CPU per request; against the bare axum echo");
        Row::against(id, &name, "us", cpu, &bare.cpu(), bar)
    };
    // What a core does that does nothing else.
    let per_core: Vec<f64> = most.cpu().iter().map(|cpu| 1e6 / cpu).collect();
    let most = "single POST, closed loop, 256 connections, linger 1 ms: the most for each core that klamm uses";
    Ok(vec![
        row("P2", 1, &klamm.cpu(), Bar::AtMost(1.6)),
        row("P2b", 5, &linger_5.cpu(), Bar::None),
        Row::alone("P2c", most, "1/s", &per_core, Bar::None),
    ])
}
