//! A load of a known size: so many requests of so many events, one after another on each connection, every one 200.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Events of a request; 1 is a single POST of `application/json`, more are NDJSON.
    pub(crate) events: usize,
    /// Requests in all, over all connections.
    pub(crate) requests: usize,
    pub(crate) connections: usize,
}

impl Load {
    /// Its events.
    pub(crate) fn total(&self) -> f64 {
        (self.requests * self.events) as f64
    }

    /// One request to `topic`, 160 B an event.
    fn request(self, topic: &str, key: &str) -> Vec<u8> {
        let body: Vec<String> = (0..self.events).map(event).collect();
        let body = body.join("\n");
        let media = if self.events == 1 { "application/json" } else { "application/x-ndjson" };
        let head = format!(
            "POST /v1/topics/{topic}/events HTTP/1.1\r\nhost: klamm\r\nauthorization: Bearer {key}\r\n\
             content-type: {media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}

fn event(number: usize) -> String {
    let start =
        format!(r#"{{"id":"{number:08x}-ac96-774b-bcce-b302099a8057","user":{},"page":"/orders"#, number * 7919);
    format!(r#"{start}/{}"}}"#, "x".repeat(160 - start.len() - 3))
}

/// Open connections with the request they send.
pub(crate) struct Senders {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    each: usize,
}

impl Senders {
    /// Connects, and sends a few requests on each connection, so that what is done once is done.
    pub(crate) fn connect(address: &str, topic: &str, key: &str, load: Load) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("the gateway takes a connection");
            stream
                .set_nodelay(true)
                .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(30))))
                .expect("options");
            stream
        };
        let connections: Vec<_> = (0..load.connections).map(connect).collect();
        let request = load.request(topic, key);
        let mut senders = Self { connections, request, each: 5 };
        senders.send();
        senders.each = load.requests / load.connections;
        senders
    }

    /// Sends everything; returns when all is answered.
    pub(crate) fn send(&mut self) {
        let (request, each) = (&self.request, self.each);
        std::thread::scope(|scope| {
            for stream in &mut self.connections {
                scope.spawn(move || (0..each).for_each(|_| exchange(stream, request)));
            }
        });
    }
}

/// One request, one answer of 200.
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).expect("the gateway reads");
    let mut answer = Vec::with_capacity(1024);
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).expect("an answer in time");
        assert!(count > 0, "the gateway closed: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..count]);
        let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length");
        if answer.len() >= head + 4 + length.trim().parse::<usize>().expect("a number") {
            break;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn events_are_160_bytes_of_json_in_requests_of_their_form() {
    let load = Load { events: 3, requests: 1, connections: 1 };
    let request = String::from_utf8(load.request("t", "k")).expect("text");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("x-ndjson") && head.contains(&format!("content-length: {}", 3 * 160 + 2)));
    for line in body.lines() {
        assert_eq!(line.len(), 160);
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}
