//! Notices when the sources of the configuration change, or SIGHUP asks, and reloads.
//!
//! Watches directories, not files: editors replace files, Kubernetes swaps the `..data` link beside them. Events only
//! say when to look; a reload needs a change of content. Where no events come (network file systems) it looks by itself.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Change, Live};
use crate::config::fault::Faults;

/// A file was closed after writing.
const WRITTEN: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

/// How often and how soon to look.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long after an event, so that one save is one reload.
    pub debounce: Duration,
    /// How often without any event.
    pub poll: Duration,
}

impl Default for Pace {
    /// 200 ms after an event; every 10 s without.
    fn default() -> Self {
        Self { debounce: Duration::from_millis(200), poll: Duration::from_secs(10) }
    }
}

/// What the watch tells.
#[derive(Debug)]
pub enum News {
    /// A reload begins.
    Begins,
    /// It is done.
    Ended(Result<Change, Faults>),
}

/// Reloads `live` at SIGHUP and when the content of its files changes, for ever; tells `tell` of each reload.
///
/// # Errors
///
/// The handler of SIGHUP or the watch cannot be set up.
///
/// # Cancellation
///
/// A reload that began runs to its end, untold.
pub async fn watch(
    live: Arc<Live>,
    pace: Pace,
    clock: impl Fn() -> OffsetDateTime,
    tell: impl Fn(News),
) -> io::Result<()> {
    follow(live, pace, clock, tell, Some(signal(SignalKind::hangup())?)).await
}

/// As [`watch`]; without `hangup` deaf to SIGHUP, which reaches the whole process.
pub(super) async fn follow(
    live: Arc<Live>,
    pace: Pace,
    clock: impl Fn() -> OffsetDateTime,
    tell: impl Fn(News),
    mut hangup: Option<Signal>,
) -> io::Result<()> {
    let mut directories = Directories::new()?;
    let mut forced = false;
    loop {
        // Watch before looking: what changes in between rings.
        directories.follow(&blocking(&live, Live::files).await?);
        if forced || blocking(&live, Live::is_stale).await? {
            let now = clock();
            tell(News::Begins);
            tell(News::Ended(blocking(&live, move |live| live.reload(now)).await?));
            directories.follow(&blocking(&live, Live::files).await?);
        }
        forced = tokio::select! {
            () = directories.event() => {
                sleep(pace.debounce).await;
                false
            }
            () = sleep(pace.poll) => false,
            () = hung_up(&mut hangup) => true,
        };
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    if let Some(signal) = hangup
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Runs what reads files off the async threads.
async fn blocking<T: Send + 'static>(
    live: &Arc<Live>,
    work: impl FnOnce(&Live) -> T + Send + 'static,
) -> io::Result<T> {
    let live = live.clone();
    tokio::task::spawn_blocking(move || work(&live)).await.map_err(io::Error::other)
}

/// The watched directories.
struct Directories {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    events: Arc<Notify>,
}

impl Directories {
    fn new() -> io::Result<Self> {
        let events = Arc::new(Notify::new());
        let bell = events.clone();
        let ring = move |event: notify::Result<notify::Event>| {
            // Reading the files, as we do ourselves, is an event too.
            if event.is_ok_and(|event| !event.kind.is_access() || event.kind == WRITTEN) {
                bell.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(ring).map_err(io::Error::other)?;
        Ok(Self { watcher, watched: BTreeSet::new(), events })
    }

    /// Watches the directories of `files`, and no longer those of files that are gone. One that cannot be watched is
    /// left to polling.
    fn follow(&mut self, files: &[PathBuf]) {
        let wanted: BTreeSet<PathBuf> = files.iter().map(|file| directory(file)).collect();
        for gone in self.watched.difference(&wanted) {
            let _ = self.watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = self.watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %new.display(), %error, "cannot watch for changes, polling instead");
            }
        }
        self.watched = wanted;
    }

    /// Resolves when something happened since the last call.
    ///
    /// Cancellation: loses nothing; the event is kept for the next call.
    async fn event(&self) {
        self.events.notified().await;
    }
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}
