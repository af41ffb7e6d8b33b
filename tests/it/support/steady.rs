//! Load by connections that stay, as programs hold them, and an account of every request: nothing is sent twice, so a
//! refused connection, a reset and an answer that never came each show.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::mock::bearer;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) client: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) connections: usize,
    /// From one request of a connection to its next; without one the next follows the answer.
    pub(crate) pace: Duration,
    /// Events in every fourth request; the others have one.
    pub(crate) batch: usize,
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Report {
    /// Requests by their answer: `200`, or a status and a refusal's code; `207` where each event is in Kafka or on disk.
    pub(crate) answers: BTreeMap<String, usize>,
    /// Requests without an answer, each with its reason.
    pub(crate) failed: Vec<String>,
    /// The ids of events that were answered 200, 202 or such a 207.
    pub(crate) acknowledged: Vec<String>,
    /// Connections that were made.
    pub(crate) connects: usize,
    /// The longest time to an answer.
    pub(crate) slowest: Duration,
    /// How long the load lasted.
    pub(crate) lasted: Duration,
}

impl Report {
    /// Requests that were answered, and how many that was in a second.
    pub(crate) fn answered(&self) -> (usize, f64) {
        let count: usize = self.answers.values().sum();
        (count, count as f64 / self.lasted.as_secs_f64())
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let (count, rate) = self.answered();
        let (failed, connects, slowest) = (self.failed.len(), self.connects, self.slowest);
        let rest = format!("{failed} failed, {connects} connections, slowest {slowest:?}");
        format!("{count} requests, {rate:.0}/s, {:?}, {rest}", self.answers)
    }
}

/// Load under way.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    began: Instant,
    connections: Vec<JoinHandle<Report>>,
}

impl Steady {
    /// Starts the connections of all `shapes` to `address`.
    pub(crate) fn start(address: &str, shapes: &[Shape]) -> Self {
        static LOADS: AtomicUsize = AtomicUsize::new(0);
        let load = LOADS.fetch_add(1, Ordering::Relaxed);
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let each =
            shapes.iter().enumerate().flat_map(|(at, shape)| (0..shape.connections).map(move |n| (at, n, *shape)));
        let began = Instant::now();
        let connections = each.map(|(at, n, shape)| {
            let sender = Sender { address: address.to_owned(), name: format!("{load}-{at}-{n}"), shape, stream: None };
            // One after the other, not all at once: at no time is there none.
            let first = began + shape.pace.mul_f64(n as f64 / shape.connections as f64);
            tokio::spawn(sender.run(first, Arc::clone(&stop), Arc::clone(&count)))
        });
        Self { connections: connections.collect(), stop, count, began }
    }

    /// How many requests were answered so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits for `more` answers. Panics after 60 s.
    pub(crate) async fn more(&self, more: usize) {
        let wanted = self.count() + more;
        let wait = async {
            while self.count() < wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not {more} more answers: {}", self.count()));
    }

    /// Lets every connection finish its request; the account of all.
    pub(crate) async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report { lasted: self.began.elapsed(), ..Report::default() };
        for connection in self.connections {
            let one = connection.await.expect("a connection that does not panic");
            for (answer, count) in one.answers {
                *all.answers.entry(answer).or_default() += count;
            }
            all.failed.extend(one.failed);
            all.acknowledged.extend(one.acknowledged);
            all.connects += one.connects;
            all.slowest = all.slowest.max(one.slowest);
        }
        all
    }
}

struct Sender {
    address: String,
    name: String,
    shape: Shape,
    stream: Option<TcpStream>,
}

impl Sender {
    async fn run(mut self, first: Instant, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) -> Report {
        let mut report = Report::default();
        let mut next = first;
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            sleep(next.saturating_duration_since(Instant::now())).await;
            next = (next + self.shape.pace).max(Instant::now() - self.shape.pace);
            let events = if turn % 4 == 3 { self.shape.batch } else { 1 };
            let ids: Vec<_> = (0..events).map(|event| format!("{}-{turn}-{event}", self.name)).collect();
            let began = Instant::now();
            report.connects += usize::from(self.stream.is_none());
            match timeout(PATIENCE, self.call(&ids)).await {
                Ok(Ok(answer)) => {
                    report.slowest = report.slowest.max(began.elapsed());
                    if ["200", "202", "207"].contains(&answer.as_str()) {
                        report.acknowledged.extend(ids);
                    }
                    *report.answers.entry(answer).or_default() += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(error)) => {
                    self.stream = None;
                    report.failed.push(format!("{} after {:?}: {error}", self.name, began.elapsed()));
                    sleep(Duration::from_millis(20)).await;
                }
                Err(_) => {
                    self.stream = None;
                    report.failed.push(format!("{}: no answer within {PATIENCE:?}", self.name));
                }
            }
        }
        report
    }

    /// One request and its whole answer, on the connection there is, or a new one where the last answer closed it.
    async fn call(&mut self, ids: &[String]) -> io::Result<String> {
        let body: String = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect();
        let Shape { client, topic, .. } = self.shape;
        let text = format!(
            "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: klamm\r\nAuthorization: {}\r\nContent-Type: \
             application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
            bearer(client),
            body.len()
        );
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await.map_err(|error| named("connect", &error))?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(text.as_bytes()).await.map_err(|error| named("write", &error))?;
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut stream, &mut bytes).await?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
        while bytes.len() < head + length {
            more(&mut stream, &mut bytes).await?;
        }
        if !text.contains("\r\nconnection: close\r\n") {
            self.stream = Some(stream);
        }
        let status = text.split(' ').nth(1).expect("a status");
        let answer: Value = serde_json::from_slice(&bytes[head..]).unwrap_or_default();
        let partial = status == "207" && (answer["accepted"] != ids.len() || answer.get("failures").is_some());
        let code = if partial { Some("partial") } else { answer["code"].as_str() };
        Ok(code.map_or_else(|| status.to_owned(), |code| format!("{status} {code}")))
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err(io::Error::other(format!("closed after {} bytes of the answer", bytes.len()))),
        Ok(_) => Ok(()),
        Err(error) => Err(named("read", &error)),
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
