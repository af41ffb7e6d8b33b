//! What a topic allows of an event: tombstones, explicit partitions, the sizes of keys and events; and what Kafka would
//! refuse, with all that shares a record batch with it: no key in a compacted topic, a time too far off.
//!
//! Runs when every event has its key. Marks what is wrong as rows of the batch; whether they sink the request is
//! [`verdict`]'s. Free of allocation while all is well.

use std::ops::RangeInclusive;

use crate::config::{Caps, Decision, Topic};
use crate::event::{Batch, Event};
use crate::reject::{Reason, Reject};

/// What is known of a topic in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// How many partitions it has.
    pub partitions: i32,
    /// What its `max.message.bytes` leaves for one event, in bytes of key, value and headers.
    pub max_event: u64,
    /// Whether it is compacted, and refuses what has no key.
    pub needs_key: bool,
    /// The times that it takes, in milliseconds since the epoch.
    pub times: RangeInclusive<i64>,
}

/// What becomes of a request with bad events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInvalid {
    /// Nothing is written.
    #[default]
    Refuse,
    /// The good ones are written.
    Skip,
}

/// Moves every event that the topic does not allow to the faults.
///
/// # Errors
/// `EventTooLarge` where the body is one event and its size is all that is wrong; the batch is left as it is.
pub fn check(topic: &Topic, known: &Known, caps: &Caps, batch: &mut Batch) -> Result<(), Reject> {
    let limit = topic.max_event.get().min(known.max_event);
    let wrong = |batch: &Batch, event: &Event| shape(topic, known, caps, event).or_else(|| size(limit, batch, event));
    if let ([event], true) = (batch.events.as_slice(), batch.faults.is_empty()) {
        let got = batch.size_of(event) as u64;
        if got > limit && shape(topic, known, caps, event).is_none() {
            return Err(Reject::EventTooLarge { limit, got });
        }
    }
    batch.weed(wrong);
    Ok(())
}

fn shape(topic: &Topic, known: &Known, caps: &Caps, event: &Event) -> Option<(Reason, String)> {
    if event.value.is_none() {
        if topic.tombstones != Decision::Allow {
            return Some((Reason::Tombstone, "the topic takes no tombstones".to_owned()));
        }
        if event.key.is_none() {
            return Some((Reason::Tombstone, "a tombstone needs a key".to_owned()));
        }
    }
    if known.needs_key && event.key.is_none() {
        return Some((Reason::KeyRequired, "the topic is compacted: an event needs a key".to_owned()));
    }
    if event.timestamp.is_some_and(|time| !known.times.contains(&time)) {
        let (first, last) = (known.times.start(), known.times.end());
        return Some((Reason::BadTimestamp, format!("the topic takes times from {first} to {last} now")));
    }
    if let Some(partition) = event.partition {
        if topic.partition != Decision::Allow {
            return Some((Reason::BadPartition, "the partition may not be chosen for this topic".to_owned()));
        }
        if !(0..known.partitions).contains(&partition) {
            return Some((Reason::BadPartition, format!("the topic has {} partitions", known.partitions)));
        }
    }
    let limit = caps.key.get();
    let key = event.key.filter(|key| key.len() as u64 > limit)?;
    Some((Reason::BadKey, format!("the key has {} bytes; at most {limit} are taken", key.len())))
}

fn size(limit: u64, batch: &Batch, event: &Event) -> Option<(Reason, String)> {
    let got = batch.size_of(event) as u64;
    (got > limit).then(|| {
        (
            Reason::TooLarge,
            format!("the event has {got} bytes of key, value and headers; the topic takes at most {limit}"),
        )
    })
}

/// Whether a request goes on, after all that could find fault with its events.
///
/// # Errors
/// `InvalidEvents` with every row by ascending index: where there is one and nothing may be skipped, or where skipping
/// leaves nothing.
pub fn verdict(batch: &Batch, on_invalid: OnInvalid) -> Result<(), Reject> {
    let goes_on = match on_invalid {
        OnInvalid::Refuse => batch.faults.is_empty(),
        OnInvalid::Skip => !batch.events.is_empty(),
    };
    if goes_on {
        return Ok(());
    }
    let mut faults = batch.faults.clone();
    faults.sort_by_key(|fault| fault.index);
    Err(Reject::InvalidEvents { faults, of: batch.received() })
}

#[cfg(test)]
mod tests;
