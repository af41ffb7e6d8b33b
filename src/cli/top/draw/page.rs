//! What the view of a client or a topic says above its tables.

use ratatui::text::{Line, Span};

use super::super::grid::fit;
use super::super::ink::{Ink, Tone};
use super::super::model::{Model, Subject};
use super::super::tables::bar;
use super::super::view::View;
use super::super::wire::{Page, Quota, Row};
use super::spans;
use crate::cli::figures::{ago, bytes, count, percent, plain};

pub(super) fn lines(subject: &Subject, view: &View, model: &Model, ink: Ink, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![path(view, ink)];
    let Some(page) = model.page(subject) else {
        lines.push(Line::styled("Waiting for klamm to tell of it.", ink.tone(Tone::Soft)));
        return lines;
    };
    if !page.known {
        lines.push(Line::styled("It is not known, or has not been met since the start.", ink.tone(Tone::Warn)));
        return lines;
    }
    match subject {
        Subject::All => {}
        Subject::Client(id) => {
            let row = model.clients.get(id).cloned().unwrap_or_default();
            lines.push(soft(&client(&row, page, model.at / 1000), ink, width));
            lines.push(quotas(page.quotas.as_deref().unwrap_or_default(), ink));
        }
        Subject::Topic(id) => {
            let row = model.topics.get(id).cloned().unwrap_or_default();
            lines.push(soft(&topic(&row), ink, width));
            lines.push(soft(&batches(page), ink, width));
        }
    }
    lines
}

/// From the overview to here.
fn path(view: &View, ink: Ink) -> Line<'static> {
    let mut spans = vec![Span::styled("overview", ink.tone(Tone::Soft))];
    for subject in view.path() {
        let (kind, id) = match subject {
            Subject::All => continue,
            Subject::Client(id) => ("client", id),
            Subject::Topic(id) => ("topic", id),
        };
        spans.push(Span::styled(format!(" › {kind} "), ink.tone(Tone::Soft)));
        spans.push(Span::styled(plain(id), ink.title()));
    }
    Line::from(spans)
}

fn soft(words: &str, ink: Ink, width: usize) -> Line<'static> {
    Line::styled(fit(&plain(words), width, false), ink.tone(Tone::Plain))
}

fn client(row: &Row, page: &Page, now: u64) -> String {
    let mut parts = vec![
        format!("last seen {}", ago(row.seen, now)),
        format!("{} events", count(row.events)),
        bytes(row.bytes as f64),
        format!("{} requests refused", count(row.refused())),
        in_flight(row),
    ];
    parts.extend(page.allowed.as_ref().map(|topics| format!("may write to {}", topics.join(", "))));
    parts.extend(page.keys.iter().map(|key| format!("key {} used {}", key.label, ago(key.used, now))));
    parts.join(" · ")
}

fn in_flight(row: &Row) -> String {
    let held = bytes(row.held as f64);
    match row.share {
        Some(share) if row.held > 0 => {
            format!("{held} in flight, {} of its share", percent(row.held as f64 / (share as f64).max(1.0)))
        }
        _ => format!("{held} in flight"),
    }
}

fn quotas(quotas: &[Quota], ink: Ink) -> Line<'static> {
    if quotas.is_empty() {
        return Line::styled("No quota holds for it.", ink.tone(Tone::Soft));
    }
    let mut parts = vec![("quota left ".to_owned(), Tone::Soft)];
    for quota in quotas {
        let left = quota.left as f64 / (quota.burst as f64).max(1.0);
        parts.push((format!(" {} ", quota.name), Tone::Soft));
        parts.push((format!("{} {}  ", bar(left, 5), percent(left)), Tone::of_rest(left)));
    }
    spans(parts, ink)
}

fn topic(row: &Row) -> String {
    let mut parts = vec![format!("{} events", count(row.events)), bytes(row.bytes as f64)];
    parts.extend(row.outcomes.iter().map(|(fate, n)| format!("{} {fate}", count(*n))));
    parts.push(format!("{} wait for Kafka", bytes(row.held as f64)));
    parts.join(" · ")
}

/// Those of the last second, of each producer.
fn batches(page: &Page) -> String {
    let sent = page.batches.iter().filter(|batch| batch.records.avg > 0.0);
    let words = sent.map(|batch| {
        let records = |n: f64| count(n.round() as u64);
        format!(
            "mean {} in {} records, p99 {} in {}",
            bytes(batch.bytes.avg),
            records(batch.records.avg),
            bytes(batch.bytes.p99),
            records(batch.records.p99)
        )
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() {
        "batches: none in the last second".to_owned()
    } else {
        format!("batches: {}", words.join("; "))
    }
}
