//! klamm beside its yardsticks: every row of the table with what it is held against, in the same run.
//!
//! klamm is `klamm serve` with keys, quotas that are set, metrics and logs as by default. The rows of a group are
//! measured in rounds, one after another, the order turned around each round; a row is the median of the rounds' ratios
//! with a bootstrap interval. CPU per event is the scheduler's own account of the measured process, so that the load
//! tool, the broker and the yardsticks, which share the machine, are not in it.

mod batches;
mod latency;
mod machine;
mod many;
mod memory;
mod overload;
mod report;
mod row;
mod single;
mod spool;
mod trial;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use crate::gateway::{self, Gateway, Setup};
use crate::load::{self, Conditions, Form, Run, Stop};
use crate::stage::{Stage, Tier};
use crate::yardstick::{call, raw};

use machine::{Round, Steal};
use report::Report;
use row::Row;
use trial::{Series, Trial};

/// Partitions of a topic, but for P6.
const PARTITIONS: i32 = 8;
/// Connections of loads of batches, and of single POSTs.
const BATCH_CONNECTIONS: usize = 16;
const SINGLE_CONNECTIONS: usize = 256;
/// Events of a batch.
const BATCH: usize = 500;
/// How long a measurement is, and with `--full`.
const SHORT: Duration = Duration::from_secs(4);
const FULL: Duration = Duration::from_secs(15);
/// How long a calibration measures.
const CALIBRATION: Duration = Duration::from_secs(2);

/// How long the first events of a fresh gateway may take.
const FIRST: Duration = Duration::from_secs(60);

/// What is measured, and how long.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct Settings {
    /// Rows to measure, by id or its beginning (`P1,P3a,P5`); all without it
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Rounds of each row (5; with --full 7)
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Seconds of each measurement (4; with --full 15)
    #[arg(long, value_parser = load::seconds)]
    pub seconds: Option<Duration>,
    /// Seconds before each that are left out
    #[arg(long, default_value = "1.5", value_parser = load::seconds)]
    pub warm_up: Duration,
    /// More and longer rounds
    #[arg(long)]
    pub full: bool,
    /// Against a real Kafka: `1` starts one from the jars of `make kafka`, else `host:port`
    #[arg(long, value_name = "1|HOST:PORT")]
    pub kafka: Option<String>,
    /// The klamm to measure; the one beside this program, else the one in PATH
    #[arg(long)]
    pub klamm: Option<PathBuf>,
    /// Where report.html, bench.json and table.md go
    #[arg(long, default_value = "target/bench")]
    pub out: PathBuf,
    /// Seed of everything that is random; each round adds its number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Settings {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.full { 7 } else { 5 }).max(1)
    }

    fn duration(&self) -> Duration {
        self.seconds.unwrap_or(if self.full { FULL } else { SHORT })
    }

    /// Whether a row of this id was asked for; also a group of rows by what their ids begin with.
    fn wants(&self, id: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| id.starts_with(wanted.as_str()) || wanted.starts_with(id))
    }
}

/// Measures, prints the table and writes the report. Ctrl-C ends it after the measurement that runs; the rows that are
/// done are reported.
///
/// # Errors
/// If something does not start, or a report cannot be written.
pub fn run(settings: &Settings, stop: &Stop) -> Result<bool> {
    let klamm = gateway::binary(settings.klamm.as_deref())?;
    let tier = Tier::from_flag(settings.kafka.as_deref())?;
    let bench = Bench {
        settings,
        stop,
        klamm,
        tier,
        rounds: RefCell::default(),
        notes: RefCell::default(),
        conditions: RefCell::default(),
        began: Instant::now(),
    };
    if cfg!(debug_assertions) {
        bench.note("this is a debug build: figures are for trying the tool, not for reading");
    }
    let groups: [(&[&str], Group); 10] = [
        (&["P1"], batches::ndjson),
        (&["P2"], single::rows),
        (&["P3a"], latency::single),
        (&["P3b"], latency::batches),
        (&["P4"], batches::variants),
        (&["P5-idle", "P5-connections"], memory::rows),
        (&["P5a"], overload::kafka_is_the_limit),
        (&["P5b", "P5-refusal"], overload::cpu_is_the_limit),
        (&["P6"], many::rows),
        (&["S"], spool::rows),
    ];
    let mut rows = Vec::new();
    for (ids, measure) in groups {
        if stop.is_stopped() || !ids.iter().any(|id| settings.wants(id)) {
            continue;
        }
        eprintln!("bench: {} ({:.0} s so far)", ids.join(", "), bench.began.elapsed().as_secs_f64());
        match measure(&bench) {
            Ok(measured) => rows.extend(measured.into_iter().filter(|row| settings.wants(&row.id))),
            Err(_) if stop.is_stopped() => {}
            // The others are worth having; that one is missing is said, and fails the whole.
            Err(fault) => bench.note(&format!("{}: not measured: {fault:#}", ids.join(", "))),
        }
    }
    let failed = bench.notes.borrow().iter().any(|note| note.contains("not measured"));
    let report = Report::new(&bench, rows);
    report.write(&settings.out)?;
    print!("{}", report.terminal());
    ensure!(!failed, "not every row could be measured, see above");
    Ok(report.holds())
}

