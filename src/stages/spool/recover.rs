//! From what lies in the directory to an index. Never fails for damage: what can be read goes on, what cannot is counted.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::disk::Disk;
use super::format::Sealed;
use super::index::Index;
use super::listing::list;
use super::scan::Scanned;
use super::segment::{Map, Name, Segment, Slot};
use super::store::{Random, Store, Writer};
use super::tidy::remove;
use super::{Recovered, Settings, Waiting, record};
use crate::event::{ClientId, TopicName};

/// Makes a store of what lies in `disk`. `seen` is told of each entry that waits.
///
/// # Errors
///
/// As [`list`].
pub(super) fn recover(
    disk: Arc<dyn Disk>,
    settings: Settings,
    random: Random,
    now: Instant,
    seen: &mut dyn FnMut(&Waiting<'_>),
) -> io::Result<(Store, Recovered)> {
    let mut listing = list(&*disk)?;
    for path in listing.stale.drain(..).chain(listing.blank.drain(..)) {
        let removed = match Name::of(&path) {
            Some((name, stem)) => remove(&*disk, stem, name),
            None => disk.remove(&path),
        };
        if let Err(error) = removed {
            warn!(file = path, %error, "spool: a file that is not needed cannot be removed");
        }
    }
    let mut found = Recovered::default();
    let mut index = Index::new(&settings);
    index.dirty = true;
    index.bad = listing.bad.len() as u32;
    // Those that an earlier life found while running are still there, or in files that are out of use.
    for path in std::mem::take(&mut listing.unreadable) {
        found.lost += listing.lost_with(&path);
        found.quarantined += 1;
        index.bad += 1;
        set_aside(&*disk, &path);
    }
    let mut next = listing.headless.iter().map(|base| base + 1).fold(listing.checkpoint.next, u64::max);
    let mut before = Sealed::default();
    let partial: HashMap<_, _> = listing.checkpoint.partial.iter().map(|(seq, left)| (*seq, left.as_slice())).collect();
    for file in &listing.files {
        let known = listing.known(file);
        let mut segment = Segment::new(file.header, file.name, Arc::clone(&file.file), file.file.len().unwrap_or(0));
        segment.sealed = Some(now);
        if file.is_headless {
            warn!(file = file.path, "spool: a file has no readable header; it is read by its name");
            segment.damaged = true;
        }
        if let Some(known) = listing.checkpoint.of(file.header.salt) {
            segment.done = known.done.clone();
        }
        let base = file.header.base;
        let done = segment.done.clone();
        index.segments.insert(base, segment);
        let mut map = Map::new();
        let scanned = listing.scan(file, known, |head, offset, bytes| {
            let Some(meta) = record::meta(bytes) else { return };
            next = next.max(head.seq + 1);
            let stream = known_stream(&mut index, meta.client, meta.topic, now);
            let slot = Slot { delta: (head.seq - base) as u32, ordinal: head.ordinal, offset, len: head.len };
            map.entry(stream).or_default().push(slot);
            if done.has(head.ordinal) {
                return;
            }
            index.recover(base, stream, slot, head.events, record::seconds(meta.received));
            let mut events = head.events;
            if let Some(left) = partial.get(&head.seq) {
                index.reduce(stream, head.seq, events, (*left).into());
                events = left.len() as u32;
            }
            let Some(known) = index.streams.get(stream as usize) else { return };
            seen(&Waiting {
                client: &known.client,
                topic: &known.topic,
                request: meta.request,
                events,
                received: meta.received,
            });
        });
        let scanned = scanned.unwrap_or_else(|error| {
            warn!(file = file.path, %error, "spool: a file cannot be read");
            Scanned { durable: u32::MAX, ..Scanned::default() }
        });
        // So that no two files have the same base.
        next = next.max(file.header.end).max(base + 1);
        let lost = lost(&scanned, &done);
        let Some(segment) = index.segments.get_mut(&base) else { continue };
        // Damage at the end is a part of it, so that another start finds it again.
        let end = scanned.damage().map(|gap| gap.to).fold(scanned.end, u32::max);
        segment.synced = Sealed { salt: file.header.salt, end, records: scanned.records, events: scanned.events };
        // Neither what was never acknowledged nor what is counted now is looked for again.
        for gap in &scanned.gaps {
            let damage = gap.from < scanned.durable;
            for ordinal in gap.records.clone() {
                if segment.done.set(ordinal) && damage {
                    segment.lost.set(ordinal);
                }
            }
        }
        if lost.0 > 0 {
            warn!(
                file = file.path,
                entries = lost.0,
                events = lost.1,
                "spool: a file is damaged; the rest of it goes on"
            );
            segment.damaged = true;
        }
        found.lost += lost.1;
        found.quarantined += u32::from(segment.damaged);
        if known.is_none_or(|(_, ends)| !ends) && !segment.damaged && u64::from(scanned.end) < segment.size {
            cut(segment, &file.path);
        }
        before = segment.synced;
        let (salt, size) = (segment.header.salt, segment.size);
        index.disk += size;
        index.install(base, salt, map);
    }
    rename_damaged(&*disk, &mut index);
    index.recovered = next;
    index.lost = found.lost;
    (found.entries, found.events, found.bytes) = (index.sums.entries, index.sums.events, index.sums.bytes);
    if found != Recovered::default() {
        info!(entries = found.entries, events = found.events, bytes = found.bytes, "spool: recovered");
    }
    let writer = Writer::after(next, before);
    Ok((Store::new(disk, settings, random, index, writer), found))
}

fn known_stream(index: &mut Index, client: &str, topic: &str, now: Instant) -> u32 {
    match index.find(client, topic) {
        Some(stream) => stream,
        None => index.stream(&ClientId::from(client), &TopicName::from(topic), now),
    }
}

/// The entries, and the events at most, that are lost with the damaged parts of a file.
pub(super) fn lost(scanned: &Scanned, done: &super::bits::Bits) -> (u32, u64) {
    let mut lost = (0, 0);
    for gap in scanned.damage() {
        let entries = gap.records.clone().filter(|ordinal| !done.has(*ordinal)).count() as u32;
        lost.0 += entries;
        lost.1 += if entries > 0 { u64::from(gap.events) } else { 0 };
    }
    lost
}

/// Takes what a crash left behind the last record off a file, so that no one takes it for more.
fn cut(segment: &mut Segment, path: &str) {
    match segment.file.set_len(segment.synced.end.into()).and_then(|()| segment.file.sync()) {
        Ok(()) => segment.size = segment.synced.end.into(),
        Err(error) => warn!(file = path, %error, "spool: the torn end of a file cannot be cut off"),
    }
}

fn set_aside(disk: &dyn Disk, path: &str) {
    let Some((_, stem)) = Name::of(path) else { return };
    let renamed = disk.rename(path, &format!("{stem}{}", Name::Bad.suffix())).and_then(|()| disk.sync());
    match renamed {
        Ok(()) => warn!(file = path, "spool: nothing of a file can be read; it was set aside"),
        Err(error) => warn!(file = path, %error, "spool: an unreadable file cannot be renamed"),
    }
}

/// Gives damaged files the name that says so.
pub(super) fn rename_damaged(disk: &dyn Disk, index: &mut Index) {
    let mut renamed = false;
    for segment in index.segments.values_mut().filter(|segment| segment.damaged && segment.name == Name::Log) {
        let to = format!("{}{}", segment.stem, Name::Damaged.suffix());
        match disk.rename(&segment.path(), &to) {
            Ok(()) => {
                segment.name = Name::Damaged;
                renamed = true;
            }
            Err(error) => warn!(file = segment.path(), %error, "spool: a damaged file cannot be renamed"),
        }
    }
    if renamed && let Err(error) = disk.sync() {
        warn!(%error, "spool: the directory cannot be synced");
    }
}
