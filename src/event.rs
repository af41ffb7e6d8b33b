//! What passes through klamm: names, and the events of one request as slices of its body.
//!
//! A [`Batch`] owns the (inflated) body once. Its events point into it; bytes that the body does not hold as they
//! are sent (an unescaped key, decoded base64) lie in one side buffer. Nothing here copies a value.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::reject::{Fault, Place, Reason};

pub mod json;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // So that maps keyed by the name can be asked with a `&str`.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Who sends: the name of an entry of `clients` in the config.
    ClientId
}
name! {
    /// A Kafka topic.
    TopicName
}

impl TopicName {
    /// Whether Kafka would take `name`: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
    pub fn is_legal(name: &str) -> bool {
        (1..=249).contains(&name.len())
            && name != "."
            && name != ".."
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
}

/// klamm's own id of a request, a UUIDv7 (RFC 9562): unique and ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Its text in `buffer`.
    pub fn text<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The id itself.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

/// An id that was made before.
impl From<Uuid> for RequestId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As its text.
impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; 36]))
    }
}

/// Some bytes of a [`Batch`], resolved by [`Batch::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    source: Source,
    start: u32,
    len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Body,
    Made,
}

impl Piece {
    /// The bytes `range` of the body. Bodies are below 4 GiB (the config refuses larger limits).
    pub fn of_body(range: Range<usize>) -> Self {
        Self { source: Source::Body, start: range.start as u32, len: range.len() as u32 }
    }

    /// Where it lies in the body; `None` where it does not.
    pub fn in_body(&self) -> Option<Range<usize>> {
        let start = self.start as usize;
        match self.source {
            Source::Body => Some(start..start + self.len()),
            Source::Made => None,
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none (which is not the same as there being no piece).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A header of the Kafka record to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// UTF-8.
    pub name: Piece,
    /// `None` is Kafka's null header value.
    pub value: Option<Piece>,
}

/// One event of a request: the record to be, its bytes in the [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among the events of the request, from 0, faulty ones counted.
    pub index: u32,
    /// Where it begins in the (inflated) body.
    pub offset: u32,
    /// `None` is a tombstone.
    pub value: Option<Piece>,
    /// `None` is no key.
    pub key: Option<Piece>,
    /// The partition that the client asks for.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None` is the time at which klamm sends it.
    pub timestamp: Option<i64>,
    headers: (u32, u32),
}

impl Event {
    /// An event without key, headers and wishes.
    pub fn new(index: u32, offset: usize, value: Option<Piece>) -> Self {
        Self { index, offset: offset as u32, value, key: None, partition: None, timestamp: None, headers: (0, 0) }
    }

    /// How many headers it has.
    pub fn header_count(&self) -> usize {
        (self.headers.1 - self.headers.0) as usize
    }
}

/// The events of one request.
///
/// Invariant: every event that the body held is either in `events` or has exactly one row in `faults`.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    body: Bytes,
    made: Vec<u8>,
    headers: Vec<Header>,
    /// The good ones, by ascending index.
    pub events: Vec<Event>,
    /// The others, in the order in which they were found out.
    pub faults: Vec<Fault>,
}

impl Batch {
    /// An empty batch over `body`.
    pub fn over(body: Bytes) -> Self {
        Self { body, ..Self::default() }
    }

