//! Bodies that keep their connection busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::activity::{Busy, Unread};

/// The body of a request. Dropped before its end, it leaves the rest to the connection's task, so that the refusal
/// that was the reason arrives.
pub(super) struct Tracked {
    /// `Some` until it is dropped.
    body: Option<Incoming>,
    busy: Arc<Busy>,
    /// Whether the client is sending, or has to be assumed to.
    flowing: bool,
    /// Whether HTTP/2 frames it: there a stream is reset without harm to its answer.
    h2: bool,
}

impl Tracked {
    /// `invited`: the client sends the body without waiting for `100 Continue`.
    pub(super) fn new(body: Incoming, busy: Arc<Busy>, invited: bool, h2: bool) -> Self {
        Self { body: Some(body), busy, flowing: invited, h2 }
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
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
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
        if self.flowing && !self.h2 && !body.is_end_stream() {
            self.busy.activity().leave(Unread { body, busy: Arc::clone(&self.busy) });
        }
    }
}

/// The body of an answer: the request is served until it is handed over or dropped.
pub(super) struct Answer {
    body: axum::body::Body,
    _busy: Arc<Busy>,
}

impl Answer {
    pub(super) fn new(body: axum::body::Body, busy: Arc<Busy>) -> Self {
        Self { body, _busy: busy }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
