//! One line for each request, under its own target `klamm::access`.
//!
//! Promises: in [`Mode::Failures`] at most 10 lines a second of each code, and a count of those left out, so that
//! logging never sets the pace. Never a payload, never a secret. Levels: 5xx error, 207 warn, the rest info.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::Counter;

use crate::event::RequestId;
use crate::reject::Code;

/// The most lines of one code in one second.
pub const LINES_PER_SECOND: u32 = 10;

/// What a line says.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// klamm's own id.
    pub request_id: RequestId,
    /// The client's, if it sent a sane one.
    pub client_request_id: Option<&'a str>,
    /// The client, or `_anonymous`.
    pub client: &'a str,
    /// The topic as asked for.
    pub topic: &'a str,
    /// Where the events went, e.g. `2@17 x3`: partition, first offset, count. Empty where nowhere.
    pub partitions: &'a str,
    /// How many the body held; 0 if it did not decode.
    pub events: u64,
    /// Of key, value and headers together.
    pub bytes: u64,
    /// Of the answer.
    pub status: u16,
    /// For refusals and failures, which.
    pub code: Option<Code>,
    /// From the head of the request to its answer.
    pub latency: Duration,
}

impl Entry<'_> {
    fn is_failure(&self) -> bool {
        self.code.is_some() || self.status == 207 || self.status >= 400
    }
}

/// Which requests get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// None.
    Off,
    /// Refusals and failures, rate-limited by code.
    Failures,
    /// Every one.
    All,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// With the other logs.
    Log,
    /// Short ones to stdout, see [`dev_line`].
    Dev,
}

/// Writes the lines.
#[derive(Debug)]
pub struct AccessLog {
    mode: AtomicU8,
    style: Style,
    suppressed: Counter,
    // One for each code, and one for failures without a code.
    windows: [Window; Code::ALL.len() + 1],
}

impl AccessLog {
    /// A log that counts what it leaves out in `suppressed`.
    pub fn new(mode: Mode, style: Style, suppressed: Counter) -> Self {
        let windows = [const { Window(AtomicU64::new(0)) }; Code::ALL.len() + 1];
        Self { mode: AtomicU8::new(mode as u8), style, suppressed, windows }
    }

    /// From now on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Relaxed);
    }

    /// Which requests get a line at present.
    pub fn mode(&self) -> Mode {
        match self.mode.load(Relaxed) {
            0 => Mode::Off,
            1 => Mode::Failures,
            _ => Mode::All,
        }
    }

    /// Whether a request that went well gets a line: where not, nothing needs to be gathered for it.
    pub fn wants_successes(&self) -> bool {
        self.mode() == Mode::All
    }

    /// Writes the line of a request that was answered at `now`, if it gets one.
    pub fn log(&self, entry: &Entry<'_>, now: SystemTime) {
        match self.mode() {
            Mode::Off => {}
            Mode::All => self.write(entry, now),
            Mode::Failures if entry.is_failure() => {
                let place = entry.code.map_or(Code::ALL.len(), Code::index);
                let Some(window) = self.windows.get(place) else { return };
                let Turn { show, left_out } = window.count(seconds(now));
                self.report(entry.code, left_out);
                if show {
                    self.write(entry, now);
                } else {
                    self.suppressed.increment(1);
                }
            }
            Mode::Failures => {}
        }
    }

    /// Reports what was left out in seconds before `now`. Due every few seconds: the end of a flood has no next line
    /// that would do it.
    pub fn turn(&self, now: SystemTime) {
        let codes = Code::ALL.iter().copied().map(Some).chain([None]);
        for (code, window) in codes.zip(&self.windows) {
            self.report(code, window.close(seconds(now)));
        }
    }

    fn report(&self, code: Option<Code>, left_out: u32) {
        if left_out > 0 {
            let code = code.map(Code::name);
            tracing::warn!(target: "klamm::access", code, left_out, "lines left out");
        }
    }

    fn write(&self, entry: &Entry<'_>, now: SystemTime) {
        match self.style {
            Style::Log => trace(entry),
            Style::Dev => {
                // Nobody reads any more if this fails; the request is none the worse for it.
                let _ = writeln!(std::io::stdout().lock(), "{}", dev_line(entry, now));
            }
        }
    }
}

fn trace(entry: &Entry<'_>) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "klamm::access",
                request_id = %entry.request_id,
                client_request_id = entry.client_request_id,
                client = entry.client,
                topic = entry.topic,
                partitions = entry.partitions,
                events = entry.events,
                bytes = entry.bytes,
                status = entry.status,
                code = entry.code.map(Code::name),
                latency_ms = millis(entry.latency),
                "request"
            )
        };
    }
    match entry.status {
        500.. => line!(error),
        207 => line!(warn),
        _ => line!(info),
    }
}

/// In microsecond steps: finer digits say nothing.
fn millis(latency: Duration) -> f64 {
    latency.as_micros() as f64 / 1000.0
}

/// The line of `klamm dev`: `12:00:04 demo/2@0 client=dev 18 B 1.4 ms`, time in UTC. What did not go well ends in
/// status and code.
pub fn dev_line(entry: &Entry<'_>, now: SystemTime) -> String {
    let day = seconds(now) % 86_400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    // Names as asked for may hold anything; a terminal must not act on it.
    let topic = entry.topic.escape_debug();
    let slash = if entry.partitions.is_empty() { "" } else { "/" };
    let (partitions, client, size) = (entry.partitions, entry.client, size(entry.bytes));
    let took = if entry.latency < Duration::from_secs(1) {
        format!("{:.1} ms", millis(entry.latency))
    } else {
        format!("{:.1} s", entry.latency.as_secs_f64())
    };
    let mut line =
        format!("{hour:02}:{minute:02}:{second:02} {topic}{slash}{partitions} client={client} {size} {took}");
    if entry.is_failure() {
        let code = entry.code.map_or("partial", Code::name);
        // Writing to a String does not fail.
        let _ = write!(line, " {} {code}", entry.status);
    }
    line
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The lines of one code in one second: the second (its low 32 bits) above, how many it had below.
#[derive(Debug)]
struct Window(AtomicU64);

struct Turn {
    show: bool,
    /// In the second before, if this is the first line of a new one.
    left_out: u32,
}

impl Window {
    /// Counts a line at `second`.
    fn count(&self, second: u64) -> Turn {
        let next = |before| match split(before) {
            (at, lines) if at == second as u32 => join(second, lines.saturating_add(1)),
            _ => join(second, 1),
        };
        // The closure always has an answer, so that both arms hold what stood there before.
        let before = match self.0.fetch_update(Relaxed, Relaxed, |before| Some(next(before))) {
            Ok(before) | Err(before) => before,
        };
        let (_, lines) = split(next(before));
        let left_out = if lines == 1 { over(before) } else { 0 };
        Turn { show: lines <= LINES_PER_SECOND, left_out }
    }

    /// Ends the window if it is of a second before `second`, and says what was left out in it.
    fn close(&self, second: u64) -> u32 {
        let ended = |before: u64| (split(before).0 != second as u32).then_some(0);
        self.0.fetch_update(Relaxed, Relaxed, ended).map_or(0, over)
    }
}

fn split(window: u64) -> (u32, u32) {
    ((window >> 32) as u32, window as u32)
}

fn join(second: u64, lines: u32) -> u64 {
    (second << 32) | u64::from(lines)
}

fn over(window: u64) -> u32 {
    split(window).1.saturating_sub(LINES_PER_SECOND)
}

#[cfg(test)]
mod tests;
