//! The name, type, labels and help of every metric. `docs/metrics.md` holds the same table, and a test compares both
//! with what a gateway exports.

use std::fmt;

/// The types of the text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets, with sum and count.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        })
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Def {
    /// As exported.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($const:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $const: Def = Def { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them.
        pub static ALL: &[&Def] = &[$(&$const),*];
    };
}

metrics! {
    EVENTS_RECEIVED = "klamm_events_received_total", Counter, ["client", "topic"],
        "Events in bodies that decoded; an unparsable NDJSON line is one.";
    EVENTS = "klamm_events_total", Counter, ["client", "topic", "outcome"],
        "Received events by their final fate: acked, rejected, failed (not in Kafka), unknown (possibly in Kafka).";
    SPOOL_WAITING = "klamm_spool_waiting_events", Gauge, ["client", "topic"],
        "Events that wait in the spool.";
    SPOOL_RECOVERED = "klamm_spool_recovered_events_total", Counter, ["client", "topic"],
        "Events that waited in the spool when klamm started.";
    SPOOL_DRAINED = "klamm_spool_drained_events_total", Counter, ["client", "topic"],
        "Events that left the spool with their final fate.";
    DEAD_LETTERED = "klamm_dead_lettered_total", Counter, ["client", "topic", "reason"],
        "Spooled events that Kafka refused for good and that stand in the dead-letter topic, by Kafka's reason.";
    DEAD_LETTER_MISSING = "klamm_dead_letter_missing", Gauge, ["topic"],
        "1 for each topic whose dead-letter topic Kafka does not have: refused events are parked.";
    SPOOL_EVENTS = "klamm_spool_events", Gauge, ["state"],
        "Events in the spool by state: waiting, and parked, which is a part of them.";
    SPOOL_BYTES = "klamm_spool_bytes", Gauge, ["scope"],
        "Bytes of the spool by scope: waiting events, what its files take on disk, and the total that they may take.";
    SPOOL_OLDEST_SECONDS = "klamm_spool_oldest_seconds", Gauge, [],
        "How long the oldest event has waited in the spool; 0 for an empty one.";
    SPOOL_ROOM = "klamm_spool_room", Gauge, [],
        "Whether the spool takes events: 0 is full.";
    SPOOL_QUARANTINED = "klamm_spool_quarantined_files", Gauge, [],
        "Damaged files in the spool's directory.";
    SPOOL_LOST = "klamm_spool_lost_events_total", Counter, [],
        "Events that were found unreadable, at most: some may have been sent before.";
    SPOOL_SYNC_SECONDS = "klamm_spool_sync_seconds", Histogram, [],
        "How long an fdatasync of the spool took.";
    SPOOLING = "klamm_spooling", Gauge, [],
        "1 while Kafka is down and the spool takes events instead.";
    EVENT_BYTES = "klamm_event_bytes_total", Counter, ["client", "topic"],
        "Bytes of key, value and headers of the received events, inflated.";
    REFUSALS = "klamm_refusals_total", Counter, ["client", "topic", "code"],
        "Refused requests by code; the codes are those of the answers.";
    REQUESTS = "klamm_requests_total", Counter, ["client", "topic", "result"],
        "Requests to produce by result: ok, spooled, partial, refused (the client's fault), unavailable (ours), unknown.";
    ACK_SECONDS = "klamm_ack_seconds", Histogram, ["client", "topic"],
        "From the hand-over to the producer to the last delivery report of the request, waits that ran out included.";
    CLIENT_LAST_SEEN = "klamm_client_last_seen_timestamp_seconds", Gauge, ["client"],
        "When the client last sent a request, in seconds since the epoch.";
    METRICS_FOLDED = "klamm_metrics_folded_total", Counter, [],
        "Look-ups of a client and topic over the limit of pairs, counted under the topic _other.";
    LIMIT_REMAINING = "klamm_limit_remaining_ratio", Gauge, ["client", "limit"],
        "What is left of a client's quota, from 0 to 1.";
    ADMISSION_BYTES = "klamm_admission_bytes", Gauge, ["scope"],
        "Bytes in flight by scope: used, and the total that may be.";
    BATCH_EVENTS = "klamm_batch_events", Histogram, [],
        "Events in a request whose body decoded.";
    HTTP_REQUESTS = "klamm_http_requests_total", Counter, ["route", "status"],
        "Answers by route and status, on both listeners.";
    HTTP_REQUEST_SECONDS = "klamm_http_request_seconds", Histogram, ["route"],
        "From the head of a request to its answer, on both listeners.";
    CONNECTIONS = "klamm_connections", Gauge, [],
        "Open connections of the ingest listener.";
    CONNECTION_EVENTS = "klamm_connection_events_total", Counter, ["kind"],
        "What happened to connections of the ingest listener, by kind.";
    PRODUCER_QUEUE_MESSAGES = "klamm_producer_queue_messages", Gauge, ["producer"],
        "Records in the producer's queue or on their way.";
    PRODUCER_QUEUE_BYTES = "klamm_producer_queue_bytes", Gauge, ["producer"],
        "Bytes of the records in the producer's queue or on their way.";
    PRODUCER_QUEUE_LIMIT_BYTES = "klamm_producer_queue_limit_bytes", Gauge, ["producer"],
        "How many bytes the producer's queue may hold.";
    PRODUCER_BATCH_BYTES = "klamm_producer_batch_bytes", Gauge, ["producer", "stat"],
        "Size of the record batches sent in the last statistics interval: avg, p99.";
    PRODUCER_BATCH_RECORDS = "klamm_producer_batch_records", Gauge, ["producer", "stat"],
        "Records of the record batches sent in the last statistics interval: avg, p99.";
    TOPIC_BATCHES = "klamm_topic_batches_total", Counter, ["producer", "topic"],
        "Record batches that were made for the topic.";
    TOPIC_BATCH_RECORDS = "klamm_topic_batch_records_total", Counter, ["producer", "topic"],
        "Records in these batches.";
    TOPIC_BATCH_BYTES = "klamm_topic_batch_bytes_total", Counter, ["producer", "topic"],
        "Bytes of these batches as they are sent, compressed.";
    DELIVERY_FAILURES = "klamm_delivery_failures_total", Counter, ["topic", "reason"],
        "Records that Kafka did not acknowledge, by librdkafka's reason; those that a new producer sends again are not among them.";
    TOPIC_UNDER_MIN_ISR = "klamm_topic_under_min_isr_partitions", Gauge, ["topic"],
        "Partitions with fewer in-sync replicas than min.insync.replicas: Kafka takes nothing for them.";
    TOPIC_LATE_QUEUES = "klamm_topic_late_queues", Gauge, ["topic"],
        "Partitions, in each lane, whose first event has waited for 2 s or longer: what would wait in vain for them is refused.";
    PRODUCERS_REPLACED = "klamm_producers_replaced_total", Counter, ["reason"],
        "Producers that another one took the place of, by reason: fatal (it failed for good), stalled (it no longer served a partition).";
    EVENTS_RESENT = "klamm_resent_events_total", Counter, ["doubled"],
        "Events that a new producer sent again; doubled is maybe where the old one had sent them and got no answer, else no.";
    BROKER_UP = "klamm_broker_up", Gauge, ["producer", "broker"],
        "Whether the producer is connected to the broker.";
    BROKER_RTT_SECONDS = "klamm_broker_rtt_seconds", Gauge, ["producer", "broker", "stat"],
        "From a request to the broker to its answer: avg, p99.";
    BROKER_QUEUE_SECONDS = "klamm_broker_queue_seconds", Gauge, ["producer", "broker", "stat"],
        "How long records wait in the producer before their batch is made, linger included: avg, p99.";
    BROKER_SEND_SECONDS = "klamm_broker_send_seconds", Gauge, ["producer", "broker", "stat"],
        "How long requests wait before they are written to the broker's socket: avg, p99.";
    BROKER_THROTTLE_SECONDS = "klamm_broker_throttle_seconds", Gauge, ["producer", "broker", "stat"],
        "How long the broker's own quotas hold the producer back: avg, p99.";
    BROKER_TX_ERRORS = "klamm_broker_tx_errors_total", Counter, ["producer", "broker"],
        "Requests that could not be sent to the broker.";
    BROKER_TX_RETRIES = "klamm_broker_tx_retries_total", Counter, ["producer", "broker"],
        "Requests sent to the broker again.";
    BROKER_REQUEST_TIMEOUTS = "klamm_broker_request_timeouts_total", Counter, ["producer", "broker"],
        "Requests that the broker did not answer in time.";
    BROKER_DISCONNECTS = "klamm_broker_disconnects_total", Counter, ["producer", "broker"],
        "Connections to the broker that ended, idle ones included.";
    KAFKA_UP = "klamm_kafka_up", Gauge, [],
        "Whether Kafka answered when it was last asked.";
    BUILD_INFO = "klamm_build_info", Gauge, ["version", "librdkafka"],
        "Always 1; the labels say what runs.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = "klamm_config_last_reload_successful", Gauge, [],
        "Whether the newest config is the one in use.";
    CONFIG_LAST_RELOAD_TIMESTAMP = "klamm_config_last_reload_timestamp_seconds", Gauge, [],
        "When the config in use was loaded, in seconds since the epoch.";
    LOG_SUPPRESSED = "klamm_log_suppressed_total", Counter, [],
        "Access lines left out because there were too many of their code in a second.";
    UPTIME_SECONDS = "klamm_uptime_seconds", Gauge, [],
        "How long this gateway has been up.";
    PROCESS_CPU_SECONDS = "process_cpu_seconds_total", Counter, [],
        "User and system CPU time of the process.";
    PROCESS_OPEN_FDS = "process_open_fds", Gauge, [],
        "Open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, [],
        "How many file descriptors may be open.";
    PROCESS_RESIDENT_BYTES = "process_resident_memory_bytes", Gauge, [],
        "Memory of the process that is in RAM.";
    PROCESS_VIRTUAL_BYTES = "process_virtual_memory_bytes", Gauge, [],
        "Address space of the process.";
    PROCESS_START_TIME = "process_start_time_seconds", Gauge, [],
        "When the process began, in seconds since the epoch.";
    PROCESS_THREADS = "process_threads", Gauge, [],
        "Threads of the process.";
}
