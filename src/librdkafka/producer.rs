//! A producer with topic handles, batch enqueue and delivery reports by the array: what the crate's producers lack.
//!
//! The safety argument as a whole:
//! - The native producer lives in an `Arc<Native>`. A [`Topic`] and the poller hold that `Arc`, so a handle is destroyed
//!   and the last event is served before the producer is.
//! - Values are not copied: a record points into its [`Cargo`], which `cargo.rs` keeps until its report, or until the
//!   producer is destroyed. Keys and headers are copied by librdkafka within the call.
//! - An opaque is two numbers in a pointer's clothes. Nothing ever dereferences it.
//! - librdkafka's objects used here are safe to use from any thread at the same time (its INTRODUCTION.md says so of
//!   producers, topics and queues); the events are served by one thread, the poller.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_vtype_t as vtype;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;

use super::cargo::{self, Cargo, Loads, Record};
use super::errands::Errands;
use super::queue::Queue;
use super::reports::Reports;

/// Leaves the choice of a partition to librdkafka.
pub const ANY_PARTITION: i32 = -1;

/// How long the poller waits for an event before it looks whether it should end.
const NAP: Duration = Duration::from_millis(100);
/// How long the reports of what is purged may take when a producer is dropped.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Records handed over in one call; so many descriptions of 72 bytes lie on the stack.
const AT_ONCE: usize = 64;

/// Who hears what became of the records, on the poller's thread.
pub trait Delivered: ClientContext + 'static {
    /// Takes the reports of one event: usually those of one batch.
    fn delivered(&self, reports: Reports<'_>);

    /// The producer has failed for good. Comes before the error itself, and before the reports of what it then gives up.
    fn failed_for_good(&self);
}

/// A native producer, and what it reads.
struct Native<C: Delivered> {
    /// Before the client: fields are dropped in their order.
    queue: Queue,
    /// Before the loads: until it is destroyed, which waits for its threads, librdkafka may read what it has not
    /// reported.
    client: Client<C>,
    loads: Loads,
    errands: Errands<C>,
}

/// A native producer and the thread that serves its events. Dropping it purges what is under way, which is reported
/// first.
pub struct Producer<C: Delivered> {
    native: Arc<Native<C>>,
    over: Arc<AtomicBool>,
    /// Some until the drop.
    poller: Option<JoinHandle<()>>,
}

impl<C: Delivered> Producer<C> {
    /// Needs no broker. `context` hears reports, statistics, errors and log lines, all on the poller's thread.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties, or the system no thread.
    pub fn new(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let native = config.create_native_config()?;
        let events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_STATS | sys::RD_KAFKA_EVENT_ERROR;
        // SAFETY: the configuration is alive and not yet a producer's.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), events) };
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?;
        let queue = Queue::of(&client)?;
        let native = Arc::new(Native { queue, client, loads: Loads::default(), errands: Errands::default() });
        let over = Arc::new(AtomicBool::new(false));
        let poller = std::thread::Builder::new().name("klamm-delivery".into());
        let poller = poller.spawn({
            let (native, over) = (Arc::clone(&native), Arc::clone(&over));
            move || serve(&native, &over)
        });
        let poller = poller.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { native, over, poller: Some(poller) })
    }

    /// The client beneath, for what the crate does well.
    pub fn client(&self) -> &Client<C> {
        &self.native.client
    }

    /// Has `errand` run by the poller's thread, after those that it was given before. Never blocks. An errand may use
    /// [`Topic`]s; it must not wait, nor hold this producer.
    pub fn delegate(&self, errand: impl FnOnce(&C) + Send + 'static) {
        if self.native.errands.give(Box::new(errand)) {
            self.native.queue.interrupt();
        }
    }

    /// Whether no errand waits or is run: what is done now is done after all that was delegated.
    pub fn is_idle(&self) -> bool {
        self.native.errands.is_idle()
    }

    /// Drops the errands that wait, and waits for the end of one that is run.
    pub fn recall(&self) {
        self.native.errands.recall();
    }

    /// A handle of the topic `name`. Asks no broker.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none; what librdkafka says otherwise.
    pub fn topic(&self, name: &str) -> Result<Topic<C>, RDKafkaErrorCode> {
        let name = CString::new(name).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        // SAFETY: the producer is alive, the name is copied, null asks for the default settings of topics.
        let handle =
            unsafe { sys::rd_kafka_topic_new(self.native.client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(handle) {
            Some(handle) => Ok(Topic { native: Arc::clone(&self.native), handle }),
            // SAFETY: reads a thread-local of this thread.
            None => Err(unsafe { sys::rd_kafka_last_error() }.into()),
        }
    }

    /// Sends what lingers and waits until every record is reported, for at most `patience`. Blocks. Says whether it is
    /// so.
    pub fn flush(&self, patience: Duration) -> bool {
        let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the producer is alive. The poller serves the reports meanwhile.
        !unsafe { sys::rd_kafka_flush(self.native.client.native_ptr(), millis) }.is_error()
    }

    /// Gives up every record that waits or is under way; each is reported.
    pub fn purge(&self) {
        let all = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the producer is alive and the flags are the documented ones, so that the call cannot fail.
        unsafe { sys::rd_kafka_purge(self.native.client.native_ptr(), all) };
    }
}

impl<C: Delivered> Drop for Producer<C> {
    fn drop(&mut self) {
        self.native.errands.finish(LAST_WORDS);
        self.purge();
        self.flush(LAST_WORDS);
        self.over.store(true, Ordering::Relaxed);
        if let Some(poller) = self.poller.take() {
            // It panics where a context does; the reports are lost with it, as the panic's message says.
            let _ = poller.join();
        }
        // Nobody is left to run them, and what they hold may hold the producer.
        self.native.errands.recall();
    }
}

/// A topic of one producer, which it keeps alive.
pub struct Topic<C: Delivered> {
    native: Arc<Native<C>>,
    handle: NonNull<sys::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's topic handles may be used and destroyed on any thread.
unsafe impl<C: Delivered> Send for Topic<C> {}
// SAFETY: and by many at once; every call made through a shared reference locks within librdkafka.
unsafe impl<C: Delivered> Sync for Topic<C> {}

impl<C: Delivered> Topic<C> {
    /// Makes `cargo` ready for sending; its records are reported with `token`.
    pub fn load<B: Cargo>(&self, cargo: Arc<B>, token: usize) -> Loading<'_, C, B> {
        let key = self.native.loads.open(Arc::<B>::clone(&cargo), token);
        Loading { topic: self, key, token, cargo, taken: 0 }
    }
}

/// Cargo whose records can be sent. It is kept until this is dropped and each record that was taken is reported.
pub struct Loading<'t, C: Delivered, B: Cargo> {
    topic: &'t Topic<C>,
    key: u32,
    token: usize,
    cargo: Arc<B>,
    /// Records that librdkafka took.
    taken: usize,
}

