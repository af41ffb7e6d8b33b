//! `compare`: two targets, or two klamms, under the same load in turns.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use super::preset::{Load, Paired};
use super::progress;
use crate::compare::{self, Round};
use crate::gateway::{self, Gateway, Setup};
use crate::load::{Meter, Options, Stop};
use crate::report::plot::short;
use crate::report::{Outputs, Report};
use crate::stage::{Stage, Tier};
use crate::topics::{Cluster, pair};

/// Compares two targets in turns, A B B A, and says whether a difference can be told.
///
/// A target is a URL (`--a-url`, and `--a-pid` for its CPU), or a klamm to start (`--a-klamm`, `--a-set`) with a config
/// made for it against `--bootstrap` or `--mock`, or with `--a-config`. Without --rate: throughput and CPU; with it:
/// latency and CPU.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    a: Side<'a'>,
    #[command(flatten)]
    b: Side<'b'>,
    #[command(flatten)]
    cluster: Cluster,
    /// Against a mock broker that answers at once, in a process of its own: what klamm costs, and no disk
    #[arg(long, conflicts_with_all = ["bootstrap", "properties"])]
    mock: bool,
    /// Partitions of the topic that is made where klamm is started
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// How many times each is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    load: Load<Paired>,
}

/// The flags of one target; `NAME` is `a` or `b`.
#[derive(Debug, Clone, Default)]
struct Side<const NAME: char> {
    url: Option<String>,
    headers: Vec<String>,
    pid: Option<u32>,
    klamm: Option<PathBuf>,
    config: Option<PathBuf>,
    set: Vec<(String, String)>,
}

