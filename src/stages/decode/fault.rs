//! The words and places of what is wrong with JSON.

use memchr::memchr_iter;

use crate::event::Batch;
use crate::reject::{Fault, Place, Reason, Reject};

use super::depth;

/// What is wrong with one event, where, and in words.
pub(super) type Row = (Reason, Place, String);

/// Deeper than this and serde_json's own bookkeeping, a byte a level, would be worth a place in the budget. Events
/// have a far lower limit; this one is for what is read before its events are known.
pub(super) const NESTING: usize = 64 << 10;

/// `Malformed` at `offset` of the body.
pub(super) fn malformed(offset: usize, detail: impl Into<String>) -> Row {
    (Reason::Malformed, Place::Offset(offset as u64), detail.into())
}

/// A row about the member at `pointer` (RFC 6901) of an event.
pub(super) fn at(reason: Reason, pointer: impl Into<String>, detail: impl Into<String>) -> Row {
    (reason, Place::Pointer(pointer.into()), detail.into())
}

/// `Malformed` for what serde_json found in `text`, which begins at `start` of the body.
pub(super) fn not_json(error: &serde_json::Error, text: &str, start: usize) -> Row {
    let (offset, detail) = told(error, text);
    malformed(start + offset, detail)
}

/// Where in `text` serde_json found something, and what. Its own words name kinds of tokens, never their text.
fn told(error: &serde_json::Error, text: &str) -> (usize, String) {
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let offset = if error.is_eof() {
        text.len()
    } else {
        let line = match error.line() {
            0 | 1 => 0,
            line => memchr_iter(b'\n', text.as_bytes()).nth(line - 2).map_or(0, |newline| newline + 1),
        };
        let offset = (line + error.column().saturating_sub(1)).min(text.len());
        // serde_json's column is one short of a control character, and exact elsewhere.
        let control = text.bytes().skip(offset).position(|byte| byte < b' ').unwrap_or(0);
        offset + if words.starts_with("control character") { control } else { 0 }
    };
    let detail = match text.get(offset..) {
        Some(rest) if rest.starts_with('\u{feff}') => "not JSON: byte-order mark".to_owned(),
        _ => format!("not JSON: {words}"),
    };
    (offset, detail)
}

/// `MalformedBody` for what serde_json found in the whole body.
pub(super) fn body_is_not_json(error: &serde_json::Error, text: &str) -> Reject {
    let (offset, detail) = told(error, text);
    Reject::MalformedBody { offset: offset as u64, detail }
}

/// The body as text, fit to be read as one JSON value.
///
/// # Errors
/// `MalformedBody`: it is not UTF-8, or nested beyond all measure.
pub(super) fn text_of(body: &[u8]) -> Result<&str, Reject> {
    let text = std::str::from_utf8(body).map_err(|error| Reject::MalformedBody {
        offset: error.valid_up_to() as u64,
        detail: "not UTF-8".to_owned(),
    })?;
    match depth::beyond(body, NESTING) {
        None => Ok(text),
        Some(offset) => {
            Err(Reject::MalformedBody { offset: offset as u64, detail: format!("nested deeper than {NESTING}") })
        }
    }
}

/// The line at `start` of the body as text, nested no deeper than `limit`.
pub(super) fn line_of(line: &[u8], start: usize, limit: usize) -> Result<&str, Row> {
    let text = std::str::from_utf8(line).map_err(|error| malformed(start + error.valid_up_to(), "not UTF-8"))?;
    within_depth(text, start, limit)?;
    Ok(text)
}

/// Whether `text` at `start` of the body is nested no deeper than `limit`.
pub(super) fn within_depth(text: &str, start: usize, limit: usize) -> Result<(), Row> {
    match depth::beyond(text.as_bytes(), limit) {
        None => Ok(()),
        Some(offset) => {
            Err((Reason::TooDeep, Place::Offset((start + offset) as u64), format!("nested deeper than {limit}")))
        }
    }
}

/// Keeps one row for the event `index`.
pub(super) fn keep(batch: &mut Batch, index: u32, (reason, place, detail): Row) {
    batch.faults.push(Fault { index, place, reason, detail });
}