impl<C: Delivered, B: Cargo> Loading<'_, C, B> {
    /// What its records are reported with.
    pub fn token(&self) -> usize {
        self.token
    }

    /// What the records are in.
    pub fn cargo(&self) -> &Arc<B> {
        &self.cargo
    }

    /// Puts the records at `places` into the queue of `partition`, in order, with the time of now. Never blocks.
    /// `refused` hears of each that was not taken, and why; it has no report.
    pub fn produce(
        &mut self,
        partition: i32,
        mut places: impl Iterator<Item = u32>,
        mut refused: impl FnMut(u32, RDKafkaErrorCode),
    ) {
        let mut room = [blank(); AT_ONCE];
        loop {
            let mut filled = 0;
            for (room, place) in room.iter_mut().zip(&mut places) {
                *room = described(&self.cargo.record(place), cargo::opaque(self.key, place));
                filled += 1;
            }
            let count = i32::try_from(filled).unwrap_or(0);
            if count == 0 {
                return;
            }
            // SAFETY: the first `count` places are initialised. Keys live until the call is over, which copies them;
            // values until each record taken is reported, by the load that is open under `key` with this very cargo
            // and is told below how many these are. The handle is alive.
            let taken = unsafe {
                sys::rd_kafka_produce_batch(self.topic.handle.as_ptr(), partition, 0, room.as_mut_ptr(), count)
            };
            self.taken += usize::try_from(taken).unwrap_or(0);
            if taken < count {
                for message in room.iter().take(filled).filter(|message| message.err.is_error()) {
                    refused(message._private.addr() as u32, message.err.into());
                }
            }
            if filled < AT_ONCE {
                return;
            }
        }
    }

    /// The same for one record with a time of its own (milliseconds since the epoch) and headers, which the batch call
    /// cannot have.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn produce_one<'a>(
        &mut self,
        partition: i32,
        place: u32,
        timestamp: Option<i64>,
        headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), RDKafkaErrorCode> {
        let headers = Headers::of(headers);
        let record = self.cargo.record(place);
        let (value, value_len) = raw(record.value);
        let (key, key_len) = raw(record.key);
        // SAFETY: each tag is followed by the arguments that librdkafka documents for it, in their C types, and END
        // closes the list. Key and value live as they do in `produce`. The handle is alive.
        let code = unsafe {
            sys::rd_kafka_producev(
                self.topic.native.client.native_ptr(),
                vtype::RD_KAFKA_VTYPE_RKT,
                self.topic.handle.as_ptr(),
                vtype::RD_KAFKA_VTYPE_PARTITION,
                partition,
                vtype::RD_KAFKA_VTYPE_MSGFLAGS,
                0,
                vtype::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                vtype::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                vtype::RD_KAFKA_VTYPE_OPAQUE,
                pointer(cargo::opaque(self.key, place)),
                vtype::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp.unwrap_or(0),
                vtype::RD_KAFKA_VTYPE_HEADERS,
                headers.0,
                vtype::RD_KAFKA_VTYPE_END,
            )
        };
        if code.is_error() {
            return Err(code.into());
        }
        // They are librdkafka's now.
        std::mem::forget(headers);
        self.taken += 1;
        Ok(())
    }
}

