//! `Kafka-Key`, `Kafka-Partition`, `Kafka-Timestamp`, `Kafka-Header-<name>`: what a request's headers say of its one
//! event.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::Caps;
use crate::event::{Batch, Header};
use crate::reject::{Reason, Reject};

use super::fault;

const KEY: &str = "kafka-key";
const PARTITION: &str = "kafka-partition";
const TIMESTAMP: &str = "kafka-timestamp";
const HEADER: &str = "kafka-header-";

/// What the headers of a request say of its event. An envelope's own members go first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Single {
    /// The bytes of `Kafka-Key`.
    pub key: Option<Bytes>,
    /// `Kafka-Partition`, not negative.
    pub partition: Option<i32>,
    /// `Kafka-Timestamp`, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// `Kafka-Header-<name>`: the name in lower case and the bytes, in the order of the request for each name.
    pub headers: Vec<(String, Bytes)>,
}

impl Single {
    /// Reads them.
    ///
    /// # Errors
    /// `BadHeader` for a value of the wrong form, an empty name, and more than one value where one is meant.
    pub fn of(headers: &HeaderMap) -> Result<Self, Reject> {
        let mut single = Self::default();
        for (name, value) in headers {
            let Some(rest) = name.as_str().strip_prefix("kafka-") else { continue };
            match name.as_str() {
                KEY => put(&mut single.key, KEY, Some(Bytes::copy_from_slice(value.as_bytes())), "")?,
                PARTITION => put(&mut single.partition, PARTITION, partition(value), "want an integer from 0 on")?,
                TIMESTAMP => put(
                    &mut single.timestamp,
                    TIMESTAMP,
                    timestamp(value),
                    "want milliseconds since 1970, or a time as in RFC 3339",
                )?,
                _ if rest.starts_with("header-") => single.headers.push(header(name, value)?),
                _ => {}
            }
        }
        Ok(single)
    }

    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// The name of one that is there.
    fn first(&self) -> Option<String> {
        let header = || self.headers.first().map(|(name, _)| format!("{HEADER}{name}"));
        match self {
            Single { key: Some(_), .. } => Some(KEY.to_owned()),
            Single { partition: Some(_), .. } => Some(PARTITION.to_owned()),
            Single { timestamp: Some(_), .. } => Some(TIMESTAMP.to_owned()),
            Single { headers, .. } if !headers.is_empty() => header(),
            Single { .. } => None,
        }
    }

    /// Refuses more record headers than a record may have.
    pub(super) fn check(&self, caps: &Caps) -> Result<(), Reject> {
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        match over(self.headers.len(), bytes, caps) {
            None => Ok(()),
            Some(detail) => Err(bad(format!("{HEADER}*"), detail)),
        }
    }

    /// Gives the batch's only event what it lacks.
    ///
    /// # Errors
    /// `BadHeader` where there is something to give and more than one event.
    pub(super) fn apply(&self, batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
        let Some(name) = self.first() else { return Ok(()) };
        if batch.received() > 1 {
            return Err(bad(name, "is for requests of one event; use the envelope for more".to_owned()));
        }
        let Some(mut event) = batch.events.pop() else { return Ok(()) };
        event.key = event.key.or_else(|| self.key.as_ref().map(|key| batch.make(key)));
        event.partition = event.partition.or(self.partition);
        event.timestamp = event.timestamp.or(self.timestamp);
        if !self.headers.is_empty() {
            let mut headers = batch.headers(&event).to_vec();
            for (name, value) in &self.headers {
                headers.push(Header { name: batch.make(name.as_bytes()), value: Some(batch.make(value)) });
            }
            batch.set_headers(&mut event, headers);
        }
        match too_many_headers(batch.headers(&event), caps) {
            None => batch.events.push(event),
            Some(detail) => fault::keep(batch, event.index, fault::at(Reason::BadHeaders, "/headers", detail)),
        }
        Ok(())
    }
}

/// What is over the caps for a record with these headers, in words.
pub(super) fn too_many_headers(headers: &[Header], caps: &Caps) -> Option<String> {
    let bytes = headers.iter().map(|header| header.name.len() + header.value.map_or(0, |value| value.len())).sum();
    over(headers.len(), bytes, caps)
}

fn over(count: usize, bytes: usize, caps: &Caps) -> Option<String> {
    if count > caps.record_headers {
        return Some(format!("a record may have at most {} headers", caps.record_headers));
    }
    let limit = caps.record_headers_bytes;
    (bytes as u64 > limit.get()).then(|| format!("a record may have at most {} bytes of headers", limit.get()))
}

/// A time as in RFC 3339, in milliseconds since the epoch; `None` for other text and for times before it.
pub(super) fn rfc_3339(text: &str) -> Option<i64> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanos.div_euclid(1_000_000)).ok().filter(|millis| *millis >= 0)
}

/// An integer from 0 on, in digits alone.
pub(super) fn natural<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn partition(value: &HeaderValue) -> Option<i32> {
    natural(value.to_str().ok()?)
}

fn timestamp(value: &HeaderValue) -> Option<i64> {
    let text = value.to_str().ok()?;
    natural(text).or_else(|| rfc_3339(text))
}

fn header(name: &HeaderName, value: &HeaderValue) -> Result<(String, Bytes), Reject> {
    match name.as_str().strip_prefix(HEADER) {
        Some("") | None => Err(bad(HEADER.to_owned(), "the name of the record's header is missing".to_owned())),
        Some(name) => Ok((name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))),
    }
}

fn put<T>(place: &mut Option<T>, name: &str, value: Option<T>, want: &str) -> Result<(), Reject> {
    let Some(value) = value else { return Err(bad(name.to_owned(), want.to_owned())) };
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(name.to_owned(), "may stand only once".to_owned())),
    }
}

fn bad(name: String, detail: String) -> Reject {
    Reject::BadHeader { name: name.into(), detail }
}
