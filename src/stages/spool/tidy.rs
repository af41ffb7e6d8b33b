//! The keeper's work: the checkpoint, the removal of files that are done, copies of files of which little is left, and the
//! file ahead.
//!
//! A copy takes the place of the file or files that it was made of, in the same order and under the same numbers, so
//! entries that cannot go anywhere, and streams that stand still, hold no more disk than their own bytes. It is written
//! and synced beside them and renamed; only then are they removed. After a crash in between the copy counts.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use super::checkpoint::{Checkpoint, Seen};
use super::disk::{Blob, Disk, is_full};
use super::format::{COPY, DATA, Head, Header, Sealed};
use super::index::{Index, STALLED};
use super::recover::rename_damaged;
use super::segment::{Map, Name, Segment, Slot, stem};
use super::store::{RECORDS, Store};
use super::{Entry, record, scan};
use crate::event::{ClientId, TopicName};

/// What a copy writes before it syncs, so that no sync of the writer waits for much of it.
const SLICE: usize = 1 << 20;
/// What is given back at once of a removed file, and how long the writer has the disk for itself after it.
const PART: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(2);
/// So many small files in a row are worth a copy for their number alone.
const NEIGHBOURS: usize = 8;
/// How long a file must be out of writing before it is copied; and while more than half of the room is taken.
const REST: (Duration, Duration) = (STALLED, Duration::from_secs(5));

impl Store {
    /// One round of all that the keeper does.
    ///
    /// # Errors
    ///
    /// Of the disk; the next round tries again. Nothing is lost.
    pub(super) fn tidy(&self, now: Instant) -> io::Result<()> {
        match self.checkpoint(now) {
            Ok(()) => self.remove_finished(false)?,
            // Room comes from removing files.
            Err(error) if is_full(&error) => {
                self.drop_spare();
                self.remove_finished(true)?;
            }
            Err(error) => return Err(error),
        }
        if let Some(run) = self.candidates(now) {
            let copied = self.copy(&run, now);
            let mut index = self.index();
            for base in &run {
                index.segments.get_mut(base).into_iter().for_each(|segment| segment.busy = false);
            }
            drop(index);
            copied?;
        }
        self.prepare()
    }

