//! A target over HTTP/1.1, one thread a connection, whose behaviour is a function of the request.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A request as it came.
pub(crate) struct Request {
    /// Counts all that came, from 0.
    pub(crate) number: u64,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

/// What becomes of a request.
pub(crate) enum Action {
    /// An answer, byte for byte.
    Answer(String),
    /// The same, and the connection is closed.
    AnswerAndClose(String),
    /// The connection is closed without an answer.
    Cut,
    /// Nothing, ever.
    Hang,
}

/// An answer with a body.
pub(crate) fn answer(status: u16, body: &str) -> Action {
    Action::Answer(format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// 200 without a body.
pub(crate) fn ok() -> Action {
    answer(200, "")
}

/// Starts one on a free port; its URL. It lives as long as the test's process.
pub(crate) fn start(behave: impl Fn(Request) -> Action + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/topics/{{topic}}", listener.local_addr().unwrap());
    let shared = Arc::new((behave, AtomicU64::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = shared.clone();
            thread::spawn(move || serve(&stream.unwrap(), &shared.0, &shared.1));
        }
    });
    url
}

/// One that answers 413 as soon as it has a head, reads no body, and closes.
pub(crate) fn start_hasty() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 20\r\n\r\n{\"code\":\"too_large\"}");
            thread::sleep(Duration::from_millis(20));
        }
    });
    url
}

fn serve(mut stream: &TcpStream, behave: &impl Fn(Request) -> Action, count: &AtomicU64) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut bytes) {
        let number = count.fetch_add(1, Ordering::SeqCst);
        match behave(Request { number, head, body }) {
            Action::Answer(text) => {
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Action::AnswerAndClose(text) => {
                let _ = stream.write_all(text.as_bytes());
                return;
            }
            Action::Cut => return,
            Action::Hang => loop {
                thread::park();
            },
        }
    }
}

fn read(stream: &mut &TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut more = |bytes: &mut Vec<u8>| {
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        Some(())
    };
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(bytes)?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        more(bytes)?;
    }
    let body = bytes[head_end..head_end + length].to_vec();
    bytes.drain(..head_end + length);
    Some((head, body))
}
