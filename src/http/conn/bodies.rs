//! Bodies that keep their connection busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::activity::{Busy, Unread};

/// The body of a request. Dropped before its end, it leaves the rest to the connection's task, so that the refusal
/// that was the reason arrives.
///
/// Where a chunked body ends is not certain if it has trailers, since hyper takes a bare LF in them for what another
/// server takes for their end; nor if nobody saw whether it has. Then its request is the connection's last.
pub(super) struct Tracked {
    /// `Some` until it is dropped.
    body: Option<Incoming>,
    busy: Arc<Busy>,
    /// Whether the client is sending, or has to be assumed to.
    flowing: bool,
    framing: Framing,
}

/// What tells where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Content-Length`, also of nothing.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunks,
    /// HTTP/2: there a stream is reset without harm to its answer.
    Stream,
}

impl Tracked {
    /// `invited`: the client sends the body without waiting for `100 Continue`.
    pub(super) fn new(body: Incoming, busy: Arc<Busy>, invited: bool, framing: Framing) -> Self {
        Self { body: Some(body), busy, flowing: invited, framing }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The first look at a body sends `100 Continue`.
        self.flowing = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.body = None,
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.busy.make_last(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.framing == Framing::Chunks {
            self.busy.make_last();
        }
        if self.flowing && self.framing != Framing::Stream && !body.is_end_stream() {
            self.busy.activity().leave(Unread { body, busy: Arc::clone(&self.busy) });
        }
    }
}

/// The body of an answer: the request is served until it is handed over or dropped.
pub(super) struct Answer {
    body: axum::body::Body,
    busy: Arc<Busy>,
    h2: bool,
}

impl Answer {
    pub(super) fn new(body: axum::body::Body, busy: Arc<Busy>, h2: bool) -> Self {
        if h2 {
            busy.activity().answer_begins(Instant::now());
        }
        Self { body, busy, h2 }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.h2 {
            self.busy.activity().answer_ends(Instant::now());
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.h2 && polled.is_ready() {
            self.busy.activity().answer_went_on(Instant::now());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