    /// Writes the checkpoint, if there is something new.
    pub(super) fn checkpoint(&self, now: Instant) -> io::Result<()> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = {
            let mut index = self.index();
            rename_damaged(&*self.disk, &mut index);
            for stream in &mut index.streams {
                stream.look(now);
            }
            if !std::mem::take(&mut index.dirty) {
                return Ok(());
            }
            snapshot(&index)
        };
        let written = checkpoint.write(&*self.disk);
        let mut index = self.index();
        match &written {
            Ok(()) => index.listed = checkpoint.finished,
            Err(_) => index.dirty = true,
        }
        written
    }

    /// Removes the files of which nothing is needed; damaged ones are set aside. Only those that the checkpoint names as
    /// finished, unless `all`: it then also says where the files before them end.
    pub(super) fn remove_finished(&self, all: bool) -> io::Result<()> {
        let finished: Vec<_> = {
            let index = self.index();
            let finished = index.segments.values().filter(|segment| segment.is_finished());
            let finished = finished.filter(|segment| all || index.listed.contains(&segment.header.salt));
            finished.map(|segment| (segment.header.base, segment.stem.clone(), segment.name)).collect()
        };
        if finished.is_empty() {
            return Ok(());
        }
        for (_, stem, name) in &finished {
            remove(&*self.disk, stem, *name)?;
            self.index().bad += u32::from(*name == Name::Damaged);
        }
        self.disk.sync()?;
        let mut index = self.index();
        let gone: Vec<_> = finished.iter().filter_map(|(base, ..)| index.forget(*base)).collect();
        // They need not be named as finished any more.
        index.dirty = true;
        drop(index);
        gone.iter().for_each(release);
        Ok(())
    }

    /// Neighbours of which little enough is left that a copy is worth it. They are marked busy.
    fn candidates(&self, now: Instant) -> Option<Vec<u64>> {
        let mut index = self.index();
        let pressed = index.is_pressed();
        let rest = if pressed { REST.1 } else { REST.0 };
        let most = |size: u64| if pressed { size / 10 * 9 } else { size / 2 };
        let fits = |segment: &Segment| {
            let rested = segment.sealed.is_some_and(|sealed| now.saturating_duration_since(sealed) >= rest);
            rested && segment.live > 0 && segment.out == 0 && !segment.damaged && !segment.busy
        };
        let left = |segment: &Segment| DATA + segment.live_bytes.saturating_sub(segment.slack);
        let (mut run, mut size, mut bytes, mut entries, mut worth) = (Vec::new(), 0, DATA, 0, false);
        for (base, segment) in &index.segments {
            let more = left(segment) - DATA;
            let over = bytes + more > index.segment || entries + segment.live > RECORDS;
            if !fits(segment) || (!run.is_empty() && over) {
                if worth {
                    break;
                }
                run.clear();
                (size, bytes, entries) = (0, DATA, 0);
                if !fits(segment) {
                    continue;
                }
            }
            run.push(*base);
            size += segment.size;
            bytes += more;
            entries += segment.live;
            // Many small neighbours become one file, too.
            worth = bytes <= most(size) || (run.len() >= NEIGHBOURS && bytes <= index.segment / 2);
        }
        if !worth {
            return None;
        }
        for base in &run {
            index.segments.get_mut(base).into_iter().for_each(|segment| segment.busy = true);
        }
        Some(run)
    }

    /// Makes one file of what is to do in `run`.
    pub(super) fn copy(&self, run: &[u64], now: Instant) -> io::Result<()> {
        let sources: Vec<_> = {
            let index = self.index();
            let segments = run.iter().filter_map(|base| index.segments.get(base));
            segments
                .map(|segment| (segment.header, segment.synced, Arc::clone(&segment.file), segment.done.clone()))
                .collect()
        };
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(()) };
        let header = Header {
            base: first.0.base,
            end: last.0.end.max(last.0.base + u64::from(last.1.records)).max(last.0.base + 1),
            generation: sources.iter().map(|(header, ..)| header.generation).max().unwrap_or(0) + 1,
            salt: self.salt(),
            before: first.0.before,
        };
        let fresh = format!("{}.tmp", stem(&header));
        let mut copy = Copy::new(&*self.disk, &fresh, header)?;
        let copied = (|| {
            for (header, synced, file, done) in &sources {
                let mut fault = None;
                let scanned = scan::records(&**file, header, Some((*synced, true)), |head, _, bytes| {
                    if !done.has(head.ordinal) && fault.is_none() {
                        let left = self.index().partial.get(&head.seq).cloned();
                        fault = copy.put(head, bytes, left.as_deref()).err();
                    }
                })?;
                if let Some(fault) = fault {
                    return Err(fault);
                }
                if scanned.gaps.iter().any(|gap| gap.records.clone().any(|ordinal| !done.has(ordinal))) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "what is to be copied cannot be read"));
                }
            }
            copy.finish()?;
            self.disk.rename(&fresh, &format!("{}{}", stem(&header), Name::Log.suffix()))?;
            self.disk.sync()
        })();
        if let Err(error) = copied {
            let _ = self.disk.remove(&fresh);
            // Found out by whoever reads it next; not tried again and again.
            let mut index = self.index();
            for base in run {
                index.segments.get_mut(base).into_iter().for_each(|segment| segment.sealed = Some(now));
            }
            return Err(error);
        }
        let old = self.replace(run, header, copy, now);
        info!(files = old.len(), "spool: what is left of old files was moved to one");
        for segment in &old {
            remove(&*self.disk, &segment.stem, segment.name)?;
            self.index().bad += u32::from(segment.name == Name::Damaged);
        }
        self.disk.sync()?;
        old.iter().for_each(release);
        self.checkpoint(now)
    }

    /// Puts a copy into the place of what it was made of, which it returns.
    fn replace(&self, run: &[u64], header: Header, copy: Copy, now: Instant) -> Vec<Segment> {
        let mut index = self.index();
        let mut segment = Segment::new(header, Name::Log, copy.file, u64::from(copy.at.end));
        segment.synced = copy.at;
        segment.sealed = Some(now);
        let old: Vec<_> = run.iter().filter_map(|base| index.forget_for_copy(*base)).collect();
        let mut map = Map::new();
        for (slot, was, names) in copy.slots {
            let seq = header.base + u64::from(slot.delta);
            let Some(from) = old.iter().rev().find(|old| old.header.base <= seq) else { continue };
            let Some(stream) = index.find(&names.0, &names.1) else { continue };
            // It may have been settled while it was copied.
            segment.adopt(from, stream, &slot, was.len, was.ordinal);
            map.entry(stream).or_default().push(slot);
        }
        index.replace(segment, map, &old);
        old
    }
}

/// Gives back what a file takes that has no name any more. The kernel may let no sync of the writer through while it does,
/// so in small parts.
fn release(segment: &Segment) {
    let mut left = if segment.name == Name::Log { segment.size } else { 0 };
    while left > PART {
        left -= PART;
        // At the latest, the end of its last handle does it.
        let _ = segment.file.set_len(left);
        thread::sleep(PAUSE);
    }
}

