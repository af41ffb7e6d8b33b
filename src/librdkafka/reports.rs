//! Delivery reports, as a producer's event holds them.

use std::ffi::CStr;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ptr::NonNull;

use rdkafka::bindings as sys;
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::cargo::{Loads, Run};
use super::{Persisted, status};

/// What became of some records. One that is not taken from here is not reported again.
pub struct Reports<'e> {
    event: NonNull<sys::rd_kafka_event_t>,
    loads: &'e Loads,
    /// Those that were counted last, and not yet taken off their load.
    run: Option<Run>,
    _event: PhantomData<&'e sys::rd_kafka_event_t>,
}

impl<'e> Reports<'e> {
    /// Those of `event`.
    ///
    /// # Safety
    /// The event is alive for 'e, is read by nothing else meanwhile, and is of the kind that holds messages.
    pub(super) unsafe fn new(event: NonNull<sys::rd_kafka_event_t>, loads: &'e Loads) -> Self {
        Self { event, loads, run: None, _event: PhantomData }
    }
}

impl<'e> Iterator for Reports<'e> {
    type Item = Report<'e>;

    fn next(&mut self) -> Option<Report<'e>> {
        loop {
            // SAFETY: the event is as `new` was promised. A message lives as long as its event.
            let message = unsafe { sys::rd_kafka_event_message_next(self.event.as_ptr()).as_ref() }?;
            // From here on the value may be gone: nothing reads it in a message that is reported.
            if let Some((token, place)) = self.loads.count(&mut self.run, message._private.addr()) {
                return Some(Report { message, token, place });
            }
        }
    }
}

impl FusedIterator for Reports<'_> {}

impl Drop for Reports<'_> {
    fn drop(&mut self) {
        // Each counts, also those that nobody wanted to see.
        while self.next().is_some() {}
        if let Some(run) = self.run.take() {
            self.loads.end(run);
        }
    }
}

/// What became of one record.
pub struct Report<'e> {
    message: &'e sys::rd_kafka_message_t,
    token: usize,
    place: u32,
}

impl Report<'_> {
    /// Of its cargo, as [`Topic::load`](super::Topic::load) was told.
    pub fn token(&self) -> usize {
        self.token
    }

    /// In its cargo.
    pub fn place(&self) -> u32 {
        self.place
    }

    /// Where it is, or should have gone.
    pub fn partition(&self) -> i32 {
        self.message.partition
    }

    /// Where in the partition; `None` where it is not there, or the broker did not say.
    pub fn offset(&self) -> Option<i64> {
        Some(self.message.offset).filter(|offset| *offset >= 0)
    }

    /// Why it was not delivered.
    pub fn error(&self) -> Option<RDKafkaErrorCode> {
        self.message.err.is_error().then(|| self.message.err.into())
    }

    /// Whether the partition's log holds it.
    pub fn persisted(&self) -> Persisted {
        // SAFETY: the message is alive; the call only reads it.
        unsafe { status(self.message) }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        // SAFETY: a message holds a reference to its topic, whose name is a NUL-terminated string that never changes.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message.rkt)) }.to_str().unwrap_or_default()
    }
}
