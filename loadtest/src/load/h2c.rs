//! The generator for HTTP/2 with prior knowledge: one thread with an async runtime of its own, one worker a connection,
//! one request at a time on it. Heavier than HTTP/1.1 by what HTTP/2 costs; a timerfd gives the schedule its
//! microseconds, which the runtime's own timer lacks.

mod timer;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::client::SendRequest;
use http::{HeaderValue, Method, Request, Uri, Version};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use self::timer::Timer;
use super::answer;
use super::body::KEY_HEADER;
use super::control::Window;
use super::plan::Plan;
use super::schedule::{Due, Source};
use super::tally::Tally;

/// After a connection could not be made.
const REST: Duration = Duration::from_millis(100);
/// The thread looks around at least so often, for the end may have moved.
const LONGEST_WAIT: u64 = 100_000_000;
const CONNECT: Duration = Duration::from_secs(5);
/// Of the body of an answer that is not accepted, no more is kept for its code.
const MOST_OF_A_PROBLEM: usize = 64 << 10;

type Connection = SendRequest<Bytes>;

/// One thread of the generator.
pub(super) struct Driver<'a> {
    runtime: Runtime,
    shared: Shared<'a>,
    connections: Vec<Option<Connection>>,
}

/// What the pacer and the workers of one thread share.
struct Shared<'a> {
    plan: &'a Plan,
    window: &'a Window,
    source: RefCell<Source>,
    tally: RefCell<Tally<'a>>,
    /// Requests that fell due and were not taken by a worker.
    waiting: RefCell<VecDeque<Due>>,
    /// One for each of them; closed when no more will be sent.
    permits: Semaphore,
}

impl<'a> Driver<'a> {
    /// Opens the connections. That a target is not there is no fault here: the requests will tell.
    pub(super) fn new(
        plan: &'a Plan,
        window: &'a Window,
        source: Source,
        tally: Tally<'a>,
        connections: usize,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("runtime")?;
        let mut open = Vec::with_capacity(connections);
        runtime.block_on(async {
            while open.len() < connections {
                let Some(connection) = connect(plan).await else { break };
                open.push(Some(connection));
            }
        });
        open.resize_with(connections, || None);
        let shared = Shared {
            plan,
            window,
            source: RefCell::new(source),
            tally: RefCell::new(tally),
            waiting: RefCell::default(),
            permits: Semaphore::new(0),
        };
        Ok(Self { runtime, shared, connections: open })
    }

    /// Sends until the end, waits for the last answers, and gives back what was seen.
    pub(super) fn run(self) -> Result<Tally<'a>> {
        let Self { runtime, shared, connections } = self;
        runtime.block_on(async {
            let workers: FuturesUnordered<_> =
                connections.into_iter().map(|open| Worker { shared: &shared, open, free_since: 0 }.work()).collect();
            tokio::select! {
                paced = shared.pace() => paced,
                () = workers.for_each(|()| async {}) => Ok(()),
            }
        })?;
        let mut tally = shared.tally.into_inner();
        for due in shared.waiting.into_inner() {
            tally.missed(due, shared.window.end(), shared.plan.body(due.number).len());
        }
        tally.finish(shared.window.now());
        Ok(tally)
    }
}

impl Shared<'_> {
    /// Hands out what falls due, until the workers are done; ends by itself only with a fault.
    async fn pace(&self) -> Result<()> {
        let timer = Timer::new().context("timerfd")?;
        loop {
            let now = self.window.now();
            self.tally.borrow_mut().mark(now);
            let end = self.window.end();
            while let Some(due) = self.source.borrow_mut().take_due(now, end) {
                self.tally.borrow_mut().due(due);
                self.waiting.borrow_mut().push_back(due);
                self.permits.add_permits(1);
            }
            let open = self.source.borrow().is_open();
            let exhausted = self.source.borrow().is_exhausted() && self.waiting.borrow().is_empty();
            if now >= end || (open && exhausted) {
                // Workers that wait already were given theirs by the permits above.
                self.permits.close();
            }
            let mut at = now + LONGEST_WAIT;
            for mark in [self.window.from, end] {
                if mark > now {
                    at = at.min(mark);
                }
            }
            if now < end {
                at = at.min(self.source.borrow().next_at().unwrap_or(u64::MAX));
            }
            timer.wait(Duration::from_nanos(at.saturating_sub(now))).await.context("timerfd")?;
        }
    }

    /// The next request of a worker; none when it is done.
    async fn take(&self) -> Option<Due> {
        if self.source.borrow().is_open() {
            self.permits.acquire().await.ok()?.forget();
            return self.waiting.borrow_mut().pop_front();
        }
        let now = self.window.now();
        if now >= self.window.end() {
            return None;
        }
        let due = self.source.borrow_mut().take_now(now)?;
        self.tally.borrow_mut().due(due);
        Some(due)
    }
}

