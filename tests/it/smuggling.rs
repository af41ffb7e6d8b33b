//! One request is never read as two (RFC 9112, 11.2): a table of shapes, each with a second request planted behind it.
//!
//! Each shape goes to klamm directly, to klamm through HAProxy, and through HAProxy to a backend that records what
//! HAProxy made of it. What stands in Kafka in the end tells what klamm made of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::haproxy::Haproxy;
use crate::support::kafka::Kafka;
use crate::support::load::settled;
use crate::support::{keys, soon};

mod shapes;

use shapes::{Fate, Shape};

const DIRECT: &str = "smuggling-direct";
const PROXIED: &str = "smuggling-proxied";
/// No peer may hold a connection longer than this.
const LIMIT: Duration = Duration::from_secs(15);
/// HAProxy drops a request that waits behind another one when its client ends the stream: it is given this long.
const PATIENCE: Duration = Duration::from_millis(400);

/// A gateway through which `shop` may write to `topics`, as much as it likes.
pub(crate) fn serve(topics: &str) -> Gateway {
    let (bootstrap, sha256) = (Kafka::shared().bootstrap(), keys::fixed("shop").sha256);
    Gateway::start(&format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", peer_rate: off }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"], linger: 0ms }} }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: ["{topics}"] }} }}
topics: {{ "{topics}": {{}} }}
"#
    ))
}

/// Every shape under its name; those of chunks with a head.
fn all() -> Vec<(String, Fate, Vec<u8>)> {
    let group = |of: &'static str, shapes: &'static [Shape], head: &'static [u8]| {
        shapes.iter().map(move |(name, fate, template)| (format!("{of}: {name}"), *fate, [head, *template].concat()))
    };
    let mut all: Vec<_> = group("length", shapes::LENGTHS, b"").collect();
    all.extend(group("coding", shapes::CODINGS, b""));
    all.extend(group("length and coding", shapes::LENGTHS_AND_CODINGS, b""));
    all.extend(group("chunk", shapes::CHUNKS, b"$HTransfer-Encoding: chunked\r\n\r\n"));
    all.extend(group("head", shapes::HEADS, b""));
    all
}

/// The body of the shape in row `row`, 11 bytes of JSON.
fn first(row: usize) -> String {
    format!("\"first-{row:03}\"")
}

/// The body of the request planted behind it.
fn planted(row: usize) -> String {
    format!("\"plant-{row:03}\"")
}

/// The bytes of row `row` for `topic`, with the planted request behind.
fn fill(template: &[u8], topic: &str, row: usize) -> Vec<u8> {
    let path = format!("/v1/topics/{topic}/events");
    let key = format!("Authorization: Bearer {}\r\n", keys::fixed("shop").text);
    let json = "Content-Type: application/json\r\n";
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{key}{json}");
    let mut bytes = Vec::new();
    let mut rest = template.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, if byte == b'$' { rest.next() } else { None }) {
            (b'$', Some(b'P')) => bytes.extend(path.bytes()),
            (b'$', Some(b'K')) => bytes.extend(key.bytes()),
            (b'$', Some(b'J')) => bytes.extend(json.bytes()),
            (b'$', Some(b'H')) => bytes.extend(head.bytes()),
            (b'$', Some(b'B')) => bytes.extend(first(row).bytes()),
            (b'$', Some(b'1')) => bytes.extend(first(row).bytes().take(6)),
            (b'$', Some(b'2')) => bytes.extend(first(row).bytes().skip(6)),
            (b'$', Some(b'X')) => bytes.extend([b'x'; 20_000]),
            (b'$', other) => panic!("no such part: {other:?}"),
            (byte, _) => bytes.push(byte),
        }
    }
    bytes.extend(format!("{head}Connection: close\r\nContent-Length: 11\r\n\r\n{}", planted(row)).bytes());
    bytes
}

