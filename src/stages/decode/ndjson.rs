//! `application/x-ndjson`, `application/jsonl`: an event a line; a bad line is a row of its own.
//!
//! Lines end with `\n`, the last one may lack it. White space around an event, with it a `\r`, is not a part of it.
//! Blank lines are no events.

use memchr::memchr_iter;
use serde::de::IgnoredAny;
use serde_json::de::StrRead;
use serde_json::{Deserializer, StreamDeserializer};

use crate::config::Caps;
use crate::event::{Batch, Event, Piece};
use crate::reject::Reject;

use super::depth;
use super::fault::{self, Row};

pub(super) fn decode(batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
    let body = batch.body().clone();
    batch.events.reserve(at_most(&body, caps));
    let mut checker = Checker::over(&body);
    each(&body, caps, &mut |start, line| {
        let index = batch.received() as u32;
        match checker.check(start, line, caps) {
            Ok(()) => batch.events.push(Event::new(index, start, Some(Piece::of_body(start..start + line.len())))),
            Err(row) => fault::keep(batch, index, row),
        }
    })
}

/// Checks one line after the other, each line of a body once.
///
/// One reader runs through all lines while each is exactly one value, since a reader of its own for each would allocate
/// for each. At the first line that is not, the reader may have run on over the lines behind it; from there each is
/// read alone. So no byte is read more than twice.
struct Checker<'a> {
    /// Stands at the end of the line before.
    all: Option<StreamDeserializer<'a, StrRead<'a>, IgnoredAny>>,
}

impl<'a> Checker<'a> {
    fn over(body: &'a [u8]) -> Self {
        let text = std::str::from_utf8(body).ok().filter(|_| depth::opened(body) <= fault::NESTING);
        Self { all: text.map(|text| Deserializer::from_str(text).into_iter()) }
    }

    fn check(&mut self, start: usize, line: &[u8], caps: &Caps) -> Result<(), Row> {
        if let Some(all) = &mut self.all {
            let good = depth::beyond(line, caps.depth).is_none()
                && matches!(all.next(), Some(Ok(IgnoredAny)))
                && all.byte_offset() == start + line.len();
            if good {
                return Ok(());
            }
            self.all = None;
        }
        let text = fault::line_of(line, start, caps.depth)?;
        let IgnoredAny = serde_json::from_str(text).map_err(|e| fault::not_json(&e, text, start))?;
        Ok(())
    }
}

/// How many events `body` can hold.
pub(super) fn at_most(body: &[u8], caps: &Caps) -> usize {
    (memchr_iter(b'\n', body).count() + 1).min(caps.events)
}

/// Shows each line that is not blank: where it begins in `body`, and its bytes without the white space around them.
pub(super) fn each(body: &[u8], caps: &Caps, visit: &mut dyn FnMut(usize, &[u8])) -> Result<(), Reject> {
    let mut left = caps.events;
    let mut start = 0;
    for end in memchr_iter(b'\n', body).chain([body.len()]) {
        let line = body.get(start..end).unwrap_or_default();
        // Not `trim_ascii`: the form feed is no white space of JSON's.
        if let Some(first) = line.iter().position(|byte| !is_space(byte)) {
            let last = line.iter().rposition(|byte| !is_space(byte)).unwrap_or(first);
            left = left.checked_sub(1).ok_or(Reject::TooManyEvents { limit: caps.events })?;
            visit(start + first, line.get(first..=last).unwrap_or_default());
        }
        start = end + 1;
    }
    Ok(())
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
