//! The bodies of the load tool, taken apart again into the events that a gateway would send to Kafka.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::producer::Message;
use crate::load::{self, Form};

/// Requests, taken in turn.
pub(super) struct Feed(Vec<Request>);

/// The events of one body; slices of one text, as in a gateway that copies nothing.
pub(super) struct Request {
    text: Vec<u8>,
    events: Vec<Event>,
}

struct Event {
    value: Range<u32>,
    /// Without the quotes.
    key: Option<Range<u32>>,
}

impl Feed {
    /// What `load` sends.
    pub(super) fn of(load: &load::Options) -> Result<Self> {
        let bodies = load::Bodies::new(load, false)?;
        let requests = bodies.payloads().map(|body| Request::parse(body.to_vec(), load.form));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        ensure!(!requests.is_empty(), "no bodies");
        Ok(Self(requests))
    }

    /// The request of this number.
    #[allow(clippy::indexing_slicing, reason = "the remainder is below the length, which is not 0")]
    pub(super) fn request(&self, number: usize) -> &Request {
        &self.0[number % self.0.len()]
    }
}

impl Request {
    pub(super) fn parse(text: Vec<u8>, form: Form) -> Result<Self> {
        let events = match form {
            Form::Single => vec![Event { value: range(&text, &text)?, key: None }],
            Form::Ndjson => lines(&text)?,
            Form::Array => values(&text, &serde_json::from_slice::<Vec<&RawValue>>(&text).context("an array")?)?,
            Form::Envelope => records(&text)?,
        };
        Ok(Self { text, events })
    }

    /// Its events in their order.
    #[allow(clippy::indexing_slicing, reason = "the ranges were taken from the text, which never changes")]
    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let slice = |range: &Range<u32>| &self.text[range.start as usize..range.end as usize];
        self.events.iter().map(move |event| Message { value: slice(&event.value), key: event.key.as_ref().map(slice) })
    }
}

fn lines(text: &[u8]) -> Result<Vec<Event>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(Event { value: range(text, line)?, key: None })).collect()
}

fn values(text: &[u8], values: &[&RawValue]) -> Result<Vec<Event>> {
    values.iter().map(|value| Ok(Event { value: range(text, value.get().as_bytes())?, key: None })).collect()
}

fn records(text: &[u8]) -> Result<Vec<Event>> {
    #[derive(Deserialize)]
    struct Record<'a> {
        key: Option<&'a str>,
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let records: Vec<Record<'_>> = serde_json::from_slice(text).context("an envelope")?;
    let event = |record: &Record<'_>| {
        let key = record.key.map(|key| range(text, key.as_bytes())).transpose()?;
        Ok(Event { value: range(text, record.value.get().as_bytes())?, key })
    };
    records.iter().map(event).collect()
}

/// Where `part` stands in `text`.
fn range(text: &[u8], part: &[u8]) -> Result<Range<u32>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr()).context("not a part of the body")?;
    let end = start + part.len();
    if end > text.len() {
        bail!("not a part of the body");
    }
    Ok(u32::try_from(start)?..u32::try_from(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, form: Form) -> Vec<(Option<String>, String)> {
        let request = Request::parse(text.as_bytes().to_vec(), form).unwrap();
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        request.messages().map(|message| (message.key.map(string), string(message.value))).collect()
    }

    #[test]
    fn events_come_out_of_every_form_as_they_went_in() {
        let (a, b) = (r#"{"a":1}"#, r#"{"b":[2, 3]}"#);
        let keyless = vec![(None, a.to_owned()), (None, b.to_owned())];
        assert_eq!(parsed(&format!("{a}\n{b}\n"), Form::Ndjson), keyless);
        assert_eq!(parsed(&format!("[{a}, {b}]"), Form::Array), keyless);
        assert_eq!(parsed(a, Form::Single), keyless[..1]);
        let envelope = format!(r#"[{{"key":"k","value":{a}}},{{"value":{b}}}]"#);
        assert_eq!(parsed(&envelope, Form::Envelope), vec![(Some("k".to_owned()), a.to_owned()), (None, b.to_owned())]);
    }

    #[test]
    fn a_body_of_another_form_is_refused() {
        assert!(Request::parse(b"{}".to_vec(), Form::Array).is_err());
        assert!(Request::parse(b"{}".to_vec(), Form::Envelope).is_err());
    }
}
