//! What waits, in memory: streams, their accounts, and which entries of which file are done. No file is touched here.
//!
//! Bounded: for an entry on disk two bits, and 16 bytes while its file is one of the few that were looked at last; for
//! a stream and each file that it has entries in, some 30 bytes. A file's map is had again by reading the file.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::disk::Blob;
use super::format::{DATA, Head, Header, Sealed};
use super::segment::{Segment, Slot};
use super::{Full, Key, Refusal, Settings, State};
use crate::event::{ClientId, TopicName};

mod files;
mod lanes;
mod queue;

pub(super) use queue::{Group, Pending};

/// The slots of all maps in memory together, 16 bytes each, beside those of the file that is written.
const SLOTS: usize = 1 << 20;
/// How long a stream may stand still before it counts as parked, and how long then passes between attempts.
pub(super) const STALLED: Duration = Duration::from_secs(60);
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Until a file that is being copied is looked at again.
const BUSY: Duration = Duration::from_millis(20);

/// The ordinary lane of a stream, and that of its parked entries.
pub(super) const LANES: [usize; 2] = [ORDINARY, PARKED];
pub(super) const ORDINARY: usize = 0;
pub(super) const PARKED: usize = 1;

/// Whether entries are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// No file can be made: the disk is full.
    Full,
    /// No file can be made, or the last one could not be synced.
    Broken,
    Closed,
}

/// Sizes and counts of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub entries: u64,
    pub events: u64,
    pub bytes: u64,
}

impl Sums {
    fn add(&mut self, events: u32, bytes: u32) {
        self.entries += 1;
        self.events += u64::from(events);
        self.bytes += u64::from(bytes);
    }

    fn take(&mut self, events: u32, bytes: u32) {
        self.entries = self.entries.saturating_sub(1);
        self.events = self.events.saturating_sub(events.into());
        self.bytes = self.bytes.saturating_sub(bytes.into());
    }
}

/// When the next entries of a lane are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There are none.
    Idle,
    Ready,
    Paused(Instant),
    /// Somebody has some.
    Out,
}

#[derive(Debug)]
struct Lane {
    turn: Turn,
    /// What comes before it is done, or out of this lane.
    from: u64,
    /// What comes before it was handed out before.
    high: u64,
    /// Entries in somebody's hands.
    out: u32,
    /// Whether one of those was kept.
    kept: bool,
}

/// What a stream has in one file.
#[derive(Debug, Default)]
struct Part {
    /// Entries to do, by lane.
    todo: [u32; 2],
    /// When the first was received, in seconds since the epoch.
    first: u32,
}

/// The events of one client for one topic.
pub(super) struct Stream {
    pub client: ClientId,
    pub topic: TopicName,
    accounts: [usize; 2],
    /// All that waits, what is queued for the writer included.
    pub sums: Sums,
    /// What of it is parked.
    pub parked: Sums,
    parts: BTreeMap<u64, Part>,
    lanes: [Lane; 2],
    /// When it last moved.
    moved: Instant,
    pause: Duration,
    /// Not moved for a minute.
    pub stalled: bool,
    /// When the last entry that was handed out was received.
    front: u32,
}

impl Stream {
    /// Whether it stands still.
    pub(super) fn look(&mut self, now: Instant) {
        let waits = self.sums.entries > self.parked.entries;
        if !waits {
            self.stalled = false;
        }
        // Since when it waits is not known better than by its pauses: with none it has not been tried.
        if waits && !self.pause.is_zero() && now.saturating_duration_since(self.moved) >= STALLED {
            self.stalled = true;
        }
    }

    /// When the oldest of its entries was received, in seconds since the epoch. May be early by what the writing of one
    /// file takes.
    pub(super) fn oldest(&self) -> Option<u32> {
        let first = self.parts.values().next()?.first;
        Some(if self.parked.entries == 0 { first.max(self.front) } else { first })
    }
}

