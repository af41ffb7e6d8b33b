//! What is drawn, what keys do, what events do.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::draw::draw;
use super::ink::Ink;
use super::model::{Model, Subject};
use super::view::{View, Wish};
use crate::cli::admin::sse::Event;

mod keys;
mod pictures;
mod stream;

/// A row of a table, as klamm tells it; `more` goes over.
fn row(id: &str, events: u64, refused: f64, more: Value) -> Value {
    let mut row = json!({
        "id": id, "ev": events as f64 / 10.0, "by": events as f64 * 12.0, "rq": 10.0, "rf": refused, "fl": 0.0,
        "p50": 0.0031, "p99": 0.0124, "events": events, "bytes": events * 120, "requests": events, "outcomes": {},
        "codes": {}, "seen": 1_700_000_000, "held": 0,
    });
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

/// A `hello`, all fine but for refusals.
fn hello() -> Value {
    let codes = json!({ "rate_limited": 72, "malformed_body": 5 });
    let head = json!({
        "phase": "serving", "kafka_up": true, "complaints": [], "unsafe": false, "brokers": { "up": 3, "known": 3 },
        "total": row("", 13_345, 2.0, json!({ "codes": codes })), "budget": { "used": 26_843_545, "of": 268_435_456u64 },
        "queue": { "used": 1, "of": 100 }, "queue_records": 12, "reload": { "ok": true, "generation": 1, "at": null },
        "history": { "used": 0, "of": 100 }, "tap_payload": false, "uptime": 7_380,
    });
    let points: Vec<_> = (0..30).map(|n| json!([n, n * 10, 1000, n % 3, 0, 0.003, 0.01, 0.1, 0, null])).collect();
    json!({
        "full": true, "tick": 30, "at": 1_700_000_000_500u64, "version": "0.1.0", "instance": "klamm-1",
        "ingest": "127.0.0.1:8080", "cluster": "default", "bootstrap": ["k1:9092", "k2:9092"], "slowest": 30.0,
        "head": head, "points": points, "kafka": [],
        "clients": [
            row("shop", 12_000, 0.0, json!({ "room": { "requests": 0.82, "events": 0.95 }, "codes": { "malformed_body": 5 } })),
            row("till", 1_300, 2.0, json!({ "room": { "requests": 0.04 }, "codes": { "rate_limited": 72 }, "p99": "over" })),
            row("audit-of-the-whole-company", 45, 0.0, json!({ "ev": 0, "by": 0, "p99": null, "seen": 1_699_999_400 })),
        ],
        "topics": [
            row("orders", 12_345, 2.0, json!({ "partitions": 6, "spread": 1.2 })),
            row("clicks", 1_000, 0.0, json!({ "partitions": 3, "spread": 2.95, "outcomes": { "failed": 7 } })),
        ],
    })
}

/// What klamm tells of `till`.
fn till() -> Value {
    let problem =
        json!({ "code": "rate_limited", "status": 429, "detail": "the quota of \u{1b}[31mrequests is used up" });
    json!({
        "client": "till", "known": true, "allowed": ["orders"],
        "topics": [row("orders", 1_300, 2.0, json!({ "codes": { "rate_limited": 72 } }))],
        "keys": [{ "label": "2026-11", "expires": null, "used": 1_700_000_000 }],
        "quotas": [{ "name": "requests", "burst": 100, "left": 4, "window": 1, "reset": 1 }],
        "curve": { "step": 5, "points": [[1.0, 10.0, 0.0, 0.0, 0.003, 0.01, 0.1], [4.0, 40.0, 2.0, 0.0, 0.003, 0.01, 0.96]] },
        "problems": [{ "code": "rate_limited", "at": 1_699_999_999_000u64, "body": problem.to_string() }],
        "requests": [
            { "at": 1_699_999_999_000u64, "id": "01a1", "topic": "orders", "status": 429, "code": "rate_limited", "events": 0, "bytes": 0, "took": 0.00002 },
            { "at": 1_699_999_998_000u64, "id": "01a0", "topic": "orders", "status": 200, "code": null, "events": 3, "bytes": 360, "took": 0.0071 },
        ],
    })
}

/// What klamm tells of `orders`.
fn orders() -> Value {
    json!({
        "topic": "orders", "known": true, "policy": null,
        "clients": [row("shop", 11_045, 0.0, json!({})), row("till", 1_300, 2.0, json!({ "codes": { "rate_limited": 72 } }))],
        "curve": { "step": 5, "points": [] },
        "partitions": [{ "id": 0, "leader": 1, "rate": 30.0 }, { "id": 1, "leader": -1, "rate": 10.0 }],
        "batches": [{ "bytes": { "avg": 1_000, "p99": 2_000 }, "records": { "avg": 10, "p99": 20 } }],
        "errors": [{ "error": "not enough in-sync replicas", "count": 7, "last": 1_699_999_980 }],
    })
}

fn event(name: &str, data: &Value) -> Event {
    Event { name: name.to_owned(), data: data.to_string() }
}

/// A model that was told this.
fn told(events: &[(&str, Value)]) -> Model {
    let mut model = Model::default();
    for (name, data) in events {
        model.apply(&event(name, data), Instant::now()).unwrap();
    }
    model
}

fn press(view: &mut View, model: &Model, code: KeyCode) -> Wish {
    view.press(KeyEvent::new(code, KeyModifiers::NONE), model)
}

/// Presses these; the last wish.
fn keys(view: &mut View, model: &Model, codes: &[KeyCode]) -> Wish {
    codes.iter().fold(Wish::Nothing, |_, code| press(view, model, *code))
}

/// The picture, `after` so much time.
fn picture(view: &View, model: &Model, (width, height): (u16, u16), after: Duration) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let ink = Ink::new(None);
    terminal.draw(|frame| draw(frame, view, model, ink, Instant::now() + after)).unwrap();
    terminal
}

/// Its text.
fn text(view: &View, model: &Model, size: (u16, u16)) -> String {
    let terminal = picture(view, model, size, Duration::ZERO);
    let buffer = terminal.backend().buffer();
    let symbols: Vec<_> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
    let lines = symbols.chunks(usize::from(size.0)).map(|line| line.concat().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// The colours of all cells of a picture.
fn colours(ink: Ink, view: &View, model: &Model) -> Vec<Color> {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, view, model, ink, Instant::now())).unwrap();
    terminal.backend().buffer().content().iter().flat_map(|cell| [cell.fg, cell.bg]).collect()
}
