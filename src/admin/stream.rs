//! `/admin/stream` and `/admin/tap`: server-sent events for the live page (and whoever reads the same).
//!
//! At most [`VIEWERS`] at a time. Nothing is buffered for a viewer beyond the frames that all share: one that falls behind
//! is cut, and comes back by itself. A stream ends with its key or session, and when klamm stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{broadcast, watch};
use tracing::debug;

use super::App;
use super::access::Pass;
use super::pages::problem;
use super::sampler::{Known, Subject};
use crate::shutdown::Phase;
use crate::stages::auth::api_key::Keys;
use crate::telemetry::tap::{Filter, Seen, Watch};

/// At the same time.
pub const VIEWERS: usize = 50;
/// After so much silence a comment keeps the connection alive, and the viewer's right is looked at again.
const QUIET: Duration = Duration::from_secs(10);

/// How many watch.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<AtomicUsize>);

/// One of them; free again when dropped.
struct Seat(Arc<AtomicUsize>);

impl Seats {
    fn take(&self) -> Option<Seat> {
        let free = |taken: usize| (taken < VIEWERS).then_some(taken + 1);
        self.0.fetch_update(Relaxed, Relaxed, free).ok().map(|_| Seat(Arc::clone(&self.0)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What a viewer asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    /// The page of this client too.
    client: Option<String>,
    /// The page of this topic too.
    topic: Option<String>,
    /// The id of the last event that it has seen, as `Last-Event-ID`.
    last: Option<String>,
}

/// What a watcher of the tap asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Look {
    client: Option<String>,
    topic: Option<String>,
    code: Option<String>,
}

/// What every stream holds.
struct Common {
    app: App,
    pass: Pass,
    phase: watch::Receiver<Phase>,
    waiting: VecDeque<Bytes>,
    _seat: Seat,
}

impl Common {
    fn new(app: App, pass: Pass, seat: Seat) -> Self {
        let phase = app.gateway.phase.clone();
        // Who hears nothing for a while comes back after a second.
        Self { app, pass, phase, waiting: VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]), _seat: seat }
    }

    /// Whether the stream goes on.
    fn still(&self) -> bool {
        // Asked for each frame and viewer: no keys are read where none is needed.
        if self.pass == Pass::Open {
            return true;
        }
        let keys = Keys::from_list(&self.app.live.current().admin.keys);
        self.app.access.still(self.pass, &keys, OffsetDateTime::now_utc())
    }
}

/// The frames of the sampler.
pub(super) async fn stream(
    State(app): State<App>,
    Extension(pass): Extension<Pass>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    let Some(seat) = app.seats.take() else { return full() };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(wish.last.as_deref());
    let (hello, frames) = app.sampler.join(last);
    let subject = wish.client.map(Subject::Client).or_else(|| wish.topic.map(Subject::Topic));
    let mut common = Common::new(app, pass, seat);
    common.waiting.push_back(hello);
    let mut viewer = Viewer { common, frames, subject, known: Known::default() };
    viewer.turn_page();
    events(futures_util::stream::unfold(viewer, |mut viewer| async { Some((viewer.next().await?, viewer)) }))
}

struct Viewer {
    common: Common,
    frames: broadcast::Receiver<Bytes>,
    subject: Option<Subject>,
    /// Of the page.
    known: Known,
}

impl Viewer {
    fn turn_page(&mut self) {
        if let Some(subject) = &self.subject {
            self.common.waiting.push_back(self.common.app.sampler.page(subject, &mut self.known));
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.common.waiting.pop_front() {
                return Some(bytes);
            }
            let frame = tokio::select! {
                frame = tokio::time::timeout(QUIET, self.frames.recv()) => frame,
                _ = self.common.phase.wait_for(|phase| *phase == Phase::Closing) => return None,
            };
            if !self.common.still() {
                return None;
            }
            match frame {
                Ok(received) => {
                    self.common.waiting.push_back(on_time(received)?);
                    self.turn_page();
                }
                Err(_) => self.common.waiting.push_back(Bytes::from_static(b":\n\n")),
            }
        }
    }
}

