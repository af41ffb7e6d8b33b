//! The tests' own footing holds: what `support` promises, on the real thing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::support::client::Client;
use crate::support::disk::Disk;
use crate::support::kafka::{KLAMM, Kafka, Options, READER, Record};
use crate::support::metrics::Metrics;
use crate::support::{eventually, keys, raw};

/// What became of one record: its partition and offset, or the fault.
type Report = Result<(i32, i64), KafkaError>;

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Report>>>);

impl rdkafka::ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap().push(report);
    }
}

struct Sender {
    producer: ThreadedProducer<Reports>,
    reports: Reports,
}

impl Sender {
    fn new(bootstrap: &str, properties: &BTreeMap<&'static str, String>) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("linger.ms", "0").set("acks", "all");
        config.set("message.timeout.ms", "60000");
        for (name, value) in properties {
            config.set(*name, value);
        }
        let reports = Reports::default();
        Self { producer: config.create_with_context(reports.clone()).unwrap(), reports }
    }

    fn plain(kafka: &Kafka) -> Self {
        Self::new(&kafka.bootstrap(), &BTreeMap::new())
    }

    fn enqueue(&self, topic: &str, value: &str) -> Result<(), KafkaError> {
        self.producer.send(BaseRecord::<(), str>::to(topic).payload(value)).map_err(|(error, _)| error)
    }

    /// Sends one record and waits for its report. What is known to fail, fails before it is queued.
    fn send(&self, topic: &str, value: &str) -> Report {
        self.enqueue(topic, value)?;
        self.report()
    }

    /// The next report.
    fn report(&self) -> Report {
        eventually("a delivery report", Duration::from_secs(70), || self.reports.0.lock().unwrap().pop())
    }
}

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()).collect()
}

#[test]
fn a_record_is_read_back_with_key_headers_and_timestamp() {
    let kafka = Kafka::shared();
    kafka.create_topic("support-record", 3, &[("min.insync.replicas", "1")]);
    let sender = Sender::plain(kafka);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("a") })
        .insert(Header { key: "trace", value: Some("b") })
        .insert(Header { key: "empty", value: None::<&str> });
    let record = BaseRecord::to("support-record").partition(2).key("k").payload("v").headers(headers).timestamp(1_700);
    sender.producer.send(record).map_err(|(error, _)| error).unwrap();
    assert_eq!(sender.report(), Ok((2, 0)));

    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let headers = [("trace", bytes("a")), ("trace", bytes("b")), ("empty", None)];
    let expected = Record {
        partition: 2,
        offset: 0,
        key: bytes("k"),
        value: bytes("v"),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        timestamp: Some(1_700),
    };
    assert_eq!(kafka.consume("support-record"), [expected]);
}

#[test]
fn topics_grow_change_and_go() {
    let kafka = Kafka::shared();
    kafka.create_topic("support-topic", 1, &[]);
    assert_eq!(kafka.leaders("support-topic"), [1]);
    kafka.add_partitions("support-topic", 4);
    assert_eq!(kafka.leaders("support-topic"), [1, 1, 1, 1]);

    kafka.configure_topic("support-topic", "max.message.bytes", "2000");
    let report = Sender::plain(kafka).send("support-topic", &"x".repeat(3_000));
    assert_eq!(report, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));

    kafka.delete_topic("support-topic");
    assert_eq!(kafka.leaders("support-topic"), [0; 0]);
}

#[test]
fn a_stopped_broker_answers_nothing_until_it_goes_on_and_a_killed_one_keeps_its_data() {
    let kafka = Kafka::start(&Options::default());
    kafka.create_topic("t", 1, &[]);
    let sender = Sender::plain(&kafka);
    assert_eq!(sender.send("t", "before"), Ok((0, 0)));

    kafka.stop_broker(1);
    sender.enqueue("t", "while stopped").unwrap();
    sender.producer.flush(Duration::from_secs(1)).unwrap_err();
    assert!(sender.reports.0.lock().unwrap().is_empty(), "no report while the broker is stopped");
    kafka.continue_broker(1);
    assert_eq!(sender.report(), Ok((0, 1)));

    kafka.kill_broker(1);
    sender.enqueue("t", "while dead").unwrap();
    kafka.restart_broker(1);
    assert_eq!(sender.report(), Ok((0, 2)));
    assert_eq!(values(&kafka.consume("t")), ["before", "while stopped", "while dead"]);
}

