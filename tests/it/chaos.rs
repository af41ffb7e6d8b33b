//! Proof under faults: a ledger load, real faults, an auditor. `make chaos` and `make crash` run the long forms.

mod audit;
mod counters;
mod crash;
mod dice;
mod event;
mod ledger;
mod load;
mod report;
mod rig;
mod run;
mod schedule;
mod spool;
mod watch;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use report::Report;
use run::Plan;
use schedule::Kind;

/// The variable, else the default. Panics where it is set to something else.
fn set<T: FromStr>(variable: &str, default: T) -> T {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable}={text}: not a number"))
}

async fn prove(plan: &Plan) {
    let evidence = run::run(plan).await;
    let report = Report::of(plan, &evidence);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("chaos/{}.json", plan.seed));
    report.write(&path);
    println!("{report}report: {}", path.display());
    assert!(report.failed().is_empty(), "seed {}: {:#?}", plan.seed, report.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn four_faults_in_90_seconds_lose_nothing() {
    let second = Duration::from_secs;
    let plan = Plan {
        seed: 4,
        brokers: 1,
        kinds: vec![Kind::BrokerKill, Kind::Cut, Kind::GatewayKill, Kind::SyncError],
        quiet: second(10),
        until: second(90),
        calm: second(15),
        rate: 2_000,
        floor: 800.0,
    };
    prove(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes MINUTES and some more: run by `make chaos`"]
async fn chaos() {
    let minutes: u64 = set("KLAMM_CHAOS_MINUTES", 10);
    let mut kinds = Kind::ALL.to_vec();
    if let Ok(names) = std::env::var("KLAMM_CHAOS_KINDS") {
        kinds.retain(|kind| names.split(',').any(|name| name == kind.name()));
        assert!(!kinds.is_empty(), "KLAMM_CHAOS_KINDS={names}: no kind of fault");
    }
    let plan = Plan {
        seed: set("KLAMM_CHAOS_SEED", seed_of_now()),
        brokers: 3,
        kinds,
        quiet: Duration::from_secs(60),
        until: Duration::from_secs(60 * minutes),
        calm: Duration::from_secs(60),
        rate: 9_000,
        floor: 5_000.0,
    };
    prove(&plan).await;
}

/// Another one each second.
fn seed_of_now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs() % 1_000_000)
}

async fn survive(lives: usize, rate: u32) {
    let crashes = crash::crash(lives, rate).await;
    println!("{crashes}");
    let faults = crashes.faults();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gateways_killed_under_load_lose_nothing() {
    survive(10, 2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some 2 s a life: run by `make crash`"]
async fn crash_loop() {
    survive(set("KLAMM_CRASH_LIVES", 200), 9_000).await;
}
