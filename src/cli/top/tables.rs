//! The tables of each view, and what stands in their columns.

use super::grid::{Cell, Column, Grid, Key, Sort};
use super::ink::Tone;
use super::model::{Model, Subject};
use super::wire::{Page, Request, Row, Time, Took};
use crate::cli::figures::{ago, bytes, clock, count, percent, rate};

/// What a table lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Clients: all, or those of a topic.
    Clients,
    /// Topics: all, or those of a client.
    Topics,
    /// Refusals by code: of all, or of a client.
    Codes,
    /// A client's last requests.
    Requests,
    /// A topic's partitions.
    Partitions,
    /// What brokers answered for a topic.
    Errors,
}

/// The tables of a view, from above.
pub(super) fn kinds(subject: &Subject) -> [Kind; 3] {
    match subject {
        Subject::All => [Kind::Clients, Kind::Topics, Kind::Codes],
        Subject::Client(_) => [Kind::Topics, Kind::Codes, Kind::Requests],
        Subject::Topic(_) => [Kind::Clients, Kind::Partitions, Kind::Errors],
    }
}

const CLIENTS: &[Column] = &[
    Column::words("CLIENT", 0),
    Column::figures("EVENTS/S", 9),
    Column::figures("BYTES/S", 8),
    Column::figures("REFUSED/S", 12),
    Column::figures("P99", 8),
    Column::words("QUOTA LEFT", 14),
    Column::figures("EVENTS", 9),
    Column::figures("IN FLIGHT", 9).from(96),
    Column::figures("SEEN", 10).from(96),
    Column::figures("REFUSED", 9).from(120),
    Column::words("REFUSALS BY CODE", 40).from(150),
];

const TOPICS: &[Column] = &[
    Column::words("TOPIC", 0),
    Column::figures("EVENTS/S", 9),
    Column::figures("BYTES/S", 8),
    Column::figures("REFUSED/S", 12),
    Column::figures("P99", 8),
    Column::words("BUSIEST PART.", 14),
    Column::figures("EVENTS", 9),
    Column::figures("PARTITIONS", 10).from(96),
    Column::figures("UNWRITTEN", 9).from(96),
    Column::figures("REFUSED", 9).from(120),
    Column::words("REFUSALS BY CODE", 40).from(150),
];

/// One within the other has neither quota nor spread.
const PART: &[Column] = &[
    Column::words("NAME", 0),
    Column::figures("EVENTS/S", 9),
    Column::figures("BYTES/S", 8),
    Column::figures("REFUSED/S", 12),
    Column::figures("P99", 8),
    Column::figures("EVENTS", 9),
    Column::figures("REFUSED", 8),
    Column::figures("BYTES", 8).from(96),
];

const CODES: &[Column] = &[
    Column::words("CODE", 24),
    Column::figures("REFUSED/S", 10),
    Column::figures("SINCE START", 12),
    Column::words("WHO", 0),
];

const CLIENT_CODES: &[Column] = &[
    Column::words("CODE", 0),
    Column::figures("SINCE START", 12),
    Column::figures("LATEST", 12),
    Column::words("", 22),
];

const REQUESTS: &[Column] = &[
    Column::words("TIME (UTC)", 12),
    Column::words("ANSWER", 24),
    Column::words("TOPIC", 0),
    Column::figures("EVENTS", 7),
    Column::figures("BYTES", 8),
    Column::figures("TOOK", 8),
    Column::words("REQUEST", 36).from(120),
];

const PARTITIONS: &[Column] = &[
    Column::figures("PARTITION", 10),
    Column::figures("RECORDS/S", 10),
    Column::words("OF ALL", 26),
    Column::words("LEADER", 0),
];

const ERRORS: &[Column] =
    &[Column::words("BROKER ERROR", 0), Column::figures("EVENTS", 9), Column::figures("LAST", 12)];

/// How a table is sorted until somebody says otherwise.
pub(super) fn first_sort(kind: Kind) -> Sort {
    let (column, falling) = match kind {
        Kind::Clients | Kind::Topics | Kind::Codes | Kind::Partitions | Kind::Errors => (1, true),
        Kind::Requests => (0, true),
    };
    Sort { column, falling }
}

