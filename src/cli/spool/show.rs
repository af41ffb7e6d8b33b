//! What `klamm spool` prints.

use std::io::{self, Write};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::{Event, Piece};
use crate::stages::spool::inspect::{Report, Shown};
use crate::units::{ByteSize, Span};

/// A table of what waits.
pub(super) fn list(report: &Report, now: SystemTime, out: &mut dyn Write) -> io::Result<()> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut rows = vec![["client", "topic", "events", "bytes", "oldest", "parked"].map(str::to_owned)];
    for stream in &report.streams {
        rows.push([
            stream.client.clone(),
            stream.topic.clone(),
            stream.events.to_string(),
            stream.bytes.to_string(),
            age(now.saturating_sub(stream.oldest)),
            stream.parked.to_string(),
        ]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    let disk = ByteSize::bytes(report.files.iter().map(|file| file.bytes).sum());
    let damaged = report.files.iter().filter(|file| !file.damage.is_empty()).count();
    let quarantined = damaged + report.aside.len();
    writeln!(out, "{} events, {} files of {disk}, {quarantined} quarantined", report.events(), report.files.len())
}

/// `90s` as `1m`: the largest unit that fits.
fn age(seconds: u64) -> String {
    let unit = [86_400, 3600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    Span::secs(seconds / unit * unit).to_string()
}

/// A line for each part that cannot be read, or that there is none.
pub(super) fn damage(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for file in &report.files {
        for damage in &file.damage {
            let (name, offset) = (&file.file, damage.offset);
            writeln!(out, "{name}: offset {offset}: {} events lost in {} entries", damage.events, damage.entries)?;
        }
    }
    if !report.is_damaged() {
        writeln!(out, "clean: {} events in {} files", report.events(), report.files.len())?;
    }
    Ok(())
}

/// A line of JSON for each event of an entry.
pub(super) fn events(entry: &Shown<'_>, out: &mut dyn Write) -> io::Result<()> {
    let received = OffsetDateTime::from(entry.received).format(&Rfc3339).map_err(io::Error::other)?;
    for event in &entry.batch.events {
        let line = json!({
            "client": entry.client,
            "topic": entry.topic,
            "request_id": entry.request,
            "event_id": format!("{}-{}", entry.ids.hyphenated(), event.index),
            "index": event.index,
            "received": received,
            "key": bytes(entry, event.key),
            "value": bytes(entry, event.value),
            "headers": headers(entry, event),
            "partition": event.partition,
            "timestamp": event.timestamp,
        });
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(())
}

/// In base64; null where there are none.
fn bytes(entry: &Shown<'_>, piece: Option<Piece>) -> Value {
    piece.map_or(Value::Null, |piece| STANDARD.encode(entry.batch.bytes(piece)).into())
}

/// Pairs, as a name may stand twice.
fn headers(entry: &Shown<'_>, event: &Event) -> Vec<Value> {
    let name = |piece| String::from_utf8_lossy(entry.batch.bytes(piece)).into_owned();
    let headers = entry.batch.headers(event).iter();
    headers.map(|header| json!([name(header.name), bytes(entry, header.value)])).collect()
}
