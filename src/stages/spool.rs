//! The durable spool: a log on disk of what klamm has promised to send and Kafka does not have yet.
//!
//! Promise: an entry whose [`Receipt`] says `Ok` survives the process and the power, and comes out of [`Spool::next`]
//! again and again, in the order of its stream, until it is [`done`](Spool::done) or [`withdrawn`](Spool::withdraw). Memory is
//! bounded whatever the log holds. Nothing is dropped to make room: what does not fit is refused.
//!
//! It never looks into events, never knows Kafka, and never decides what becomes of one.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tracing::warn;
use uuid::Uuid;

use crate::config;
use crate::event::{Batch, ClientId, RequestId, TopicName};
use crate::units::Percent;

mod bits;
mod checkpoint;
mod disk;
mod format;
mod index;
pub mod inspect;
mod listing;
mod record;
mod recover;
mod scan;
mod segment;
mod spare;
mod store;
mod threads;
mod tidy;

use self::disk::Directory;
use self::threads::Shared;

/// What a spool is opened with.
#[derive(Clone)]
pub struct Settings {
    /// Its directory; made if it is missing.
    pub dir: PathBuf,
    /// The most that its files may take, in bytes.
    pub total: u64,
    /// The most of `total` that one client's events may take.
    pub client_share: Percent,
    /// The most of `total` that one topic's events may take.
    pub topic_share: Percent,
    /// The age of a stream's oldest event from which on nothing more is taken for the stream.
    pub max_age: Duration,
    /// The size of a file, in bytes.
    pub segment: u64,
    /// The least time from one sync to the next.
    pub delay: Duration,
    /// So many bytes that wait are synced at once.
    pub batch: usize,
    /// Told how long each fdatasync of events took; called by the writer's thread.
    pub synced: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Settings {
    /// As `config` says, with nobody told of syncs.
    pub fn of(config: &config::Spool) -> Self {
        Self {
            dir: config.dir.clone(),
            total: config.total.get(),
            client_share: config.client_share,
            topic_share: config.topic_share,
            max_age: config.max_age.get(),
            segment: config.segment.get(),
            delay: config.commit.delay.get(),
            batch: config.commit.bytes.len(),
            synced: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("dir", &self.dir).field("total", &self.total).finish_non_exhaustive()
    }
}

/// An entry that waited when the spool was opened.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    /// Who sent it.
    pub client: &'a ClientId,
    /// Where it goes.
    pub topic: &'a TopicName,
    /// The request that it came in.
    pub request: RequestId,
    /// How many events it has.
    pub events: u32,
    /// When it was received.
    pub received: SystemTime,
}

/// What recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Entries that wait.
    pub entries: u64,
    /// Their events.
    pub events: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Files that are damaged and were renamed; what can be read of them still goes on.
    pub quarantined: u32,
    /// Events that cannot be read any more. At most: some of them may have been done.
    pub lost: u64,
}

/// Events of one request for one topic, to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Who sent them.
    pub client: &'a ClientId,
    /// Where they go.
    pub topic: &'a TopicName,
    /// The request that they came in.
    pub request: RequestId,
    /// What the ids of the events are made from.
    pub ids: Uuid,
    /// When they were received.
    pub received: SystemTime,
    /// Holds the events.
    pub batch: &'a Batch,
    /// Which of `batch.events`, ascending; `None` is all of them.
    pub places: Option<&'a [u32]>,
}

/// Which entry; unique among all that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    seq: u64,
    stream: u32,
    bytes: u32,
    events: u32,
}

/// An entry as it comes out again.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Which.
    pub key: Key,
    /// The request that its events came in.
    pub request: RequestId,
    /// What the ids of its events are made from.
    pub ids: Uuid,
    /// When they were received; in milliseconds' grain.
    pub received: SystemTime,
    /// The events that are still to do. They have their `index`; their `offset` is 0.
    pub batch: Batch,
    /// Whether they may have been sent before: in this life, or in an earlier one.
    pub again: bool,
}

/// Entries of one stream, in its order.
///
/// Until each of them is done, kept or parked, nobody else gets entries of this stream (parked ones apart).
#[derive(Debug)]
pub struct Wave {
    /// Who sent them.
    pub client: ClientId,
    /// Where they go.
    pub topic: TopicName,
    /// At least one.
    pub entries: Vec<Stored>,
    /// Whether these had been parked by [`Spool::park`].
    pub parked: bool,
}

/// Why an entry is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room, or what waits is too old.
    Full(Full),
    /// The disk does not take it: a sync failed, or the spool is closed. Nothing was kept.
    Broken,
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The spool as a whole, or the disk under it.
    Total,
    /// The client's share.
    Client,
    /// The topic's share.
    Topic,
    /// The oldest event of the stream has waited for longer than `max_age`.
    Age,
}

/// Resolves once the entry is on disk, or not. Dropping it changes nothing about the entry.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Key, Refusal>>);

impl Future for Receipt {
    type Output = Result<Key, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Refusal::Broken)))
    }
}

/// What the spool holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Entries that wait, those not yet synced included.
    pub entries: u64,
    /// Their events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What its files take on disk, in bytes.
    pub disk: u64,
    /// How long the oldest event waits.
    pub oldest: Option<Duration>,
    /// Events that are tried once a minute alone: parked ones, and those of streams that have not moved for a minute.
    pub parked: u64,
    /// Damaged files in the directory.
    pub quarantined: u32,
    /// Events found unreadable in this life, recovery included.
    pub lost: u64,
    /// Whether the spool as a whole would take an entry of 1 MiB now.
    pub room: bool,
}

/// The store. Its calls do not block but for a short lock, unless they say so.
pub struct Spool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("settings", &self.shared.store.settings).finish_non_exhaustive()
    }
}