/// The table `kind` of the view of `subject`, with all its rows as they come.
pub(super) fn table(kind: Kind, subject: &Subject, model: &Model) -> Grid {
    let page = model.page(subject);
    let within = *subject != Subject::All;
    let seconds = model.at / 1000;
    match kind {
        Kind::Clients if within => grid("clients", PART, parts(page.map(|page| &page.clients), model), NOTHING),
        Kind::Topics if within => grid("topics", PART, parts(page.map(|page| &page.topics), model), NOTHING),
        Kind::Clients => {
            let row = |row: &Row| (row.id.clone(), client(row, model, seconds));
            grid("clients", CLIENTS, model.clients.values().map(row).collect(), "No client is known.")
        }
        Kind::Topics => {
            let row = |row: &Row| (row.id.clone(), topic(row, model));
            grid("topics", TOPICS, model.topics.values().map(row).collect(), "Nothing was sent yet.")
        }
        Kind::Codes => match subject {
            Subject::All => grid("refusals", CODES, codes(model), "None since the start."),
            Subject::Client(id) => {
                grid("refusals", CLIENT_CODES, client_codes(model.clients.get(id), page), "None since the start.")
            }
            Subject::Topic(_) => grid("refusals", CODES, Vec::new(), NOTHING),
        },
        Kind::Requests => {
            let requests = page.and_then(|page| page.requests.as_deref()).unwrap_or_default();
            grid("last requests", REQUESTS, requests.iter().map(request).collect(), "None since the start.")
        }
        Kind::Partitions => grid("partitions", PARTITIONS, partitions(page), "No records in the last 5 s."),
        Kind::Errors => {
            let errors = page.map(|page| page.errors.as_slice()).unwrap_or_default();
            let row = |error: &super::wire::Trouble| {
                let last = Cell::number(ago(Some(error.last), seconds), error.last as f64);
                (error.error.clone(), vec![Cell::word(&error.error), number(error.count), last])
            };
            grid("broker errors", ERRORS, errors.iter().map(row).collect(), "None since the start.")
        }
    }
}

const NOTHING: &str = "Nothing yet.";

type Rows = Vec<(String, Vec<Cell>)>;

fn grid(title: &'static str, columns: &'static [Column], rows: Rows, empty: &'static str) -> Grid {
    Grid { title, columns, all: rows.len(), rows, sort: Sort { column: 0, falling: false }, empty }
}

fn number(n: u64) -> Cell {
    Cell::number(count(n), n as f64)
}

fn per_second(n: f64) -> Cell {
    Cell::number(rate(n), n)
}

fn size(n: f64) -> Cell {
    Cell::number(bytes(n), n)
}

fn took(took: &Took, model: &Model) -> Cell {
    let order = match took {
        None => -1.0,
        Some(Time::Within(seconds)) => *seconds,
        Some(Time::Beyond(_)) => f64::INFINITY,
    };
    Cell::number(model.took(took), order)
}

/// Requests, and their part of all requests.
fn refused(row: &Row) -> Cell {
    let part = row.refusals_rate / row.requests_rate.max(row.refusals_rate).max(f64::MIN_POSITIVE);
    let text = match row.refusals_rate {
        0.0 => "0".to_owned(),
        refused => format!("{} ({})", rate(refused), percent(part)),
    };
    Cell::number(text, row.refusals_rate).toned(if row.refusals_rate > 0.0 { Tone::Warn } else { Tone::Plain })
}

fn by_code(row: &Row) -> Cell {
    let mut codes: Vec<_> = row.codes.iter().collect();
    codes.sort_by(|a, b| b.1.cmp(a.1));
    let words: Vec<_> = codes.iter().map(|(code, n)| format!("{code} {}", count(**n))).collect();
    Cell::number(words.join(", "), row.refused() as f64)
}

fn client(row: &Row, model: &Model, now: u64) -> Vec<Cell> {
    let quota = match row.scarcest() {
        None => Cell::number("no limit".to_owned(), 2.0).toned(Tone::Soft),
        Some((name, left)) => {
            let text = format!("{} {} {}", bar(left, 5), fit_percent(left), name.get(..2).unwrap_or(name));
            Cell::number(text, left).toned(Tone::of_rest(left))
        }
    };
    let seen = Cell::number(ago(row.seen, now), row.seen.unwrap_or_default() as f64);
    let [name, events_rate, bytes_rate] = [Cell::word(&row.id), per_second(row.events_rate), size(row.bytes_rate)];
    let (refused_all, held) = (number(row.refused()), size(row.held as f64));
    let acks = took(&row.p99, model);
    vec![
        name,
        events_rate,
        bytes_rate,
        refused(row),
        acks,
        quota,
        number(row.events),
        held,
        seen,
        refused_all,
        by_code(row),
    ]
}

fn topic(row: &Row, model: &Model) -> Vec<Cell> {
    let spread = match row.spread {
        None => Cell::number("–".to_owned(), 0.0),
        Some(times) => Cell::number(format!("{times:.1} x mean"), times),
    };
    let of = |name: &str| row.outcomes.get(name).copied().unwrap_or_default();
    let lost = of("failed") + of("unknown");
    let partitions = row.partitions.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let partitions = Cell::number(partitions, row.partitions.unwrap_or_default().into());
    let unwritten = number(lost).toned(if lost > 0 { Tone::Bad } else { Tone::Plain });
    let [name, events_rate, bytes_rate] = [Cell::word(&row.id), per_second(row.events_rate), size(row.bytes_rate)];
    let (acks, refused_all) = (took(&row.p99, model), number(row.refused()));
    vec![
        name,
        events_rate,
        bytes_rate,
        refused(row),
        acks,
        spread,
        number(row.events),
        partitions,
        unwritten,
        refused_all,
        by_code(row),
    ]
}

