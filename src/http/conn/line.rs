//! The socket of a connection, with a protocol on it only while there are requests.
//!
//! hyper holds some 25 KB for a connection from its first byte to its end, also while nothing happens. So it gets the
//! socket when bytes come and gives it back when the connection has been quiet for a while. Promises: not a byte is
//! lost between the two, and the protocol is chosen once, by the first bytes. Never looks at time.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bodies::Answer;
use super::timed::Timed;
use crate::http::Live;

/// What HTTP/2 connections begin with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8 * 1024;

/// hyper's settings of both protocols.
pub(in crate::http) struct Protocols {
    pub(super) h1: http1::Builder,
    pub(super) h2: http2::Builder<TokioExecutor>,
    pub(super) live: Live,
}

impl Protocols {
    /// HTTP/1 with a buffer for a head and for what is read ahead of a body. Twice the largest head that is allowed, so
    /// that ordinary excess gets a problem body; no more, because no budget counts what lies in it.
    fn h1(&self) -> http1::Builder {
        let config = (self.live)();
        let caps = &config.caps;
        let head = caps.uri.len() + caps.headers_bytes.len();
        let mut h1 = self.h1.clone();
        h1.max_buf_size((2 * head).max(LEAST_BUFFER));
        h1
    }
}

/// See the module.
pub(super) enum Line<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible>,
    S::Future: Send + 'static,
{
    /// No protocol runs.
    Quiet {
        io: Timed<I>,
        /// What was read of the bytes that decide about the protocol.
        begun: Vec<u8>,
        /// That it is HTTP/1 was decided before.
        is_h1: bool,
    },
    H1(Box<http1::Connection<TokioIo<Timed<I>>, S>>),
    H2(Box<http2::Connection<TokioIo<Timed<I>>, S, TokioExecutor>>),
    /// Has ended; or, for a moment, between two others.
    Ended,
}

impl<I, S> Line<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
{
    pub(super) fn new(io: Timed<I>) -> Self {
        Self::Quiet { io, begun: Vec::new(), is_h1: false }
    }

    /// Serves requests by `service`. Ready when the connection has ended.
    ///
    /// # Errors
    /// Why hyper ended it. A socket that fails before there is a protocol just ends.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        protocols: &Protocols,
        service: &S,
    ) -> Poll<Result<(), hyper::Error>> {
        loop {
            match self {
                Self::H1(conn) => return Pin::new(conn).poll(cx),
                Self::H2(conn) => return Pin::new(conn).poll(cx),
                Self::Ended => return Poll::Ready(Ok(())),
                Self::Quiet { io, begun, is_h1 } => {
                    let Ok(h2) = ready!(poll_choice(io, begun, *is_h1, cx)) else {
                        *self = Self::Ended;
                        continue;
                    };
                    self.start(h2, protocols, service);
                }
            }
        }
    }

    /// Puts a protocol on a quiet line.
    fn start(&mut self, h2: bool, protocols: &Protocols, service: &S) {
        *self = match mem::replace(self, Self::Ended) {
            Self::Quiet { mut io, begun, .. } => {
                io.unread(begun.into());
                let io = TokioIo::new(io);
                if h2 {
                    Self::H2(Box::new(protocols.h2.serve_connection(io, service.clone())))
                } else {
                    Self::H1(Box::new(protocols.h1().serve_connection(io, service.clone())))
                }
            }
            other => other,
        };
    }

    /// Whether there is something for [`rest`](Self::rest) to do, now or later.
    pub(super) fn can_rest(&self) -> bool {
        matches!(self, Self::H1(_))
    }

    /// Takes hyper off an HTTP/1 connection. Only where nothing is served and all that was written is in the socket.
    /// Returns whether hyper had read a part of the next request: then it is back at once, with what it had read.
    pub(super) fn rest(&mut self, protocols: &Protocols, service: &S) -> bool {
        let mut ahead = Bytes::new();
        *self = match mem::replace(self, Self::Ended) {
            Self::H1(conn) => {
                let parts = conn.into_parts();
                ahead = parts.read_buf;
                Self::Quiet { io: parts.io.into_inner(), begun: ahead.to_vec(), is_h1: true }
            }
            other => other,
        };
        let begun = !ahead.is_empty();
        if begun {
            self.start(false, protocols, service);
        }
        begun
    }

    /// No more requests after those that are under way.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Quiet { .. } => *self = Self::Ended,
            Self::H1(conn) => Pin::new(conn.as_mut()).graceful_shutdown(),
            Self::H2(conn) => Pin::new(conn.as_mut()).graceful_shutdown(),
            Self::Ended => {}
        }
    }
}

/// Whether HTTP/2 begins. Everything that is not its preface, the end of the stream included, is for HTTP/1 to judge.
fn poll_choice<I: AsyncRead + Unpin>(
    io: &mut Timed<I>,
    begun: &mut Vec<u8>,
    is_h1: bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    loop {
        let mut space = [0; PREFACE.len()];
        let mut space = ReadBuf::new(&mut space);
        let mut rest = space.take(PREFACE.len() - begun.len());
        ready!(Pin::new(&mut *io).poll_read(cx, &mut rest))?;
        begun.extend_from_slice(rest.filled());
        if is_h1 || rest.filled().is_empty() || !PREFACE.starts_with(begun) {
            return Poll::Ready(Ok(false));
        }
        if begun.len() == PREFACE.len() {
            return Poll::Ready(Ok(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::super::activity::{Activity, Timeouts};
    use super::super::protocols;
    use super::*;

    #[tokio::test]
    async fn hyper_is_on_the_line_from_the_first_byte_to_the_rest_and_from_the_next_byte_on() {
        let day = Duration::from_secs(86_400);
        let activity = Arc::new(Activity::new(Timeouts { head: day, idle: day, write: day }, Instant::now()));
        let service = service_fn({
            let activity = Arc::clone(&activity);
            move |_: Request<Incoming>| {
                let busy = activity.begin(false);
                async move { Ok::<_, Infallible>(Response::new(Answer::new("hello".into(), busy, false))) }
            }
        });
        let (io, mut client) = duplex(4096);
        let config = Arc::new(crate::config::Config::default());
        let protocols = protocols(Arc::new(move || Arc::clone(&config)));
        let mut line = Line::new(Timed::new(io, Arc::clone(&activity)));
        let mut answer = [0; 4096];
        for _ in 0..3 {
            assert!(matches!(line, Line::Quiet { .. }));
            client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
            let ended = std::future::poll_fn(|cx| line.poll(cx, &protocols, &service));
            let count =
                tokio::select! { _ = ended => panic!("ended"), count = client.read(&mut answer) => count.unwrap() };
            assert!(answer[..count].ends_with(b"hello"));
            assert!(line.can_rest() && activity.quiet_since().is_some());
            assert!(!line.rest(&protocols, &service));
        }
        drop(client);
        std::future::poll_fn(|cx| line.poll(cx, &protocols, &service)).await.unwrap();
    }
}