/// An entry in somebody's hands.
#[derive(Debug)]
struct Out {
    stream: u32,
    lane: usize,
    base: u64,
    ordinal: u32,
    bytes: u32,
    /// Those still to do.
    events: u32,
}

/// What to read next for a lane.
pub(super) enum Plan {
    /// This file's map is needed first.
    Load(u64, Arc<dyn Blob>, Header, Sealed),
    Take(Vec<Taken>),
    Nothing,
}

/// An entry to be read and handed out.
pub(super) struct Taken {
    pub seq: u64,
    pub file: Arc<dyn Blob>,
    pub salt: u64,
    pub slot: Slot,
    pub left: Option<Box<[u32]>>,
    pub again: bool,
}

/// See the module.
pub(super) struct Index {
    total: u64,
    shares: [u64; 2],
    max_age: u32,
    pub segment: u64,
    pub health: Health,
    clients: HashMap<ClientId, (usize, HashMap<TopicName, u32>)>,
    topics: HashMap<TopicName, usize>,
    /// Bytes by client, and by topic.
    accounts: [Vec<u64>; 2],
    pub streams: Vec<Stream>,
    pub segments: BTreeMap<u64, Segment>,
    /// What the files take.
    pub disk: u64,
    /// What the file ahead takes besides.
    pub spare: u64,
    /// What the writer can still put into its file.
    pub room: u64,
    pub sums: Sums,
    pub queue: VecDeque<Pending>,
    pub queued: u64,
    ready: VecDeque<(u32, usize)>,
    paused: BTreeSet<(Instant, u32, usize)>,
    out: HashMap<u64, Out>,
    /// Of entries of which some events are settled, those that are not.
    pub partial: HashMap<u64, Box<[u32]>>,
    /// Withdrawn, and not yet found: which, and how many events.
    withdrawn: HashMap<u64, u32>,
    /// What comes before it may have been sent in an earlier life.
    pub recovered: u64,
    clock: u64,
    /// Events found unreadable, and how many damaged files are out of use.
    pub lost: u64,
    pub bad: u32,
    /// The salts of the files that the checkpoint says are finished.
    pub listed: Vec<u64>,
    /// Whether there is something that the checkpoint does not say.
    pub dirty: bool,
}

impl Index {
    pub(super) fn new(settings: &Settings) -> Self {
        let share = |percent: crate::units::Percent| percent.of(settings.total);
        Self {
            total: settings.total,
            shares: [share(settings.client_share), share(settings.topic_share)],
            max_age: u32::try_from(settings.max_age.as_secs()).unwrap_or(u32::MAX).max(1),
            segment: settings.segment,
            health: Health::Broken,
            clients: HashMap::new(),
            topics: HashMap::new(),
            accounts: [Vec::new(), Vec::new()],
            streams: Vec::new(),
            segments: BTreeMap::new(),
            disk: 0,
            spare: 0,
            room: 0,
            sums: Sums::default(),
            queue: VecDeque::new(),
            queued: 0,
            ready: VecDeque::new(),
            paused: BTreeSet::new(),
            out: HashMap::new(),
            partial: HashMap::new(),
            withdrawn: HashMap::new(),
            recovered: 0,
            clock: 0,
            lost: 0,
            bad: 0,
            listed: Vec::new(),
            dirty: false,
        }
    }

    /// The stream of the two names, if there ever was one.
    pub(super) fn find(&self, client: &str, topic: &str) -> Option<u32> {
        self.clients.get(client)?.1.get(topic).copied()
    }