fn parts(rows: Option<&Vec<Row>>, model: &Model) -> Rows {
    let row = |row: &Row| {
        let [name, events_rate, bytes_rate] = [Cell::word(&row.id), per_second(row.events_rate), size(row.bytes_rate)];
        let (acks, bytes) = (took(&row.p99, model), size(row.bytes as f64));
        let (events, all) = (number(row.events), number(row.refused()));
        (row.id.clone(), vec![name, events_rate, bytes_rate, refused(row), acks, events, all, bytes])
    };
    rows.into_iter().flatten().map(row).collect()
}

/// Of all clients, with those that get them most.
fn codes(model: &Model) -> Rows {
    let row = |(code, n): (&String, &u64)| {
        let of = |row: &Row| row.codes.get(code).copied().unwrap_or_default();
        let mut who: Vec<_> = model.clients.values().map(|row| (of(row), &row.id)).filter(|(n, _)| *n > 0).collect();
        who.sort_by(|a, b| b.cmp(a));
        let more = who.len().saturating_sub(3);
        let names: Vec<_> = who.iter().take(3).map(|(n, id)| format!("{id} {}", count(*n))).collect();
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        let per_second = per_second(model.code_rate(code));
        let tone = if per_second.text == "0" { Tone::Plain } else { Tone::Warn };
        let who = Cell::word(&(names.join(", ") + &more));
        (code.clone(), vec![Cell::word(code), per_second.toned(tone), number(*n), who])
    };
    model.head.total.codes.iter().map(row).collect()
}

fn client_codes(client: Option<&Row>, page: Option<&Page>) -> Rows {
    let problems = page.and_then(|page| page.problems.as_deref()).unwrap_or_default();
    let row = |(code, n): (&String, &u64)| {
        let latest = problems.iter().find(|problem| problem.code == *code);
        let at = latest.map_or(0, |problem| problem.at);
        let words = if latest.is_some() { "Enter: latest answer" } else { "" };
        let when = latest.map_or_else(|| "–".to_owned(), |_| clock(at));
        let hint = Cell::word(words).toned(Tone::Soft);
        (code.clone(), vec![Cell::word(code), number(*n), Cell::number(when, at as f64), hint])
    };
    client.iter().flat_map(|client| &client.codes).map(row).collect()
}

fn request(request: &Request) -> (String, Vec<Cell>) {
    let Request { at, id, topic, status, code, events, bytes: size_of, took } = request;
    let (words, tone) = match code {
        Some(code) if *status >= 500 => (format!("{status} {code}"), Tone::Bad),
        Some(code) => (format!("{status} {code}"), Tone::Warn),
        None if *status >= 400 => (format!("{status} hung up"), Tone::Warn),
        None => (status.to_string(), Tone::Good),
    };
    let answer = Cell::number(words, f64::from(*status)).toned(tone);
    let took = Cell::number(crate::cli::figures::took(*took), *took);
    let cells = vec![
        Cell::number(clock(*at), *at as f64),
        answer,
        Cell::word(topic),
        number(*events),
        size(*size_of as f64),
        took,
        Cell::word(id),
    ];
    // The topic too, so that the filter finds it.
    (format!("{id} {topic} {}", code.as_deref().unwrap_or_default()), cells)
}

fn partitions(page: Option<&Page>) -> Rows {
    let all = page.map(|page| page.partitions.as_slice()).unwrap_or_default();
    let sum: f64 = all.iter().map(|partition| partition.rate).sum();
    let row = |partition: &super::wire::Partition| {
        let part = partition.rate / sum.max(f64::MIN_POSITIVE);
        let leader = match partition.leader {
            Some(leader) if leader >= 0 => Cell::word(&format!("broker {leader}")),
            _ => Cell::word("✕ no leader").toned(Tone::Bad),
        };
        let share = Cell::number(format!("{} {}", bar(part, 18), fit_percent(part)), part);
        let id = Cell { key: Key::Number(partition.id.into()), ..Cell::word(&partition.id.to_string()) };
        (format!("partition {:05}", partition.id), vec![id, per_second(partition.rate), share, leader])
    };
    all.iter().map(row).collect()
}

/// A bar of `width` cells.
pub(super) fn bar(part: f64, width: usize) -> String {
    let full = (part.clamp(0.0, 1.0) * width as f64).round() as usize;
    "█".repeat(full) + &"·".repeat(width - full)
}

/// A part of 1 in four cells.
fn fit_percent(part: f64) -> String {
    format!("{:>3}%", (part * 100.0).round())
}
