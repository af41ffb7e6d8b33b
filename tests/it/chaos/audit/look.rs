//! What can be said of a record by itself: whose it is, and whether it is what was sent. Keeps nothing, so that each
//! topic is looked at on a thread of its own.

use std::sync::mpsc::SyncSender;

use klamm_load::verify::{Record, Source};

use crate::chaos::event::{Id, Values, id_in};
use crate::chaos::ledger::Book;
use crate::chaos::load::key_of;

/// A record that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The event that it is by its own word; of one that was never sent how its value begins.
    pub(super) of: Result<Id, String>,
    /// Partition and offset.
    pub(super) place: (i32, i64),
    /// A digest of its event id; 0 where it has none.
    pub(super) event_id: u32,
    /// Not the bytes that were sent.
    pub(super) is_altered: bool,
    /// Under another key or in another topic than asked for.
    pub(super) is_misplaced: bool,
}

/// How many records are handed on at once.
const SOME: usize = 4096;

/// Looks at records.
pub(super) struct Looker<'a> {
    book: &'a Book,
    values: &'a Values,
    /// By stream.
    keys: Vec<String>,
}

impl<'a> Looker<'a> {
    pub(super) fn new(book: &'a Book, values: &'a Values) -> Self {
        let streams = book.entries.iter().filter_map(|entry| entry.order.stream).max().map_or(0, |last| last + 1);
        Self { book, values, keys: (0..streams).map(key_of).collect() }
    }

    pub(super) fn look(&self, topic: usize, record: Record<'_>) -> Seen {
        let place = (record.partition, record.offset);
        let value = record.value.unwrap_or_default();
        let known = id_in(value).and_then(|id| Some((id, self.book.get(id)?)));
        let Some((id, entry)) = known else {
            let of = Err(String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned());
            return Seen { of, place, event_id: 0, is_altered: false, is_misplaced: false };
        };
        let key = entry.order.stream.map(|stream| self.keys[stream as usize].as_bytes());
        Seen {
            of: Ok(id),
            place,
            event_id: record.event_id.map_or(0, |event_id| crc32fast::hash(event_id).max(1)),
            is_altered: !self.values.is(id, value),
            is_misplaced: topic != entry.order.topic || record.key != key,
        }
    }

    /// Looks at a topic to its end, and hands on what it saw.
    pub(super) fn look_at(&self, topic: usize, source: &mut impl Source, to: &SyncSender<(usize, Vec<Seen>)>) {
        let mut some = Vec::with_capacity(SOME);
        while source.next(&mut |record| some.push(self.look(topic, record))).expect("a topic that can be read") {
            if some.len() >= SOME {
                let full = std::mem::replace(&mut some, Vec::with_capacity(SOME));
                to.send((topic, full)).expect("an auditor that listens");
            }
        }
        to.send((topic, some)).expect("an auditor that listens");
    }
}
