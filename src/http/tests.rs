//! The edge over real sockets, byte by byte: what a client sends and when is the point.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::listener::{Accept, ConnEvent, Events, Listener, Options, Passed, serve};
use super::problem::Refused;
use super::{body, layers};
use crate::config::{Config, Listen, Socket};
use crate::reject::{Extent, Reject};
use crate::shutdown::Phase;

mod accepting;
mod phases;
mod refusals;
mod resting;
mod timers;

const MIB: usize = 1024 * 1024;
/// Far beyond every timer of a test.
const PATIENCE: Duration = Duration::from_secs(20);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Edge {
    listen: Listen,
    phase: watch::Sender<Phase>,
    seen: Arc<Mutex<Vec<ConnEvent>>>,
    server: JoinHandle<usize>,
}

fn loopback() -> Listener {
    Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap()), &Socket::default()).unwrap()
}

/// An edge with timers that no test runs into by accident, changed by `tweak`.
fn start(tweak: impl FnOnce(&mut Options)) -> Edge {
    let listener = loopback();
    let listen = listener.local().unwrap();
    start_on(listener, listen, tweak)
}

fn start_on<A: Accept + Sync + 'static>(listener: A, listen: Listen, tweak: impl FnOnce(&mut Options)) -> Edge {
    let config = Arc::new(Config::default());
    let live: super::Live = Arc::new(move || Arc::clone(&config));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events: Events = Arc::new({
        let seen = Arc::clone(&seen);
        move |event| seen.lock().unwrap().push(event)
    });
    let mut options = Options {
        connections: 100,
        header_timeout: PATIENCE,
        keep_alive: PATIENCE,
        write_timeout: PATIENCE,
        closed_from: Phase::Closing,
        grace: PATIENCE,
        live: Arc::clone(&live),
        events,
    };
    tweak(&mut options);
    let (phase, stop) = watch::channel(Phase::Serving);
    let server = tokio::spawn(serve(listener, layers::apply(routes(), layers::Edge::new(live, None)), options, stop));
    Edge { listen, phase, seen, server }
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { Body::from(vec![b'x'; 32 * MIB]) }))
        .route("/slow", get(|| async { sleep(ms(500)).await }))
        .route("/stuck", get(std::future::pending::<()>))
        .route("/panic", get(|| async { panic!("a bug") as String }))
        .route("/count", post(count))
        .route("/refuse/{status}", post(refuse))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
}

async fn count(body: Body) -> Result<String, body::Error> {
    let limits = body::Limits { cap: 8 * MIB as u64, idle: ms(1500), total: PATIENCE };
    Ok(body::read_capped(body, limits, |_| Ok(())).await?.len().to_string())
}

async fn refuse(Path(status): Path<u16>, _body: Body) -> impl IntoResponse {
    Refused(match status {
        401 => Reject::Unauthenticated,
        413 => Reject::TooLarge { what: Extent::Wire, limit: 1 },
        _ => Reject::RateLimited { violated: Vec::new(), retry_after: ms(1) },
    })
}

impl Edge {
    async fn connect(&self) -> TcpStream {
        let Listen::Tcp(address) = self.listen else { panic!("not TCP") };
        TcpStream::connect(address).await.unwrap()
    }

    fn seen(&self, event: ConnEvent) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| **seen == event).count()
    }

    fn go(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
}

/// An answer: status, head (lower case), body.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn has(&self, field: &str) -> bool {
        self.head.contains(&format!("\r\n{field}\r\n"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one answer with a `Content-Length`.
async fn read_reply(io: &mut (impl AsyncRead + Unpin)) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, io.read_u8()).await.expect("an answer in time").expect("a whole head"));
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length =
        head.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    io.read_exact(&mut body).await.unwrap();
    Reply { status, head, body }
}

async fn ask(io: &mut (impl AsyncRead + AsyncWrite + Unpin), target: &str) -> Reply {
    io.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
    read_reply(io).await
}

/// Whether the other side closed, and after how long; what comes before is dropped.
async fn closed(io: &mut (impl AsyncRead + Unpin)) -> Duration {
    let start = Instant::now();
    let mut scratch = vec![0; 64 * 1024];
    let end = async { while matches!(io.read(&mut scratch).await, Ok(n) if n > 0) {} };
    timeout(PATIENCE, end).await.expect("the connection to be closed");
    start.elapsed()
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// `GET /` on `stream`, by HPACK's static table.
fn h2_get(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0x5, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'h'])
}

/// Reads frames up to the first of `kind` that has all of `flags`; answers nothing.
async fn read_until(io: &mut TcpStream, kind: u8, flags: u8) {
    loop {
        let mut head = [0; 9];
        timeout(PATIENCE, io.read_exact(&mut head)).await.expect("a frame in time").expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == kind && head[4] & flags == flags {
            return;
        }
    }
}
