//! The spool without its threads: each step is a call, and time, randomness and the file system are parameters.
//!
//! Three may work at once: whoever appends and drains (the index alone), the writer (`commit`), the keeper (`tidy`).
//! The index is never locked while a file is touched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::disk::{Blob, Disk, is_full};
use super::format::{COPY, DATA, Head, Header, Sealed, is_whole};
use super::index::{Group, Health, Index, Pending, Plan, Taken};
use super::segment::{Map, Name, Segment, Slot};
use super::spare::Spare;
use super::{Entry, Full, Key, Receipt, Refusal, Settings, Stored, Wave, record, scan};

/// The most that is written at once, unless one entry is larger.
const GROUP: u64 = 4 << 20;
/// The most entries of a file, so that its map is bounded.
pub(super) const RECORDS: u32 = 1 << 17;
/// Between attempts to make a file.
const RETRY: Duration = Duration::from_secs(1);
/// What is read at once of entries that lie behind one another.
const SPAN: u32 = 256 << 10;

/// See the module.
pub(super) struct Store {
    pub disk: Arc<dyn Disk>,
    pub settings: Settings,
    // std Mutexes: none is held across an await.
    pub index: Mutex<Index>,
    pub writer: Mutex<Writer>,
    /// Held while a checkpoint is written: the writer does so at its start, else the keeper.
    pub saving: Mutex<()>,
    pub spare: Mutex<Spare>,
    /// Gives salts.
    random: Mutex<Random>,
}

/// A source of random numbers.
pub(super) type Random = Box<dyn FnMut() -> u64 + Send>;

/// What appends to the log.
#[derive(Default)]
pub(super) struct Writer {
    active: Option<Active>,
    /// The next sequence number.
    next: u64,
    /// The file before, and where it ends.
    before: Sealed,
    buffer: Vec<u8>,
    /// No file is made before.
    retry: Option<Instant>,
    /// What recovery found is not in the checkpoint yet.
    fresh: bool,
}

/// The file that is appended to.
struct Active {
    base: u64,
    file: Arc<dyn Blob>,
    size: u64,
    synced: Sealed,
}

