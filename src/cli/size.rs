//! `klamm size`: how many klamm, partitions and brokers a rate of events needs, from assumptions that it prints. Needs no
//! config and no Kafka. What it promises is arithmetic: measure your own machine before you buy.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Map, Value, json};

use crate::units::{ByteSize, Percent, Rate, Span};

mod cost;
mod plan;
mod show;

use self::plan::{Assumptions, Plan};

/// More than anybody has, and little enough to reckon with.
const MOST_EVENTS: u64 = 1_000_000_000_000;
/// The largest event that a config may allow.
const LARGEST: ByteSize = ByteSize::mib(100);
/// More of anything is a slip of the keyboard.
const MANY: u64 = 1_000_000;

/// Compute how many klamm, partitions and brokers a rate of events needs, and from which assumptions
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  klamm size --events 1000000/s
  klamm size --events 100000000/s --event 200B --cores 8 --disk-write 1GB/s
  klamm size --events 10000/s --batch 1 --outage 0s --json")]
pub(super) struct Size {
    /// Events that come in, at the busiest time
    #[arg(long, value_name = "RATE", value_parser = rate)]
    events: u64,

    /// Bytes of an event
    #[arg(long, value_name = "SIZE", default_value = "200B", value_parser = event)]
    event: ByteSize,

    /// Events of a request
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = count())]
    batch: u64,

    /// Events that one busy core takes [default: by size and batch]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    core: Option<u64>,

    /// How busy the cores may be once a zone is lost
    #[arg(long, value_name = "SHARE", default_value = "50%")]
    busy: Percent,

    /// Cores of a replica
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = count())]
    cores: u64,

    /// Zones, of which one may be lost; with 1, one replica may be
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = count())]
    zones: u64,

    /// Memory of a replica for events in flight
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    in_flight: ByteSize,

    /// Connections of a replica
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = count())]
    connections: u64,

    /// Kafka's longest outage that the spool takes up; 0s: there is no spool
    #[arg(long, value_name = "TIME", default_value = "10m")]
    outage: Span,

    /// What a replica's disk writes in a second
    #[arg(long, value_name = "SIZE/s", default_value = "125MB/s", value_parser = flow)]
    disk_write: ByteSize,

    /// How full disks may get
    #[arg(long, value_name = "SHARE", default_value = "80%")]
    disk: Percent,

    /// Events that one consumer reads and works off; it has a partition of its own
    #[arg(long, value_name = "RATE", default_value = "20000/s", value_parser = rate)]
    consumer: u64,

    /// Consumer groups, each of which reads everything
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = count())]
    groups: u64,

    /// How long a record of a partition waits for others
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    linger: Span,

    /// What compression leaves of the bytes
    #[arg(long, value_name = "SHARE", default_value = "50%")]
    compressed: Percent,

    /// Replication factor
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = count())]
    replication: u64,

    /// What a broker writes in a second, copies included
    #[arg(long, value_name = "SIZE/s", default_value = "100MB/s", value_parser = flow)]
    broker_write: ByteSize,

    /// Partitions of a broker, copies included
    #[arg(long, value_name = "COUNT", default_value = "4000", value_parser = count())]
    broker_partitions: u64,

    /// How long Kafka keeps events
    #[arg(long, value_name = "TIME", default_value = "1d")]
    retention: Span,

    /// As one JSON document, in bytes and milliseconds
    #[arg(long)]
    json: bool,
}

/// Events a second, rounded up.
fn rate(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a rate of events such as 5000/s or 90/m");
    let rate: Rate = text.parse().map_err(|_| bad())?;
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(['B', 'b']) {
        return Err(bad());
    }
    let events = rate.units().get().div_ceil(rate.period().as_secs());
    if events > MOST_EVENTS { Err(format!("is above {MOST_EVENTS}/s")) } else { Ok(events) }
}