    /// The stream of the two names.
    pub(super) fn stream(&mut self, client: &ClientId, topic: &TopicName, now: Instant) -> u32 {
        if let Some(stream) = self.find(client.as_str(), topic.as_str()) {
            return stream;
        }
        let Self { clients, topics, accounts: [of_client, of_topic], streams, .. } = self;
        let fresh = |sums: &mut Vec<u64>| {
            sums.push(0);
            sums.len() - 1
        };
        let stream = streams.len() as u32;
        let (client_account, of) = clients.entry(client.clone()).or_insert_with(|| (fresh(of_client), HashMap::new()));
        of.insert(topic.clone(), stream);
        let topic_account = *topics.entry(topic.clone()).or_insert_with(|| fresh(of_topic));
        let lane = || Lane { turn: Turn::Idle, from: 0, high: 0, out: 0, kept: false };
        streams.push(Stream {
            client: client.clone(),
            topic: topic.clone(),
            accounts: [*client_account, topic_account],
            sums: Sums::default(),
            parked: Sums::default(),
            parts: BTreeMap::new(),
            lanes: [lane(), lane()],
            moved: now,
            pause: Duration::ZERO,
            stalled: false,
            front: 0,
        });
        stream
    }

    /// Whether an entry of so many bytes may be queued.
    pub(super) fn admit(&self, stream: u32, len: usize, at: u32) -> Result<(), Refusal> {
        match self.health {
            Health::Good => {}
            Health::Full => return Err(Refusal::Full(Full::Total)),
            Health::Broken | Health::Closed => return Err(Refusal::Broken),
        }
        let Some(known) = self.streams.get(stream as usize) else { return Err(Refusal::Broken) };
        let len = Head::padded(len) as u64;
        if known.oldest().is_some_and(|oldest| at.saturating_sub(oldest) >= self.max_age) {
            return Err(Refusal::Full(Full::Age));
        }
        let held = |of: usize| known.accounts.get(of).and_then(|at| self.accounts.get(of)?.get(*at)).copied();
        for (of, full) in [Full::Client, Full::Topic].into_iter().enumerate() {
            if held(of).unwrap_or(0) + len > self.shares.get(of).copied().unwrap_or(0) {
                return Err(Refusal::Full(full));
            }
        }
        if self.fits(len) { Ok(()) } else { Err(Refusal::Full(Full::Total)) }
    }

    /// Whether so many bytes more have a place. One file's size is kept back for copies.
    pub(super) fn fits(&self, len: u64) -> bool {
        let files = self.total.saturating_sub(self.disk + self.segment) / self.segment;
        self.queued + len <= self.room + files * (self.segment - DATA)
    }

    /// Whether one more file of `size` may be made.
    pub(super) fn may_grow(&self, size: u64) -> bool {
        self.disk + size + self.segment <= self.total
    }

    fn count(&mut self, stream: u32, events: u32, bytes: u32) {
        let Self { streams, accounts, sums, .. } = self;
        sums.add(events, bytes);
        let Some(stream) = streams.get_mut(stream as usize) else { return };
        stream.sums.add(events, bytes);
        for (account, at) in accounts.iter_mut().zip(stream.accounts) {
            account.get_mut(at).into_iter().for_each(|sum| *sum += u64::from(bytes));
        }
    }

    fn discount(&mut self, stream: u32, events: u32, bytes: u32) {
        let Self { streams, accounts, sums, .. } = self;
        sums.take(events, bytes);
        let Some(stream) = streams.get_mut(stream as usize) else { return };
        stream.sums.take(events, bytes);
        for (account, at) in accounts.iter_mut().zip(stream.accounts) {
            account.get_mut(at).into_iter().for_each(|sum| *sum = sum.saturating_sub(bytes.into()));
        }
    }

    /// An entry is on disk and counted. `slot` is where.
    pub(super) fn insert(&mut self, base: u64, stream: u32, slot: Slot, at: u32) -> Option<()> {
        let Self { segments, streams, .. } = self;
        let segment = segments.get_mut(&base)?;
        segment.live += 1;
        segment.live_bytes += u64::from(padded(slot.len));
        if let Some(map) = &mut segment.map {
            map.entry(stream).or_default().push(slot);
        }
        let known = streams.get_mut(stream as usize)?;
        let part = known.parts.entry(base).or_insert_with(|| Part { first: at, ..Part::default() });
        *part.todo.get_mut(ORDINARY)? += 1;
        if known.lanes.get(ORDINARY)?.turn == Turn::Idle {
            // It stood still for want of entries.
            known.pause = Duration::ZERO;
            self.make_ready(stream, ORDINARY);
        }
        Some(())
    }

