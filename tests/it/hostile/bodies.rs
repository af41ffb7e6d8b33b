//! Bodies and heads made to cost more than they weigh: bombs, depth, numbers, fields.

use std::io::Write;
use std::time::Duration;

use super::{Bystanders, Growth, MIB, ORDERS, gone, serve};
use crate::support::mock::{Mock, bearer};
use crate::support::raw::Socket;

/// One request of the client `bad`.
struct Row {
    what: String,
    /// Of the answer, and its code; without one it may be a bare status.
    expected: (u16, &'static str),
    /// Whole lines.
    fields: String,
    body: Vec<u8>,
}

const JSON: &str = "Content-Type: application/json\r\n";
const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";
const ENVELOPE: &str = "Content-Type: application/vnd.klamm.v1+json\r\n";

fn row(what: impl Into<String>, fields: &str, body: impl Into<Vec<u8>>, expected: (u16, &'static str)) -> Row {
    Row { what: what.into(), expected, fields: fields.to_owned(), body: body.into() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory takes bytes")
}

/// With a window of `2^window` bytes.
fn zstd(bytes: &[u8], window: u32) -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    zstd.window_log(window).expect("a window");
    zstd.write_all(bytes).and_then(|()| zstd.finish()).expect("memory takes bytes")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 24);
    brotli.write_all(bytes).expect("memory takes bytes");
    brotli.into_inner()
}

/// What inflates to much more than it is, or is not what it says.
fn bombs() -> Vec<Row> {
    let blank = vec![b' '; 32 * MIB as usize];
    let (gz, zs, br) = (gzip(&blank), zstd(&blank, 20), brotli(&blank));
    let mut rows = Vec::new();
    let large = (413, "too_large");
    let bad = (400, "bad_encoding");
    for (coding, bomb, small) in [("gzip", &gz, gzip(b"1")), ("zstd", &zs, zstd(b"1", 20)), ("br", &br, brotli(b"1"))] {
        let fields = format!("{JSON}Content-Encoding: {coding}\r\n");
        let mut add =
            |what: &str, body: Vec<u8>, expected| rows.push(row(format!("{coding}: {what}"), &fields, body, expected));
        add("a bomb", bomb.clone(), large);
        add("a bomb with more behind", [&bomb[..], b"more"].concat(), large);
        add("a little, cut off", small[..small.len() - 1].to_vec(), bad);
        add("a little with more behind", [&small[..], b"more"].concat(), bad);
        add("nothing", Vec::new(), bad);
        if coding != "br" {
            add("half a bomb", bomb[..bomb.len() / 2].to_vec(), large);
            add("bombs in a row", bomb.repeat(8), large);
            add("a hundred thousand pieces", small.repeat(100_000.min(2 * MIB as usize / small.len())), (200, ""));
        }
    }
    let fields = format!("{JSON}Content-Encoding: gzip\r\n");
    rows.push(row("a bomb in gzip in gzip", &fields, gzip(&gzip(&gz)), (400, "malformed_body")));
    let named = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &vec![b'x'; MIB as usize]].concat();
    rows.push(row("gzip with a name of 1 MiB", &fields, named, bad));
    let fields = format!("{JSON}Content-Encoding: zstd\r\n");
    rows.push(row("zstd with a window of 128 MiB", &fields, zstd(&blank, 27), bad));
    // Frame header: one segment, its size in 8 bytes; no block.
    let vast = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &[0xff; 8]].concat();
    rows.push(row("zstd that says it is vast", &fields, vast, bad));
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18][..], &(MIB as u32).to_le_bytes(), &vec![0; MIB as usize]].concat();
    rows.push(row("zstd of a skipped frame", &fields, skipped, (400, "no_events")));
    let fields = format!("{JSON}Content-Encoding: br\r\n");
    rows.push(row("br with a window of 1 GiB", &fields, vec![0x11, 0x1e, 0, 0, 0, 0], bad));
    rows
}