impl Writer {
    /// One that goes on from `next`, behind the file `before`.
    pub(super) fn after(next: u64, before: Sealed) -> Self {
        Self { next, before, fresh: true, ..Self::default() }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(disk: Arc<dyn Disk>, settings: Settings, random: Random, index: Index, writer: Writer) -> Self {
        Self {
            disk,
            settings,
            index: Mutex::new(index),
            writer: Mutex::new(writer),
            saving: Mutex::new(()),
            spare: Mutex::default(),
            random: Mutex::new(random),
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    pub(super) fn salt(&self) -> u64 {
        (lock(&self.random))().max(1)
    }

    /// See [`super::Spool::append`].
    pub(super) fn append(&self, entry: &Entry<'_>, now: Instant) -> Result<Receipt, Refusal> {
        let (record, events) = record::encode(entry);
        let at = record::seconds(entry.received);
        let (tell, receipt) = oneshot::channel();
        let mut index = self.index();
        let stream = index.stream(entry.client, entry.topic, now);
        index.admit(stream, record.len(), at)?;
        index.push(Pending { stream, record, events, at, tell });
        Ok(Receipt(receipt))
    }

    /// Writes a part of what is queued and syncs it, or makes a file for it; whether there may be more to do.
    pub(super) fn commit(&self, now: Instant) -> bool {
        let mut writer = lock(&self.writer);
        let Some(active) = &writer.active else {
            return writer.retry.is_none_or(|retry| now >= retry) && self.rotate(&mut writer, 0, now);
        };
        let (room, records) =
            (active.size - u64::from(active.synced.end), RECORDS.saturating_sub(active.synced.records));
        // One lock for both: what is in neither the queue nor the index must not be seen.
        let group = self.index().group(room, records, GROUP);
        match group {
            Group::Empty => false,
            Group::Rotate(size) => {
                self.rotate(&mut writer, size, now);
                self.want_spare();
                true
            }
            Group::Take(group) => {
                self.write(&mut writer, group, now);
                true
            }
        }
    }

    fn write(&self, writer: &mut Writer, group: Vec<Pending>, now: Instant) {
        let Writer { active: Some(active), next, buffer, .. } = &mut *writer else { return };
        let first = *next;
        let start = active.synced;
        let mut at = start;
        let mut slots = Vec::with_capacity(group.len());
        buffer.clear();
        let mut group = group;
        for pending in &mut group {
            let len = pending.record.len() as u32;
            let head = Head {
                len,
                seq: *next,
                ordinal: at.records,
                durable: start.end,
                before: at.events,
                events: pending.events,
            };
            head.seal(&mut pending.record, at.salt);
            slots.push(Slot { delta: (*next - active.base) as u32, ordinal: at.records, offset: at.end, len });
            buffer.extend_from_slice(&pending.record);
            buffer.resize(Head::padded(buffer.len()), 0);
            at.end = start.end + buffer.len() as u32;
            at.records += 1;
            at.events += pending.events;
            *next += 1;
        }
        let begun = Instant::now();
        let wrote = active.file.write_at(buffer, start.end.into()).and_then(|()| active.file.sync());
        (self.settings.synced)(begun.elapsed());
        if let Err(error) = wrote {
            warn!(%error, entries = group.len(), "spool: a write failed; its file is given up");
            self.fail(writer, group, &error, now);
            return;
        }
        active.synced = at;
        let (base, size) = (active.base, active.size);
        let mut index = self.index();
        if let Some(segment) = index.segments.get_mut(&base) {
            segment.synced = at;
        }
        index.room = size - u64::from(at.end);
        index.queued = index.queued.saturating_sub((at.end - start.end).into());
        index.dirty = true;
        let mut keys = Vec::with_capacity(group.len());
        for ((seq, pending), slot) in (first..).zip(&group).zip(slots) {
            index.insert(base, pending.stream, slot, pending.at);
            keys.push(Key {
                seq,
                stream: pending.stream,
                bytes: Head::padded(slot.len as usize) as u32,
                events: pending.events,
            });
        }
        drop(index);
        for (pending, key) in group.into_iter().zip(keys) {
            // Nobody may be waiting any more.
            let _ = pending.tell.send(Ok(key));
        }
    }

    /// A write or its sync failed: nothing more goes to this file, and what it holds beyond the last good sync must
    /// not come back. A new file that says so is tried before anybody is told.
    fn fail(&self, writer: &mut Writer, group: Vec<Pending>, error: &std::io::Error, now: Instant) {
        if let Some(active) = &writer.active {
            // As good as it goes. That the records are void is also in the header of the next file and in the checkpoint.
            let _ = active.file.set_len(active.synced.end.into()).and_then(|()| active.file.sync());
        }
        self.seal(writer, now);
        self.rotate(writer, 0, now);
        let refusal = if is_full(error) { Refusal::Full(Full::Total) } else { Refusal::Broken };
        let mut index = self.index();
        group.iter().for_each(|pending| index.refused(pending));
        drop(index);
        for pending in group {
            let _ = pending.tell.send(Err(refusal));
        }
    }

    /// The last that the writer does.
    pub(super) fn retire(&self, now: Instant) {
        self.seal(&mut lock(&self.writer), now);
        self.drop_spare();
    }

    /// Ends the file that is appended to.
    pub(super) fn seal(&self, writer: &mut Writer, now: Instant) {
        let Some(active) = writer.active.take() else { return };
        writer.before = active.synced;
        // What was allocated and not used is given back.
        let cut = active.file.set_len(active.synced.end.into());
        let mut index = self.index();
        index.room = 0;
        index.dirty = true;
        let Some(segment) = index.segments.get_mut(&active.base) else { return };
        segment.sealed = Some(now);
        if cut.is_ok() {
            let saved = segment.size.saturating_sub(active.synced.end.into());
            segment.size -= saved;
            index.disk -= saved;
        }
    }

    /// Ends the file that is appended to and makes the next one, with room for an entry of `need` bytes. Whether it could;
    /// if not, all that waits is refused.
    fn rotate(&self, writer: &mut Writer, need: u64, now: Instant) -> bool {
        let size = self.settings.segment.max(DATA + need);
        if !self.index().may_grow(size) {
            // Where there is a file, smaller entries may still fit.
            self.refuse_all(Refusal::Full(Full::Total), writer.active.is_none().then_some(Health::Full));
            writer.retry = Some(now + RETRY);
            return false;
        }
        self.seal(writer, now);
        // No two files ever have the same base.
        writer.next += 1;
        let header = Header { base: writer.next, end: 0, generation: 0, salt: self.salt(), before: writer.before };
        // Once there is a newer file, what a crash left behind the last sync of the one before would look like damage,
        // but for what the checkpoint says.
        let noted = if writer.fresh { self.checkpoint(now) } else { Ok(()) };
        writer.fresh &= noted.is_err();
        match noted.and_then(|()| self.make(&header, size)) {
            Ok(file) => {
                let mut segment = Segment::new(header, Name::Log, Arc::clone(&file), size);
                segment.map = Some(Map::new());
                segment.synced.end = DATA as u32;
                let synced = segment.synced;
                writer.active = Some(Active { base: header.base, file, size, synced });
                writer.retry = None;
                let mut index = self.index();
                index.segments.insert(header.base, segment);
                index.disk += size;
                index.room = size - DATA;
                index.health = if index.health == Health::Closed { Health::Closed } else { Health::Good };
                true
            }
            Err(error) => {
                if self.index().health == Health::Good {
                    error!(%error, "spool: no file can be made; events are refused until one can");
                }
                writer.retry = Some(now + RETRY);
                let (refusal, health) = match is_full(&error) {
                    true => (Refusal::Full(Full::Total), Health::Full),
                    false => (Refusal::Broken, Health::Broken),
                };
                self.refuse_all(refusal, Some(health));
                false
            }
        }
    }

    fn make(&self, header: &Header, size: u64) -> std::io::Result<Arc<dyn Blob>> {
        let name = format!("{}{}", super::segment::stem(header), Name::Log.suffix());
        let ahead = self.take_spare(size);
        let made = ahead.as_ref().map_or_else(|| self.disk.create(&name, size), |ahead| Ok(Arc::clone(&ahead.file)));
        let made = made.and_then(|file| {
            let bytes = header.encode();
            file.write_at(&bytes, 0)?;
            file.write_at(&bytes, COPY)?;
            file.sync()?;
            if let Some(ahead) = &ahead {
                self.disk.rename(&ahead.name, &name)?;
            }
            self.disk.sync()?;
            Ok(file)
        });
        if made.is_err() {
            // They may not even be there; what is left is removed by the next start.
            let _ = self.disk.remove(&name);
            ahead.into_iter().for_each(|ahead| drop(self.disk.remove(&ahead.name)));
        }
        made
    }

    /// Refuses all that is queued.
    pub(super) fn refuse_all(&self, refusal: Refusal, health: Option<Health>) {
        let mut index = self.index();
        if let Some(health) = health
            && index.health != Health::Closed
        {
            index.health = health;
        }
        let queue = index.empty_queue();
        drop(index);
        for pending in queue {
            let _ = pending.tell.send(Err(refusal));
        }
    }

    /// The next entries of the lane, which was picked; `None` if there are none after all. Reads files.
    pub(super) fn fill(&self, stream: u32, lane: usize, bytes: usize, now: Instant) -> Option<Wave> {
        loop {
            let plan = self.index().plan(stream, lane, bytes, now);
            match plan {
                Plan::Nothing => return None,
                Plan::Load(base, file, header, synced) => self.load(base, &*file, &header, synced),
                // Where none of them can be read, the lane is ready again.
                Plan::Take(taken) => return self.read(stream, lane, &taken, now),
            }
        }
    }

    /// Reads a file for its map.
    pub(super) fn load(&self, base: u64, file: &dyn Blob, header: &Header, synced: Sealed) {
        let mut map = Map::new();
        let (mut last, mut stream) = ((String::new(), String::new()), None);
        let scanned = scan::records(file, header, Some((synced, true)), |head, offset, bytes| {
            let Some(meta) = record::meta(bytes) else { return };
            // Most often that of the record before.
            if stream.is_none() || last.0 != meta.client || last.1 != meta.topic {
                stream = self.index().find(meta.client, meta.topic);
                last = (meta.client.to_owned(), meta.topic.to_owned());
            }
            let Some(stream) = stream else { return };
            let delta = (head.seq - header.base) as u32;
            map.entry(stream).or_default().push(Slot { delta, ordinal: head.ordinal, offset, len: head.len });
        });
        let mut index = self.index();
        index.install(base, header.salt, map);
        match scanned {
            Ok(scanned) => index.lose_unmapped(base, header.salt, &scanned.gaps),
            Err(error) => warn!(%error, "spool: a file cannot be read"),
        }
    }

    /// Reads entries. Those that cannot be read are lost.
    fn read(&self, stream: u32, lane: usize, taken: &[Taken], now: Instant) -> Option<Wave> {
        let records = read_records(taken);
        let mut entries = Vec::with_capacity(taken.len());
        let mut lost = Vec::new();
        for (taken, record) in taken.iter().zip(records) {
            match record.and_then(|record| stored(taken, stream, &record)) {
                Some(entry) => entries.push(entry),
                None => lost.push((taken, self.events_of(taken))),
            }
        }
        let mut index = self.index();
        for entry in &entries {
            index.handed(entry.key.seq, entry.batch.events.len() as u32, record::seconds(entry.received));
        }
        for (taken, events) in lost {
            let file = index.segments.range(..=taken.seq).next_back().map(|(_, segment)| segment.path());
            error!(file, offset = taken.slot.offset, events, "spool: an entry cannot be read and is lost");
            index.lose(taken.seq, events, now);
        }
        let known = index.streams.get(stream as usize)?;
        let (client, topic) = (known.client.clone(), known.topic.clone());
        (!entries.is_empty()).then_some(Wave { client, topic, entries, parked: lane == super::index::PARKED })
    }

    /// How many events an entry has that cannot be read, at most, from what is around it.
    fn events_of(&self, taken: &Taken) -> u32 {
        if let Some(left) = &taken.left {
            return left.len() as u32;
        }
        let known = {
            let index = self.index();
            let segment = index.segments.range(..=taken.seq).next_back().map(|(_, segment)| segment);
            segment.map(|segment| (segment.header, segment.synced))
        };
        let Some((header, synced)) = known else { return 0 };
        let Ok(scanned) = scan::records(&*taken.file, &header, Some((synced, true)), |_, _, _| {}) else { return 1 };
        let gap = scanned.gaps.iter().find(|gap| gap.records.contains(&taken.slot.ordinal));
        // Each of the others in the gap has one at least.
        gap.map_or(1, |gap| (gap.events + 1).saturating_sub(gap.records.len() as u32).max(1))
    }
}

/// The bytes of entries; `None` for one that is not whole. Neighbours are read together.
fn read_records(taken: &[Taken]) -> Vec<Option<Bytes>> {
    let mut records = Vec::with_capacity(taken.len());
    let near = |a: &Taken, b: &Taken| {
        a.salt == b.salt && b.slot.offset == a.slot.offset + Head::padded(a.slot.len as usize) as u32
    };
    for run in taken.chunk_by(near) {
        let mut rest = run;
        while let Some(first) = rest.first() {
            let start = first.slot.offset;
            let fits = |one: &Taken| one.slot.offset - start + one.slot.len <= SPAN;
            let count = rest.iter().take_while(|one| fits(one)).count().max(1);
            let Some((span, more)) = rest.split_at_checked(count) else { break };
            rest = more;
            let end = span.last().map_or(start, |last| last.slot.offset + last.slot.len);
            let mut bytes = vec![0; (end - start) as usize];
            let read = first.file.read_at(&mut bytes, start.into());
            bytes.truncate(read.unwrap_or(0));
            let bytes = Bytes::from(bytes);
            for one in span {
                let (from, to) =
                    ((one.slot.offset - start) as usize, (one.slot.offset - start + one.slot.len) as usize);
                let whole = bytes.get(from..to).is_some_and(|record| {
                    is_whole(record, one.salt) && Head::parse(record).is_some_and(|head| head.seq == one.seq)
                });
                records.push(whole.then(|| bytes.slice(from..to)));
            }
        }
    }
    records
}

fn stored(taken: &Taken, stream: u32, bytes: &Bytes) -> Option<Stored> {
    let meta = record::meta(bytes)?;
    let batch = record::events(bytes, taken.left.as_deref())?;
    let key = Key {
        seq: taken.seq,
        stream,
        bytes: Head::padded(taken.slot.len as usize) as u32,
        events: batch.events.len() as u32,
    };
    Some(Stored { key, request: meta.request, ids: meta.ids, received: meta.received, batch, again: taken.again })
}
