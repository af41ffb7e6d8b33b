//! One connection, from accept to close.
//!
//! Owns the timers around the socket (hyper's own head timer also runs on idle connections, and its protocol
//! detection has none), the rest of bodies that nobody wanted, and the way out when klamm stops. Promises: every
//! connection ends in exactly one [`ConnEvent::Closed`]. Never answers a request itself.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::activity::{Activity, Unread};
use self::bodies::{Answer, Framing, Tracked};
use self::dozing::Dozing;
use self::line::{Line, Protocols};
use self::timed::Timed;
use super::front::Front;
use super::listener::{ConnEvent, Events, Refusal};
use super::{Live, body};
use crate::shutdown::Phase;
use crate::stages::auth::Peer;

mod activity;
mod bodies;
mod dozing;
mod line;
mod timed;

pub(super) use self::activity::Timeouts;

/// How long the rest of a refused body is read.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// How many bodies of the largest size the rest of a refused body may be long.
const DISCARD_BODIES: u64 = 4;
/// How long the rest of a large body is left in the socket, once the client was told to come back later: shorter than any
/// `Retry-After`, so that who keeps to it notices nothing. Who sends again at once waits for his own connection; read as
/// fast as they come, large bodies that are refused would take the CPU from what is accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// From how many bytes on a body is large: to read less costs little.
const LARGE: u64 = 16 * 1024;
/// How long a connection is quiet before it gives back what hyper holds for it: shorter would cost clients that send
/// now and then, longer would cost memory.
const QUIET: Duration = Duration::from_millis(250);
const H1_HEADERS: usize = 128;
/// Above the largest head that `caps` can allow; HTTP/2 counts 32 bytes more for each field.
const H2_HEADER_LIST: u32 = 96 * 1024;
const H2_STREAMS: u32 = 100;
/// What a client may send before klamm has asked its budget: one stream, and one connection.
const H2_STREAM_WINDOW: u32 = 128 * 1024;
const H2_WINDOW: u32 = 256 * 1024;

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) front: Front,
    pub(super) timeouts: Timeouts,
    pub(super) live: Live,
    pub(super) events: Events,
    pub(super) protocols: Protocols,
}

/// hyper with klamm's limits. Its reset caps (20 pending, 1024 local) are left alone.
pub(super) fn protocols(live: Live) -> Protocols {
    let mut h1 = http1::Builder::new();
    h1.header_read_timeout(None).max_headers(H1_HEADERS);
    // Answers are short: one copy costs less than a second piece of memory for the kernel to look at.
    h1.writev(false);
    // Else a client that sends its body and closes takes the handler with it, before it has seen the whole body.
    h1.half_close(true);
    let mut h2 = http2::Builder::new(TokioExecutor::new());
    h2.max_header_list_size(H2_HEADER_LIST)
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_WINDOW);
    Protocols { h1, h2, live }
}

/// Counts the end of a connection, whichever way it comes.
struct Open(Events);

impl Drop for Open {
    fn drop(&mut self) {
        (self.0)(ConnEvent::Closed);
    }
}

/// Serves one connection to its end. A TLS listener would shake hands here, in the connection's own task and under
/// the [`Fresh`](super::listener::Timer::Fresh) timer, and go on with the stream it got.
///
/// # Cancellation
/// The connection is cut; its handlers are dropped.
pub(super) async fn drive<I>(io: I, peer: Peer, shared: Arc<Shared>, mut stop: watch::Receiver<Phase>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    (shared.events)(ConnEvent::Accepted);
    let _open = Open(Arc::clone(&shared.events));
    let activity = Arc::new(Activity::new(shared.timeouts, Instant::now()));
    let service = service_fn({
        let (activity, shared, stop) = (Arc::clone(&activity), Arc::clone(&shared), stop.clone());
        move |request| serve(request, peer, &activity, Arc::clone(&shared), stop.clone())
    });
    let mut line = Line::new(Timed::new(io, Arc::clone(&activity)));

    let tick = shared.timeouts.tick();
    let mut alarm = Instant::now() + tick;
    let mut phase = *stop.borrow_and_update();
    let mut rare = Dozing::new(next_rare(Arc::clone(&activity), stop, phase, alarm, None));
    let mut leaving = false;
    loop {
        let h2 = activity.is_h2();
        if !leaving && (phase == Phase::Closing || (phase != Phase::Serving && h2)) {
            // HTTP/1 connections leave earlier by `Connection: close`: to close an idle one at once would race with
            // the request that the client is sending.
            leaving = true;
            line.leave();
        }
        let Woken { what, stop, mut discarding } = tokio::select! {
            biased;
            result = poll_fn(|cx| line.poll(cx, &shared.protocols, &service)) => {
                if let Some(kind) = result.err().and_then(|error| refusal(&error)) {
                    (shared.events)(ConnEvent::Refused(kind));
                }
                return;
            }
            woken = poll_fn(|cx| rare.poll(cx)) => woken,
        };
        match what {
            Rare::Alarm => {
                let now = Instant::now();
                let deadline = activity.deadline();
                if let Some((_, timer)) = deadline.filter(|(at, _)| *at <= now) {
                    (shared.events)(ConnEvent::TimedOut(timer));
                    return;
                }
                let quiet = activity.quiet_since();
                if quiet.is_some_and(|since| since + QUIET <= now) && line.rest(&shared.protocols, &service) {
                    activity.bytes_came(now);
                }
                let rest = line.can_rest().then(|| quiet.unwrap_or(now) + QUIET);
                alarm = deadline.map(|(at, _)| at).into_iter().chain(rest).fold(now + tick, Instant::min);
            }
            Rare::Phase(next) => phase = next,
            Rare::News => {
                alarm = alarm.min(Instant::now() + QUIET);
                if let Some(unread) = activity.take_unread() {
                    discarding = Some(Box::pin(discard(unread, Arc::clone(&shared.live))));
                }
            }
            Rare::Discarded => discarding = None,
        }
        rare.set(next_rare(Arc::clone(&activity), stop, phase, alarm, discarding));
    }
}