#[test]
fn scram_over_tls_works_and_wrong_password_unknown_ca_and_missing_rights_do_not() {
    let kafka = Kafka::start(&Options { sasl_ssl: true, acls: true, ..Options::default() });
    kafka.create_topic("t", 1, &[]);
    let fails_fast = |change: (&'static str, String)| {
        let mut properties = kafka.secure_properties(KLAMM);
        properties.extend([change, ("message.timeout.ms", "3000".to_owned())]);
        Sender::new(&kafka.secure_bootstrap(), &properties).send("t", "never").unwrap_err();
    };
    fails_fast(("sasl.password", "wrong".to_owned()));
    fails_fast(("ssl.ca.location", kafka.unknown_ca()));

    let klamm = Sender::new(&kafka.secure_bootstrap(), &kafka.secure_properties(KLAMM));
    assert_eq!(klamm.send("t", "allowed"), Ok((0, 0)));

    let reader = || Sender::new(&kafka.secure_bootstrap(), &kafka.secure_properties(READER));
    let refused = Err(KafkaError::MessageProduction(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(reader().send("t", "not even seen"), refused);
    kafka.grant(READER, "Describe", "t");
    assert_eq!(reader().send("t", "seen, not allowed"), refused);
    kafka.grant(READER, "Write", "t");
    assert_eq!(reader().send("t", "allowed too"), Ok((0, 1)));
    assert_eq!(values(&kafka.consume("t")), ["allowed", "allowed too"]);
}

#[test]
fn with_two_brokers_a_topic_leads_where_it_is_put_and_the_other_broker_serves_while_one_is_stopped() {
    let properties = vec![("num.partitions", "1".to_owned())];
    let kafka = Kafka::start(&Options { brokers: 2, properties, ..Options::default() });
    kafka.create_topic_on("one", &[&[1]], &[]);
    kafka.create_topic_on("two", &[&[2], &[2]], &[]);
    assert_eq!((kafka.leaders("one"), kafka.leaders("two")), (vec![1], vec![2, 2]));

    let sender = Sender::plain(&kafka);
    // Both topics are known to the producer: looking a new one up may go to the stopped broker, and wait for it.
    assert_eq!(sender.send("one", "before"), Ok((0, 0)));
    sender.send("two", "before").unwrap();
    kafka.stop_broker(2);
    assert_eq!(sender.send("one", "meanwhile"), Ok((0, 1)));
    kafka.continue_broker(2);
    sender.send("two", "after").unwrap();
    assert_eq!(kafka.consume("two").len(), 2);
}

/// Answers with the request's version, method, path, first `x-a` header and body.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = parts.headers.get("x-a").map_or("", |value| value.to_str().unwrap());
    let said = serde_json::json!({
        "line": format!("{:?} {} {}", parts.version, parts.method, parts.uri.path()),
        "x-a": header,
        "body": String::from_utf8_lossy(&body),
    });
    Ok(Response::builder().header("x-b", "told").body(Full::from(said.to_string())).unwrap())
}

/// An echo server on a free port, for as long as the runtime lives.
async fn echo_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(echo);
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

#[tokio::test]
async fn the_client_speaks_http1_and_http2_and_gives_the_whole_answer() {
    let address = echo_server().await;
    let answer = Client::new(&address).post("/p?q", &[("x-a", "1")], "hello").await;
    assert_eq!((answer.status, answer.header("x-b"), answer.header("x-c")), (200, Some("told"), None));
    let said = serde_json::json!({ "line": "HTTP/1.1 POST /p", "x-a": "1", "body": "hello" });
    assert_eq!(answer.json(), said);
    let answer = Client::h2c(&address).get("/", &[]).await;
    assert_eq!(answer.json()["line"], "HTTP/2.0 GET /");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_socket_reads_one_answer_after_the_other_and_sees_the_close() {
    let address = echo_server().await;
    let spoken = tokio::task::spawn_blocking(move || {
        let mut socket = raw::Socket::connect(&address);
        socket.send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let first = socket.answer();
        assert!(!socket.closed_within(Duration::from_millis(100)), "kept alive");
        socket.send(b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let second = socket.answer();
        assert!(socket.closed_within(Duration::from_secs(10)), "closed when asked");
        (first, second)
    });
    let (first, second) = spoken.await.unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("GET /a"), "{first}");
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n") && second.contains("GET /b"), "{second}");
}

#[test]
fn metrics_are_summed_over_the_labels_not_named() {
    let text = "# HELP a b\n# TYPE a counter\na{client=\"x\",topic=\"t{1}\"} 2\na{topic=\"u\",client=\"x\"} 3.5\n\
                a{client=\"y\",note=\"say \\\"hi\\\", \\\\ you\"} 1e3\nb 4 1700000000000\n\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.sum("a", &[]), 1005.5);
    assert_eq!(metrics.sum("a", &[("client", "x")]), 5.5);
    assert_eq!(metrics.sum("a", &[("client", "x"), ("topic", "t{1}")]), 2.0);
    assert_eq!(metrics.sum("a", &[("note", "say \"hi\", \\ you")]), 1000.0);
    assert_eq!((metrics.sum("b", &[]), metrics.sum("c", &[])), (4.0, 0.0));
}

#[test]
fn a_fixed_key_is_the_same_each_time_and_its_digest_is_sha_256() {
    let key = keys::fixed("shop");
    assert_eq!(key.text, "test-key-of-shop");
    assert_eq!(key.sha256, "e81d9e47d738b9beaf28729c88438460fe58b0fd5ae4f9a016c07ce428f01ccc");
}

#[test]
fn eventually_gives_what_the_probe_found_and_no_sooner() {
    let start = Instant::now();
    let found =
        eventually("50 ms pass", Duration::from_secs(5), || (start.elapsed() > Duration::from_millis(50)).then_some(7));
    assert_eq!(found, 7);
    assert!(start.elapsed() > Duration::from_millis(50));
}

#[test]
fn a_proxied_cluster_is_reached_through_its_proxies_and_its_leaders_move() {
    let kafka = Kafka::start(&Options { brokers: 3, proxied: true, ..Options::default() });
    kafka.create_topic("proxied", 3, &[]);
    let passing = || (1..=3).filter(|node| kafka.proxy(*node).connections() > 0).count();
    assert_eq!(passing(), 0, "neither brokers nor the tests' own clients pass the proxies");
    let sender = Sender::plain(&kafka);
    assert!(sender.send("proxied", "one").is_ok() && passing() > 0);

    let before = kafka.leaders("proxied");
    kafka.move_leaders(&["proxied"]);
    let moved = eventually("other leaders", Duration::from_secs(20), || {
        let now = kafka.leaders("proxied");
        now.iter().zip(&before).all(|(now, before)| now != before).then_some(now)
    });
    assert!(moved.iter().all(|leader| *leader > 0), "{moved:?}");
    assert!(sender.send("proxied", "two").is_ok());
    assert_eq!(kafka.consume("proxied").len(), 2);
}

#[test]
fn a_small_disk_runs_full_and_has_room_again() {
    let Some(disk) = Disk::small(8) else { return };
    let write = |name: &str| std::fs::write(disk.path().join(name), vec![7; 1 << 20]);
    write("before").unwrap();
    disk.fill();
    assert_eq!(write("full").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    disk.free();
    write("after").unwrap();
    let mount = disk.path().to_str().unwrap().to_owned();
    let is_mounted = || std::fs::read_to_string("/proc/mounts").unwrap().contains(&mount);
    assert!(is_mounted());
    drop(disk);
    assert!(!is_mounted());
}
