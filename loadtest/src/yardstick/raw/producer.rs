//! librdkafka's producer as a C program uses it: topic handles, one call a message or one a batch, reports by callback
//! or as events. Owns every unsafe line of this crate but one; nothing here knows what is sent or why.
//!
//! Promise: nothing is borrowed by librdkafka after a call returns. Payloads and keys are copied (`RD_KAFKA_MSG_F_COPY`)
//! and the opaque of a message is a number, never an address.
#![allow(
    unsafe_code,
    reason = "the yardstick is librdkafka's C interface itself; the rdkafka crate wraps it at a cost"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Partition "unassigned": the partitioner chooses.
const UNASSIGNED: i32 = -1;

/// Gets every delivery report, on the thread that polls.
pub(super) trait Deliveries: Send + Sync + 'static {
    /// The message sent with `tag` is acknowledged, or has failed for good.
    fn delivered(&self, tag: usize, failed: bool);
}

/// How delivery reports are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reports {
    /// `dr_msg_cb`, served by `rd_kafka_poll`.
    Callback,
    /// `RD_KAFKA_EVENT_DR`, arrays of reports off the main queue.
    Events,
}

/// One message to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) value: &'a [u8],
    pub(super) key: Option<&'a [u8]>,
}

/// A producer with its topic handles. Dropping it forgets what was not delivered: [`Producer::drain`] first.
pub(super) struct Producer<D: Deliveries> {
    client: *mut sys::rd_kafka_t,
    topics: Vec<*mut sys::rd_kafka_topic_t>,
    /// Some with [`Reports::Events`].
    queue: Option<*mut sys::rd_kafka_queue_t>,
    /// What the client's opaque points to; freed after the client is destroyed.
    deliveries: Arc<D>,
}

// SAFETY: librdkafka's client, topic and queue handles may be used from any thread (INTRODUCTION.md, "Threads and
// callbacks"), they are freed once, in Drop, and `D` is Send and Sync.
unsafe impl<D: Deliveries> Send for Producer<D> {}
// SAFETY: as above; every call through `&self` is one that librdkafka locks itself.
unsafe impl<D: Deliveries> Sync for Producer<D> {}

impl<D: Deliveries> Producer<D> {
    /// Makes the client and a handle for each topic; does not wait for a broker.
    pub(super) fn new(config: &ClientConfig, topics: &[String], reports: Reports, deliveries: Arc<D>) -> Result<Self> {
        let native = config.create_native_config()?;
        // SAFETY: the config is alive and ours. The callbacks match librdkafka's signatures. The opaque is what
        // `on_report` reads it as: a `D` kept alive by the Arc in this struct until the client is destroyed.
        unsafe {
            match reports {
                Reports::Callback => sys::rd_kafka_conf_set_dr_msg_cb(native.ptr(), Some(on_report::<D>)),
                Reports::Events => sys::rd_kafka_conf_set_events(native.ptr(), sys::RD_KAFKA_EVENT_DR),
            }
            sys::rd_kafka_conf_set_stats_cb(native.ptr(), Some(on_statistics));
            sys::rd_kafka_conf_set_opaque(native.ptr(), Arc::as_ptr(&deliveries).cast_mut().cast());
        }
        let mut fault: [c_char; 512] = [0; 512];
        // A success takes the config over: not freed here.
        let native = ManuallyDrop::new(native);
        // SAFETY: the config is alive; the buffer is as long as is said.
        let client = unsafe {
            let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            sys::rd_kafka_new(kind, native.ptr(), fault.as_mut_ptr(), fault.len())
        };
        if client.is_null() {
            drop(ManuallyDrop::into_inner(native));
            // SAFETY: librdkafka ends its text with a NUL inside the buffer, which began as zeros.
            let fault = unsafe { CStr::from_ptr(fault.as_ptr()) };
            bail!("librdkafka: {}", fault.to_string_lossy());
        }
        let mut producer = Self { client, topics: Vec::with_capacity(topics.len()), queue: None, deliveries };
        if reports == Reports::Events {
            // SAFETY: the client is alive; the reference taken here is given back in Drop.
            producer.queue = Some(unsafe { sys::rd_kafka_queue_get_main(client) });
        }
        for name in topics {
            let text = CString::new(name.as_str()).context("a NUL in a topic's name")?;
            // SAFETY: the client is alive, the name is copied, a null config means the defaults.
            let topic = unsafe { sys::rd_kafka_topic_new(client, text.as_ptr(), std::ptr::null_mut()) };
            if topic.is_null() {
                bail!("{name}: {}", last_error());
            }
            producer.topics.push(topic);
        }
        Ok(producer)
    }