/// Removes a file that is not needed; a damaged one is set aside.
pub(super) fn remove(disk: &dyn Disk, stem: &str, name: Name) -> io::Result<()> {
    let path = format!("{stem}{}", name.suffix());
    match name {
        Name::Log => disk.remove(&path),
        Name::Damaged | Name::Bad => disk.rename(&path, &format!("{stem}{}", Name::Bad.suffix())),
    }
}

/// What the checkpoint is to say.
fn snapshot(index: &Index) -> Checkpoint {
    let (finished, live): (Vec<_>, Vec<_>) = index.segments.values().partition(|segment| segment.is_finished());
    let seen = |segment: &&Segment| Seen {
        sealed: segment.synced,
        ends: segment.sealed.is_some(),
        done: segment.done.less(&segment.lost),
    };
    let mut partial: Vec<_> = index.partial.iter().map(|(seq, left)| (*seq, left.to_vec())).collect();
    partial.sort_unstable();
    let streams = index.streams.iter().filter(|stream| super::index::parked(stream) > 0);
    Checkpoint {
        next: index
            .segments
            .values()
            .map(|s| s.header.end.max(s.header.base + u64::from(s.synced.records)))
            .max()
            .unwrap_or(index.recovered),
        files: live.iter().map(seen).collect(),
        finished: finished.iter().map(|segment| segment.header.salt).collect(),
        partial,
        parked: streams
            .map(|stream| (stream.client.to_string(), stream.topic.to_string(), super::index::parked(stream)))
            .collect(),
        lost: index.lost,
    }
}

/// A record that was copied: where it is now, its head before, and the names of its stream.
type Copied = (Slot, Head, Arc<(String, String)>);

/// A file that is being made of others.
struct Copy {
    file: Arc<dyn Blob>,
    header: Header,
    at: Sealed,
    buffer: Vec<u8>,
    written: u32,
    slots: Vec<Copied>,
    names: Arc<(String, String)>,
}

impl Copy {
    fn new(disk: &dyn Disk, name: &str, header: Header) -> io::Result<Self> {
        match disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = disk.create(name, DATA)?;
        let at = Sealed { salt: header.salt, end: DATA as u32, ..Sealed::default() };
        let names = Arc::default();
        Ok(Self { file, header, at, buffer: Vec::new(), written: DATA as u32, slots: Vec::new(), names })
    }

    fn put(&mut self, head: &Head, bytes: &[u8], left: Option<&[u32]>) -> io::Result<()> {
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "an entry cannot be read");
        let meta = record::meta(bytes).ok_or_else(unreadable)?;
        if self.names.0 != meta.client || self.names.1 != meta.topic {
            self.names = Arc::new((meta.client.to_owned(), meta.topic.to_owned()));
        }
        let (mut copy, events) = match left {
            None => (bytes.to_vec(), head.events),
            Some(left) => {
                let batch = record::events(&Bytes::copy_from_slice(bytes), Some(left)).ok_or_else(unreadable)?;
                let (client, topic) = (ClientId::from(meta.client), TopicName::from(meta.topic));
                record::encode(&Entry {
                    client: &client,
                    topic: &topic,
                    request: meta.request,
                    ids: meta.ids,
                    received: meta.received,
                    batch: &batch,
                    places: None,
                })
            }
        };
        let len = copy.len() as u32;
        let sealed =
            Head { len, seq: head.seq, ordinal: self.at.records, durable: DATA as u32, before: self.at.events, events };
        sealed.seal(&mut copy, self.header.salt);
        let delta = (head.seq - self.header.base) as u32;
        let slot = Slot { delta, ordinal: self.at.records, offset: self.at.end, len };
        self.slots.push((slot, *head, Arc::clone(&self.names)));
        self.buffer.extend_from_slice(&copy);
        self.buffer.resize(Head::padded(self.buffer.len()), 0);
        self.at.end = self.written + self.buffer.len() as u32;
        self.at.records += 1;
        self.at.events += events;
        if self.buffer.len() >= SLICE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written.into())?;
        self.file.sync()?;
        self.written += self.buffer.len() as u32;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let header = self.header.encode();
        self.file.write_at(&header, 0)?;
        self.file.write_at(&header, COPY)?;
        self.flush()
    }
}

/// Says that a round failed, once in a while.
pub(super) fn failed(error: &io::Error) {
    warn!(%error, "spool: the checkpoint or the removal of files failed; it is tried again");
}