/// JSON that is deep, long or both.
fn texts() -> Vec<Row> {
    const DEEP: usize = 100_000;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
    let long = |length: usize| "7".repeat(length);
    let (broken, invalid) = ((400, "malformed_body"), (422, "invalid_events"));
    vec![
        row("brackets", JSON, deep("[", "]"), broken),
        row("brackets that stay open", JSON, "[".repeat(DEEP), broken),
        row("brackets that were never open", JSON, "]".repeat(DEEP), broken),
        row("objects", JSON, deep("{\"a\":", "}"), broken),
        row("objects that stay open", JSON, "{\"a\":".repeat(DEEP), broken),
        row("brackets in a batch", JSON, format!("[1,{},2]", deep("[", "]")), broken),
        row("brackets in a line", NDJSON, format!("1\n{}\n2\n", deep("[", "]")), invalid),
        row("a deep value", ENVELOPE, format!("{{\"value\":{}}}", deep("[", "]")), broken),
        row("a deep unknown member", ENVELOPE, format!("{{\"value\":1,\"x\":{}}}", deep("{\"a\":", "}")), broken),
        row("deep headers", ENVELOPE, format!("{{\"value\":1,\"headers\":{}}}", deep("[", "]")), broken),
        row("a number of 100,000 digits", JSON, long(100_000), (200, "")),
        row("a number of 1.5 million digits", JSON, long(1_500_000), (413, "event_too_large")),
        row("a fraction of 100,000 digits", JSON, format!("0.{}e-{}", long(100_000), long(300)), (200, "")),
        row("a number without end", JSON, "1e999999999", (200, "")),
        row(
            "a timestamp of 100,000 digits",
            ENVELOPE,
            format!("{{\"value\":1,\"timestamp\":{}}}", long(100_000)),
            invalid,
        ),
        row("a key of 100,000 digits", ENVELOPE, format!("{{\"value\":1,\"key\":{}}}", long(100_000)), invalid),
        row("a string of 1.5 MiB", JSON, format!("\"{}\"", "x".repeat(3 << 19)), (413, "event_too_large")),
        row("100,000 escapes", JSON, format!("\"{}\"", "\\u0000".repeat(100_000)), (200, "")),
        row("half a surrogate 100,000 times", JSON, format!("\"{}\"", "\\ud800".repeat(100_000)), (200, "")),
        row("a string that stays open", JSON, format!("\"{}", "x".repeat(3 << 19)), broken),
        row("one member 100,000 times", JSON, format!("{{{}\"a\":1}}", "\"a\":1,".repeat(100_000)), (200, "")),
        row(
            "100,000 record headers",
            ENVELOPE,
            format!("{{\"value\":1,\"headers\":[{}[\"a\",\"b\"]]}}", "[\"a\",\"b\"],".repeat(100_000)),
            invalid,
        ),
        row("half a million events", JSON, format!("[{}1]", "1,".repeat(500_000)), (413, "too_many_events")),
        row("half a million lines", NDJSON, "1\n".repeat(500_000), (413, "too_many_events")),
        row("a million blank lines", NDJSON, "\n".repeat(1_000_000), (400, "no_events")),
        row("half a million bad lines", NDJSON, "x\n".repeat(500_000), (413, "too_many_events")),
    ]
}

/// Heads over the limits, and bodies in crumbs.
fn heads() -> Vec<Row> {
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n");
    let value = |length: usize| format!("{JSON}X: {}\r\n", "x".repeat(length));
    vec![
        row("a field of 20 KiB", &value(20 << 10), "1", (431, "headers_too_large")),
        row("a field of 64 KiB", &value(64 << 10), "1", (431, "")),
        row("a field of 1 MiB", &value(1 << 20), "1", (431, "")),
        row("a hundred fields", &format!("{JSON}{}", "X: y\r\n".repeat(100)), "1", (431, "headers_too_large")),
        row("10,000 fields", &format!("{JSON}{}", "X: y\r\n".repeat(10_000)), "1", (431, "")),
        row(
            "20,000 blanks in crumbs",
            &chunked,
            ["1\r\n \r\n".repeat(20_000), "0\r\n\r\n".into()].concat(),
            (400, "no_events"),
        ),
        row(
            "200,000 blanks in crumbs",
            &chunked,
            ["1\r\n \r\n".repeat(200_000), "0\r\n\r\n".into()].concat(),
            (400, "no_events"),
        ),
        row("crumbs with long extensions", &chunked, format!("1;{}\r\n \r\n", "x".repeat(1000)).repeat(100), (400, "")),
    ]
}

/// The answer to `row` over a connection of its own: its status and code.
fn ask(address: &str, row: &Row) -> (u16, String) {
    let mut head = format!("POST {ORDERS} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n{}", bearer("bad"), row.fields);
    if !row.fields.contains("chunked") {
        head += &format!("Content-Length: {}\r\n", row.body.len());
    }
    let mut socket = Socket::connect(address);
    // klamm may have refused and closed before it has all.
    let _ = socket.send(&[head.as_bytes(), b"Connection: close\r\n\r\n", &row.body].concat());
    let answer = socket.reply();
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_depth_and_endless_heads_are_refused_and_take_no_memory() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "caps: { body: 4MiB, inflated: 8MiB }\n").await;
    let bystanders = Bystanders::start(&mock, &gateway).await;
    let growth = Growth::start(&gateway);
    let rows: Vec<_> = [bombs(), texts(), heads()].into_iter().flatten().collect();
    let address = gateway.ingest().to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let mut wrong = Vec::new();
        for row in &rows {
            let (status, code) = ask(&address, row);
            let (expected, named) = row.expected;
            if status != expected || !named.is_empty() && code != named {
                wrong.push(format!("{}: {status} {code}, not {:?}", row.what, row.expected));
            }
        }
        wrong
    });
    let wrong = tokio::time::timeout(Duration::from_secs(120), asked).await.expect("no answer hangs").expect("answers");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let peak = growth.peak();
    println!("{} MiB", peak / MIB);
    bystanders.stop().await;
    // A body, what it inflates to, the error rows of a batch; each of them once, as there is one bad client.
    assert!(peak < 64 * MIB, "{peak} bytes");
    gone(&gateway).await;
}
