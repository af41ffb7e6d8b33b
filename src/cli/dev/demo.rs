//! `klamm dev --demo`: a gentle load over plain HTTP, as clients would send it: good, bad and over-quota events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Its clients; the name is the key too.
pub(super) const CLIENTS: [&str; 3] = [ORDERS, WEB, TILL];
/// Orders one by one, one of twenty without its key.
const ORDERS: &str = "demo";
/// Clicks, and now and then so many that they go over the quota.
const WEB: &str = "demo-web";
/// Batches of one order: its partition is the hot one.
const TILL: &str = "demo-till";
/// The quotas of each.
pub(super) const LIMITS: &str = "{requests: 20/s, events: 60/s}";

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends until the process ends. Errors are what the listing shows, or that the gateway is gone.
pub(super) fn start(address: String) {
    thread::spawn(move || {
        for turn in 0_u64.. {
            thread::sleep(PAUSE);
            for (client, topic, kind, body) in requests(turn) {
                if post(&address, client, topic, kind, &body).is_err() {
                    return;
                }
            }
        }
    });
}

/// A request: by whom, to what topic, of what type, its body.
type Request = (&'static str, &'static str, &'static str, String);

/// What is sent at a turn: an order or a click, now and then a batch, a bad event, a flood.
fn requests(turn: u64) -> Vec<Request> {
    let order =
        |id: u64| format!("{{\"order_id\":\"o-{id}\",\"amount\":{}.{:02},\"at\":{}}}", id % 90, turn % 100, millis());
    let click = |page: u64| format!("{{\"page\":\"/p/{page}\",\"at\":{}}}", millis());
    let json = "application/json";
    match turn % 20 {
        5 | 15 => vec![(TILL, "demo-orders", "application/x-ndjson", (0..10).map(|_| order(7) + "\n").collect())],
        9 => vec![(ORDERS, "demo-orders", json, "{\"amount\":1}".into())],
        14 => vec![(WEB, "demo-clicks", json, "{\"page\":".into())],
        19 => (0..60).map(|page| (WEB, "demo-clicks", json, click(page))).collect(),
        n if n % 4 == 0 => vec![(WEB, "demo-clicks", json, click(turn))],
        _ => vec![(ORDERS, "demo-orders", json, order(turn))],
    }
}

fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn post(address: &str, client: &str, topic: &str, kind: &str, body: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    write!(
        stream,
        "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {client}\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = BufReader::new(stream);
    answer.read_line(&mut String::new())?;
    answer.read_to_end(&mut Vec::new())?;
    Ok(())
}
