//! `application/x-ndjson`, `application/jsonl`: an event a line; a bad line is a row of its own.
//!
//! Lines end with `\n`, the last one may lack it. White space around an event, with it a `\r`, is not a part of it.
//! Blank lines are no events.

use memchr::{memchr, memchr_iter};
use serde::de::IgnoredAny;

use crate::config::Caps;
use crate::event::{Batch, Event, Piece};
use crate::reject::Reject;

use super::fault::{self, Row};
use super::quick;

pub(super) fn decode(batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
    let body = batch.body().clone();
    batch.events.reserve(about(&body, caps));
    if quick::lines(batch, caps.events, caps.depth) {
        return Ok(());
    }
    each(&body, caps, &mut |start, line| {
        let index = batch.received() as u32;
        match check(start, line, caps) {
            Ok(()) => batch.events.push(Event::new(index, start, Some(Piece::of_body(start..start + line.len())))),
            Err(row) => fault::keep(batch, index, row),
        }
    })
}

fn check(start: usize, line: &[u8], caps: &Caps) -> Result<(), Row> {
    let text = fault::line_of(line, start, caps.depth)?;
    let IgnoredAny = serde_json::from_str(text).map_err(|e| fault::not_json(&e, text, start))?;
    Ok(())
}

/// About how many events `body` holds: an eighth more than if all lines were as long as the first. To count them would
/// be another pass.
pub(super) fn about(body: &[u8], caps: &Caps) -> usize {
    let first = memchr(b'\n', body).map_or(body.len(), |end| end + 1).max(1);
    let lines = body.len() / first;
    (lines + lines / 8 + 1).min(caps.events)
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