/// What happens on a connection beside its requests.
enum Rare {
    /// It is time to look at the timers. Never further ahead than the shortest of them, so that no event has to bring
    /// it forward.
    Alarm,
    /// klamm goes on to this phase.
    Phase(Phase),
    /// See [`Activity::news`].
    News,
    /// The rest of a body is thrown away.
    Discarded,
}

/// With what is needed to wait for the next.
struct Woken {
    what: Rare,
    stop: watch::Receiver<Phase>,
    discarding: Option<BoxFuture<'static, bool>>,
}

async fn next_rare(
    activity: Arc<Activity>,
    mut stop: watch::Receiver<Phase>,
    phase: Phase,
    alarm: Instant,
    mut discarding: Option<BoxFuture<'static, bool>>,
) -> Woken {
    let what = tokio::select! {
        () = sleep_until(alarm) => Rare::Alarm,
        // Nobody left who could say more: that is the end.
        changed = stop.changed(), if phase != Phase::Closing => {
            Rare::Phase(if changed.is_ok() { *stop.borrow_and_update() } else { Phase::Closing })
        }
        () = activity.news.notified() => Rare::News,
        _ = ready(discarding.as_mut()) => Rare::Discarded,
    };
    Woken { what, stop, discarding }
}

async fn ready(future: Option<&mut BoxFuture<'static, bool>>) -> bool {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn discard(unread: Unread, live: Live) -> bool {
    let cap = live().caps.body.get().saturating_mul(DISCARD_BODIES);
    let Unread { body, busy } = unread;
    if busy.is_put_off() && body.size_hint().lower() >= LARGE {
        sleep(PAUSE).await;
    }
    let ended = body::discard(body, cap, DISCARD_TIME).await;
    drop(busy);
    ended
}

/// One request.
async fn serve_with(
    request: Request<Incoming>,
    peer: Peer,
    busy: Arc<activity::Busy>,
    shared: Arc<Shared>,
    stop: watch::Receiver<Phase>,
) -> Result<Response<Answer>, Infallible> {
    let h2 = request.version() == Version::HTTP_2;
    let invited = !request.headers().contains_key(header::EXPECT);
    let framing = match request.headers().contains_key(header::TRANSFER_ENCODING) {
        _ if h2 => Framing::Stream,
        true => Framing::Chunks,
        false => Framing::Length,
    };
    let request = request.map(|body| Tracked::new(body, Arc::clone(&busy), invited, framing));
    let mut response = shared.front.serve(request, peer).await;
    if response.headers().contains_key(header::RETRY_AFTER) {
        busy.put_off();
    }
    if h2 {
        // There the header is illegal; GOAWAY says the same.
        response.headers_mut().remove(header::CONNECTION);
    } else if busy.is_last() || *stop.borrow() != Phase::Serving {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, busy, h2)))
}

fn serve(
    request: Request<Incoming>,
    peer: Peer,
    activity: &Arc<Activity>,
    shared: Arc<Shared>,
    stop: watch::Receiver<Phase>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
    let busy = activity.begin(request.version() == Version::HTTP_2);
    serve_with(request, peer, busy, shared, stop)
}

/// Whether hyper refused what came, and why. Resets and broken-off messages are the client's way to hang up.
fn refusal(error: &hyper::Error) -> Option<Refusal> {
    if error.is_parse_too_large() {
        return Some(Refusal::HeadTooLarge);
    }
    if error.is_parse() {
        return Some(Refusal::MalformedHead);
    }
    let h2 = error.source()?.downcast_ref::<h2::Error>()?;
    (h2.is_library() || h2.is_go_away() && !h2.is_remote()).then_some(Refusal::Http2)
}