/// One connection.
struct Worker<'s, 'a> {
    shared: &'s Shared<'a>,
    open: Option<Connection>,
    /// When it was last free.
    free_since: u64,
}

impl Worker<'_, '_> {
    async fn work(mut self) {
        while let Some(due) = self.shared.take().await {
            let window = self.shared.window;
            self.shared.tally.borrow_mut().sending(due, self.free_since, window.now());
            let left = Duration::from_nanos(window.last_call().saturating_sub(window.now()));
            let outcome = tokio::time::timeout(left, self.exchange(due)).await.unwrap_or(Err("unanswered"));
            let now = window.now();
            let bytes = self.shared.plan.body(due.number).len();
            match outcome {
                Ok((status, None)) => self.shared.tally.borrow_mut().accepted(due, now, status, bytes),
                Ok((status, Some(code))) => self.shared.tally.borrow_mut().refused(due, now, status, code, bytes),
                Err(reason) => {
                    self.open = None;
                    self.shared.tally.borrow_mut().lost(due, now, reason, bytes);
                    if reason == "connect" {
                        tokio::time::sleep(REST).await;
                    }
                }
            }
            self.free_since = window.now();
        }
    }

    /// Sends a request; the status, and a code if it is not accepted.
    async fn exchange(&mut self, due: Due) -> Result<(u16, Option<String>), &'static str> {
        let plan = self.shared.plan;
        if self.open.is_none() {
            self.open = connect(plan).await;
        }
        let connection = self.open.take().ok_or("connect")?;
        let mut connection = connection.ready().await.map_err(|_| "cut")?;
        let body = body(plan, due);
        let (answer, mut upload) = connection.send_request(request(plan, due), false).map_err(|_| "cut")?;
        self.open = Some(connection);
        let exchange = async {
            let answer = answer.await.map_err(|_| "cut")?;
            let status = answer.status().as_u16();
            let wanted = !plan.accepts(status);
            let mut download = answer.into_body();
            let mut problem = BytesMut::new();
            while let Some(chunk) = download.data().await {
                let chunk = chunk.map_err(|_| "cut")?;
                let _ = download.flow_control().release_capacity(chunk.len());
                if wanted && problem.len() < MOST_OF_A_PROBLEM {
                    problem.extend_from_slice(&chunk);
                }
            }
            Ok((status, wanted.then(|| answer::code(&problem))))
        };
        // An answer may come (413) before all is sent: then the rest is not.
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            outcome = &mut exchange => return outcome,
            // Refused to take more: the answer or the end of the connection follows.
            _ = send(&mut upload, body) => {}
        }
        exchange.await
    }
}

async fn send(upload: &mut h2::SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        upload.reserve_capacity(body.len());
        let room = match std::future::poll_fn(|context| upload.poll_capacity(context)).await {
            Some(room) => room?,
            None => return Ok(()),
        };
        let part = body.split_to(room.min(body.len()));
        upload.send_data(part, body.is_empty())?;
    }
    Ok(())
}

fn body(plan: &Plan, due: Due) -> Bytes {
    let body = plan.body(due.number);
    if !plan.numbered {
        return body.payload();
    }
    let mut wire = body.wire.to_vec();
    let payload_at = wire.len() - body.len();
    plan.bodies.number(&mut wire, due.number);
    Bytes::from(wire).slice(payload_at..)
}

fn request(plan: &Plan, due: Due) -> Request<()> {
    let (head, body) = (plan.head(due.number), plan.body(due.number));
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let uri = Uri::builder().scheme("http").authority(head.authority.clone()).path_and_query(head.path.clone());
    // All three parts were parsed before.
    *request.uri_mut() = uri.build().unwrap_or_default();
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(key) = body.key.as_ref().and_then(|key| HeaderValue::from_str(key).ok()) {
        request.headers_mut().insert(KEY_HEADER, key);
    }
    request
}

async fn connect(plan: &Plan) -> Option<Connection> {
    let opening = async {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = h2::client::handshake(stream).await?;
        // Ends with its socket, or with the runtime at the end of the load; what it says is said to the requests too.
        tokio::spawn(driver);
        // The handshake is over when the target's settings are here, not before.
        connection.ready().await.map_err(|fault| anyhow!(fault))
    };
    tokio::time::timeout(CONNECT, opening).await.ok()?.ok()
}
