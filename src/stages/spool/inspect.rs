//! A look into a spool's directory from outside: without its lock, beside a running klamm too, up to what is surely on
//! disk. And its repair, which needs the lock.
//!
//! What the checkpoint does not say yet (it is at most a second old) still shows as waiting.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::bits::Bits;
use super::disk::{Directory, Disk};
use super::format::{Head, Sealed};
use super::listing::{File, Listing, list};
use super::scan;
use super::segment::Name;
use super::{Settings, record, recover};
use crate::event::{Batch, RequestId};

/// What a directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether a klamm holds the directory now.
    pub running: bool,
    /// Streams with events that wait, by client and topic.
    pub streams: Vec<Stream>,
    /// The files of the log, in the order of their entries.
    pub files: Vec<Inspected>,
    /// Damaged files that are out of use.
    pub aside: Vec<String>,
}

/// The events of one client for one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// Who sent them.
    pub client: String,
    /// Where they go.
    pub topic: String,
    /// Events that wait.
    pub events: u64,
    /// What they take on disk.
    pub bytes: u64,
    /// When the oldest was received, in seconds since the epoch.
    pub oldest: u64,
    /// Those of the events that are tried once a minute.
    pub parked: u64,
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its events that wait and can be read.
    pub events: u64,
    /// What of it cannot be read.
    pub damage: Vec<Damage>,
}

/// A part of a file that cannot be read, though it had been synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many entries are lost.
    pub entries: u32,
    /// How many events; at most, as some may have been done.
    pub events: u64,
}

impl Report {
    /// Whether something cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.files.iter().any(|file| !file.damage.is_empty())
    }

    /// All events that wait.
    pub fn events(&self) -> u64 {
        self.streams.iter().map(|stream| stream.events).sum()
    }

    /// Whether the directory holds nothing that anybody could miss, and no klamm writes to it.
    pub fn is_empty(&self) -> bool {
        !self.running && !self.is_damaged() && self.events() == 0 && self.aside.is_empty()
    }
}

/// An entry that waits, as it is shown.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// Who sent it.
    pub client: &'a str,
    /// Where it goes.
    pub topic: &'a str,
    /// The request that it came in.
    pub request: RequestId,
    /// What the ids of its events are made from.
    pub ids: Uuid,
    /// When it was received.
    pub received: SystemTime,
    /// Its events that are still to do.
    pub batch: Batch,
}

/// What the directory `dir` holds. Changes nothing.
///
/// # Errors
///
/// When it cannot be read, or was written by a newer klamm.
pub fn report(dir: &Path) -> io::Result<Report> {
    look(dir, |_, _, _| Ok(()))
}

