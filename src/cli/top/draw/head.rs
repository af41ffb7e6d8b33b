//! The lines above the tables, and the one below them: which klamm, is it fine, how much.

use std::time::{Duration, Instant};

use ratatui::text::{Line, Span};

use super::super::grid::fit;
use super::super::ink::{Ink, Tone};
use super::super::model::{Model, Subject};
use super::super::tables::bar;
use super::super::verdict::worries;
use super::super::view::View;
use super::super::wire::{Part, Point};
use super::spans;
use crate::cli::figures::{bytes, count, percent, plain, rate, span};

/// How long it is said that the stream is back.
const NOTED: Duration = Duration::from_secs(30);
/// Points of a curve, by place.
const EVENTS: usize = 1;
const REFUSED: usize = 3;
/// What stands in front of a curve, in cells.
const LABEL: usize = 19;

/// Which klamm, and is it fine: on every view.
pub(super) fn lines(model: &Model, ink: Ink, width: usize, now: Instant) -> Vec<Line<'static>> {
    let up = span(model.head.uptime);
    let bootstrap = model.bootstrap.join(", ");
    let facts =
        plain(&format!("{} · {} · up {up} · Kafka {} ({bootstrap})", model.version, model.instance, model.cluster));
    let room = width.saturating_sub(6);
    let whole = format!("{facts} · this replica only: all replicas in Grafana");
    let facts = if Span::raw(&whole).width() <= room { whole } else { facts };
    let title = vec![Span::styled("klamm ", ink.title()), Span::raw(fit(&facts, room, false))];
    vec![Line::from(title), verdict(model, ink, width, now)]
}

fn verdict(model: &Model, ink: Ink, width: usize, now: Instant) -> Line<'static> {
    if let Some((why, since)) = &model.lost {
        let words = format!("✕ no word from klamm for {}: {why}; trying again", span((now - *since).as_secs()));
        return Line::styled(fit(&plain(&words), width, false), ink.tone(Tone::Bad));
    }
    let worries = worries(model);
    let Some((tone, _)) = worries.first() else {
        return Line::styled(format!("{} All is well.", Tone::Good.sign()), ink.tone(Tone::Good));
    };
    let words: Vec<_> = worries.iter().map(|(tone, words)| format!("{} {words}", tone.sign())).collect();
    Line::styled(fit(&plain(&words.join("  ")), width, false), ink.tone(*tone))
}

/// How much, and how full: on the overview.
pub(super) fn figures(model: &Model, ink: Ink, width: usize) -> Vec<Line<'static>> {
    let head = &model.head;
    let total = &head.total;
    let share = total.refusals_rate / total.requests_rate.max(f64::MIN_POSITIVE);
    let warn = |wrong: bool, tone: Tone| if wrong { tone } else { Tone::Plain };
    let part = |name: &str, part: &Part, tone: Tone| {
        let words = if part.of == 0 { "–".to_owned() } else { percent(part.ratio()) };
        vec![(format!("{name} "), Tone::Soft), (format!("{} {words}", bar(part.ratio(), 6)), tone)]
    };
    let gap = || ("   ".to_owned(), Tone::Plain);
    let rates = vec![
        ("events ".to_owned(), Tone::Soft),
        (format!("{}/s {}/s", rate(total.events_rate), bytes(total.bytes_rate)), Tone::Plain),
        gap(),
        ("refused ".to_owned(), Tone::Soft),
        (format!("{}/s {}", rate(total.refusals_rate), percent(share)), warn(total.refusals_rate > 0.0, Tone::Warn)),
        gap(),
        ("p50 ".to_owned(), Tone::Soft),
        (model.took(&total.p50), Tone::Plain),
        gap(),
        ("p99 ".to_owned(), Tone::Soft),
        (model.took(&total.p99), Tone::Plain),
    ];
    let mut full = part("budget", &head.budget, warn(head.budget.ratio() > 0.8, Tone::Warn));
    full.push(gap());
    full.extend(part("queue", &head.queue, warn(head.queue.ratio() > 0.8, Tone::Warn)));
    full.extend([gap(), ("spool ".to_owned(), Tone::Soft)]);
    full.push(match &head.spool {
        None => ("off".to_owned(), Tone::Plain),
        Some(spool) => {
            let words = format!("{} events {}", count(spool.events), percent(spool.disk.ratio()));
            (words, warn(spool.events > 0, Tone::Warn))
        }
    });
    full.extend([gap(), ("brokers ".to_owned(), Tone::Soft)]);
    let up = format!("{} of {}", head.brokers.up, head.brokers.known);
    full.push(if head.kafka_up { (up, Tone::Plain) } else { ("none".to_owned(), Tone::Bad) });
    [rates, full].into_iter().map(|parts| cut(parts, ink, width)).collect()
}

