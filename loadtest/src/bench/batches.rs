//! P1 and P4: batches of 500 at full load, CPU per event against librdkafka alone.

use anyhow::Result;

use super::row::{Bar, Row};
use super::trial::{Sample, Trial};
use super::{Bench, PARTITIONS};
use crate::load::{self, Form};

/// P1: NDJSON against one call a message, and against the batch call.
pub(super) fn ndjson(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    let gateway = bench.start(&bench.setup(&stage), &stage)?;
    let [klamm, message, batch] = bench.rounds(
        "P1",
        &[
            Trial::new("klamm", |round| Ok(Sample::from(bench.http(&bench.batches(&gateway, &stage, round))?))),
            Trial::new("raw, a call a message", |round| Ok(Sample::from(bench.raw(&stage, round, &[])?))),
            Trial::new("raw, a call a batch", |round| Ok(Sample::from(bench.raw(&stage, round, &["--batch"])?))),
        ],
    )?;
    let name = "NDJSON x 500, 160 B, 16 connections, acknowledged";
    let row = |id, against, yardstick: &[f64], bar| {
        let name = format!("{name}: CPU per event; against raw librdkafka, {against}");
        Row::against(id, &name, "us", &klamm.cpu(), yardstick, bar)
    };
    let rate = format!("{name}: events per second; against raw librdkafka, a call a message");
    Ok(vec![
        row("P1", "a call a message", &message.cpu(), Bar::AtMost(1.0)),
        row("P1b", "a call a batch (aim: 1)", &batch.cpu(), Bar::None),
        Row::against("P1c", &rate, "1/s", &klamm.rate(), &message.rate(), Bar::None),
    ])
}

/// What differs from P1.
struct Variant {
    id: &'static str,
    name: &'static str,
    change: fn(&mut load::Options),
    raw: &'static [&'static str],
}

const VARIANTS: [Variant; 5] = [
    Variant { id: "P4a", name: "JSON array x 500, 160 B", change: |load| load.form = Form::Array, raw: &[] },
    Variant {
        id: "P4b",
        name: "envelope x 500 with keys, 160 B",
        change: |load| (load.form, load.keyed) = (Form::Envelope, true),
        raw: &["--keyed"],
    },
    Variant { id: "P4c", name: "NDJSON x 500, 1 KB", change: |load| load.size = 1024, raw: &["--size", "1024"] },
    Variant { id: "P4d", name: "NDJSON x 500, 10 KB", change: |load| load.size = 10_240, raw: &["--size", "10240"] },
    Variant { id: "P4e", name: "NDJSON x 500, 160 B, gzip", change: |load| load.gzip = true, raw: &[] },
];

/// P4: other bodies, each against raw librdkafka with the same events.
pub(super) fn variants(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    let gateway = bench.start(&bench.setup(&stage), &stage)?;
    let mut rows = Vec::new();
    for variant in VARIANTS.iter().filter(|variant| bench.settings.wants(variant.id)) {
        let load = |round| {
            let mut load = bench.batches(&gateway, &stage, round);
            (variant.change)(&mut load);
            load
        };
        let [klamm, raw] = bench.rounds(
            variant.id,
            &[
                Trial::new("klamm", |round| Ok(Sample::from(bench.http(&load(round))?))),
                Trial::new("raw", |round| Ok(Sample::from(bench.raw(&stage, round, variant.raw)?))),
            ],
        )?;
        let name = format!("{}: CPU per event; against raw librdkafka with the same events", variant.name);
        rows.push(Row::against(variant.id, &name, "us", &klamm.cpu(), &raw.cpu(), Bar::None));
    }
    Ok(rows)
}
