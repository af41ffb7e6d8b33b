//! `sweep`: which linger, batch size and compression suit a broker and a payload.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::preset::{Batched, Load};
use super::progress;
use crate::gateway;
use crate::load::{Meter, Options, Stop};
use crate::report::plot::{Svg, short};
use crate::report::{Outputs, Report};
use crate::sweep::setting::Size;
use crate::sweep::{Bench, Compression, Measured, pictures, plan};
use crate::topics::Cluster;

/// Starts klamm with setting after setting against your Kafka and says which suit it.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    cluster: Cluster,
    /// The klamm to start; without it the one beside this program, else the one in PATH
    #[arg(long, value_name = "FILE")]
    klamm: Option<PathBuf>,
    /// Twelve settings instead of sixty, in about four minutes instead of twenty
    #[arg(long, conflicts_with_all = ["linger", "batch", "compression"])]
    quick: bool,
    /// Milliseconds of `linger` to try
    #[arg(long, value_delimiter = ',', value_name = "MS", default_values_t = plan::LINGERS)]
    linger: Vec<u64>,
    /// `batch_bytes` to try
    #[arg(long, value_delimiter = ',', value_name = "SIZE", default_values_t = plan::BATCHES.map(Size))]
    batch: Vec<Size>,
    /// `compression` to try
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = plan::COMPRESSIONS)]
    compression: Vec<Compression>,
    /// How often each setting is measured, in another order each time
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Partitions of the topics that are made for it
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Seconds for the most that a setting does
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    most_for: f64,
    /// Seconds for its latency and CPU at the common rate
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    rate_for: f64,
    /// Write the pictures alone to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    load: Load<Batched>,
}

impl Command {
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let meter = Meter::start();
        let bench = self.bench()?;
        let notes = vec![
            ("klamm".to_owned(), gateway::version(&bench.klamm)),
            ("Kafka".to_owned(), format!("{}, topics of {} partitions", self.cluster.describe()?, self.partitions)),
            ("rounds".to_owned(), self.rounds.to_string()),
        ];
        let batches: Vec<u64> = self.batch.iter().map(|size| size.0).collect();
        let settings = if self.quick { plan::quick() } else { plan::grid(&self.linger, &batches, &self.compression) };
        let plan = plan::rounds(&settings, self.rounds, bench.shape.seed);
        let all = plan.iter().map(Vec::len).sum::<usize>();
        eprintln!("{} settings x {} rounds = {all} measurements", settings.len(), self.rounds);
        let sweep = bench.sweep(&plan, stop, &progress::shown(stop), tell)?;
        let conditions = meter.finish(&bench.shape, None);
        let report = Report { command: "sweep", result: sweep, notes, conditions };
        let sweep = &report.result;
        self.outputs.say(&pictures::table(sweep).terminal());
        self.outputs.say(&pictures::common_rate(sweep));
        if let Some((table, _)) = pictures::classic(sweep) {
            self.outputs.say(&format!("\nThe classic step:\n{}", table.terminal()));
        }
        let (lines, snippet) = pictures::advice(sweep);
        self.outputs.say(&format!("\n{}", lines.join("\n")));
        if let Some(snippet) = snippet {
            self.outputs.say(&format!("\nFor klamm.yaml (the knee):\n\n{snippet}"));
        }
        if let Some(path) = &self.svg {
            let picture = Svg::grid(&pictures::plots(sweep)?, 2).standalone();
            fs::write(path, picture).with_context(|| format!("write {}", path.display()))?;
        }
        self.outputs.write(&report, || pictures::page(sweep, &report.facts()))?;
        if let Some(fault) = &sweep.fault {
            eprintln!("klamm-load: ended early: {fault}");
        }
        Ok(ExitCode::from(u8::from(sweep.fault.is_some())))
    }

    fn bench(&self) -> Result<Bench> {
        let seconds = |flag: &str, number: f64| -> Result<Duration> {
            ensure!(number > 0.0, "--{flag} must be above 0");
            Ok(Duration::try_from_secs_f64(number)?)
        };
        ensure!(self.rounds > 0 && self.partitions > 0, "--rounds and --partitions must be at least 1");
        let (closed, open) = (seconds("most-for", self.most_for)?, seconds("rate-for", self.rate_for)?);
        Ok(Bench {
            klamm: gateway::binary(self.klamm.as_deref())?,
            cluster: self.cluster.clone(),
            partitions: self.partitions,
            shape: Options { duration: open, ..self.load.options("sweep")? },
            closed,
            open,
        })
    }
}

fn tell(one: &Measured) {
    let at_rate = one.fixed.as_ref().map_or_else(String::new, |fixed| {
        let cpu = fixed.cpu_per_event.map_or_else(String::new, |us| format!(", CPU {} us/event", short(us)));
        let doubt = fixed.invalid.first().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("; at the common rate p99 {} ms{cpu}{doubt}", short(fixed.p99))
    });
    let least = if one.at_least { "at least " } else { "" };
    eprintln!("{}: {least}{} events/s{at_rate}", one.setting, short(one.events_per_second));
}