impl<const NAME: char> clap::Args for Side<NAME> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let [url, header, pid, klamm, config, set] = Self::flags();
        let flag = |name: &'static str, value: &'static str, help: &'static str| {
            clap::Arg::new(name).long(name).value_name(value).help(help)
        };
        let path = clap::value_parser!(PathBuf);
        let many = clap::ArgAction::Append;
        command
            .arg(flag(url, "URL", "Where this target takes events, with `{topic}` in it"))
            .arg(flag(header, "HEADER", "A header for this target alone (repeat)").action(many.clone()))
            .arg(flag(pid, "PID", "Its process, for CPU").value_parser(clap::value_parser!(u32)))
            .arg(
                flag(klamm, "FILE", "Start this klamm; default the one beside this program").value_parser(path.clone()),
            )
            .arg(
                flag(config, "FILE", "Its config; without it one is made against --bootstrap or --mock")
                    .value_parser(path),
            )
            .arg(flag(set, "KEY=VALUE", "A key of its config (repeat)").action(many).value_parser(pair))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<const NAME: char> clap::FromArgMatches for Side<NAME> {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let [url, header, pid, klamm, config, set] = Self::flags();
        Ok(Self {
            url: matches.get_one(url).cloned(),
            headers: matches.get_many(header).into_iter().flatten().cloned().collect(),
            pid: matches.get_one(pid).copied(),
            klamm: matches.get_one(klamm).cloned(),
            config: matches.get_one(config).cloned(),
            set: matches.get_many(set).into_iter().flatten().cloned().collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A target that is ready, and how the report names it.
struct Target {
    options: Options,
    name: String,
    /// Kept running until the end.
    gateway: Option<Gateway>,
}

impl<const NAME: char> Side<NAME> {
    const fn flags() -> [&'static str; 6] {
        match NAME {
            'a' => ["a-url", "a-header", "a-pid", "a-klamm", "a-config", "a-set"],
            _ => ["b-url", "b-header", "b-pid", "b-klamm", "b-config", "b-set"],
        }
    }

    fn starts(&self) -> bool {
        self.url.is_none()
    }

    fn target(self, options: &Options, cluster: &Cluster, stage: Option<&Stage>) -> Result<Target> {
        let mut options = options.clone();
        options.headers.extend(self.headers);
        if let Some(url) = self.url {
            ensure!(
                self.klamm.is_none() && self.config.is_none() && self.set.is_empty(),
                "--{NAME}-url excludes --{NAME}-klamm, --{NAME}-config and --{NAME}-set"
            );
            options.pid = self.pid;
            return Ok(Target { name: url.clone(), options: Options { url, ..options }, gateway: None });
        }
        ensure!(self.pid.is_none(), "--{NAME}-pid goes with --{NAME}-url");
        let klamm = gateway::binary(self.klamm.as_deref())?;
        let set: String = self.set.iter().map(|(key, value)| format!(" --set {key}={value}")).collect();
        let mut name = format!("{} ({}){set}", klamm.display(), gateway::version(&klamm));
        let gateway = match (&self.config, stage) {
            (Some(config), _) => {
                name.push_str(&format!(" with {}", config.display()));
                Gateway::start_with(&klamm, config, &self.set)?
            }
            (None, stage) => {
                let stage = stage.context("no topic was made")?;
                let properties = cluster.properties();
                let setup = Setup { properties, set: self.set, ..Setup::new(&stage.bootstrap, &stage.topics) };
                options.topics.clone_from(&stage.topics);
                Gateway::start(&klamm, &setup)?
            }
        };
        options.headers.extend(gateway.header());
        options = Options { url: gateway.url(), pid: Some(gateway.pid()), ..options };
        Ok(Target { options, name, gateway: Some(gateway) })
    }
}

impl Command {
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let (options, meter) = (self.load.options("compare")?, Meter::start());
        ensure!(self.rounds > 0 && self.partitions > 0, "--rounds and --partitions must be at least 1");
        let made = (self.a.starts() && self.a.config.is_none()) || (self.b.starts() && self.b.config.is_none());
        ensure!(made || !self.mock, "--mock is for a klamm that is started without a config");
        let stage = match (made, self.mock) {
            (false, _) => None,
            (true, true) => Some(Stage::mock(1, self.partitions, 0)?),
            (true, false) => Some(Stage::real(&self.cluster, 1, self.partitions)?),
        };
        let (names, rounds) = compared(self.a, self.b, &options, &self.cluster, stage.as_ref(), self.rounds, stop)?;
        let fixed = options.rate.is_some();
        let comparison = compare::conclude(names, rounds, fixed, options.seed, stop.is_stopped());
        let conditions = meter.finish(&options, None);
        let mock = self.mock.then(|| ("broker".to_owned(), Tier::Mock.describe()));
        let notes = mock.into_iter().collect();
        let report = Report { command: "compare", result: comparison, notes, conditions };
        let comparison = &report.result;
        self.outputs.say(&format!("A: {}\nB: {}", comparison.names[0], comparison.names[1]));
        self.outputs.say(&comparison.table().terminal());
        for finding in &comparison.findings {
            self.outputs.say(&finding.sentence());
        }
        for doubt in &comparison.doubts {
            self.outputs.say(&format!("IN DOUBT: {doubt}"));
        }
        self.outputs.write(&report, || comparison.page(fixed, &report.facts()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn compared(
    a: Side<'a'>,
    b: Side<'b'>,
    options: &Options,
    cluster: &Cluster,
    stage: Option<&Stage>,
    count: usize,
    stop: &Stop,
) -> Result<([String; 2], Vec<Round>)> {
    let a = a.target(options, cluster, stage).context("target A")?;
    let b = b.target(options, cluster, stage).context("target B")?;
    let rounds = compare::rounds(&a.options, &b.options, count, stop, &progress::shown(stop), |round| {
        let one = |figures: &compare::Figures| {
            format!("{} events/s, p99 {} ms", short(figures.events_per_second), short(figures.p99))
        };
        eprintln!("A {}; B {}", one(&round.a), one(&round.b));
    })?;
    for gateway in [a.gateway, b.gateway].into_iter().flatten() {
        gateway.stop()?;
    }
    Ok(([a.name, b.name], rounds))
}
