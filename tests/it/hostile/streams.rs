//! HTTP/2 as no client speaks it, frame by frame (RFC 9113): floods, bombs, streams without end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Bystanders, Growth, MIB, gone, serve};
use crate::support::mock::{Mock, bearer};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The largest frame that klamm takes.
const FRAME: usize = 16 << 10;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that enters no table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// `GET path`, by HPACK's static table.
fn get(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    [&[0x82, 0x86, 0x41, 1, b'h', 4, length], path.as_bytes()].concat()
}

/// `POST` of an event by `bad`.
fn post() -> Vec<u8> {
    let mut block = [&[0x83, 0x86, 0x41, 1, b'h', 4, 24], super::ORDERS.as_bytes()].concat();
    block.extend([literal("authorization", &bearer("bad")), literal("content-type", "application/json")].concat());
    block
}

/// The `n`th stream of a client.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A bad client: what it sends after the preface, in pieces, and whether it reads what comes. klamm has to end each.
struct Attack {
    what: &'static str,
    settings: Vec<u8>,
    pieces: Box<dyn Iterator<Item = Vec<u8>> + Send>,
    reads: bool,
}

fn attack(what: &'static str, pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Attack {
    Attack { what, settings: Vec::new(), pieces: Box::new(pieces), reads: true }
}

/// Sends it all; whether klamm ended the connection.
fn run(address: &str, attack: Attack) -> bool {
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_write_timeout(Some(Duration::from_secs(20))).expect("a socket takes timeouts");
    let mut reading = socket.try_clone().expect("a second handle");
    reading.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes timeouts");
    let reads = attack.reads;
    let reader = thread::spawn(move || {
        let mut sink = [0; 65536];
        if !reads {
            thread::sleep(Duration::from_millis(1500));
        }
        loop {
            match reading.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                // Nothing for long is no end, a reset is one.
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    });
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &attack.settings)].concat();
    let mut broken = socket.write_all(&begin).is_err();
    let mut pieces = attack.pieces;
    while let (false, Some(piece)) = (broken, pieces.next()) {
        broken = socket.write_all(&piece).is_err();
    }
    let ended = reader.join().expect("no panic") || broken;
    let _ = socket.shutdown(Shutdown::Both);
    ended
}

/// Several frames a write.
fn in_writes(count: u32, each: impl Fn(u32) -> Vec<u8> + Send + 'static) -> impl Iterator<Item = Vec<u8>> + Send {
    const TOGETHER: u32 = 200;
    (0..count / TOGETHER).map(move |write| (0..TOGETHER).flat_map(|n| each(write * TOGETHER + n)).collect())
}

fn attacks() -> Vec<Attack> {
    let open = || frame(HEADERS, END_HEADERS, 1, &post());
    // 4,000 bytes that enter the table, and then 16,000 times one byte that stands for them.
    let table = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let bomb = [get("/v1/topics"), table].concat();
    let again = [get("/v1/topics"), vec![0xbe; 16_000]].concat();
    let crumbs: Vec<u8> = literal("x", "y").repeat(FRAME / 5);
    let zero = [0, 4, 0, 0, 0, 0].to_vec();
    vec![
        attack(
            "streams opened and reset",
            in_writes(20_000, |n| {
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &get("/v1/topics")),
                    frame(RST_STREAM, 0, stream(n), &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        attack(
            "streams that klamm is made to reset",
            in_writes(20_000, |n| {
                [frame(HEADERS, END_HEADERS, stream(n), &post()), frame(WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat()
            }),
        ),
        attack(
            "a head without end",
            std::iter::once(frame(HEADERS, 0, 1, &get("/v1/topics")))
                .chain((0..2000).map(move |_| frame(CONTINUATION, 0, 1, &crumbs))),
        ),
        attack(
            "a head of nothing without end",
            std::iter::once(frame(HEADERS, 0, 1, &get("/v1/topics")))
                .chain(in_writes(100_000, |_| frame(CONTINUATION, 0, 1, &[]))),
        ),
        attack("data of nothing", std::iter::once(open()).chain(in_writes(200_000, |_| frame(DATA, 0, 1, &[])))),
        attack("data of padding alone", std::iter::once(open()).chain(in_writes(200_000, |_| frame(DATA, 8, 1, &[0])))),
        Attack { reads: false, ..attack("settings", in_writes(100_000, |_| frame(SETTINGS, 0, 0, &[]))) },
        Attack { reads: false, ..attack("pings", in_writes(200_000, |_| frame(PING, 0, 0, &[0; 8]))) },
        attack("priorities", in_writes(200_000, |n| frame(PRIORITY, 0, stream(n % 1000), &[0, 0, 0, 0, 1]))),
        attack("window updates", in_writes(200_000, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        attack(
            "heads that grow",
            std::iter::once(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb))
                .chain((1..2000).map(move |n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &again))),
        ),
        attack("streams that stay open", in_writes(20_000, |n| frame(HEADERS, END_HEADERS, stream(n), &post()))),
        Attack {
            settings: zero,
            ..attack(
                "answers that are never taken",
                (0..90).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &get("/openapi.json"))),
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_and_bombs_of_frames_are_cut_and_others_are_served() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "header_timeout: 1s, body_idle: 2s, keep_alive: 2s, write_timeout: 2s,", "").await;
    let bystanders = Bystanders::start(&mock, &gateway).await;
    let growth = Growth::start(&gateway);
    let mut wrong = Vec::new();
    for attack in attacks() {
        let (what, address) = (attack.what, gateway.ingest().to_owned());
        let start = std::time::Instant::now();
        let ended = tokio::task::spawn_blocking(move || run(&address, attack)).await.expect("no panic");
        println!("{what}: ended {ended}, {:?}, {} MiB", start.elapsed(), growth.peak() / MIB);
        if !ended {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "not ended: {wrong:?}");
    let peak = growth.peak();
    assert!(peak < 48 * MIB, "{peak} bytes");
    bystanders.stop().await;
    gone(&gateway).await;
    let refused = gateway.metrics().await.sum("klamm_connection_events_total", &[("kind", "http2")]);
    assert!(refused >= 4.0, "{refused}");
}
