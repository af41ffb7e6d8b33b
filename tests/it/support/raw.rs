//! A bare TCP connection, for what no HTTP client would send: half a head, silence, a cut body.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::client::Answer;

/// One connection. Reads and writes wait 30 s at most.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Connects to `address`.
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)).expect("a socket takes timeouts");
        stream.set_nodelay(true).expect("a socket takes nodelay");
        Self(stream)
    }

    /// Sends all of `bytes`; an error is the peer's reset or close.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next answer of HTTP/1.1, head and body, as text; the body's length by `Content-Length` (0 without).
    /// Panics if the connection ends before: a reset must never swallow an answer.
    pub(crate) fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        let head = self.read_until(&mut bytes, |bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4));
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let body = length.map_or(0, |length| length.trim().parse::<usize>().expect("a length"));
        self.read_until(&mut bytes, |bytes| (bytes.len() >= head + body).then_some(()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same in its parts. The body must be text.
    pub(crate) fn reply(&mut self) -> Answer {
        let text = self.answer();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.parse::<http::HeaderName>().expect("a name"), value.trim().parse().expect("a value"))
        });
        Answer { status: status.expect("a status"), headers: fields.collect(), body: body.to_owned().into() }
    }

    /// Whether the peer closes or resets within `limit`, whatever it sends before.
    pub(crate) fn closed_within(&mut self, limit: Duration) -> bool {
        let start = std::time::Instant::now();
        let mut sink = [0; 4096];
        while let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.0.set_read_timeout(Some(left)).expect("a socket takes timeouts");
            match self.0.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
        false
    }

    fn read_until<T>(&mut self, bytes: &mut Vec<u8>, done: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut chunk = [0; 4096];
        loop {
            if let Some(found) = done(bytes) {
                return found;
            }
            let seen = || String::from_utf8_lossy(bytes).into_owned();
            match self.0.read(&mut chunk) {
                Ok(0) => panic!("closed before the answer was whole: {:?}", seen()),
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) => panic!("{error} before the answer was whole: {:?}", seen()),
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