/// Bytes a second.
fn flow(text: &str) -> Result<ByteSize, String> {
    let flow = text.strip_suffix("/s").and_then(|size| size.parse::<ByteSize>().ok());
    flow.filter(|flow| !flow.is_empty()).ok_or_else(|| format!("`{text}` is not bytes a second such as 125MB/s"))
}

fn event(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    let good = !size.is_empty() && size <= LARGEST;
    if good { Ok(size) } else { Err(format!("an event has 1B to {LARGEST}")) }
}

fn count() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=MANY)
}

impl Size {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let plan = Plan::of(&self.assumptions());
        let rows = self.assumed();
        if self.json {
            let assumed: Map<_, _> = rows.iter().map(|row| (row.flag.clone(), json!(row))).collect();
            let value = json!({ "assumed": Value::Object(assumed), "plan": plan });
            writeln!(out, "{value}")?;
        } else {
            show::assumed(&rows, out)?;
            show::plan(&self.assumptions(), &plan, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn assumptions(&self) -> Assumptions {
        Assumptions {
            events: self.events,
            event: self.event.get(),
            batch: self.batch,
            core: self.core.unwrap_or_else(|| cost::per_core(self.batch, self.event.get())),
            busy: self.busy.of(100),
            cores: self.cores,
            zones: self.zones,
            in_flight: self.in_flight.get(),
            connections: self.connections,
            outage_ms: millis(self.outage),
            disk_write: self.disk_write.get(),
            disk: self.disk.of(100),
            consumer: self.consumer,
            groups: self.groups,
            linger_ms: millis(self.linger),
            compressed: self.compressed.of(100),
            replication: self.replication,
            broker_write: self.broker_write.get(),
            broker_partitions: self.broker_partitions,
            retention_ms: millis(self.retention),
        }
    }

    /// What is assumed, in the order of the flags.
    fn assumed(&self) -> Vec<show::Assumed> {
        const YOURS: &str = "a guess: yours to say";
        const MEASURE: &str = "a guess: measure yours";
        const DEFAULT: &str = "the config's default";
        let rate = |rate: u64| format!("{rate}/s");
        let core = rate(self.assumptions().core);
        let rows = [
            ("events", rate(self.events), ""),
            ("event", self.event.to_string(), YOURS),
            ("batch", self.batch.to_string(), YOURS),
            ("core", core, "docs/performance.md: P1, P2, P2b, P4c, P4d"),
            ("busy", self.busy.to_string(), "room to catch up, and for peaks"),
            ("cores", self.cores.to_string(), "measured on 2 only: measure yours"),
            ("zones", self.zones.to_string(), YOURS),
            ("in-flight", self.in_flight.to_string(), "budget.total, the config's default"),
            ("connections", self.connections.to_string(), "ingest.connections, the config's default"),
            ("outage", self.outage.to_string(), YOURS),
            ("disk-write", format!("{}/s", self.disk_write), "docs/performance.md: S2, rounded"),
            ("disk", self.disk.to_string(), "room to clean up"),
            ("consumer", rate(self.consumer), MEASURE),
            ("groups", self.groups.to_string(), YOURS),
            ("linger", self.linger.to_string(), DEFAULT),
            ("compressed", self.compressed.to_string(), MEASURE),
            ("replication", self.replication.to_string(), "what survives a broker, with min.insync.replicas=2"),
            ("broker-write", format!("{}/s", self.broker_write), MEASURE),
            ("broker-partitions", self.broker_partitions.to_string(), "a common rule of thumb"),
            ("retention", self.retention.to_string(), YOURS),
        ];
        let given = |flag: &str| flag == "events" || flag == "core" && self.core.is_some();
        rows.map(|(flag, value, source)| show::Assumed::of(flag, value, source, given(flag))).into()
    }
}

/// Of a time whose grain is milliseconds.
fn millis(span: Span) -> u64 {
    u64::try_from(span.get().as_millis()).unwrap_or(u64::MAX)
}
