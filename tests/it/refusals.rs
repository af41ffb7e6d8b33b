//! The table of refusals, row by row, as a client meets it: the real binary on a mock cluster.
//!
//! Every code but `internal` (a bug; a panic in `http::tests` provokes it) can be provoked from outside. Those that take
//! a gateway of their own stand in `admission.rs` (`share_exhausted`, `overloaded`), `limits.rs` (`rate_limited`) and
//! `refusals/failures.rs` (Kafka's own, `draining`, `body_timeout`).

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};

mod access;
mod failures;

const ORDERS: &str = "/v1/topics/orders/events";
const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.klamm.v1+json");

/// What a refusal must be, beside what every refusal is.
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// Headers and their whole values.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Whether the client is known, so that its quotas stand in the answer.
    pub(crate) known: bool,
}

impl Expected {
    /// Of a known client, without headers of its own.
    pub(crate) fn new(status: u16, code: &'static str) -> Self {
        Self { status, code, headers: &[], known: true }
    }

    /// Asserts that `answer` is that.
    pub(crate) fn check(&self, what: &str, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, self.status, "{what}: {text}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(self.code), &json!(self.status)), "{what}: {text}");
        let link = match self.code {
            "rate_limited" | "share_exhausted" => {
                "https://iana.org/assignments/http-problem-types#quota-exceeded".into()
            }
            "overloaded" => "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity".into(),
            code => format!("https://docs/errors.md#{code}"),
        };
        assert_eq!(problem["type"], link, "{what}");
        for member in ["title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|words| !words.is_empty()), "{what}: {member}: {text}");
        }
        let may_help = matches!(self.status, 408 | 429 | 500 | 503 | 504);
        assert_eq!(problem["retryable"], may_help, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        let id = answer.header("x-request-id").expect("a request id");
        assert_eq!(problem["instance"], format!("urn:uuid:{id}"), "{what}");
        let wait = answer.header("retry-after").map(|wait| wait.parse::<u64>().expect("whole seconds"));
        assert_eq!(wait.is_some(), matches!(self.status, 429 | 503), "{what}: Retry-After: {wait:?}");
        assert!(wait.is_none_or(|wait| wait >= 1), "{what}: Retry-After: {wait:?}");
        assert_quotas(what, answer, self.known);
        for (name, value) in self.headers {
            assert_eq!(answer.header(name), Some(*value), "{what}: {name}");
        }
    }
}

/// Whether the answer carries the client's quotas.
fn assert_quotas(what: &str, answer: &Answer, known: bool) {
    for name in ["ratelimit", "ratelimit-policy"] {
        let field = answer.header(name);
        assert_eq!(field.is_some(), known, "{what}: {name}: {field:?}");
        assert!(field.is_none_or(|field| field.starts_with("\"requests\";")), "{what}: {name}: {field:?}");
    }
}

/// One way to be refused.
struct Row {
    what: &'static str,
    client: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    expected: Expected,
}

/// POST by the client `shop`.
fn row(
    what: &'static str,
    path: &str,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
    (status, code): (u16, &'static str),
) -> Row {
    Row {
        what,
        client: "shop",
        method: Method::POST,
        path: path.to_owned(),
        headers: headers.to_vec(),
        body: body.into(),
        expected: Expected::new(status, code),
    }
}

impl Row {
    fn by(mut self, client: &'static str) -> Self {
        self.client = client;
        self
    }

    fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.expected.headers = headers;
        self
    }

    /// Refused before anybody asked who sends.
    fn unknown(mut self) -> Self {
        self.expected.known = false;
        self
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, bytes).expect("memory takes bytes");
    gzip.finish().expect("memory takes bytes")
}

const ALLOW_POST: &[(&str, &str)] = &[("allow", "POST")];
const ALLOW_GET: &[(&str, &str)] = &[("allow", "GET,HEAD")];
const WANTS_KEY: &[(&str, &str)] = &[("www-authenticate", "Bearer realm=\"klamm\"")];
const ACCEPT_POST: &[(&str, &str)] = &[(
    "accept-post",
    "application/json, application/x-ndjson, application/jsonl, application/vnd.klamm.v1+json, \
     application/vnd.klamm.v1+x-ndjson",
)];
const CODINGS: &[(&str, &str)] = &[("accept-encoding", "gzip, zstd, br")];

fn head_rows() -> Vec<Row> {
    let long = format!("{ORDERS}?{}", "x".repeat(300));
    let other = "/v1/topics/secret/events";
    vec![
        row("no such path", "/v2/events", &[JSON], "1", (404, "not_found")).unknown(),
        row("a method", ORDERS, &[JSON], "1", (405, "method_not_allowed"))
            .method(Method::PUT)
            .with(ALLOW_POST)
            .unknown(),
        row("GET of events", ORDERS, &[], "", (405, "method_not_allowed"))
            .method(Method::GET)
            .with(ALLOW_POST)
            .unknown(),
        row("POST of a topic", "/v1/topics/orders", &[JSON], "1", (405, "method_not_allowed"))
            .with(ALLOW_GET)
            .unknown(),
        row("a long target", &long, &[JSON], "1", (414, "uri_too_long")).unknown(),
        row("many fields", ORDERS, &[("x", "1"); 21], "1", (431, "headers_too_large")).unknown(),
        row("an unknown key", ORDERS, &[JSON], "1", (401, "unauthenticated")).by("nobody").with(WANTS_KEY).unknown(),
        row("a foreign topic", other, &[JSON], "1", (403, "forbidden_topic")),
        row("a topic not in Kafka", "/v1/topics/absent/events", &[JSON], "1", (404, "unknown_topic")),
        row("a topic not in the config", "/v1/topics/raw-x/events", &[JSON], "1", (404, "unknown_topic")),
        row("a name that is none", "/v1/topics/raw-a%2Fb/events", &[JSON], "1", (404, "unknown_topic")),
        row("no content type", ORDERS, &[], "1", (415, "unsupported_media_type")).with(ACCEPT_POST),
        row("text where not allowed", ORDERS, &[("content-type", "text/plain")], "1", (415, "unsupported_media_type"))
            .with(ACCEPT_POST),
        row("a coding", ORDERS, &[JSON, ("content-encoding", "compress")], "1", (415, "unsupported_encoding"))
            .with(CODINGS),
        row("two codings", ORDERS, &[JSON, ("content-encoding", "gzip, br")], "1", (415, "unsupported_encoding"))
            .with(CODINGS),
        row("two fields", ORDERS, &[JSON, GZIP, ("content-encoding", "br")], "1", (415, "unsupported_encoding"))
            .with(CODINGS),
        row("a partition", ORDERS, &[JSON, ("kafka-partition", "first")], "1", (400, "bad_header")),
        row("a preference", ORDERS, &[JSON, ("prefer", "wait=soon")], "1", (400, "bad_header")),
        row("a query", &format!("{ORDERS}?nonsense=1"), &[JSON], "1", (400, "bad_query")),
        row("dead letters", &format!("{ORDERS}?on_invalid=dead-letter"), &[JSON], "1", (400, "bad_query")),
    ]
}

fn body_rows() -> Vec<Row> {
    // Compresses about fourfold: over the cap after inflation, below it on the wire and below the ratio.
    let numbers: String = (0..30_000u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    let inflated = gzip(numbers.as_bytes());
    assert!(inflated.len() < 200 << 10 && numbers.len() > 256 << 10, "{} {}", inflated.len(), numbers.len());
    let bomb = gzip(&vec![b' '; 200 << 10]);
    let tiny = "/v1/topics/tiny/events";
    vec![
        row("a large body", ORDERS, &[JSON], vec![b' '; (200 << 10) + 1], (413, "too_large")),
        row("a body that inflates", ORDERS, &[NDJSON, GZIP], inflated, (413, "too_large")),
        row("a bomb", ORDERS, &[JSON, GZIP], bomb, (413, "too_large")),
        row("many events", ORDERS, &[JSON], "[1,1,1,1,1,1,1,1,1,1,1]", (413, "too_many_events")),
        row("a large event", tiny, &[JSON], "\"0123456789abcdef\"", (413, "event_too_large")),
        row("a batch over the burst", ORDERS, &[JSON], "[1,2,3]", (413, "batch_over_burst")).by("small"),
        row("bytes over the burst", ORDERS, &[JSON], "\"0123456789\"", (413, "batch_over_burst")).by("thin"),
        row("half a value", ORDERS, &[JSON], "{\"a\":", (400, "malformed_body")),
        row("bytes after the value", ORDERS, &[JSON], "{} {}", (400, "malformed_body")),
        row("a byte-order mark", ORDERS, &[JSON], "\u{feff}{}", (400, "malformed_body")),
        row("no UTF-8", ORDERS, &[JSON], b"\"\xff\"", (400, "malformed_body")),
        row("an empty array", ORDERS, &[JSON], "[]", (400, "no_events")),
        row("no line", ORDERS, &[NDJSON], "\n\n", (400, "no_events")),
        row("no gzip", ORDERS, &[JSON, GZIP], "{}", (400, "bad_encoding")),
        row("a key for two events", ORDERS, &[JSON, ("kafka-key", "k")], "[1,2]", (400, "bad_header")),
        row("a bad line", ORDERS, &[NDJSON], "{}\n{\n", (422, "invalid_events")),
        row("a tombstone", ORDERS, &[ENVELOPE], "{\"value\":null}", (422, "invalid_events")),
        row("no key", "/v1/topics/keyed/events", &[JSON], "{}", (422, "invalid_events")),
        row("a batch with a large event", tiny, &[JSON], "[1,\"0123456789abcdef\"]", (422, "invalid_events")),
        row("a chosen partition", ORDERS, &[JSON, ("kafka-partition", "0")], "1", (422, "invalid_events")),
    ]
}

/// Small caps, so that small requests meet them.
fn table(mock: &Mock) -> Gateway {
    let mut rest = String::from("clients:\n");
    rest += &client("shop", "[orders, absent, keyed, tiny, \"raw-*\"]", "{}");
    rest += &client("small", "[orders]", "{ events: 2/s, burst: 1s }");
    rest += &client("thin", "[orders]", "{ bytes: 5/s, burst: 2s }");
    rest += &client("other", "[secret]", "{}");
    rest += "topics:\n  keyed: { max_event: 64KiB, key: { required: true } }\n  tiny: { max_event: 16B }\n";
    rest += "  orders: { max_event: 64KiB }\n  absent: { max_event: 64KiB }\n  secret: { max_event: 64KiB }\n";
    rest += "caps: { body: 200KiB, inflated: 256KiB, ratio: 20, events: 10, headers: 20, uri: 256B }\n";
    mock.serve("", "", &rest)
}

const TOPICS: [&str; 4] = ["orders", "keyed", "tiny", "secret"];

async fn send(gateway: &Gateway, row: &Row) -> Answer {
    let key = bearer(row.client);
    let mut headers = row.headers.clone();
    headers.push(("authorization", &key));
    Client::new(gateway.ingest()).call(row.method.clone(), &row.path, &headers, row.body.clone().into()).await
}

#[tokio::test]
async fn each_request_that_is_refused_is_refused_as_the_table_says_and_nothing_is_written() {
    let mock = Mock::start(&TOPICS);
    let gateway = table(&mock);
    gateway.ready().await;
    let mut rows = head_rows();
    rows.extend(body_rows());
    for row in &rows {
        row.expected.check(row.what, &send(&gateway, row).await);
    }
    for topic in TOPICS {
        assert_eq!(mock.records(topic), 0, "{topic}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("klamm_events_total", &[("outcome", "acked")]), 0.0);
    assert_eq!(
        metrics.sum("klamm_events_total", &[("outcome", "rejected")]),
        metrics.sum("klamm_events_received_total", &[]),
    );
    // What no route took is no request to produce.
    let at_the_edge = |row: &&Row| matches!(row.expected.status, 405 | 414 | 431) || row.expected.code == "not_found";
    for row in rows.iter().filter(|row| !at_the_edge(row)) {
        let code = row.expected.code;
        let same = rows.iter().filter(|row| row.expected.code == code).count() as f64;
        assert_eq!(metrics.sum("klamm_refusals_total", &[("code", code)]), same, "{code}");
    }
}

#[tokio::test]
async fn refusals_say_which_limit_was_met_and_where_the_fault_lies() {
    let mock = Mock::start(&TOPICS);
    let gateway = table(&mock);
    gateway.ready().await;
    let rows = body_rows();
    let problem = async |what: &str| {
        let row = rows.iter().find(|row| row.what == what).expect("a row of the table");
        send(&gateway, row).await.json()
    };
    for (what, limit) in [
        ("a large body", 200 << 10),
        ("a body that inflates", 256 << 10),
        ("a bomb", 20),
        ("many events", 10),
        ("a large event", 16),
        ("a batch over the burst", 2),
        ("bytes over the burst", 10),
    ] {
        assert_eq!(problem(what).await["limit"], limit, "{what}");
    }
    assert_eq!(problem("half a value").await["detail"], "not JSON: EOF while parsing a value (byte 5)");
    for (what, errors) in [
        (
            "a bad line",
            json!([{"index": 1, "offset": 4, "reason": "malformed", "detail": "not JSON: EOF while parsing an object"}]),
        ),
        (
            "a tombstone",
            json!([{"index": 0, "offset": 0, "reason": "tombstone", "detail": "the topic takes no tombstones"}]),
        ),
        ("no key", json!([{"index": 0, "offset": 0, "reason": "key_required", "detail": "the topic requires a key"}])),
        (
            "a batch with a large event",
            json!([{"index": 1, "offset": 3, "reason": "event_too_large",
                "detail": "the event has 18 bytes of key, value and headers; the topic takes at most 16"}]),
        ),
        (
            "a chosen partition",
            json!([{"index": 0, "offset": 0, "reason": "bad_partition",
                "detail": "the partition may not be chosen for this topic"}]),
        ),
    ] {
        assert_eq!(problem(what).await["errors"], errors, "{what}");
    }
}

#[tokio::test]
async fn every_answer_to_a_known_client_carries_its_quotas() {
    let mock = Mock::start(&TOPICS);
    let gateway = table(&mock);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    let produced = http.post(ORDERS, &[JSON, ("authorization", &key)], "{}").await;
    assert_eq!((produced.status, &produced.json()["accepted"]), (200, &Value::from(1)));
    assert_eq!(
        produced.header("ratelimit-policy"),
        Some(
            "\"requests\";q=2000;w=2, \"events\";q=100000;w=2;klamm-unit=\"events\", \
             \"bytes\";q=104857600;w=2;qu=\"content-bytes\""
        )
    );
    for (path, status) in [
        ("/v1/topics", 200),
        ("/v1/topics/orders", 200),
        ("/v1/topics/secret", 403),
        ("/v1/topics/absent", 404),
        ("/v1/topics/raw-x", 404),
    ] {
        let answer = http.get(path, &[("authorization", &key)]).await;
        assert_eq!(answer.status, status, "{path}");
        assert_quotas(path, &answer, true);
    }
    assert_quotas("without a key", &http.get("/v1/topics", &[]).await, false);
}

/// The mock cluster makes topics where a client lets it, as a Kafka with `auto.create.topics.enable` does.
#[tokio::test]
async fn a_topic_that_is_missing_is_never_made() {
    let mock = Mock::start(&TOPICS);
    let gateway = table(&mock);
    gateway.ready().await;
    let (http, key) = (Client::new(gateway.ingest()), bearer("shop"));
    // Longer than klamm believes that it is missing, and over two of its questions whether Kafka answers.
    for turn in 0..44 {
        let answer = http.get("/v1/topics/absent", &[("authorization", &key)]).await;
        assert_eq!(answer.status, 404, "turn {turn}");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}
