//! A TCP proxy that does to connections what networks do: delay, a narrow pipe, a cut, a peer that is gone without a
//! word, resets; each direction by itself.
//!
//! Owns a thread with a runtime of its own, so that it works beside blocking and async tests alike; ended when dropped,
//! with all its connections. Bytes come out as they went in and in their order, or their connection ends.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Read at once. Small enough that a slow rate moves in steps of less than a second.
const CHUNK: usize = 16 * 1024;
/// Chunks between reading and writing: what a network would hold.
const ON_THE_WAY: usize = 64;

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// How long each byte is on its way.
    pub(crate) delay: Duration,
    /// The most bytes a second, of all connections together.
    pub(crate) rate: Option<u32>,
    /// Bytes are taken and never arrive. A connection that lost some is reset once this ends: it cannot go on.
    pub(crate) lost: bool,
}

/// What the network is like now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// From those who connect to the other side.
    pub(crate) there: Way,
    /// From the other side to those who connect.
    pub(crate) back: Way,
    /// Open connections were reset, new ones are reset as well.
    pub(crate) cut: bool,
}

impl Weather {
    /// Both directions like this.
    pub(crate) fn both(way: Way) -> Self {
        Self { there: way, back: way, cut: false }
    }

    /// No connection at all.
    pub(crate) fn cut() -> Self {
        Self { cut: true, ..Self::default() }
    }

    /// Everybody believes to be connected, and nothing arrives.
    pub(crate) fn half_open() -> Self {
        Self::both(Way { lost: true, ..Way::default() })
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    address: String,
    state: Arc<State>,
    /// Dropped with the proxy, which ends its thread.
    _end: oneshot::Sender<()>,
}

struct State {
    target: Mutex<Option<SocketAddr>>,
    weather: watch::Sender<Weather>,
    /// Counts the orders to reset every connection.
    resets: watch::Sender<u64>,
    open: AtomicUsize,
    there: Pace,
    back: Pace,
}

/// When the pipe of one direction is free again.
#[derive(Default)]
struct Pace(Mutex<Option<Instant>>);

impl Proxy {
    /// Listens on a free port of loopback; connections are reset until [`Proxy::forward_to`] says where they go.
    pub(crate) fn start() -> Self {
        Self::bind("127.0.0.1:0")
    }

    /// The same on this address. Panics if it is taken.
    pub(crate) fn bind(address: &str) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("the listener's address").to_string();
        let state = Arc::new(State {
            target: Mutex::default(),
            weather: watch::Sender::default(),
            resets: watch::Sender::default(),
            open: AtomicUsize::new(0),
            there: Pace::default(),
            back: Pace::default(),
        });
        let (end, ended) = oneshot::channel::<()>();
        let serve = accept(listener, Arc::clone(&state));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, state, _end: end }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where connections go from now on; those that are open stay where they are.
    pub(crate) fn forward_to(&self, target: &str) {
        let target = target.parse().expect("an address and port");
        *self.state.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Changes the weather, for open connections too.
    pub(crate) fn set(&self, weather: Weather) {
        self.state.weather.send_replace(weather);
        if weather.cut {
            self.reset();
        }
    }

    /// Resets every open connection, on both sides.
    pub(crate) fn reset(&self) {
        self.state.resets.send_modify(|resets| *resets += 1);
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).expect("a listener for tokio");
    loop {
        // Out of files, or a connection that was gone before it was taken.
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection(near, Arc::clone(&state)));
    }
}

/// Serves one connection to its end.
async fn connection(mut near: TcpStream, state: Arc<State>) {
    let (mut resets, mut weather) = (state.resets.subscribe(), state.weather.subscribe());
    let target = *state.target.lock().unwrap_or_else(PoisonError::into_inner);
    let far = match target {
        Some(target) if !weather.borrow().cut => TcpStream::connect(target).await.ok(),
        _ => None,
    };
    let Some(mut far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    state.open.fetch_add(1, Ordering::Relaxed);
    let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    let holed = AtomicBool::new(false);
    let is_whole = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let there = Pipe { way: |weather| weather.there, pace: &state.there, holed: &holed, weather: weather.clone() };
        let back = Pipe { way: |weather| weather.back, pace: &state.back, holed: &holed, weather: weather.clone() };
        let both = async { tokio::try_join!(there.run(near_read, far_write), back.run(far_read, near_write)) };
        let healed = async {
            while weather.changed().await.is_ok() {
                let now = *weather.borrow_and_update();
                if holed.load(Ordering::Relaxed) && !now.there.lost && !now.back.lost {
                    break;
                }
            }
        };
        tokio::select! {
            done = both => done.is_ok(),
            _ = resets.changed() => false,
            () = healed => false,
        }
    };
    if !is_whole {
        let _ = near.set_zero_linger().and_then(|()| far.set_zero_linger());
    }
    state.open.fetch_sub(1, Ordering::Relaxed);
}

/// One direction of one connection.
struct Pipe<'a> {
    way: fn(&Weather) -> Way,
    pace: &'a Pace,
    /// Whether bytes of the connection, of either direction, were lost.
    holed: &'a AtomicBool,
    weather: watch::Receiver<Weather>,
}

impl Pipe<'_> {
    fn now(&self) -> Way {
        (self.way)(&self.weather.borrow())
    }

    /// Until `from` has ended and all of it is written. An error is that of either socket.
    async fn run(&self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        tokio::try_join!(self.read(from, sender), self.write(receiver, to))?;
        Ok(())
    }

    async fn read(&self, mut from: ReadHalf<'_>, on: mpsc::Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await;
            let now = self.now();
            if now.lost {
                self.holed.store(true, Ordering::Relaxed);
                // Nor does the other side learn of an end.
                if !matches!(read, Ok(1..)) {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let length = read?;
            if length == 0 || on.send((Instant::now() + now.delay, chunk[..length].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn write(&self, mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut weather = self.weather.clone();
        while let Some((due, chunk)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            while let Some(free) = self.pace.take(chunk.len(), self.now().rate) {
                tokio::select! {
                    () = tokio::time::sleep_until(free) => break,
                    // The pipe may be wider now.
                    _ = weather.changed() => self.pace.clear(),
                }
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    }
}

impl Pace {
    /// Takes the pipe for so many bytes; when they are through. `None` where nothing slows them.
    fn take(&self, bytes: usize, rate: Option<u32>) -> Option<Instant> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = bytes as f64 / f64::from(rate?);
        let from = free.map_or_else(Instant::now, |free| free.max(Instant::now()));
        *free = Some(from + Duration::from_secs_f64(seconds));
        *free
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
