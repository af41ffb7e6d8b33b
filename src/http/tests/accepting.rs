use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::http::listener::{Refusal, Stream};
use crate::stages::auth::Peer;

#[tokio::test]
async fn connections_over_the_cap_wait_for_their_turn() {
    let edge = start(|options| options.connections = 1);
    let mut first = edge.connect().await;
    assert_eq!(ask(&mut first, "/").await.status, 200);
    let mut second = edge.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(timeout(ms(300), second.read_u8()).await.is_err(), "answered over the cap");
    drop(first);
    assert_eq!(read_reply(&mut second).await.status, 200);
}

#[tokio::test]
async fn a_unix_socket_serves() {
    let dir = tempfile::tempdir().unwrap();
    let listen = Listen::Unix(dir.path().join("klamm.sock"));
    let listener = Listener::bind(&listen, &Socket::default()).unwrap();
    let edge = start_on(listener, listen, |_| {});
    let mut io = tokio::net::UnixStream::connect(dir.path().join("klamm.sock")).await.unwrap();
    assert_eq!(ask(&mut io, "/").await.text(), "hello");
    edge.go(Phase::Closing);
    assert_eq!(edge.server.await.unwrap(), 0);
    assert!(!dir.path().join("klamm.sock").exists());
}

/// A listener that runs out of files for a while.
struct Starved {
    listener: Listener,
    failures: AtomicUsize,
}

impl Accept for Starved {
    type Io = Stream;

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let errno = match self.failures.fetch_add(1, Ordering::Relaxed) {
            0 => rustix::io::Errno::CONNABORTED,
            1 => rustix::io::Errno::MFILE,
            2 => rustix::io::Errno::NFILE,
            3 => rustix::io::Errno::NOMEM,
            _ => return self.listener.accept().await,
        };
        Err(errno.into())
    }
}

#[tokio::test]
async fn accepting_pauses_without_files_and_goes_on_with_them() {
    let listener = loopback();
    let listen = listener.local().unwrap();
    let start = Instant::now();
    let edge = start_on(Starved { listener, failures: AtomicUsize::new(0) }, listen, |_| {});
    assert_eq!(ask(&mut edge.connect().await, "/").await.status, 200);
    assert!(start.elapsed() >= ms(50 + 100 + 200));
    assert_eq!(edge.seen(ConnEvent::AcceptPaused), 3);
}

#[tokio::test]
async fn what_hyper_refuses_is_counted_by_kind() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    io.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.unwrap();
    closed(&mut io).await;
    assert_eq!(edge.seen(ConnEvent::Refused(Refusal::MalformedHead)), 1);
    let mut io = edge.connect().await;
    let fields = "X: y\r\n".repeat(200);
    io.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 431);
    closed(&mut io).await;
    assert_eq!(edge.seen(ConnEvent::Refused(Refusal::HeadTooLarge)), 1);
    let mut io = edge.connect().await;
    // A DATA frame on a stream that was never opened.
    io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(DATA, 0, 1, b"x")].concat()).await.unwrap();
    closed(&mut io).await;
    assert_eq!(edge.seen(ConnEvent::Refused(Refusal::Http2)), 1);
}

#[tokio::test]
async fn every_accepted_connection_is_closed_once() {
    let edge = start(|options| options.header_timeout = ms(200));
    assert_eq!(ask(&mut edge.connect().await, "/").await.status, 200);
    edge.connect().await.write_all(b"nonsense\r\n\r\n").await.unwrap();
    closed(&mut edge.connect().await).await;
    edge.go(Phase::Closing);
    let Edge { server, seen, .. } = edge;
    server.await.unwrap();
    let of = |event| seen.lock().unwrap().iter().filter(|seen| **seen == event).count();
    assert_eq!((of(ConnEvent::Accepted), of(ConnEvent::Closed)), (3, 3));
}
