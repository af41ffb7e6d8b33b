//! The body of a record: an entry with its names, ids and events. Bytes of events are neither read nor changed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::Entry;
use super::format::{Fields, HEAD, put_text, put_varint};
use crate::event::{Batch, Event, Header, Piece, RequestId};

const KEY: u8 = 1;
const VALUE: u8 = 2;
const PARTITION: u8 = 4;
const TIMESTAMP: u8 = 8;
const HEADERS: u8 = 16;

/// The least that a record takes: its head, both ids, the time and the lengths of both names.
pub(super) const LEAST_RECORD: usize = HEAD + 16 + 16 + 8 + 2 + 2;
/// The least that an event takes in it: its flags and its index.
pub(super) const LEAST_EVENT: usize = 2;

/// The record of `entry` with an empty head, and how many events are in it.
pub(super) fn encode(entry: &Entry<'_>) -> (Vec<u8>, u32) {
    let batch = entry.batch;
    let mut out = Vec::with_capacity(capacity(entry));
    out.resize(HEAD, 0);
    out.extend_from_slice(entry.request.uuid().as_bytes());
    out.extend_from_slice(entry.ids.as_bytes());
    out.extend_from_slice(&millis(entry.received).to_le_bytes());
    put_text(&mut out, entry.client.as_str());
    put_text(&mut out, entry.topic.as_str());
    let mut count = 0;
    match entry.places {
        None => batch.events.iter().for_each(|event| {
            put_event(&mut out, batch, event);
            count += 1;
        }),
        Some(places) => places.iter().filter_map(|place| batch.events.get(*place as usize)).for_each(|event| {
            put_event(&mut out, batch, event);
            count += 1;
        }),
    }
    (out, count)
}

/// Enough for the record in most cases.
fn capacity(entry: &Entry<'_>) -> usize {
    let batch = entry.batch;
    let (events, bytes) = match entry.places {
        None => (batch.events.len(), batch.size() as usize),
        Some(places) => {
            let events = places.iter().filter_map(|place| batch.events.get(*place as usize));
            (places.len(), events.map(|event| batch.size_of(event)).sum())
        }
    };
    HEAD + 64 + entry.client.as_str().len() + entry.topic.as_str().len() + bytes + 24 * events
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// In seconds since the epoch.
pub(super) fn seconds(time: SystemTime) -> u32 {
    u32::try_from(millis(time) / 1000).unwrap_or(u32::MAX)
}

fn put_event(out: &mut Vec<u8>, batch: &Batch, event: &Event) {
    let headers = batch.headers(event);
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(event.key.is_some(), KEY)
            | flag(event.value.is_some(), VALUE)
            | flag(event.partition.is_some(), PARTITION)
            | flag(event.timestamp.is_some(), TIMESTAMP)
            | flag(!headers.is_empty(), HEADERS),
    );
    put_varint(out, event.index);
    if let Some(partition) = event.partition {
        out.extend_from_slice(&partition.to_le_bytes());
    }
    if let Some(timestamp) = event.timestamp {
        out.extend_from_slice(&timestamp.to_le_bytes());
    }
    for piece in [event.key, event.value].into_iter().flatten() {
        put_bytes(out, batch.bytes(piece));
    }
    if headers.is_empty() {
        return;
    }
    put_varint(out, headers.len() as u32);
    for header in headers {
        put_bytes(out, batch.bytes(header.name));
        out.push(header.value.is_some().into());
        if let Some(value) = header.value {
            put_bytes(out, batch.bytes(value));
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// What a record says before its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta<'a> {
    pub request: RequestId,
    pub ids: Uuid,
    pub received: SystemTime,
    pub client: &'a str,
    pub topic: &'a str,
}

/// Reads what stands before the events of a whole record.
pub(super) fn meta(record: &[u8]) -> Option<Meta<'_>> {
    read_meta(&mut Fields(record.get(HEAD..)?))
}

fn read_meta<'a>(fields: &mut Fields<'a>) -> Option<Meta<'a>> {
    let request = RequestId::from(Uuid::from_bytes(fields.array()?));
    let ids = Uuid::from_bytes(fields.array()?);
    let received = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(fields.u64()?))?;
    Some(Meta { request, ids, received, client: fields.text()?, topic: fields.text()? })
}