    /// Enqueues one message on the topic of this number (of those given to [`Producer::new`]).
    ///
    /// # Errors
    /// `QueueFull` where too many are outstanding; what librdkafka says otherwise.
    pub(super) fn produce(&self, topic: usize, message: Message<'_>, tag: usize) -> Result<(), RDKafkaErrorCode> {
        let Some(&topic) = self.topics.get(topic) else { return Err(RDKafkaErrorCode::UnknownTopic) };
        let (key, key_len) = parts(message.key);
        // SAFETY: the handle is alive; both slices are only read, and copied, before the call returns; the tag is a
        // number that nobody follows.
        let code = unsafe {
            sys::rd_kafka_produce(
                topic,
                UNASSIGNED,
                sys::RD_KAFKA_MSG_F_COPY,
                message.value.as_ptr().cast_mut().cast(),
                message.value.len(),
                key,
                key_len,
                std::ptr::without_provenance_mut(tag),
            )
        };
        if code == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// Enqueues a batch in one call and takes what was enqueued out of it; what is left found the queue full.
    ///
    /// # Errors
    /// What librdkafka says of a message, but for a full queue.
    pub(super) fn produce_batch(&self, topic: usize, batch: &mut Batch<'_>) -> Result<(), RDKafkaErrorCode> {
        let Some(&topic) = self.topics.get(topic) else { return Err(RDKafkaErrorCode::UnknownTopic) };
        let count = c_int::try_from(batch.messages.len()).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        // SAFETY: the handle is alive; the array has `count` messages whose slices `'_` keeps alive; they are copied
        // before the call returns.
        unsafe {
            let messages = batch.messages.as_mut_ptr();
            sys::rd_kafka_produce_batch(topic, UNASSIGNED, sys::RD_KAFKA_MSG_F_COPY, messages, count);
        }
        batch.messages.retain(|message| message.err != RD_KAFKA_RESP_ERR_NO_ERROR);
        for message in &mut batch.messages {
            let code = RDKafkaErrorCode::from(message.err);
            if code != RDKafkaErrorCode::QueueFull {
                return Err(code);
            }
            message.err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        Ok(())
    }

    /// Serves delivery reports; waits for the first at most this long.
    pub(super) fn poll(&self, patience: Duration) {
        let millis = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
        let Some(queue) = self.queue else {
            // SAFETY: the client is alive.
            unsafe { sys::rd_kafka_poll(self.client, millis) };
            return;
        };
        // SAFETY: the queue is alive; the event is ours until it is destroyed, once, at the end; its messages live as
        // long as it does, and are only read.
        unsafe {
            let event = sys::rd_kafka_queue_poll(queue, millis);
            if event.is_null() {
                return;
            }
            if sys::rd_kafka_event_type(event) == sys::RD_KAFKA_EVENT_DR {
                while let Some(message) = sys::rd_kafka_event_message_next(event).as_ref() {
                    self.deliveries.delivered(message._private.addr(), message.err != RD_KAFKA_RESP_ERR_NO_ERROR);
                }
            }
            sys::rd_kafka_event_destroy(event);
        }
    }

    /// Serves reports until nothing is outstanding, or `limit` has passed; returns how many are.
    pub(super) fn drain(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        loop {
            // SAFETY: the client is alive.
            let outstanding = unsafe { sys::rd_kafka_outq_len(self.client) };
            if outstanding <= 0 || Instant::now() > deadline {
                return usize::try_from(outstanding).unwrap_or(0);
            }
            self.poll(Duration::from_millis(10));
        }
    }
}

impl<D: Deliveries> Drop for Producer<D> {
    fn drop(&mut self) {
        // SAFETY: each handle was made in `new` and is freed here alone; topics and the queue before their client, and
        // the client, whose threads end here, before `deliveries`. Messages left are purged, so that it ends soon.
        unsafe {
            sys::rd_kafka_purge(self.client, sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT);
            for &topic in &self.topics {
                sys::rd_kafka_topic_destroy(topic);
            }
            if let Some(queue) = self.queue {
                sys::rd_kafka_queue_destroy(queue);
            }
            sys::rd_kafka_destroy(self.client);
        }
    }
}

/// The array of one batch call.
pub(super) struct Batch<'a> {
    messages: Vec<sys::rd_kafka_message_t>,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// An empty one with room for so many.
    pub(super) fn with_capacity(messages: usize) -> Self {
        Self { messages: Vec::with_capacity(messages), borrowed: PhantomData }
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Message<'a>, tag: usize) {
        let (key, key_len) = parts(message.key);
        self.messages.push(sys::rd_kafka_message_t {
            err: RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: std::ptr::null_mut(),
            partition: UNASSIGNED,
            payload: message.value.as_ptr().cast_mut().cast(),
            len: message.value.len(),
            key: key.cast_mut(),
            key_len,
            offset: 0,
            _private: std::ptr::without_provenance_mut(tag),
        });
    }

    /// How many are not enqueued yet.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// Null for no key: an empty key would be a key.
fn parts(key: Option<&[u8]>) -> (*const c_void, usize) {
    key.map_or((std::ptr::null(), 0), |key| (key.as_ptr().cast(), key.len()))
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads the calling thread's last error.
    unsafe { sys::rd_kafka_last_error() }.into()
}

unsafe extern "C" fn on_report<D: Deliveries>(
    _client: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka calls this from `rd_kafka_poll` with a message that lives as long as the call, and with the
    // opaque set in `new`: a `D` that lives longer than the client.
    let (message, deliveries) = unsafe { (&*message, &*opaque.cast::<D>()) };
    deliveries.delivered(message._private.addr(), message.err != RD_KAFKA_RESP_ERR_NO_ERROR);
}

/// Takes the statistics as klamm does, and frees them: 0 leaves the text to librdkafka.
unsafe extern "C" fn on_statistics(
    _client: *mut sys::rd_kafka_t,
    _text: *mut c_char,
    _length: usize,
    _opaque: *mut c_void,
) -> c_int {
    0
}