/// The frame that was received; `None` cuts a viewer that has fallen behind.
fn on_time(received: Result<Bytes, broadcast::error::RecvError>) -> Option<Bytes> {
    match received {
        Ok(frame) => Some(frame),
        Err(broadcast::error::RecvError::Lagged(frames)) => {
            debug!(frames, "a viewer of the live page is too slow, and is cut");
            None
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

/// Requests as they are answered.
pub(super) async fn tap(
    State(app): State<App>,
    Extension(pass): Extension<Pass>,
    Query(look): Query<Look>,
) -> Response {
    let Some(seat) = app.seats.take() else { return full() };
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = Filter { client: some(look.client), topic: some(look.topic), code: some(look.code) };
    let tap = &app.gateway.metrics.tap;
    let watch = tap.watch(filter);
    let hello = json!({ "payload": tap.shows_payload() });
    let mut common = Common::new(app, pass, seat);
    common.waiting.push_back(event("hello", &hello));
    let watcher = Watcher { common, watch };
    events(futures_util::stream::unfold(watcher, |mut watcher| async { Some((watcher.next().await?, watcher)) }))
}

struct Watcher {
    common: Common,
    watch: Watch,
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.common.waiting.pop_front() {
            return Some(bytes);
        }
        let seen = tokio::select! {
            seen = tokio::time::timeout(QUIET, self.watch.next()) => seen,
            _ = self.common.phase.wait_for(|phase| *phase == Phase::Closing) => return None,
        };
        if !self.common.still() {
            return None;
        }
        match seen {
            Ok(Some(seen)) => Some(event("request", &line(&seen, self.watch.left_out()))),
            Ok(None) => None,
            Err(_) => Some(Bytes::from_static(b":\n\n")),
        }
    }
}

fn line(seen: &Seen, left_out: u64) -> Value {
    let Seen { client, request, content_type, content_encoding, key, headers, payload } = seen;
    let payload = payload.as_deref().map(|bytes| match content_encoding {
        None => String::from_utf8_lossy(bytes).into_owned(),
        Some(coding) => format!("({coding})"),
    });
    json!({
        "client": client.as_str(),
        "at": request.at,
        "id": request.id,
        "topic": request.topic.as_str(),
        "status": request.status,
        "code": request.code.map(|code| code.name()),
        "events": request.events,
        "bytes": request.bytes,
        "took": request.took.as_micros() as f64 / 1e6,
        "content_type": content_type,
        "content_encoding": content_encoding,
        "key_bytes": key,
        "headers": headers,
        "payload": payload,
        "left_out": left_out,
    })
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn full() -> Response {
    let detail = format!("{VIEWERS} viewers watch already");
    ([(header::RETRY_AFTER, "10")], problem(StatusCode::SERVICE_UNAVAILABLE, &detail)).into_response()
}

fn events(stream: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers would hold the events back.
        (http::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream.map(Ok::<_, Infallible>))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_viewer_that_falls_behind_is_cut() {
        let (sender, mut frames) = broadcast::channel(2);
        for n in 0..2 {
            sender.send(Bytes::from(vec![n])).unwrap();
        }
        assert_eq!(on_time(frames.recv().await), Some(Bytes::from_static(&[0])));
        for n in 2..5 {
            sender.send(Bytes::from(vec![n])).unwrap();
        }
        assert_eq!(on_time(frames.recv().await), None);
    }

    #[test]
    fn a_seat_is_free_again_when_its_viewer_leaves() {
        let seats = Seats::default();
        let mut taken: Vec<_> = (0..VIEWERS).map(|_| seats.take().unwrap()).collect();
        assert!(seats.take().is_none());
        taken.pop();
        assert!(seats.take().is_some());
    }
}
