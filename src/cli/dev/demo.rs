//! `klamm dev --demo`: a gentle load over plain HTTP, as clients would send it: good, bad and over-quota events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The key of the client `demo`.
pub(super) const KEY: &str = "demo";
/// Its quotas: the bursts of the demo go over them.
pub(super) const LIMITS: &str = "{requests: 20/s, events: 60/s}";

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends until the process ends. Errors are what the listing shows, or that the gateway is gone.
pub(super) fn start(address: String) {
    thread::spawn(move || {
        for turn in 0_u64.. {
            thread::sleep(PAUSE);
            for (topic, kind, body) in requests(turn) {
                if post(&address, topic, kind, &body).is_err() {
                    return;
                }
            }
        }
    });
}

/// What is sent at a turn: an order each time, now and then a batch, a bad event, a flood.
fn requests(turn: u64) -> Vec<(&'static str, &'static str, String)> {
    let order = |n: u64| format!("{{\"order_id\":\"o-{n}\",\"amount\":{}.{:02},\"at\":{}}}", n % 90, n % 100, millis());
    let json = "application/json";
    match turn % 20 {
        5 => vec![("demo-orders", "application/x-ndjson", (0..10).map(|n| order(turn * 10 + n) + "\n").collect())],
        9 => vec![("demo-orders", json, "{\"amount\":1}".into())],
        14 => vec![("demo-clicks", json, "{\"page\":".into())],
        19 => (0..60).map(|n| ("demo-clicks", json, format!("{{\"page\":\"/p/{n}\",\"at\":{}}}", millis()))).collect(),
        _ => vec![("demo-orders", json, order(turn))],
    }
}

fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn post(address: &str, topic: &str, kind: &str, body: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    write!(
        stream,
        "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = BufReader::new(stream);
    answer.read_line(&mut String::new())?;
    answer.read_to_end(&mut Vec::new())?;
    Ok(())
}
