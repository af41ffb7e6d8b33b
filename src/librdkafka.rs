//! What the rdkafka crate lacks, as safe functions over its raw bindings.
//!
//! The one module with unsafe code; the crate denies it everywhere else (`tests/it/layers.rs` holds the house to
//! it). Each block says why it is sound. Nothing here knows klamm.
#![allow(unsafe_code)]

use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError, RDKafkaErrorCode};

mod cargo;
mod errands;
mod producer;
mod queue;
mod reports;

pub use cargo::{Cargo, Record};
pub use producer::{ANY_PARTITION, Delivered, Loading, Producer, Topic};
pub use reports::{Report, Reports};

/// Whether the log of the partition holds a message, as far as librdkafka can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persisted {
    /// It was never sent, or the broker refused it: sending it again cannot double it.
    No,
    /// It was sent and no answer came.
    Possibly,
    /// The broker acknowledged it.
    Yes,
}

/// The status of a message in a delivery report (`rd_kafka_message_status`).
///
/// # Safety
/// `message` is one that librdkafka reported, and alive.
unsafe fn status(message: *const sys::rd_kafka_message_t) -> Persisted {
    // SAFETY: the caller's promise; the call only reads it.
    match unsafe { sys::rd_kafka_message_status(message) } {
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persisted::No,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persisted::Possibly,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persisted::Yes,
    }
}

/// The same of a message of the crate's own producers.
#[cfg(test)]
pub fn persisted(message: &rdkafka::message::BorrowedMessage<'_>) -> Persisted {
    // SAFETY: the borrow keeps the message, and the event that owns it, alive.
    unsafe { status(message.ptr()) }
}

/// Asks any broker for the brokers of the cluster, and for nothing else that `client` does not use itself: the cheapest
/// question that shows whether Kafka answers. The crate can ask for one topic (and keeps it) or for all of them only.
/// `client` should know no topic: librdkafka may let the broker create one that it knows and the broker has not.
///
/// Blocks for at most `timeout`. Returns how many brokers the cluster has.
///
/// # Errors
/// `BrokerTransportFailure` or `OperationTimedOut` where no broker answers in time; what the broker says otherwise.
pub fn ask_brokers<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<usize, RDKafkaErrorCode> {
    let mut metadata: *const sys::rd_kafka_metadata = std::ptr::null();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive for the call; null is how "only the topics in use" is asked for; the out pointer is
    // valid and is written only on success.
    let code =
        unsafe { sys::rd_kafka_metadata(client.native_ptr(), 0, std::ptr::null_mut(), &raw mut metadata, millis) };
    if code.is_error() {
        return Err(code.into());
    }
    // SAFETY: on success it points to a metadata struct that is ours until it is destroyed, just below, once.
    let brokers = unsafe { (*metadata).broker_cnt };
    // SAFETY: as above; it is not used afterwards.
    unsafe { sys::rd_kafka_metadata_destroy(metadata) };
    Ok(usize::try_from(brokers).unwrap_or(0))
}

/// Ends the process with `code`, at once and without the C library's exit handlers. One of them cleans up OpenSSL under
/// the hands of librdkafka's threads, which may be in a handshake: a clean stop would end in a segmentation fault.
pub fn exit(code: u8) -> ! {
    unsafe extern "C" {
        safe fn _exit(code: std::ffi::c_int) -> !;
    }
    _exit(code.into())
}

/// Makes `client` fail fatally with `code`, as a broker's answer would (`rd_kafka_test_fatal_error`). For tests of
/// what happens then.
pub fn fail_fatally<C: ClientContext>(client: &Client<C>, code: sys::rd_kafka_resp_err_t) {
    // SAFETY: the client is alive for the call and the reason is a NUL-terminated constant that is copied.
    unsafe { sys::rd_kafka_test_fatal_error(client.native_ptr(), code, c"test".as_ptr()) };
}