/// The parts that fit as a whole.
fn cut(parts: Vec<(String, Tone)>, ink: Ink, width: usize) -> Line<'static> {
    let mut left = width;
    let fits = |(text, _): &(String, Tone)| {
        let wide = Span::raw(text.as_str()).width();
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    spans(parts.into_iter().take_while(fits).collect(), ink)
}

/// Events and refusals in a second, over ten minutes at most.
pub(super) fn curves(subject: &Subject, model: &Model, ink: Ink, width: usize) -> Vec<Line<'static>> {
    // Points of a client or topic lack the time in front, and are five seconds long.
    let (points, seconds, shift): (Vec<&Point>, usize, usize) = match subject {
        Subject::All => (model.points.iter().collect(), 1, 0),
        _ => (
            model
                .page(subject)
                .into_iter()
                .filter_map(|page| page.curve.as_ref())
                .flat_map(|curve| &curve.points)
                .collect(),
            5,
            1,
        ),
    };
    let curve = |name: &str, place: usize| {
        let values: Vec<f64> =
            points.iter().map(|point| point.get(place - shift).copied().flatten().unwrap_or_default()).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let long = (values.len() * seconds) as u64;
        // Whole minutes, as there is room for.
        let long = if long < 60 { long } else { long - long % 60 };
        let label = format!("{name}, {}", span(long));
        let peak = format!(" peak {}", fit(&rate(most), 9, false));
        let room = width.saturating_sub(LABEL + peak.len());
        Line::from(vec![
            Span::styled(fit(&label, LABEL - 1, false) + " ", ink.tone(Tone::Soft)),
            Span::styled(spark(&values, room, most), ink.curve()),
            Span::styled(peak, ink.tone(Tone::Soft)),
        ])
    };
    vec![curve("events/s", EVENTS), curve("refused/s", REFUSED)]
}

/// `values` as bars in `room` cells, the newest at the right; the highest stands for `most`.
fn spark(values: &[f64], room: usize, most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    // As many values a cell as bring all of them in.
    let each = values.len().div_ceil(room.max(1)).max(1);
    let bar = |cell: &[f64]| {
        let high = cell.iter().copied().fold(0.0, f64::max) / most.max(f64::MIN_POSITIVE);
        let step = (high * (BARS.len() - 1) as f64).ceil() as usize;
        BARS.get(step).copied().unwrap_or('█')
    };
    let cells: String = values.rchunks(each).rev().map(bar).collect();
    let blanks = room.saturating_sub(cells.chars().count());
    " ".repeat(blanks) + &cells
}

/// What the keys do, or what is to be known.
pub(super) fn foot(view: &View, model: &Model, ink: Ink, now: Instant) -> Line<'static> {
    if view.typing {
        return Line::styled("type a part of a name   Enter keep it   Esc clear it", ink.strong());
    }
    if let Some((note, _)) = model.note.filter(|(_, at)| now - *at < NOTED) {
        return Line::styled(format!("✓ {note}"), ink.tone(Tone::Good));
    }
    let deeper = view.screen().subject != Subject::All;
    // 80 cells hold no more.
    let mut keys = vec![if deeper { ("Esc", "back") } else { ("↑↓", "row") }];
    keys.extend([("Tab", "table"), ("Enter", "open"), ("s", "sort"), ("r", "reverse"), ("/", "filter")]);
    keys.extend([("?", "help"), ("q", "quit")]);
    let words = keys.into_iter().flat_map(|(key, does)| {
        [Span::styled(key, ink.title()), Span::styled(format!(" {does}  "), ink.tone(Tone::Soft))]
    });
    words.collect()
}
