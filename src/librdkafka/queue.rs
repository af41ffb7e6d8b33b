//! The queue of events of a client.

use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult};

/// A handle of the queue in which a client puts its events.
pub(super) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka locks within every call on a queue.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    pub(super) fn of<C: ClientContext>(client: &Client<C>) -> KafkaResult<Self> {
        // SAFETY: the client is alive; the reference is given back on drop.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        NonNull::new(queue).map(Self).ok_or_else(|| KafkaError::ClientCreation("no queue of events".to_owned()))
    }

    /// The next event, which is the caller's to destroy. `None` after `patience`, or where it is interrupted.
    pub(super) fn poll(&self, patience: Duration) -> Option<NonNull<sys::rd_kafka_event_t>> {
        let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.0.as_ptr(), millis) })
    }

    /// Ends the poll that waits; where none does, the next one.
    pub(super) fn interrupt(&self) {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_yield(self.0.as_ptr()) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}