/// Measures some rows.
type Group = fn(&Bench<'_>) -> Result<Vec<Row>>;

/// What all rows share.
struct Bench<'a> {
    settings: &'a Settings,
    stop: &'a Stop,
    klamm: PathBuf,
    tier: Tier,
    rounds: RefCell<Vec<Round>>,
    notes: RefCell<Vec<String>>,
    /// Of the first load.
    conditions: RefCell<Option<Conditions>>,
    began: Instant,
}

impl Bench<'_> {
    /// Keeps a word for the report, and says it.
    fn note(&self, text: &str) {
        eprintln!("bench: {text}");
        self.notes.borrow_mut().push(text.to_owned());
    }

    /// klamm's setup on a stage.
    fn setup(&self, stage: &Stage) -> Setup {
        Setup::new(&stage.bootstrap, &stage.topics)
    }

    /// A gateway that has acknowledged an event of each of the stage's topics: connections, metadata and the producer's
    /// id take a second or more, which is no part of any row.
    fn start(&self, setup: &Setup, stage: &Stage) -> Result<Gateway> {
        let gateway = Gateway::start(&self.klamm, setup)?;
        let each = load::Options {
            connections: 1,
            requests: Some(stage.topics.len() as u64),
            warm_up: Duration::ZERO,
            duration: FIRST,
            form: Form::Single,
            ..self.load(&gateway, stage, 0)
        };
        let run = self.http(&each)?;
        let accepted = run.accepted.requests == stage.topics.len() as u64;
        ensure!(accepted, "{} of {} first events: {:?}", run.accepted.requests, stage.topics.len(), run.refused);
        Ok(gateway)
    }

    /// A load on a gateway with the times of this bench, as its first client.
    fn load(&self, gateway: &Gateway, stage: &Stage, round: usize) -> load::Options {
        load::Options {
            url: gateway.url(),
            topics: stage.topics.clone(),
            headers: gateway.header().into_iter().collect(),
            pid: Some(gateway.pid()),
            warm_up: self.settings.warm_up,
            duration: self.settings.duration(),
            seed: self.settings.seed + round as u64,
            ..load::Options::default()
        }
    }

    /// The same, of batches.
    fn batches(&self, gateway: &Gateway, stage: &Stage, round: usize) -> load::Options {
        load::Options {
            connections: BATCH_CONNECTIONS,
            events: BATCH,
            form: Form::Ndjson,
            ..self.load(gateway, stage, round)
        }
    }

    /// The same, of single POSTs.
    fn singles(&self, gateway: &Gateway, stage: &Stage, round: usize) -> load::Options {
        load::Options { connections: SINGLE_CONNECTIONS, form: Form::Single, ..self.load(gateway, stage, round) }
    }

    fn http(&self, options: &load::Options) -> Result<Run> {
        let run = load::run(options, self.stop)?;
        if self.stop.is_stopped() {
            bail!("stopped");
        }
        self.conditions.borrow_mut().get_or_insert_with(|| run.conditions.clone());
        Ok(run)
    }

    /// Requests per second that a closed loop of these options gets accepted.
    fn most(&self, options: load::Options) -> Result<f64> {
        let run = self.http(&load::Options { rate: None, duration: CALIBRATION, pid: None, ..options })?;
        ensure!(run.accepted.requests > 0, "nothing is accepted: {:?} {:?}", run.refused, run.errors.keys());
        Ok(run.requests_per_second())
    }

    /// librdkafka alone, as a process of its own. `more` are flags of `klamm-load yardstick raw`.
    fn raw(&self, stage: &Stage, round: usize, more: &[&str]) -> Result<raw::Report> {
        let fixed = [
            "raw".to_owned(),
            "--bootstrap".to_owned(),
            stage.bootstrap.clone(),
            "--warm-up".to_owned(),
            self.settings.warm_up.as_secs_f64().to_string(),
            "--duration".to_owned(),
            self.settings.duration().as_secs_f64().to_string(),
            "--seed".to_owned(),
            (self.settings.seed + round as u64).to_string(),
        ];
        let mut arguments: Vec<String> = fixed.into_iter().chain(more.iter().map(|&flag| flag.to_owned())).collect();
        // All of the stage's, unless the flags name some.
        if !more.contains(&"--topics") {
            arguments.extend(["--topics".to_owned(), stage.topics.join(",")]);
        }
        call(&arguments, self.stop)
    }

    /// Measures every trial once a round; gives back their series in the order of `trials`.
    fn rounds<const N: usize>(&self, rows: &'static str, trials: &[Trial<'_>; N]) -> Result<[Series; N]> {
        let mut series: [Series; N] = std::array::from_fn(|_| Series::default());
        for round in 0..self.settings.rounds() {
            let (steal, mut left_out) = (Steal::start(), Vec::new());
            for index in trial::order(round, N) {
                let (Some(trial), Some(series)) = (trials.get(index), series.get_mut(index)) else { continue };
                let sample = (trial.measure)(round)?;
                left_out.extend(sample.faults.iter().map(|fault| format!("{}: {fault}", trial.name)));
                series.0.push(sample);
            }
            self.log(rows, round, steal, left_out);
        }
        Ok(series)
    }

    fn log(&self, rows: &'static str, round: usize, steal: Steal, left_out: Vec<String>) {
        for fault in &left_out {
            eprintln!("bench: {rows}, round {}: {fault}", round + 1);
        }
        let round = Round { rows, round: round + 1, load: machine::load_average(), steal: steal.share(), left_out };
        self.rounds.borrow_mut().push(round);
    }
}