/// Sends `bytes`, and the end of the stream once nothing has come for `patience`; the statuses of all answers until the
/// peer closes.
fn exchange(address: &str, bytes: &[u8], patience: Option<Duration>) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    // The peer may have refused and closed before it has all: what it said still counts.
    let _ = stream.write_all(bytes);
    stream.set_read_timeout(patience).expect("a socket takes timeouts");
    let mut answers = Vec::new();
    let read = match patience {
        Some(_) => stream.read_to_end(&mut answers),
        None => Ok(0),
    };
    if patience.is_none() || read.is_err() {
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(LIMIT)).expect("a socket takes timeouts");
        match stream.read_to_end(&mut answers) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("not closed within {LIMIT:?}: {error}")
            }
            _ => {}
        }
    }
    statuses(&answers)
}

/// The statuses of whole answers, one after another, but for 1xx.
fn statuses(mut answers: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !answers.is_empty() {
        let (head, body) =
            message(answers).unwrap_or_else(|| panic!("half an answer: {:?}", String::from_utf8_lossy(answers)));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = field(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        answers = body.get(length..).unwrap_or_else(|| panic!("half a body: {head}"));
        if status >= 200 {
            statuses.push(status);
        }
    }
    statuses
}

/// The head of a message and what follows.
fn message(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end..]))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// A backend that closes after each answer: a connection is one request as HAProxy sees it.
struct Recorder {
    address: String,
    /// The bodies, in order.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let into = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let into = Arc::clone(&into);
                thread::spawn(move || record(stream, &into));
            }
        });
        Self { address, seen }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }
}