/// The events of a whole record, those in `left` (sorted) where it is given.
pub(super) fn events(record: &Bytes, left: Option<&[u32]>) -> Option<Batch> {
    let mut fields = Fields(record.get(HEAD..)?);
    read_meta(&mut fields)?;
    let mut batch = Batch::over(record.clone());
    while !fields.0.is_empty() {
        let event = read_event(&mut fields, record, &mut batch)?;
        if left.is_none_or(|left| left.binary_search(&event.index).is_ok()) {
            batch.events.push(event);
        }
    }
    Some(batch)
}

fn read_event(fields: &mut Fields<'_>, record: &Bytes, batch: &mut Batch) -> Option<Event> {
    let flags = fields.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let mut event = Event::new(fields.varint()?, 0, None);
    if has(PARTITION) {
        event.partition = Some(i32::from_le_bytes(fields.array()?));
    }
    if has(TIMESTAMP) {
        event.timestamp = Some(i64::from_le_bytes(fields.array()?));
    }
    if has(KEY) {
        event.key = Some(piece(fields, record)?);
    }
    if has(VALUE) {
        event.value = Some(piece(fields, record)?);
    }
    if has(HEADERS) {
        let count = fields.varint()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = piece(fields, record)?;
            let value = if fields.u8()? == 0 { None } else { Some(piece(fields, record)?) };
            headers.push(Header { name, value });
        }
        batch.set_headers(&mut event, headers);
    }
    Some(event)
}

fn piece(fields: &mut Fields<'_>, record: &Bytes) -> Option<Piece> {
    let len = fields.varint()? as usize;
    let start = record.len() - fields.0.len();
    fields.bytes(len)?;
    Some(Piece::of_body(start..start + len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{ClientId, TopicName};

    type Row = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i32>, Option<i64>, Vec<(String, Option<Vec<u8>>)>);

    fn batch_of(rows: &[Row]) -> Batch {
        let mut batch = Batch::default();
        for (index, (key, value, partition, timestamp, headers)) in rows.iter().enumerate() {
            let mut event = Event::new(2 * index as u32, 0, value.as_ref().map(|value| batch.make(value)));
            event.key = key.as_ref().map(|key| batch.make(key));
            (event.partition, event.timestamp) = (*partition, *timestamp);
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| Header {
                    name: batch.make(name.as_bytes()),
                    value: value.as_ref().map(|value| batch.make(value)),
                })
                .collect();
            batch.set_headers(&mut event, headers);
            batch.events.push(event);
        }
        batch
    }

    fn rows_of(batch: &Batch) -> Vec<(u32, Row)> {
        let bytes = |piece: Option<Piece>| piece.map(|piece| batch.bytes(piece).to_vec());
        let header =
            |header: &Header| (String::from_utf8(batch.bytes(header.name).to_vec()).unwrap(), bytes(header.value));
        let row = |event: &Event| {
            let headers = batch.headers(event).iter().map(header).collect();
            (event.index, (bytes(event.key), bytes(event.value), event.partition, event.timestamp, headers))
        };
        batch.events.iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_out_again_and_never_from_a_part_of_it(
            rows in prop::collection::vec(any::<Row>(), 0..6),
            millis in 0u64..1 << 42,
            cut in any::<prop::sample::Index>(),
        ) {
            let (client, topic) = (ClientId::from("c"), TopicName::from("orders"));
            let batch = batch_of(&rows);
            let received = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let request = RequestId::new();
            let entry = |places| Entry {
                client: &client, topic: &topic, request, ids: Uuid::nil(), received, batch: &batch, places,
            };
            let (bytes, count) = encode(&entry(None));
            prop_assert_eq!(count as usize, rows.len());
            let bytes = Bytes::from(bytes);
            let meta = meta(&bytes).unwrap();
            prop_assert_eq!(meta, Meta { request, ids: Uuid::nil(), received, client: "c", topic: "orders" });
            prop_assert_eq!(rows_of(&events(&bytes, None).unwrap()), rows_of(&batch));
            let (part, count) = encode(&entry(Some(&[1, 3])));
            let left: Vec<_> = rows_of(&batch).into_iter().filter(|(index, _)| [2, 6].contains(index)).collect();
            prop_assert_eq!((count as usize, rows_of(&events(&part.into(), None).unwrap())), (left.len(), left.clone()));
            prop_assert_eq!(rows_of(&events(&bytes, Some(&[2, 6])).unwrap()), left);
            // Whatever a record is cut to, reading it ends.
            let _ = events(&bytes.slice(..cut.index(bytes.len())), None);
        }
    }
}
