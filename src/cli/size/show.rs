//! What `klamm size` prints: every assumption with its source, then the plan.

use std::ffi::OsStr;
use std::io::{self, Write};

use serde::Serialize;

use super::plan::{Assumptions, Bound, Plan};
use crate::units::Span;

/// One thing that is taken for granted.
#[derive(Debug, Serialize)]
pub(super) struct Assumed {
    /// The flag that says otherwise.
    #[serde(skip)]
    pub flag: String,
    value: String,
    meaning: String,
    source: String,
}

impl Assumed {
    /// `source` is that of the default; what is not the default, or `given`, is the caller's.
    pub(super) fn of(flag: &str, value: String, source: &str, given: bool) -> Self {
        let command = crate::cli::definition();
        let arg = command
            .find_subcommand("size")
            .and_then(|size| size.get_arguments().find(|arg| arg.get_long() == Some(flag)));
        let default = arg.and_then(|arg| arg.get_default_values().first());
        let is_default = default.is_none_or(|default| default.as_os_str() == OsStr::new(&value));
        let help = arg.and_then(clap::Arg::get_help).map(ToString::to_string).unwrap_or_default();
        let meaning = help.split(" [default").next().unwrap_or_default().to_owned();
        let source = if given || !is_default { "given" } else { source };
        Self { flag: flag.to_owned(), value, meaning, source: source.to_owned() }
    }
}

/// A line each.
pub(super) fn assumed(rows: &[Assumed], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Assumed:\n")?;
    let flag = |row: &Assumed| format!("--{} {}", row.flag, row.value);
    let widths = [rows.iter().map(|row| flag(row).len()).max(), rows.iter().map(|row| row.meaning.len()).max()];
    let [flags, meanings] = widths.map(Option::unwrap_or_default);
    for row in rows {
        writeln!(out, "  {:flags$}  {:meanings$}  ({})", flag(row), row.meaning, row.source)?;
    }
    Ok(())
}

/// The plan, with words.
pub(super) fn plan(of: &Assumptions, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let [core, spooling, requests] = [plan.events_per_core, plan.events_per_core_spooling, plan.requests].map(grouped);
    writeln!(
        out,
        "\nA busy core takes {core} events/s, {spooling} while they go to the spool; {requests} requests/s come in."
    )?;
    let lost = if of.zones > 1 { "a zone" } else { "a replica" };
    writeln!(out, "\nklamm (a replica's figures: with {lost} lost)\n")?;
    table(&replicas(of, plan, lost), out)?;
    writeln!(out, "\nKafka\n")?;
    table(&kafka(of, plan), out)
}

type Row = (&'static str, String, String);

fn replicas(of: &Assumptions, plan: &Plan, lost: &str) -> Vec<Row> {
    let why = match plan.bound {
        Bound::Processor => "for the processor",
        Bound::ProcessorSpooling => "for the processor while they spool",
        Bound::SpoolDisk => "for the disk while they spool",
    };
    let Plan { replicas_needed, replicas_lost, busy, busy_left, busy_spooling, .. } = plan;
    let count = format!("{replicas_needed} needed {why}, {lost} ({replicas_lost}) may be lost");
    let cores = format!("{} a replica; {busy} % busy, {busy_left} % with {lost} lost", of.cores);
    let memory = format!("a replica; its budget takes the load for {} without Kafka", span(plan.budget_lasts_ms));
    let network = format!("to a replica, {}/s from it", bytes(plan.network_out));
    let mut rows = vec![
        ("replicas", grouped(plan.replicas), count),
        ("cores", grouped(plan.cores), cores),
        ("memory", bytes(plan.memory), memory),
        ("network", format!("{}/s", bytes(plan.network_in)), network),
    ];
    if plan.spool > 0 {
        let (write, outage) = (bytes(plan.spool_write), span(of.outage_ms));
        let words =
            format!("a replica, for an outage of {outage}; {write}/s written then, cores {busy_spooling} % busy");
        rows.push(("spool", bytes(plan.spool), words));
    }
    rows
}

fn kafka(of: &Assumptions, plan: &Plan) -> Vec<Row> {
    let (batch, linger) = (plan.keyed_batch_hundredths, span(of.linger_ms));
    let keyed = format!("with keys a batch of one gets {}.{:02} events in {linger}", batch / 100, batch % 100);
    let written = format!("{}/s written by each, {}/s sent", bytes(plan.broker_write), bytes(plan.broker_out));
    let kept = format!("a broker, kept {}", span(of.retention_ms));
    vec![
        ("partitions", grouped(plan.partitions), keyed),
        ("brokers", grouped(plan.brokers), written),
        ("disk", bytes(plan.broker_disk), kept),
    ]
}

fn table(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let width = rows.iter().map(|(_, value, _)| value.len()).max().unwrap_or_default();
    for (name, value, words) in rows {
        writeln!(out, "  {name:10}  {value:>width$}  {words}")?;
    }
    Ok(())
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In the largest unit of 1000 that fits, three digits or more, rounded up.
fn bytes(number: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| number >= *unit) else { return format!("{number} B") };
    let whole = number / unit;
    if whole >= 100 {
        return format!("{} {name}", grouped(number.div_ceil(unit)));
    }
    let parts = if whole >= 10 { 10 } else { 100 };
    let scaled = (u128::from(number) * parts).div_ceil(u128::from(unit));
    let digits = if parts == 10 { 1 } else { 2 };
    format!("{}.{:0digits$} {name}", scaled / parts, scaled % parts)
}

/// As the config writes times; what is no whole second, and above one, in tenths.
fn span(millis: u64) -> String {
    if millis > 1000 && !millis.is_multiple_of(1000) {
        return format!("{}.{}s", grouped(millis / 1000), millis % 1000 / 100);
    }
    Span::millis(millis).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 KB"),
            (9_991, "10.00 KB"),
            (12_345_678, "12.4 MB"),
            (999_999_999, "1,000 MB"),
            (5_760_000_000_001, "5.77 TB"),
            (u64::MAX, "18,446,745 TB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!([0, 999, 1827, 2000, 600_000].map(span), ["0s", "999ms", "1.8s", "2s", "10m"]);
    }
}
