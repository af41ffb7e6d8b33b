//! The configuration in force, and its replacement while klamm runs.
//!
//! Promise: a new one is validated wholly, then swapped at once; on a fault the old one stays. What cannot change
//! without a restart keeps its old value in [`Live::current`], which therefore always says what is true.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::fault::{Fault, Faults};
use super::load::{Source, load};
use super::{Config, validate};

mod diff;
mod watcher;

pub use watcher::{News, Pace, watch};

/// The configuration in force.
pub struct Live {
    source: Source,
    current: ArcSwap<Config>,
    sender: watch::Sender<Arc<Config>>,
    /// std Mutex: held for a reload as a whole, so that two do not interleave; never across an await.
    state: Mutex<State>,
}

struct State {
    status: Status,
    /// What the configuration in force was read from, secrets included.
    files: Vec<PathBuf>,
    /// The content that was last loaded, or tried.
    seen: Prints,
}

/// The content of files as a number each; none of one that cannot be read.
type Prints = BTreeMap<PathBuf, Option<u64>>;

fn prints(files: impl IntoIterator<Item = PathBuf>) -> Prints {
    let print = |file: &PathBuf| {
        let mut hasher = DefaultHasher::new();
        std::fs::read(file).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    };
    files.into_iter().map(|file| (file.clone(), print(&file))).collect()
}

/// How reloading went.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// 1 for the first configuration, one more for each that took its place.
    pub generation: u64,
    /// False while the sources hold a faulty configuration, and an older one is in force.
    pub last_reload_ok: bool,
    /// When the last reload was tried; none before the first.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_reload_at: Option<OffsetDateTime>,
    /// What was wrong with it.
    pub faults: Faults,
    /// When the configuration in force took the place of another; none for the first one.
    #[serde(with = "time::serde::rfc3339::option")]
    pub changed_at: Option<OffsetDateTime>,
    /// The keys that changed then.
    pub changed: Vec<String>,
    /// Keys whose new value waits for a restart.
    pub needs_restart: Vec<String>,
}

/// What a reload changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Key paths that changed and are in force.
    pub changed: Vec<String>,
    /// Key paths that differ from what is in force and wait for a restart.
    pub needs_restart: Vec<String>,
}

impl Live {
    /// Loads `source`. The second value holds the warnings.
    ///
    /// # Errors
    ///
    /// All faults of the configuration.
    pub fn open(source: Source) -> Result<(Self, Vec<String>), Faults> {
        let before = prints(source.files().unwrap_or_default());
        let loaded = load(&source)?;
        // The older print wins: a file that changed meanwhile is loaded again.
        let seen = prints(loaded.files.clone()).into_iter().chain(before).collect();
        let config = Arc::new(loaded.config);
        let status = Status {
            generation: 1,
            last_reload_ok: true,
            last_reload_at: None,
            faults: Faults::default(),
            changed_at: None,
            changed: Vec::new(),
            needs_restart: Vec::new(),
        };
        let live = Self {
            source,
            current: ArcSwap::new(config.clone()),
            sender: watch::Sender::new(config),
            state: Mutex::new(State { status, files: loaded.files, seen }),
        };
        Ok((live, loaded.warnings))
    }

    /// The configuration in force. Cheap: no lock.
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Hears of each new configuration; the current one counts as seen.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.sender.subscribe()
    }

    /// How reloading went so far.
    pub fn status(&self) -> Status {
        self.state().status.clone()
    }

    /// Reads the sources again and puts what may change into force. Reads files: not for an async thread that is busy.
    ///
    /// # Errors
    ///
    /// All faults; the old configuration stays in force.
    pub fn reload(&self, now: OffsetDateTime) -> Result<Change, Faults> {
        let mut state = self.state();
        let result = self.try_reload(&mut state);
        state.status.last_reload_at = Some(now);
        state.status.last_reload_ok = result.is_ok();
        match &result {
            Ok(change) => {
                state.status.faults = Faults::default();
                state.status.needs_restart.clone_from(&change.needs_restart);
                if !change.changed.is_empty() {
                    state.status.changed_at = Some(now);
                    state.status.changed.clone_from(&change.changed);
                }
            }
            Err(faults) => state.status.faults = faults.clone(),
        }
        result
    }

    fn try_reload(&self, state: &mut State) -> Result<Change, Faults> {
        let before = prints(self.files_of(state));
        state.seen.clone_from(&before);
        let loaded = load(&self.source)?;
        let old = self.current();
        let (next, change) = diff::apply(&old, loaded.config);
        let broken = validate::faults(&next);
        if !broken.is_empty() {
            let why = "; the keys that change only with a restart still have their old values";
            let late = |fault: Fault| Fault { message: format!("{}{why}", fault.message), ..fault };
            return Err(Faults(broken.into_iter().map(late).collect()));
        }
        let mut seen = prints(loaded.files.clone());
        for (file, print) in &mut seen {
            *print = before.get(file).copied().unwrap_or(*print);
        }
        (state.files, state.seen) = (loaded.files, seen);
        if !change.changed.is_empty() {
            state.status.generation += 1;
            let next = Arc::new(next);
            self.current.store(next.clone());
            self.sender.send_replace(next);
        }
        Ok(change)
    }

    /// Whether a file has other content than when it was last read. Reads files.
    fn is_stale(&self) -> bool {
        let state = self.state();
        prints(self.files_of(&state)) != state.seen
    }

    /// The files whose change asks for a reload.
    fn files(&self) -> Vec<PathBuf> {
        self.files_of(&self.state())
    }

    /// The configuration's files as they are now, and the secrets' as they were at last.
    fn files_of(&self, state: &State) -> Vec<PathBuf> {
        let mut files = self.source.files().unwrap_or_default();
        files.extend(state.files.iter().cloned());
        files
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves at worst an old status, which the next reload replaces.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
