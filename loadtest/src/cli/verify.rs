//! `verify`: sends events, reads them back, and checks what was said of each.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::preset::{Counted, Load};
use super::progress::Bar;
use crate::gateway::{self, Gateway, Setup};
use crate::load::{self, Meter, Observer, Options, Stop};
use crate::report::html::Page;
use crate::report::plot::short;
use crate::report::{Outputs, Report, answers};
use crate::topics::Cluster;
use crate::verify::{self, Verified};

/// Checks that every acknowledged event is in Kafka once, as it was sent, and no refused one.
///
/// Sends through the gateway at --url, or through a klamm of its own (--klamm) to a new topic. Exits with 1 if a promise
/// was broken.
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(flatten)]
    cluster: Cluster,
    /// How many events to send; with --duration it ends at whichever comes first
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Start a klamm of its own, this one or (`auto`) the one beside this program or in PATH, and make a topic for it
    #[arg(long, value_name = "FILE")]
    klamm: Option<PathBuf>,
    /// Partitions of the topic that is made with --klamm
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Seconds to wait before reading, where the fate of some events is unknown
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    settle: u64,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    load: Load<Counted>,
}

impl Command {
    pub(super) fn run(self, stop: &Stop) -> Result<ExitCode> {
        let (mut options, meter) = (self.load.options("verify")?, Meter::start());
        ensure!(self.count > 0, "--count must be at least 1");
        options.requests = Some(self.count.div_ceil(options.events.max(1) as u64));
        if options.seed == Options::default().seed {
            // Events of an earlier run in the same topic must not be taken for this one's.
            options.seed = fastrand::u64(..);
        }
        let settle = Duration::from_secs(self.settle);
        let send = |options: &Options, ledger: &dyn load::Ledger| {
            let bar = Bar::new(options, "verify");
            load::run_with(options, stop, Observer { progress: Some(bar.counts()), ledger: Some(ledger) })
        };
        let mut notes = vec![("Kafka".to_owned(), self.cluster.describe()?)];
        let verified = match &self.klamm {
            None => verify::verify(&options, &self.cluster, settle, send)?,
            Some(named) => {
                let klamm = gateway::binary((named.as_os_str() != "auto").then_some(named.as_path()))?;
                notes.push(("klamm".to_owned(), gateway::version(&klamm)));
                let topic = format!("klamm-load-{:08x}", fastrand::u32(..));
                self.cluster.create(&topic, self.partitions)?;
                options.topics = vec![topic.clone()];
                let properties = self.cluster.properties();
                let setup = Setup { properties, ..Setup::new(&self.cluster.bootstrap, &options.topics) };
                let gateway = Gateway::start(&klamm, &setup)?;
                options.headers.extend(gateway.header());
                options = Options { url: gateway.url(), pid: Some(gateway.pid()), ..options };
                let verified = verify::verify(&options, &self.cluster, settle, send)?;
                gateway.stop()?;
                if verified.findings.holds() {
                    self.cluster.delete(&topic)?;
                } else {
                    eprintln!("the topic {topic} is kept");
                }
                verified
            }
        };
        let (holds, conditions) = (verified.findings.holds(), meter.finish(&options, None));
        let report = Report { command: "verify", result: verified, notes, conditions };
        self.outputs.say(&answers::table(&report.result.run).terminal());
        self.outputs.say(&report.result.findings.table().terminal());
        for offender in report.result.findings.offenders() {
            self.outputs.say(&offender);
        }
        self.outputs.say(&report.result.sentence());
        self.outputs.write(&report, || Ok(page(&report.result, &report.facts())))?;
        Ok(ExitCode::from(u8::from(!holds)))
    }
}

fn page(verified: &Verified, facts: &[(String, String)]) -> Page {
    let mut page = Page::new("Verification");
    page.lead(&verified.sentence()).table(&verified.findings.table());
    for offender in verified.findings.offenders() {
        page.warning(&offender);
    }
    let speed = format!("Sent at {} events/s.", short(verified.run.events_per_second()));
    page.paragraph(&speed).heading("Answers").table(&answers::table(&verified.run));
    page.heading("Conditions").facts(facts);
    page
}