/// Tells `visit` of every entry that waits in `dir`, in the order of each stream.
///
/// # Errors
///
/// As [`report`], and those of `visit`, which end it.
pub fn entries(dir: &Path, mut visit: impl FnMut(&Shown<'_>) -> io::Result<()>) -> io::Result<Report> {
    look(dir, |_, bytes, left| {
        let Some(meta) = record::meta(bytes) else { return Ok(()) };
        let Some(batch) = record::events(&Bytes::copy_from_slice(bytes), left) else { return Ok(()) };
        let (client, topic, request) = (meta.client, meta.topic, meta.request);
        visit(&Shown { client, topic, request, ids: meta.ids, received: meta.received, batch })
    })
}

/// Told of a record that waits, and which of its events do, where it is not all.
type Visit<'a> = dyn FnMut(&Head, &[u8], Option<&[u32]>) -> io::Result<()> + 'a;

fn look(dir: &Path, mut visit: impl FnMut(&Head, &[u8], Option<&[u32]>) -> io::Result<()>) -> io::Result<Report> {
    let directory = Directory::look(dir).map_err(|error| super::at(dir, &error))?;
    let running = directory.is_locked();
    let listing = list(&directory)?;
    let mut report = Report { running, aside: listing.bad.clone(), ..Report::default() };
    let mut streams = BTreeMap::new();
    for path in &listing.unreadable {
        let events = listing.lost_with(path);
        let bytes = directory.open(path).and_then(|file| file.len()).unwrap_or(0);
        let damage = vec![Damage { offset: 0, entries: 0, events }];
        report.files.push(Inspected { file: path.clone(), bytes, events: 0, damage });
    }
    for file in &listing.files {
        report.files.push(inspect(&listing, file, running, &mut streams, &mut visit)?);
    }
    for (client, topic, parked) in &listing.checkpoint.parked {
        let known: Option<&mut Stream> = streams.get_mut(&(client.clone(), topic.clone()));
        known.into_iter().for_each(|stream| stream.parked = (*parked).min(stream.events));
    }
    report.streams = streams.into_values().collect();
    Ok(report)
}

fn inspect(
    listing: &Listing,
    file: &File,
    running: bool,
    streams: &mut BTreeMap<(String, String), Stream>,
    visit: &mut Visit<'_>,
) -> io::Result<Inspected> {
    let mut known = listing.known(file);
    let salt = file.header.salt;
    if running && !known.is_some_and(|(_, ends)| ends) {
        // It is being written: what lies behind its last sync does not count yet.
        let durable = scan::records(&*file.file, &file.header, known, |_, _, _| {})?.durable;
        known = Some((Sealed { salt, end: durable, ..known.map(|(sealed, _)| sealed).unwrap_or_default() }, true));
    }
    let none = Bits::default();
    let done = listing.checkpoint.of(salt).map_or(&none, |seen| &seen.done);
    let (mut events, mut fault) = (0, None);
    let scanned = listing.scan(file, known, |head, _, bytes| {
        let Some(meta) = record::meta(bytes).filter(|_| fault.is_none() && !done.has(head.ordinal)) else { return };
        let partial = &listing.checkpoint.partial;
        let left = partial.binary_search_by_key(&head.seq, |(seq, _)| *seq).ok().and_then(|at| partial.get(at));
        let count = left.map_or_else(|| head.events.into(), |(_, left)| left.len() as u64);
        let name = (meta.client.to_owned(), meta.topic.to_owned());
        let at = u64::from(record::seconds(meta.received));
        let fresh =
            || Stream { client: name.0.clone(), topic: name.1.clone(), events: 0, bytes: 0, oldest: at, parked: 0 };
        let stream = streams.entry(name.clone()).or_insert_with(fresh);
        stream.events += count;
        stream.bytes += Head::padded(head.len as usize) as u64;
        stream.oldest = stream.oldest.min(at);
        events += count;
        fault = visit(head, bytes, left.map(|(_, left)| left.as_slice())).err();
    })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let damage = scanned.damage().filter_map(|gap| {
        let entries = gap.records.clone().filter(|ordinal| !done.has(*ordinal)).count() as u32;
        (entries > 0).then(|| Damage { offset: gap.from.into(), entries, events: gap.events.into() })
    });
    let header = file.is_headless.then_some(Damage { offset: 0, entries: 0, events: 0 });
    let damage = header.into_iter().chain(damage).collect();
    Ok(Inspected { file: file.path.clone(), bytes: file.file.len()?, events, damage })
}

/// Copies what can be read of damaged files to new ones and sets the damaged ones aside. Nothing is deleted but what is
/// done. The report is that of before.
///
/// # Errors
///
/// `WouldBlock` while a klamm holds the directory; else as [`super::Spool::open`], and those of the disk.
pub fn repair(settings: Settings) -> io::Result<Report> {
    let before = report(&settings.dir)?;
    let directory = Directory::make(&settings.dir)?;
    let Some(lock) = directory.lock()? else {
        let message = format!("{} is in use by a running klamm", settings.dir.display());
        return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
    };
    let now = Instant::now();
    let (store, _) = recover::recover(Arc::new(directory), settings, super::salts(), now, &mut |_| {})?;
    store.checkpoint(now)?;
    let damaged: Vec<_> = {
        let index = store.index();
        let damaged = index.segments.values().filter(|segment| segment.name == Name::Damaged && segment.live > 0);
        damaged.map(|segment| segment.header.base).collect()
    };
    for base in damaged {
        store.copy(&[base], now)?;
    }
    store.checkpoint(now)?;
    store.remove_finished(false)?;
    store.checkpoint(now)?;
    drop(lock);
    Ok(before)
}