impl<C: Delivered, B: Cargo> Drop for Loading<'_, C, B> {
    fn drop(&mut self) {
        self.topic.native.loads.close(self.key, self.taken);
    }
}

impl<C: Delivered> Drop for Topic<C> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, alive, and not used afterwards; its producer is alive, which `native` sees to.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

/// Headers of a record that librdkafka has not taken yet; null where there are none.
struct Headers(*mut sys::rd_kafka_headers_t);

impl Headers {
    fn of<'a>(headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        if headers.len() == 0 {
            return Self(ptr::null_mut());
        }
        // SAFETY: makes an empty list that is ours.
        let list = Self(unsafe { sys::rd_kafka_headers_new(headers.len()) });
        for (name, value) in headers {
            let (value, len) = raw(value);
            // SAFETY: the list is alive and ours; name and value are copied, with the lengths given. A null value is
            // Kafka's null.
            unsafe {
                sys::rd_kafka_header_add(list.0, name.as_ptr().cast(), name.len() as isize, value, len as isize);
            }
        }
        list
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list is ours: where librdkafka took it, this value was forgotten.
            unsafe { sys::rd_kafka_headers_destroy(self.0) };
        }
    }
}

fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

fn pointer(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

fn described(record: &Record<'_>, opaque: usize) -> sys::rd_kafka_message_t {
    let (payload, len) = raw(record.value);
    let (key, key_len) = raw(record.key);
    sys::rd_kafka_message_t { payload, len, key, key_len, _private: pointer(opaque), ..blank() }
}

const fn blank() -> sys::rd_kafka_message_t {
    sys::rd_kafka_message_t {
        err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: ANY_PARTITION,
        payload: ptr::null_mut(),
        len: 0,
        key: ptr::null_mut(),
        key_len: 0,
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// The poller: runs errands and serves events until it is over, and those that are there by then.
fn serve<C: Delivered>(native: &Native<C>, over: &AtomicBool) {
    loop {
        let ending = over.load(Ordering::Relaxed);
        native.errands.run(native.client.context());
        match native.queue.poll(if ending { Duration::ZERO } else { NAP }) {
            Some(event) => {
                tell(native, event);
                // SAFETY: the event is ours, and nothing borrowed from it is left.
                unsafe { sys::rd_kafka_event_destroy(event.as_ptr()) };
            }
            None if ending => break,
            None => {}
        }
    }
}

/// Tells the context of one event.
fn tell<C: Delivered>(native: &Native<C>, event: NonNull<sys::rd_kafka_event_t>) {
    let (context, raw) = (native.client.context(), event.as_ptr());
    // SAFETY (all calls below): the event is alive until this function is over. Each accessor belongs to the kind of
    // event it is called for; the strings are NUL-terminated and live as long as the event.
    unsafe {
        match sys::rd_kafka_event_type(raw) {
            sys::RD_KAFKA_EVENT_DR => {
                context.delivered(Reports::new(event, &native.loads));
            }
            sys::RD_KAFKA_EVENT_STATS => context.stats_raw(text(sys::rd_kafka_event_stats(raw)).to_bytes()),
            sys::RD_KAFKA_EVENT_ERROR => {
                if sys::rd_kafka_event_error_is_fatal(raw) != 0 {
                    context.failed_for_good();
                }
                let error = KafkaError::Global(sys::rd_kafka_event_error(raw).into());
                context.error(error, text(sys::rd_kafka_event_error_string(raw)).to_string_lossy().trim());
            }
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                if sys::rd_kafka_event_log(raw, &raw mut facility, &raw mut line, &raw mut level) == 0 {
                    let (facility, line) = (text(facility).to_string_lossy(), text(line).to_string_lossy());
                    context.log(level_of(level), facility.trim(), line.trim());
                }
            }
            _ => {}
        }
    }
}

/// # Safety
/// `string` is null, or NUL-terminated and alive for as long as what is made of it.
unsafe fn text<'a>(string: *const std::ffi::c_char) -> &'a CStr {
    if string.is_null() {
        return c"";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }
}

/// syslog's levels (RFC 5424, 6.2.1).
fn level_of(level: i32) -> RDKafkaLogLevel {
    match level {
        0 => RDKafkaLogLevel::Emerg,
        1 => RDKafkaLogLevel::Alert,
        2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
