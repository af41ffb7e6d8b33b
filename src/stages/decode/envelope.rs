//! `application/vnd.klamm.v1+json` and `+x-ndjson`: records with key, value, headers, partition and timestamp.
//!
//! The value is a slice of the body as it came. Of duplicate members the last counts. A record of the wrong shape is
//! a row with an RFC 6901 pointer into the record.

mod headers;

use std::ops::{ControlFlow, Range};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::config::Caps;
use crate::event::json::{members, offset_in, unescape};
use crate::event::{Batch, Event, Header, Piece};
use crate::reject::{Reason, Reject};

use super::fault::{self, Row};
use super::{json, ndjson, single};

/// The standard alphabet (RFC 4648, 4), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One record, or an array of them. The text as a whole must be JSON.
pub(super) fn decode_json(batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
    let body = batch.body().clone();
    let mut records = Records::new(batch, caps);
    json::each(&body, caps, &mut |text| records.add(offset_in(&body, text), Ok(text)))
}

/// One record a line. A line that is no JSON is a row.
pub(super) fn decode_ndjson(batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
    let body = batch.body().clone();
    batch.events.reserve(ndjson::about(&body, caps));
    let mut records = Records::new(batch, caps);
    ndjson::each(&body, caps, &mut |start, line| records.add(start, fault::line_of(line, start, fault::NESTING)))
}

/// The batch being made, and buffers that are used again for each record.
struct Records<'b> {
    batch: &'b mut Batch,
    caps: &'b Caps,
    body: Bytes,
    decoded: Vec<u8>,
    headers: Vec<Header>,
}

impl<'b> Records<'b> {
    fn new(batch: &'b mut Batch, caps: &'b Caps) -> Self {
        let body = batch.body().clone();
        Self { batch, caps, body, decoded: Vec::new(), headers: Vec::new() }
    }

    fn add(&mut self, start: usize, text: Result<&str, Row>) {
        let index = self.batch.received() as u32;
        match text.and_then(|text| self.record(index, start, text)) {
            Ok(event) => self.batch.events.push(event),
            Err(row) => fault::keep(self.batch, index, row),
        }
    }

    fn record(&mut self, index: u32, start: usize, text: &str) -> Result<Event, Row> {
        let record = Members::of(text, start)?;
        let value = self.value(&record)?;
        let mut event = Event::new(index, start, value);
        event.key = self.key(&record)?;
        event.partition = partition(record.partition)?;
        event.timestamp = self.timestamp(record.timestamp)?;
        if let Some(raw) = record.headers {
            self.read_headers(raw)?;
            self.batch.set_headers(&mut event, self.headers.drain(..));
        }
        Ok(event)
    }

    fn value(&mut self, record: &Members<'_>) -> Result<Option<Piece>, Row> {
        match (record.value, record.value_base64) {
            (None, None) => Err(fault::at(Reason::MissingValue, "", "neither `value` nor `value_base64`")),
            (Some(_), Some(_)) => Err(both("value")),
            (Some("null"), None) => Ok(None),
            (Some(raw), None) => {
                let range = self.range_of(raw);
                fault::within_depth(raw, range.start, self.caps.depth)?;
                Ok(Some(Piece::of_body(range)))
            }
            (None, Some(raw)) => {
                self.base64(raw).map_err(|detail| fault::at(Reason::Malformed, "/value_base64", detail))
            }
        }
    }