fn record(mut stream: TcpStream, into: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    // A request that breaks off is none.
    let body = loop {
        if let Some(body) = body(&bytes) {
            break body;
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    };
    into.lock().expect("no panic").push(body);
    // 200 to a CONNECT would be a tunnel.
    let status = if bytes.starts_with(b"CONNECT") { "405 Method Not Allowed" } else { "200 OK" };
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/// The body of a whole request as HAProxy writes it, which is by the book.
fn body(bytes: &[u8]) -> Option<String> {
    let (head, mut rest) = message(bytes)?;
    let mut body = Vec::new();
    if field(&head, "transfer-encoding").is_some() {
        loop {
            let end = rest.windows(2).position(|two| two == b"\r\n")?;
            let size = std::str::from_utf8(&rest[..end]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 {
                rest.windows(4).position(|four| four == b"\r\n\r\n")?;
                break;
            }
            body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
            rest = rest.get(end + size + 4..)?;
        }
    } else if let Some(length) = field(&head, "content-length") {
        body.extend_from_slice(rest.get(..length.parse().expect("a length"))?);
    }
    Some(String::from_utf8_lossy(&body).into_owned())
}

/// The values in `topic`, by the row that they are of.
fn written(topic: &str) -> BTreeMap<usize, Vec<String>> {
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for record in Kafka::shared().consume(topic) {
        let value = String::from_utf8(record.value.expect("a value")).expect("text");
        let row = value.trim_matches('"').split_once('-').and_then(|(_, row)| row.parse().ok());
        rows.entry(row.unwrap_or_else(|| panic!("a value nobody sent: {value}"))).or_default().push(value);
    }
    rows
}

/// What was made of a shape.
struct Seen {
    /// klamm's answers.
    direct: Vec<u16>,
    /// The answers that came through HAProxy, klamm's and its own.
    through: Vec<u16>,
    /// The bodies of what HAProxy took for requests, and whether it refused something.
    recorded: Vec<String>,
    refused: bool,
}

/// Sends every shape everywhere.
fn send(shapes: &[(String, Fate, Vec<u8>)], gateway: &Gateway) -> Vec<Seen> {
    let recorder = Recorder::start();
    let proxy = Haproxy::start(&[gateway.ingest(), &recorder.address]);
    let each = |topic, address: &str, patience| -> Vec<_> {
        let rows = shapes.iter().enumerate();
        rows.map(|(row, (_, _, template))| exchange(address, &fill(template, topic, row), patience)).collect()
    };
    let record = || -> Vec<_> {
        let rows = shapes.iter().enumerate();
        rows.map(|(row, (_, _, template))| {
            let answers = exchange(proxy.address(1), &fill(template, PROXIED, row), Some(PATIENCE));
            (recorder.take(), answers.iter().any(|status| *status != 200))
        })
        .collect()
    };
    thread::scope(|scope| {
        let direct = scope.spawn(|| each(DIRECT, gateway.ingest(), None));
        let through = scope.spawn(|| each(PROXIED, proxy.address(0), Some(PATIENCE)));
        let recorded = record();
        let answers = direct.join().expect("no panic").into_iter().zip(through.join().expect("no panic"));
        let seen = answers.zip(recorded);
        seen.map(|((direct, through), (recorded, refused))| Seen { direct, through, recorded, refused }).collect()
    })
}

/// What is wrong with what was made of the shape in row `row`.
fn faults(row: usize, fate: Fate, seen: &Seen, direct: &[String], proxied: &[String]) -> Vec<&'static str> {
    let (first, planted) = (first(row), planted(row));
    let recorded: Vec<_> = seen.recorded.iter().map(|body| body.trim_ascii()).collect();
    let mut expected = Vec::new();
    expected.extend(fate.first.then(|| first.clone()));
    expected.extend(fate.planted.then(|| planted.clone()));
    // In order, but for those that klamm refused.
    let mut left = recorded.iter();
    let laws = [
        (seen.direct == fate.statuses, "klamm's answers"),
        (*direct == *expected, "what klamm wrote"),
        (!fate.first || seen.refused || recorded.first() == Some(&&*first), "HAProxy saw another request first"),
        (!fate.planted || seen.refused || recorded.get(1..) == Some(&[&*planted]), "HAProxy did not see the second"),
        (proxied.iter().all(|value| left.any(|body| body == value)), "HAProxy gave klamm other requests"),
        (seen.through.len() <= recorded.len() + 1, "HAProxy gave klamm more requests"),
    ];
    laws.into_iter().filter(|(holds, _)| !holds).map(|(_, fault)| fault).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_of_a_request_is_read_as_two_and_haproxy_counts_the_same() {
    for topic in [DIRECT, PROXIED] {
        Kafka::shared().create_topic(topic, 1, &[]);
    }
    let gateway = serve("smuggling-*");
    gateway.ready().await;
    let shapes = all();
    assert!(shapes.len() > 250, "{}", shapes.len());
    let seen = send(&shapes, &gateway);
    let (direct, proxied) = (written(DIRECT), written(PROXIED));
    let mut wrong = String::new();
    for (row, ((name, fate, _), seen)) in shapes.iter().zip(&seen).enumerate() {
        let of = |topic: &BTreeMap<usize, Vec<String>>| topic.get(&row).cloned().unwrap_or_default();
        let (direct, proxied) = (of(&direct), of(&proxied));
        let faults = faults(row, *fate, seen, &direct, &proxied);
        if !faults.is_empty() {
            let Seen { direct: answers, through, recorded, refused } = seen;
            let _ = writeln!(
                wrong,
                "{name}: {faults:?}\n  direct {answers:?} {direct:?}, through {through:?} {proxied:?}, recorded {recorded:?} {refused}"
            );
        }
    }
    assert_eq!(wrong, "");
    for topic in [(DIRECT, &direct), (PROXIED, &proxied)] {
        let counts = settled(&gateway, "shop", topic.0).await;
        let written: usize = topic.1.values().map(Vec::len).sum();
        assert_eq!(counts.acked, f64::from(u32::try_from(written).expect("a small count")), "{counts:?}");
    }
    soon("no connection is left", async || {
        (gateway.metrics().await.sum("klamm_connections", &[]) == 0.0).then_some(())
    })
    .await;
}