impl Spool {
    /// Locks the directory, reads what it holds, and starts the threads. `seen` is told of every entry that waits, in no
    /// order across streams. Blocks, for some time where there is much to read.
    ///
    /// # Errors
    ///
    /// When another klamm holds the directory, it cannot be made, read or written, or was written by a newer klamm.
    /// Damage is no error, nor is a disk that takes no more: then entries are refused until it does.
    pub fn open(settings: Settings, seen: &mut dyn FnMut(&Waiting<'_>)) -> io::Result<(Self, Recovered)> {
        let directory = Directory::make(&settings.dir).map_err(|error| at(&settings.dir, &error))?;
        let Some(lock) = directory.lock()? else {
            let message = format!("{} is in use by another klamm", settings.dir.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        };
        let (store, recovered) = recover::recover(Arc::new(directory), settings, salts(), Instant::now(), seen)?;
        let shared = Arc::new(Shared::new(store, lock));
        shared.store.commit(Instant::now());
        let threads = Shared::start(&shared)?;
        Ok((Self { shared, threads: Mutex::new(threads) }, recovered))
    }

    /// Copies the events into the writer's queue. The receipt resolves once fdatasync has covered them.
    ///
    /// # Errors
    ///
    /// At once, when there is no room.
    pub fn append(&self, entry: &Entry<'_>) -> Result<Receipt, Refusal> {
        let receipt = self.shared.store.append(entry, Instant::now())?;
        self.shared.queued();
        Ok(receipt)
    }

    /// Whether the stream has events that wait, parked ones apart: then newer ones must queue up behind them.
    pub fn holds(&self, client: &ClientId, topic: &TopicName) -> bool {
        self.shared.store.index().holds(client, topic)
    }

    /// What it holds now.
    pub fn state(&self) -> State {
        self.shared.store.index().state(SystemTime::now())
    }

    /// The next entries of one stream, up to `bytes` of them and at least one; waits until there are some. They are of
    /// a stream that nobody else has entries of. After [`keep`](Self::keep) a stream comes again after a pause: 250 ms,
    /// doubling to 5 s; 60 s once it has not moved for a minute. Parked entries come again each minute.
    ///
    /// # Cancellation: nothing is lost; the stream is free for others again.
    pub async fn next(&self, bytes: usize) -> Wave {
        loop {
            let ready = self.shared.ready.notified();
            let picked = self.shared.store.index().pick(Instant::now());
            match picked {
                Ok((stream, lane)) => {
                    if let Some(wave) = self.fill(stream, lane, bytes).await {
                        return wave;
                    }
                }
                Err(None) => ready.await,
                Err(Some(until)) => {
                    let _ = tokio::time::timeout_at(until.into(), ready).await;
                }
            }
        }
    }

    /// Reads the entries of a lane that was picked, on a thread that may block.
    async fn fill(&self, stream: u32, lane: usize, bytes: usize) -> Option<Wave> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || {
            let wave = shared.store.fill(stream, lane, bytes, Instant::now());
            if shared.store.index().has_ready() {
                shared.ready.notify_one();
            }
            wave.map(|wave| Unclaimed { wave: Some(wave), shared })
        });
        match read.await {
            Ok(unclaimed) => unclaimed?.claim(),
            Err(error) => {
                warn!(%error, "spool: reading ended early");
                None
            }
        }
    }

    /// All events of the entry are settled for good: it never comes again, but for a crash within the next second.
    pub fn done(&self, key: Key) {
        self.settle(|index, now| index.done(key.seq, now));
    }

    /// Only the events with these indexes (`Event::index`) are still to do. The entry stays first in its stream and
    /// comes again.
    pub fn keep(&self, key: Key, left: &[u32]) {
        self.settle(|index, now| index.keep(key.seq, left, now));
    }

    /// Only the events with these indexes are still to do, and the stream goes on without them. They come again each
    /// minute, in a wave of their own.
    pub fn park(&self, key: Key, left: &[u32]) {
        self.settle(|index, now| index.park(key.seq, left, now));
    }

    /// The entry need not be sent: it will not come again, but for a crash within the next second. Of an entry that is
    /// in somebody's hands this changes nothing.
    pub fn withdraw(&self, key: Key) {
        self.settle(|index, _| index.withdraw(key));
    }

    /// Kafka is back: ends all pauses, those of parked streams and entries too.
    pub fn retry(&self) {
        self.settle(|index, _| index.retry());
    }

    fn settle(&self, settle: impl FnOnce(&mut index::Index, Instant)) {
        let mut index = self.shared.store.index();
        settle(&mut index, Instant::now());
        let (ready, waits) = (index.has_ready(), index.waits());
        drop(index);
        if ready || waits {
            self.shared.ready.notify_one();
        }
    }

    /// Writes what is queued, and the checkpoint, and unlocks the directory. Blocks. Later entries are refused.
    pub fn close(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                warn!("spool: a thread panicked");
            }
        }
        self.shared.unlock();
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

/// `error` with the directory that it is about.
fn at(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", dir.display()))
}

/// Random numbers. The clock serves where there are none: salts need only differ.
fn salts() -> store::Random {
    Box::new(|| getrandom::u64().unwrap_or_else(|_| Uuid::now_v7().as_u64_pair().1))
}

/// A wave on its way to whoever asked for it, who may be gone.
struct Unclaimed {
    /// Some until it is claimed.
    wave: Option<Wave>,
    shared: Arc<Shared>,
}

impl Unclaimed {
    fn claim(mut self) -> Option<Wave> {
        self.wave.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(wave) = self.wave.take() else { return };
        self.shared.store.index().release(wave.entries.iter().map(|entry| entry.key.seq));
        self.shared.ready.notify_one();
    }
}

#[cfg(test)]
mod tests;