    /// The body it is made from.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The bytes of `piece`, which must be of this batch.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        let from: &[u8] = match piece.source {
            Source::Body => &self.body,
            Source::Made => &self.made,
        };
        from.get(piece.start as usize..(piece.start + piece.len) as usize).unwrap_or_default()
    }

    /// Keeps bytes that are not in the body as they are sent.
    pub fn make(&mut self, bytes: &[u8]) -> Piece {
        let start = self.made.len() as u32;
        self.made.extend_from_slice(bytes);
        Piece { source: Source::Made, start, len: bytes.len() as u32 }
    }

    /// Gives `event` its headers.
    pub fn set_headers(&mut self, event: &mut Event, headers: impl IntoIterator<Item = Header>) {
        let start = self.headers.len() as u32;
        self.headers.extend(headers);
        event.headers = (start, self.headers.len() as u32);
    }

    /// The headers of `event`.
    pub fn headers(&self, event: &Event) -> &[Header] {
        self.headers.get(event.headers.0 as usize..event.headers.1 as usize).unwrap_or_default()
    }

    /// Adds the header `name` to every good event, with the value that `value_of` writes for its index.
    pub fn stamp(&mut self, name: &str, mut value_of: impl FnMut(u32, &mut Vec<u8>)) {
        let name = self.make(name.as_bytes());
        let mut events = std::mem::take(&mut self.events);
        self.headers.reserve(events.len());
        for event in &mut events {
            let start = self.made.len();
            value_of(event.index, &mut self.made);
            let value = Piece { source: Source::Made, start: start as u32, len: (self.made.len() - start) as u32 };
            let (first, last) = (event.headers.0 as usize, event.headers.1 as usize);
            if last != self.headers.len() {
                // They are not the newest: headers of one event lie side by side.
                event.headers.0 = self.headers.len() as u32;
                self.headers.extend_from_within(first..last);
            }
            self.headers.push(Header { name, value: Some(value) });
            event.headers.1 = self.headers.len() as u32;
        }
        self.events = events;
    }

    /// The same with only the events at `places`, and no faults.
    pub fn only(&self, places: &[usize]) -> Self {
        let events = places.iter().filter_map(|place| self.events.get(*place).cloned()).collect();
        let (body, made, headers) = (self.body.clone(), self.made.clone(), self.headers.clone());
        Self { body, made, headers, events, faults: Vec::new() }
    }

    /// How many events the body held, good or not.
    pub fn received(&self) -> usize {
        self.events.len() + self.faults.len()
    }

    /// The size of one record: key, value and headers, in bytes.
    pub fn size_of(&self, event: &Event) -> usize {
        let piece = |p: Option<Piece>| p.map_or(0, |p| p.len());
        let headers: usize = self.headers(event).iter().map(|h| h.name.len() + piece(h.value)).sum();
        piece(event.key) + piece(event.value) + headers
    }

    /// The bytes in memory for as long as it is under way: the body, what was made beside it, and the keys and headers of
    /// the good events once more, since a producer copies those.
    pub fn held(&self) -> u64 {
        let values = |event: &Event| event.value.map_or(0, |value| value.len());
        let copied: usize = self.events.iter().map(|event| self.size_of(event) - values(event)).sum();
        (self.body.len() + self.made.capacity() + copied) as u64
    }

    /// The sizes of all good events together, in bytes.
    pub fn size(&self) -> u64 {
        self.events.iter().map(|event| self.size_of(event) as u64).sum()
    }

    /// Moves every event that `fault_of` finds fault with to the faults.
    pub fn weed(&mut self, mut fault_of: impl FnMut(&Batch, &Event) -> Option<(Reason, String)>) {
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| {
            let fault = fault_of(self, event);
            if let Some((reason, detail)) = fault {
                let place = Place::Offset(event.offset.into());
                self.faults.push(Fault { index: event.index, place, reason, detail });
                return false;
            }
            true
        });
        self.events = events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_legal_as_in_kafka() {
        for name in ["a", "orders", "clicks-2.v_1", &"x".repeat(249)] {
            assert!(TopicName::is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(!TopicName::is_legal(name), "{name}");
        }
    }

    #[test]
    fn a_stamp_is_the_last_header_of_each_event() {
        let mut batch = Batch::over(Bytes::from_static(b"a b"));
        let (name, value) = (batch.make(b"own"), batch.make(b"x"));
        for index in [0, 1, 4] {
            let mut event = Event::new(index, 0, None);
            if index != 1 {
                batch.set_headers(&mut event, [Header { name, value: Some(value) }]);
            }
            batch.events.push(event);
        }
        for round in ["id", "again"] {
            batch.stamp(round, |index, to| to.extend_from_slice(format!("{round}-{index}").as_bytes()));
        }
        let seen: Vec<Vec<_>> = batch
            .events
            .iter()
            .map(|event| {
                let text = |piece| String::from_utf8_lossy(batch.bytes(piece)).into_owned();
                batch
                    .headers(event)
                    .iter()
                    .map(|header| format!("{}={}", text(header.name), header.value.map(text).unwrap()))
                    .collect()
            })
            .collect();
        assert_eq!(
            seen,
            [
                vec!["own=x", "id=id-0", "again=again-0"],
                vec!["id=id-1", "again=again-1"],
                vec!["own=x", "id=id-4", "again=again-4"],
            ]
        );
    }

    #[test]
    fn a_batch_sizes_its_events_by_key_value_and_headers() {
        let mut batch = Batch::over(Bytes::from_static(b"key value"));
        let mut event = Event::new(0, 4, Some(Piece::of_body(4..9)));
        event.key = Some(Piece::of_body(0..3));
        let name = batch.make(b"name");
        batch.set_headers(&mut event, [Header { name, value: None }, Header { name, value: Some(name) }]);
        batch.events.push(event.clone());
        assert_eq!(batch.size(), 3 + 5 + 4 + 8);
        assert_eq!(batch.bytes(batch.headers(&event)[1].name), b"name");
        assert_eq!(batch.held(), 9 + batch.made.capacity() as u64 + 3 + 4 + 8);
        batch.weed(|batch, event| (batch.size_of(event) > 19).then(|| (Reason::TooLarge, "20".into())));
        assert_eq!((batch.events.len(), batch.faults.len(), batch.received()), (0, 1, 1));
    }
}
