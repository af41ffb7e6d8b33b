//! A bare connection, by TCP or a unix socket, for what no HTTP client would send: half a head, silence, a cut body.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::client::Answer;

/// One connection. Reads and writes wait 30 s at most.
pub(crate) struct Socket(Stream);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to `address`: `127.0.0.1:8080`, or `unix:/path/of.sock`.
    pub(crate) fn connect(address: &str) -> Self {
        let limit = Some(Duration::from_secs(30));
        let stream = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                Ok(Stream::Unix(stream))
            }),
            None => TcpStream::connect(address).and_then(|stream| {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }),
        };
        Self(stream.unwrap_or_else(|error| panic!("connect to {address}: {error}")))
    }

    /// Sends all of `bytes`; an error is the peer's reset or close.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
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
            let set = match &self.0 {
                Stream::Tcp(stream) => stream.set_read_timeout(Some(left)),
                Stream::Unix(stream) => stream.set_read_timeout(Some(left)),
            };
            set.expect("a socket takes timeouts");
            match self.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
        false
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    fn read_until<T>(&mut self, bytes: &mut Vec<u8>, done: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut chunk = [0; 4096];
        loop {
            if let Some(found) = done(bytes) {
                return found;
            }
            let seen = || String::from_utf8_lossy(bytes).into_owned();
            match self.read(&mut chunk) {
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
