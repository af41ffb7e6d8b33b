//! The dashboards: which panels there are, and what they ask.

use klamm::telemetry::names;

use super::panel::{Board, Panel, heat, least, most, quantile, rate, series, sum, top};

/// The dashboard of one client.
const CLIENT: &str = "klamm-client";
/// The dashboard of one topic.
const TOPIC: &str = "klamm-topic";

const FAILED: &str = r#"result=~"unavailable|unknown""#;
const REFUSED: &str = r#"result="refused""#;
const NOT_REFUSED: &str = r#"result!="refused""#;

/// All of them.
pub(super) fn all() -> Vec<Board> {
    vec![overview(), client(), topic(), kafka()]
}

fn overview() -> Board {
    let rows = vec![
        ("Is it fine?", vec![
            acknowledged(),
            failed(),
            refused(),
            p99(),
            Panel::stat(
                "Budget in use",
                "percentunit",
                "Bytes in flight, of those that may be. Near 100 % requests are refused.",
                share(&sum(&names::ADMISSION_BYTES, "", r#"scope="used""#), &sum(&names::ADMISSION_BYTES, "", r#"scope="total""#)),
            ),
            Panel::stat(
                "Oldest in the spool",
                "s",
                "How long the oldest event has waited in a spool. 0: nothing waits.",
                most(&names::SPOOL_OLDEST_SECONDS, "", ""),
            ),
            Panel::stat("Without Kafka", "short", "Instances that get no answer from Kafka.", without(&names::KAFKA_UP)),
            Panel::stat(
                "Instances",
                "short",
                "Instances of klamm that Prometheus reads.",
                format!("count({})", series(&names::BUILD_INFO, "")),
            ),
        ]),
        ("Requests", vec![
            results(),
            codes(),
            outcomes(),
            Panel::series("Answers by route and status", "reqps", "Answers on both listeners, health checks included.")
                .query("{{route}} {{status}}", rate(&names::HTTP_REQUESTS, "route, status", "")),
            Panel::series("Time to the answer, p99", "s", "From the head of a request to its answer, body included.")
                .query("{{route}}", quantile("0.99", &names::HTTP_REQUEST_SECONDS, "route")),
            Panel::series("Events of a request", "short", "How many events requests have: half have fewer than p50.")
                .query("p50", quantile("0.5", &names::BATCH_EVENTS, ""))
                .query("p99", quantile("0.99", &names::BATCH_EVENTS, "")),
        ]),
        ("Clients", vec![
            per("client", CLIENT, "Clients", "Who sends how much, and how it goes. Click a client for its dashboard.")
                .column("least quota left", "percentunit", least(&names::LIMIT_REMAINING, "client", ""))
                .column("last seen", "dateTimeFromNow", format!("{} * 1000", most(&names::CLIENT_LAST_SEEN, "client", ""))),
            Panel::series("Events by client", "eps", "Events received from the ten clients that send most.")
                .query("{{client}}", top(&rate(&names::EVENTS_RECEIVED, "client", ""))),
            Panel::series("Refused requests by client", "reqps", "The ten clients whose requests are refused most.")
                .query("{{client}}", top(&rate(&names::REQUESTS, "client", REFUSED))),
            Panel::series("Acknowledgement by client, p99", "s", "The ten clients that wait longest for Kafka.")
                .query("{{client}}", top(&quantile("0.99", &names::ACK_SECONDS, "client"))),
        ]),
        ("Topics", vec![
            per("topic", TOPIC, "Topics", "What is written where. Click a topic for its dashboard."),
            Panel::series("Events by topic", "eps", "Events received for the ten topics that get most.")
                .query("{{topic}}", top(&rate(&names::EVENTS_RECEIVED, "topic", ""))),
            Panel::series("Acknowledgement by topic, p99", "s", "The ten topics for which Kafka takes longest.")
                .query("{{topic}}", top(&quantile("0.99", &names::ACK_SECONDS, "topic"))),
            ack_heat(),
        ]),
        ("Buffer and spool", vec![
            Panel::series("Bytes in flight", "bytes", "From the first byte of a body to Kafka's word, and what may be.")
                .query("{{scope}}", sum(&names::ADMISSION_BYTES, "scope", "")),
            Panel::series("Events in the spool", "short", "Waiting events; parked ones, which can go nowhere, are a part of them.")
                .query("{{state}}", sum(&names::SPOOL_EVENTS, "state", "")),
            Panel::series("Bytes of the spool", "bytes", "Waiting events, files on disk, and what the files may take.")
                .query("{{scope}}", sum(&names::SPOOL_BYTES, "scope", "")),
            Panel::series("Spool: sync to disk", "s", "How long an fdatasync takes, which every 202 waits for.")
                .query("p50", quantile("0.5", &names::SPOOL_SYNC_SECONDS, ""))
                .query("p99", quantile("0.99", &names::SPOOL_SYNC_SECONDS, "")),
            Panel::series("Spool: in trouble", "short", "Instances that spool because Kafka is down, whose spool is full; damaged files; events that cannot be read; topics that lack their dead-letter topic.")
                .query("Kafka is down", sum(&names::SPOOLING, "", ""))
                .query("full", without(&names::SPOOL_ROOM))
                .query("damaged files", sum(&names::SPOOL_QUARANTINED, "", ""))
                .query("unreadable events", sum(&names::SPOOL_LOST, "", ""))
                .query("no dead-letter topic for {{topic}}", most(&names::DEAD_LETTER_MISSING, "topic", "")),
            letters(),
        ]),
        ("Process", vec![
            Panel::series("CPU", "short", "Cores in use, all instances together.")
                .query("cores", rate(&names::PROCESS_CPU_SECONDS, "", "")),
            Panel::series("Memory", "bytes", "Of all instances together: in RAM, and addressed.")
                .query("resident", sum(&names::PROCESS_RESIDENT_BYTES, "", ""))
                .query("virtual", sum(&names::PROCESS_VIRTUAL_BYTES, "", "")),
            Panel::series("Files and threads", "short", "Open files against those that may be, and threads.")
                .query("open files", sum(&names::PROCESS_OPEN_FDS, "", ""))
                .query("most files", sum(&names::PROCESS_MAX_FDS, "", ""))
                .query("threads", sum(&names::PROCESS_THREADS, "", "")),
            Panel::series("Connections", "short", "Open connections of the ingest listener.")
                .query("open", sum(&names::CONNECTIONS, "", "")),
            Panel::series("What happens to connections", "cps", "Accepted, closed, and cut for a reason.")
                .query("{{kind}}", rate(&names::CONNECTION_EVENTS, "kind", "")),
            Panel::series("Left out", "cps", "Access lines over ten a second of a code; look-ups of pairs over metrics.pairs.")
                .query("access lines", rate(&names::LOG_SUPPRESSED, "", ""))
                .query("folded pairs", rate(&names::METRICS_FOLDED, "", "")),
            Panel::series("Since the last start and load", "s", "The youngest process, and the config that has been in use longest.")
                .query("process", least(&names::UPTIME_SECONDS, "", ""))
                .query("config", format!("time() - {}", least(&names::CONFIG_LAST_RELOAD_TIMESTAMP, "", ""))),
            Panel::series("Configs that do not load", "short", "Instances that could not load the newest config.")
                .query("instances", without(&names::CONFIG_LAST_RELOAD_SUCCESSFUL)),
        ]),
    ];
    Board { uid: "klamm-overview", title: "klamm: overview", rows }
}

fn client() -> Board {
    let rows = vec![
        (
            "Is it fine?",
            vec![acknowledged(), bytes(), failed(), refused(), p99(), quota_left(), last_seen(), waiting()],
        ),
        (
            "What it sends",
            vec![
                Panel::series("Events by topic", "eps", "Events received, by topic.")
                    .query("{{topic}}", rate(&names::EVENTS_RECEIVED, "topic", "")),
                Panel::series("Bytes by topic", "binBps", "Bytes of key, value and headers received, by topic.")
                    .query("{{topic}}", rate(&names::EVENT_BYTES, "topic", "")),
                outcomes(),
            ],
        ),
        (
            "What it is told",
            vec![
                results(),
                codes(),
                Panel::series(
                    "What is left of its quotas",
                    "percentunit",
                    "The least over the instances; at 0 requests get 429 rate_limited.",
                )
                .query("{{client}} {{limit}}", least(&names::LIMIT_REMAINING, "client, limit", "")),
                ack_quantiles(),
                Panel::series(
                    "Acknowledgement by topic, p99",
                    "s",
                    "From the hand-over to Kafka to its last word on a request.",
                )
                .query("{{topic}}", quantile("0.99", &names::ACK_SECONDS, "topic")),
                ack_heat(),
            ],
        ),
        ("What it left on disk", spooled()),
    ];
    Board { uid: CLIENT, title: "klamm: client", rows }
}

fn topic() -> Board {
    let per_batch = |def| share(&rate(def, "topic", ""), &rate(&names::TOPIC_BATCHES, "topic", ""));
    let rows = vec![
        (
            "Is it fine?",
            vec![
                acknowledged(),
                bytes(),
                failed(),
                refused(),
                p99(),
                Panel::stat(
                    "Under min ISR",
                    "short",
                    "Partitions with fewer in-sync replicas than min.insync.replicas: Kafka takes nothing for them.",
                    format!("sum({})", most(&names::TOPIC_UNDER_MIN_ISR, "topic", "")),
                ),
                last_seen(),
                waiting(),
            ],
        ),
        (
            "Who writes",
            vec![
                per("client", CLIENT, "Clients", "Who writes how much to it. Click a client for its dashboard."),
                Panel::series("Events by client", "eps", "Events received for it from the ten clients that send most.")
                    .query("{{client}}", top(&rate(&names::EVENTS_RECEIVED, "client", ""))),
                results(),
                codes(),
            ],
        ),
        (
            "How it comes into Kafka",
            vec![
                ack_quantiles(),
                ack_heat(),
                outcomes(),
                Panel::series("Batches", "cps", "Record batches made for it.")
                    .query("{{topic}} {{producer}}", rate(&names::TOPIC_BATCHES, "topic, producer", "")),
                Panel::series(
                    "Size of a batch",
                    "bytes",
                    "The mean, compressed. Small batches cost Kafka and klamm more.",
                )
                .query("{{topic}}", per_batch(&names::TOPIC_BATCH_BYTES)),
                Panel::series("Records of a batch", "short", "The mean.")
                    .query("{{topic}}", per_batch(&names::TOPIC_BATCH_RECORDS)),
                delivery_failures(),
                Panel::series(
                    "Partitions under min ISR",
                    "short",
                    "Kafka takes nothing for them until replicas are in sync again.",
                )
                .query("{{topic}}", most(&names::TOPIC_UNDER_MIN_ISR, "topic", "")),
                Panel::series(
                    "Late queues",
                    "short",
                    "Partitions for which something has waited for 2 s or longer; what would wait in vain is refused.",
                )
                .query("{{topic}}", most(&names::TOPIC_LATE_QUEUES, "topic", "")),
            ],
        ),
        ("What it left on disk", spooled()),
    ];
    Board { uid: TOPIC, title: "klamm: topic", rows }
}

fn kafka() -> Board {
    let broker = |title, description, def| {
        Panel::series(title, "s", description)
            .query("{{broker}} avg", most(def, "broker", r#"stat="avg""#))
            .query("{{broker}} p99", most(def, "broker", r#"stat="p99""#))
    };
    let rows = vec![
        (
            "Is it fine?",
            vec![
                Panel::stat(
                    "Without Kafka",
                    "short",
                    "Instances that get no answer from Kafka.",
                    without(&names::KAFKA_UP),
                ),
                acknowledged(),
                p99(),
                Panel::stat(
                    "Queue in use",
                    "percentunit",
                    "Of the fullest kind of producer, over all instances.",
                    format!("max({})", queue_in_use()),
                ),
                Panel::stat(
                    "Throttled",
                    "s",
                    "How long a broker's quota holds a request back, at most.",
                    most(&names::BROKER_THROTTLE_SECONDS, "", r#"stat="avg""#),
                ),
                Panel::stat(
                    "Replaced in a day",
                    "short",
                    "Producers that failed for good or no longer served a partition.",
                    format!("sum(increase({}[1d]))", series(&names::PRODUCERS_REPLACED, "")),
                ),
                Panel::stat(
                    "Connections",
                    "short",
                    "Connections to brokers that are up. Idle ones close.",
                    sum(&names::BROKER_UP, "", ""),
                ),
                Panel::stat(
                    "Under min ISR",
                    "short",
                    "Partitions of all topics for which Kafka takes nothing.",
                    format!("sum({})", most(&names::TOPIC_UNDER_MIN_ISR, "topic", "")),
                ),
            ],
        ),
        (
            "Queue and batches",
            vec![
                Panel::series(
                    "Queue against its limit",
                    "percentunit",
                    "Bytes in the producers' queues, of those that may be.",
                )
                .query("{{producer}}", queue_in_use()),
                Panel::series("Bytes in the queue", "bytes", "Queued or on their way.")
                    .query("{{producer}}", sum(&names::PRODUCER_QUEUE_BYTES, "producer", "")),
                Panel::series("Records in the queue", "short", "Queued or on their way.")
                    .query("{{producer}}", sum(&names::PRODUCER_QUEUE_MESSAGES, "producer", "")),
                Panel::series(
                    "Size of a batch",
                    "bytes",
                    "Compressed, in the last second; the largest of the instances.",
                )
                .query("{{producer}} avg", most(&names::PRODUCER_BATCH_BYTES, "producer", r#"stat="avg""#))
                .query("{{producer}} p99", most(&names::PRODUCER_BATCH_BYTES, "producer", r#"stat="p99""#)),
                Panel::series("Records of a batch", "short", "In the last second; the largest of the instances.")
                    .query("{{producer}} avg", most(&names::PRODUCER_BATCH_RECORDS, "producer", r#"stat="avg""#))
                    .query("{{producer}} p99", most(&names::PRODUCER_BATCH_RECORDS, "producer", r#"stat="p99""#)),
                Panel::series("Batches by topic", "cps", "The ten topics with most batches.")
                    .query("{{topic}}", top(&rate(&names::TOPIC_BATCHES, "topic", ""))),
            ],
        ),
        (
            "Where the time goes",
            vec![
                broker(
                    "In the producer's queue",
                    "Until a batch is made, linger included.",
                    &names::BROKER_QUEUE_SECONDS,
                ),
                broker("Before the socket", "Until a request is written.", &names::BROKER_SEND_SECONDS),
                broker(
                    "Round trip",
                    "From a request to the broker's answer, replication included.",
                    &names::BROKER_RTT_SECONDS,
                ),
                broker("Throttled by the broker", "A quota of the broker is spent.", &names::BROKER_THROTTLE_SECONDS),
                ack_quantiles(),
                ack_heat(),
            ],
        ),
        (
            "What goes wrong",
            vec![
                Panel::series(
                    "Requests to brokers",
                    "cps",
                    "Sent again, not answered in time, not sent; connections that ended.",
                )
                .query("{{broker}} sent again", rate(&names::BROKER_TX_RETRIES, "broker", ""))
                .query("{{broker}} not answered", rate(&names::BROKER_REQUEST_TIMEOUTS, "broker", ""))
                .query("{{broker}} not sent", rate(&names::BROKER_TX_ERRORS, "broker", ""))
                .query("{{broker}} disconnected", rate(&names::BROKER_DISCONNECTS, "broker", "")),
                delivery_failures(),
                Panel::series(
                    "Producers replaced",
                    "cps",
                    "By reason: fatal (it failed for good), stalled (it no longer served a partition).",
                )
                .query("{{reason}}", rate(&names::PRODUCERS_REPLACED, "reason", "")),
                Panel::series(
                    "Events sent again",
                    "eps",
                    "By a new producer; maybe doubled where the old one got no answer.",
                )
                .query("doubled: {{doubled}}", rate(&names::EVENTS_RESENT, "doubled", "")),
                outcomes(),
                letters(),
            ],
        ),
    ];
    Board { uid: "klamm-kafka", title: "klamm: Kafka producer", rows }
}

fn share(part: &str, whole: &str) -> String {
    format!("{part} / {whole}")
}

fn queue_in_use() -> String {
    share(&sum(&names::PRODUCER_QUEUE_BYTES, "producer", ""), &sum(&names::PRODUCER_QUEUE_LIMIT_BYTES, "producer", ""))
}

/// Instances for which a gauge that should be 1 is 0.
fn without(def: &names::Def) -> String {
    format!("sum({} == bool 0)", series(def, ""))
}

/// A table with a row for each client or topic.
fn per(by: &'static str, to: &'static str, title: &'static str, description: &'static str) -> Panel {
    Panel::table(by, to, title, description)
        .column("events/s", "eps", rate(&names::EVENTS_RECEIVED, by, ""))
        .column("bytes/s", "binBps", rate(&names::EVENT_BYTES, by, ""))
        .column("requests/s", "reqps", rate(&names::REQUESTS, by, ""))
        .column("refused", "percentunit", share(&rate(&names::REQUESTS, by, REFUSED), &rate(&names::REQUESTS, by, "")))
        .column(
            "failed",
            "percentunit",
            share(&rate(&names::REQUESTS, by, FAILED), &rate(&names::REQUESTS, by, NOT_REFUSED)),
        )
        .column("ack p99", "s", quantile("0.99", &names::ACK_SECONDS, by))
}

fn acknowledged() -> Panel {
    let expression = rate(&names::EVENTS, "", r#"outcome="acked""#);
    Panel::stat("Acknowledged", "eps", "Events that Kafka has on all in-sync replicas.", expression)
}

fn bytes() -> Panel {
    Panel::stat("Received", "binBps", "Bytes of key, value and headers, inflated.", rate(&names::EVENT_BYTES, "", ""))
}

fn failed() -> Panel {
    Panel::stat(
        "Failed",
        "percentunit",
        "Requests that were refused though the client did nothing wrong, or whose fate is unknown; of those that were not the client's fault.",
        share(&rate(&names::REQUESTS, "", FAILED), &rate(&names::REQUESTS, "", NOT_REFUSED)),
    )
}

fn refused() -> Panel {
    Panel::stat(
        "Refused",
        "percentunit",
        "Requests that were refused by the client's fault, of all.",
        share(&rate(&names::REQUESTS, "", REFUSED), &rate(&names::REQUESTS, "", "")),
    )
}

fn p99() -> Panel {
    let expression = quantile("0.99", &names::ACK_SECONDS, "");
    Panel::stat("Acknowledgement, p99", "s", "From the hand-over to Kafka to its last word on a request.", expression)
}

fn quota_left() -> Panel {
    Panel::stat(
        "Least quota left",
        "percentunit",
        "Of all its quotas on all instances.",
        least(&names::LIMIT_REMAINING, "", ""),
    )
}

fn last_seen() -> Panel {
    let expression = format!("time() - {}", most(&names::CLIENT_LAST_SEEN, "", ""));
    Panel::stat("Last request", "s", "How long ago the client last sent a request, to any topic.", expression)
}

fn waiting() -> Panel {
    Panel::stat(
        "Waiting in the spool",
        "short",
        "Events on disk that Kafka does not have yet.",
        sum(&names::SPOOL_WAITING, "", ""),
    )
}

fn results() -> Panel {
    let description = "refused is the client's fault; unavailable is klamm's or Kafka's, and nothing was written; unknown may be in Kafka.";
    Panel::series("Requests by result", "reqps", description).query("{{result}}", rate(&names::REQUESTS, "result", ""))
}

fn codes() -> Panel {
    Panel::series("Refusals by code", "reqps", "docs/errors.md explains each code.")
        .query("{{code}}", rate(&names::REFUSALS, "code", ""))
}

fn outcomes() -> Panel {
    Panel::series("Events by outcome", "eps", "The final fate of each event: failed is not in Kafka, unknown may be.")
        .query("{{outcome}}", rate(&names::EVENTS, "outcome", ""))
}

fn ack_quantiles() -> Panel {
    Panel::series("Acknowledgement", "s", "From the hand-over to Kafka to its last word on a request.")
        .query("p50", quantile("0.5", &names::ACK_SECONDS, ""))
        .query("p90", quantile("0.9", &names::ACK_SECONDS, ""))
        .query("p99", quantile("0.99", &names::ACK_SECONDS, ""))
}

fn ack_heat() -> Panel {
    Panel::heat("Acknowledgements by time", "s", "How many requests took how long.", heat(&names::ACK_SECONDS))
}

fn delivery_failures() -> Panel {
    Panel::series("Records not acknowledged", "cps", "By topic and librdkafka's reason.")
        .query("{{topic}} {{reason}}", rate(&names::DELIVERY_FAILURES, "topic, reason", ""))
}

fn letters() -> Panel {
    Panel::series("Dead letters", "eps", "Spooled events that Kafka refused for good, by its reason.")
        .query("{{topic}} {{reason}}", rate(&names::DEAD_LETTERED, "topic, reason", ""))
}

fn spooled() -> Vec<Panel> {
    vec![
        Panel::series("Waiting in the spool", "short", "Events on disk that Kafka does not have yet.")
            .query("{{client}} {{topic}}", sum(&names::SPOOL_WAITING, "client, topic", "")),
        Panel::series("Out of the spool", "eps", "Events that left the spool with their fate.")
            .query("{{client}} {{topic}}", rate(&names::SPOOL_DRAINED, "client, topic", "")),
        Panel::series("Found in the spool", "short", "Events that waited in the spool when klamm started.")
            .query("{{client}} {{topic}}", sum(&names::SPOOL_RECOVERED, "client, topic", "")),
        letters(),
    ]
}