    /// An entry found at recovery.
    pub(super) fn recover(&mut self, base: u64, stream: u32, slot: Slot, events: u32, at: u32) {
        self.count(stream, events, padded(slot.len));
        self.insert(base, stream, slot, at);
    }

    /// Of the entry `seq` only these events are still to do. Before anybody has it.
    pub(super) fn reduce(&mut self, stream: u32, seq: u64, events: u32, left: Box<[u32]>) {
        let settled = u64::from(events.saturating_sub(left.len() as u32));
        self.sums.events = self.sums.events.saturating_sub(settled);
        if let Some(stream) = self.streams.get_mut(stream as usize) {
            stream.sums.events = stream.sums.events.saturating_sub(settled);
        }
        self.partial.insert(seq, left);
    }

    /// Marks an entry done and takes it out of all sums.
    fn settle(&mut self, base: u64, ordinal: u32, stream: u32, events: u32, bytes: u32) {
        let Some(segment) = self.segments.get_mut(&base) else { return };
        if !segment.done.set(ordinal) {
            return;
        }
        self.dirty = true;
        segment.live = segment.live.saturating_sub(1);
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes.into());
        let parked = segment.parked.has(ordinal);
        segment.parked.unset(ordinal);
        if let Some(known) = self.streams.get_mut(stream as usize) {
            if parked {
                known.parked.take(events, bytes);
            }
            if let Some(part) = known.parts.get_mut(&base) {
                let todo = if parked { &mut part.todo[PARKED] } else { &mut part.todo[ORDINARY] };
                *todo = todo.saturating_sub(1);
                if part.todo == [0, 0] {
                    known.parts.remove(&base);
                }
            }
        }
        self.discount(stream, events, bytes);
    }

    /// See [`super::Spool::withdraw`].
    pub(super) fn withdraw(&mut self, key: Key) {
        if self.out.contains_key(&key.seq) {
            return;
        }
        let Some((base, segment)) = self.segments.range(..=key.seq).next_back() else { return };
        let base = *base;
        let events = self.partial.get(&key.seq).map_or(key.events, |left| left.len() as u32);
        match segment.ordinal(key.stream, key.seq) {
            Some(ordinal) if ordinal < segment.synced.records => {
                self.settle(base, ordinal, key.stream, events, key.bytes);
            }
            // Finished and gone.
            Some(_) => {}
            None if key.seq < segment.header.end => {
                self.withdrawn.insert(key.seq, events);
            }
            None => {}
        }
    }

    /// Whether a stream has entries that wait in their order.
    pub(super) fn holds(&self, client: &ClientId, topic: &TopicName) -> bool {
        let stream = self.find(client.as_str(), topic.as_str()).and_then(|stream| self.streams.get(stream as usize));
        stream.is_some_and(|stream| stream.sums.entries > stream.parked.entries)
    }

    pub(super) fn state(&self, now: SystemTime) -> State {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()) as u32;
        let oldest = self.streams.iter().filter_map(Stream::oldest).min();
        State {
            entries: self.sums.entries,
            events: self.sums.events,
            bytes: self.sums.bytes,
            disk: self.disk + self.spare,
            oldest: oldest.map(|oldest| Duration::from_secs(now.saturating_sub(oldest).into())),
            parked: self.streams.iter().map(parked).sum(),
            quarantined: self.bad + self.segments.values().filter(|segment| segment.damaged).count() as u32,
            lost: self.lost,
            room: self.health == Health::Good && self.fits(1 << 20),
        }
    }
}

/// What a record of `len` bytes takes.
fn padded(len: u32) -> u32 {
    Head::padded(len as usize) as u32
}

/// The events of a stream that are tried once a minute alone.
pub(super) fn parked(stream: &Stream) -> u64 {
    if stream.stalled { stream.sums.events } else { stream.parked.events }
}