    fn key(&mut self, record: &Members<'_>) -> Result<Option<Piece>, Row> {
        match (record.key, record.key_base64) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(both("key")),
            (Some(raw), None) => {
                let range = self.range_of(raw);
                self.batch.json_key(range).map_err(|detail| fault::at(Reason::BadKey, "/key", detail))
            }
            (None, Some(raw)) => self.base64(raw).map_err(|detail| fault::at(Reason::BadKey, "/key_base64", detail)),
        }
    }

    /// The bytes that a JSON string of base64 stands for; null stands for none.
    fn base64(&mut self, raw: &str) -> Result<Option<Piece>, &'static str> {
        const WANT: &str = "want a string of base64";
        if raw == "null" {
            return Ok(None);
        }
        let text = self.string(raw).ok_or(WANT)?;
        self.decoded.clear();
        BASE64.decode_vec(self.batch.bytes(text), &mut self.decoded).map_err(|_| WANT)?;
        Ok(Some(self.batch.make(&self.decoded)))
    }

    fn timestamp(&mut self, raw: Option<&str>) -> Result<Option<i64>, Row> {
        let Some(raw) = raw.filter(|raw| *raw != "null") else { return Ok(None) };
        let millis = match self.string(raw) {
            Some(text) => std::str::from_utf8(self.batch.bytes(text)).ok().and_then(single::rfc_3339),
            None => single::natural(raw),
        };
        let want = "want milliseconds since 1970, or a string with a time as in RFC 3339";
        millis.map(Some).ok_or_else(|| fault::at(Reason::BadTimestamp, "/timestamp", want))
    }

    /// What the JSON string `raw` stands for; `None` where it is none.
    fn string(&mut self, raw: &str) -> Option<Piece> {
        let range = self.range_of(raw);
        self.batch.json_string(range)
    }

    fn range_of(&self, raw: &str) -> Range<usize> {
        let start = offset_in(&self.body, raw);
        start..start + raw.len()
    }
}

fn partition(raw: Option<&str>) -> Result<Option<i32>, Row> {
    let Some(raw) = raw.filter(|raw| *raw != "null") else { return Ok(None) };
    let number = single::natural(raw);
    number.map(Some).ok_or_else(|| fault::at(Reason::BadPartition, "/partition", "want an integer from 0 on"))
}

fn both(name: &str) -> Row {
    fault::at(Reason::Malformed, format!("/{name}_base64"), format!("`{name}` and `{name}_base64` exclude each other"))
}

/// The members of a record, each as written. Of duplicates the last.
#[derive(Default)]
struct Members<'a> {
    key: Option<&'a str>,
    key_base64: Option<&'a str>,
    value: Option<&'a str>,
    value_base64: Option<&'a str>,
    headers: Option<&'a str>,
    partition: Option<&'a str>,
    timestamp: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn of(text: &'a str, start: usize) -> Result<Self, Row> {
        if !text.starts_with('{') {
            return Err(Self::no_object(text, start));
        }
        let mut found = Self::default();
        let mut unknown = None;
        let end = members(text, &mut |name, value| match found.place(name) {
            Some(place) => {
                *place = Some(value);
                ControlFlow::Continue(())
            }
            None => {
                unknown.get_or_insert(name);
                ControlFlow::Continue(())
            }
        });
        match (end, unknown) {
            (Err(error), _) => Err(fault::not_json(&error, text, start)),
            (Ok(_), None) => Ok(found),
            (Ok(_), Some(name)) => Err(fault::at(
                Reason::UnknownMember,
                pointer("", name),
                "a record has `key`, `value`, `headers`, `partition`, `timestamp`, `key_base64`, `value_base64`",
            )),
        }
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        match name {
            r#""key""# => Some(&mut self.key),
            r#""key_base64""# => Some(&mut self.key_base64),
            r#""value""# => Some(&mut self.value),
            r#""value_base64""# => Some(&mut self.value_base64),
            r#""headers""# => Some(&mut self.headers),
            r#""partition""# => Some(&mut self.partition),
            r#""timestamp""# => Some(&mut self.timestamp),
            // Written with escapes, it may still be one of them; without, it is now quoted as it was before.
            _ if name.contains('\\') => self.place(&format!("\"{}\"", unescape(name)?)),
            _ => None,
        }
    }

    /// The row for what is JSON but no object, or no JSON.
    fn no_object(text: &str, start: usize) -> Row {
        match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => fault::malformed(start, "a record is an object"),
            Err(error) => fault::not_json(&error, text, start),
        }
    }
}

/// The pointer to the member `name` (as written) of `parent`; that to the parent for a name not fit to be shown.
fn pointer(parent: &str, name: &str) -> String {
    match unescape(name).filter(|name| name.len() <= 64) {
        Some(name) => format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1")),
        None => parent.to_owned(),
    }
}
