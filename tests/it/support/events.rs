//! Server-sent events, read as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

/// An open stream.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
    /// Of the answer.
    pub(crate) status: u16,
    head: String,
    /// Of the last event that had one.
    pub(crate) last_id: String,
}

impl Events {
    /// Asks `path` of `address`. `headers` are whole lines.
    pub(crate) fn open(address: &str, path: &str, headers: &[&str]) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").expect("sent");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a head") > 0, "closed before the head was whole: {head}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { reader, status, head: head.to_ascii_lowercase(), last_id: String::new() }
    }

    /// Whether the head has this line.
    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|found| found == line)
    }

    /// The next event called `name`; others are passed over. `None` when the stream ends.
    pub(crate) fn next(&mut self, name: &str) -> Option<Value> {
        let mut event = String::new();
        loop {
            // A chunk holds an event or more, so that the sizes of chunks are lines of their own.
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.to_owned();
            } else if let Some(name) = line.strip_prefix("event: ") {
                event = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && event == name
            {
                return Some(serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")));
            }
        }
    }

    /// As [`Events::next`], until `found` gives something; 20 s.
    pub(crate) fn find<T>(&mut self, name: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let event = self.next(name).unwrap_or_else(|| panic!("the stream ended before the {name}"));
            if let Some(found) = found(&event) {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no such {name} within 20 s; the last was {event:#}");
        }
    }

    /// Whether a comment comes within `limit`: it keeps a connection open that has nothing to say.
    pub(crate) fn comment_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut line = String::new();
        while start.elapsed() < limit {
            line.clear();
            match self.reader.read_line(&mut line) {
                Ok(1..) if line.trim_end() == ":" => return true,
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
        }
        false
    }

    /// Whether the stream ends within `limit`.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut sink = [0; 4096];
        while let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.reader.get_ref().set_read_timeout(Some(left)).expect("a timeout");
            match self.reader.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
        false
    }
}
