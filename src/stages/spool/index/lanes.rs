//! Whose turn it is, what is handed out, and what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{BUSY, Index, Lane, ORDINARY, Out, PARKED, PAUSE, Plan, STALLED, Stream, Taken, Turn, padded};

impl Index {
    pub(super) fn lane(&mut self, stream: u32, lane: usize) -> Option<&mut Lane> {
        self.streams.get_mut(stream as usize)?.lanes.get_mut(lane)
    }

    pub(super) fn make_ready(&mut self, stream: u32, lane: usize) {
        self.unpause(stream, lane);
        if let Some(known) = self.lane(stream, lane) {
            known.turn = Turn::Ready;
            self.ready.push_back((stream, lane));
        }
    }

    pub(super) fn unpause(&mut self, stream: u32, lane: usize) {
        if let Some(Turn::Paused(until)) = self.lane(stream, lane).map(|lane| lane.turn) {
            self.paused.remove(&(until, stream, lane));
        }
    }

    pub(super) fn make_paused(&mut self, stream: u32, lane: usize, until: Instant) {
        self.unpause(stream, lane);
        if let Some(known) = self.lane(stream, lane) {
            known.turn = Turn::Paused(until);
            self.paused.insert((until, stream, lane));
        }
    }

    /// The lane whose turn it is, or when it will be the next one's.
    pub(in super::super) fn pick(&mut self, now: Instant) -> Result<(u32, usize), Option<Instant>> {
        while let Some(&(until, stream, lane)) = self.paused.first() {
            if until > now {
                break;
            }
            self.make_ready(stream, lane);
        }
        if let Some((stream, lane)) = self.ready.pop_front() {
            if let Some(known) = self.lane(stream, lane) {
                known.turn = Turn::Out;
            }
            return Ok((stream, lane));
        }
        Err(self.paused.first().map(|(until, ..)| *until))
    }

    /// Whether a lane waits for its time.
    pub(in super::super) fn waits(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Whether another lane is ready.
    pub(in super::super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What of a lane that was picked is to be read: some `bytes`, one entry at least.
    pub(in super::super) fn plan(&mut self, stream: u32, lane: usize, bytes: usize, now: Instant) -> Plan {
        self.clock += 1;
        let Self { streams, segments, partial, withdrawn, out, clock, recovered, .. } = self;
        let Some(known) = streams.get_mut(stream as usize) else { return Plan::Nothing };
        let Stream { parts, lanes, .. } = known;
        let Some(cursor) = lanes.get_mut(lane) else { return Plan::Nothing };
        let first = segments.range(..=cursor.from).next_back().map_or(0, |(base, _)| *base);
        let mut taken = Vec::new();
        let mut gone = Vec::new();
        let (mut size, mut wait) = (0, false);
        'files: for (base, part) in parts.range(first..) {
            if part.todo.get(lane).is_none_or(|todo| *todo == 0) {
                continue;
            }
            let Some(segment) = segments.get_mut(base) else { continue };
            if segment.busy {
                wait = taken.is_empty();
                break;
            }
            segment.used = *clock;
            let Some(map) = &segment.map else {
                if taken.is_empty() && gone.is_empty() {
                    return Plan::Load(*base, Arc::clone(&segment.file), segment.header, segment.synced);
                }
                break;
            };
            let slots = map.get(&stream).map(Vec::as_slice).unwrap_or_default();
            let start = slots.partition_point(|slot| base + u64::from(slot.delta) < cursor.from);
            for slot in slots.get(start..).unwrap_or_default() {
                let seq = base + u64::from(slot.delta);
                if segment.done.has(slot.ordinal) || segment.parked.has(slot.ordinal) != (lane == PARKED) {
                    continue;
                }
                if let Some(events) = withdrawn.remove(&seq) {
                    gone.push((*base, slot.ordinal, events, padded(slot.len)));
                    continue;
                }
                size += slot.len as usize;
                if size > bytes && !taken.is_empty() {
                    break 'files;
                }
                let left = partial.get(&seq).cloned();
                let again = lane == PARKED || seq < (*recovered).max(cursor.high);
                let (file, salt) = (Arc::clone(&segment.file), segment.header.salt);
                segment.out += 1;
                let held = Out { stream, lane, base: *base, ordinal: slot.ordinal, bytes: padded(slot.len), events: 0 };
                out.insert(seq, held);
                taken.push(Taken { seq, file, salt, slot: *slot, left, again });
            }
        }
        if let Some(last) = taken.last() {
            cursor.out = taken.len() as u32;
            cursor.from = last.seq + 1;
            cursor.high = cursor.high.max(cursor.from);
            cursor.kept = false;
        }
        for (base, ordinal, events, bytes) in &gone {
            self.settle(*base, *ordinal, stream, *events, *bytes);
        }
        match (taken.is_empty(), wait, gone.is_empty()) {
            (false, ..) => return Plan::Take(taken),
            (true, true, _) => self.make_paused(stream, lane, now + BUSY),
            (true, false, false) => self.make_ready(stream, lane),
            (true, false, true) => self.finish_pass(stream, lane, now),
        }
        Plan::Nothing
    }

    /// There is nothing more behind the place of the lane.
    pub(super) fn finish_pass(&mut self, stream: u32, lane: usize, now: Instant) {
        let Some(known) = self.streams.get_mut(stream as usize) else { return };
        let todo = match lane {
            PARKED => known.parked.entries,
            _ => known.parts.values().map(|part| u64::from(part.todo[ORDINARY])).sum(),
        };
        let Some(cursor) = known.lanes.get_mut(lane) else { return };
        cursor.turn = Turn::Idle;
        if todo == 0 {
            return;
        }
        let again = lane == ORDINARY && cursor.from > 0;
        cursor.from = 0;
        if again {
            self.make_ready(stream, lane);
        } else {
            self.make_paused(stream, lane, now + STALLED);
        }
    }

    /// An entry was read and is about to be handed out with so many events.
    pub(in super::super) fn handed(&mut self, seq: u64, events: u32, at: u32) {
        let Some(held) = self.out.get_mut(&seq) else { return };
        held.events = events;
        if held.lane == ORDINARY
            && let Some(stream) = self.streams.get_mut(held.stream as usize)
        {
            stream.front = stream.front.max(at);
        }
    }

    /// An entry cannot be read: it and its events are lost.
    pub(in super::super) fn lose(&mut self, seq: u64, events: u32, now: Instant) {
        let Some(held) = self.out.get_mut(&seq) else { return };
        held.events = events;
        let (base, ordinal) = (held.base, held.ordinal);
        self.lost += u64::from(events);
        if let Some(segment) = self.segments.get_mut(&base) {
            segment.damaged = true;
            segment.lost.set(ordinal);
        }
        self.done(seq, now);
    }

    /// See [`super::Spool::done`].
    pub(in super::super) fn done(&mut self, seq: u64, now: Instant) {
        let Some(held) = self.out.remove(&seq) else { return };
        self.settle(held.base, held.ordinal, held.stream, held.events, held.bytes);
        self.partial.remove(&seq);
        self.moved(held.stream, now);
        self.back(&held, now);
    }

    pub(super) fn moved(&mut self, stream: u32, now: Instant) {
        if let Some(stream) = self.streams.get_mut(stream as usize) {
            stream.moved = now;
            stream.pause = Duration::ZERO;
            stream.stalled = false;
        }
    }

    /// An entry came back from somebody's hands. With the last one, its lane goes on.
    pub(super) fn back(&mut self, held: &Out, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&held.base) {
            segment.out = segment.out.saturating_sub(1);
        }
        let Some(cursor) = self.lane(held.stream, held.lane) else { return };
        cursor.out = cursor.out.saturating_sub(1);
        if cursor.out > 0 {
            return;
        }
        if !cursor.kept {
            return self.make_ready(held.stream, held.lane);
        }
        let Some(stream) = self.streams.get_mut(held.stream as usize) else { return };
        if stream.pause.is_zero() {
            // The first attempt that failed since it moved, or had nothing.
            stream.moved = now;
        }
        stream.stalled |= now.saturating_duration_since(stream.moved) >= STALLED;
        stream.pause = (stream.pause * 2).clamp(PAUSE.0, PAUSE.1);
        let pause = if stream.stalled { STALLED } else { stream.pause };
        self.make_paused(held.stream, held.lane, now + pause);
    }

    /// See [`super::Spool::keep`].
    pub(in super::super) fn keep(&mut self, seq: u64, left: &[u32], now: Instant) {
        let Some(held) = self.left(seq, left, now) else { return };
        if let Some(cursor) = self.lane(held.stream, held.lane) {
            cursor.from = cursor.from.min(seq);
            // A parked entry waits for the next pass.
            cursor.kept = held.lane == ORDINARY;
            if held.lane == PARKED {
                cursor.from = cursor.from.max(seq + 1);
            }
        }
        self.back(&held, now);
    }

    /// See [`super::Spool::park`].
    pub(in super::super) fn park(&mut self, seq: u64, left: &[u32], now: Instant) {
        let Some(held) = self.left(seq, left, now) else { return };
        if held.lane == ORDINARY {
            self.moved(held.stream, now);
            if let Some(segment) = self.segments.get_mut(&held.base) {
                segment.parked.set(held.ordinal);
            }
            if let Some(stream) = self.streams.get_mut(held.stream as usize) {
                stream.parked.add(held.events, held.bytes);
                if let Some(part) = stream.parts.get_mut(&held.base) {
                    part.todo[ORDINARY] = part.todo[ORDINARY].saturating_sub(1);
                    part.todo[PARKED] += 1;
                }
            }
            self.dirty = true;
            if self.lane(held.stream, PARKED).is_some_and(|lane| lane.turn == Turn::Idle) {
                self.make_paused(held.stream, PARKED, now + STALLED);
            }
        }
        self.back(&held, now);
    }

    /// Takes an entry back of which these events are left; `None` if there are none, and it is done.
    pub(super) fn left(&mut self, seq: u64, left: &[u32], now: Instant) -> Option<Out> {
        let events = self.out.get(&seq)?.events;
        if left.is_empty() {
            self.done(seq, now);
            return None;
        }
        let mut held = self.out.remove(&seq)?;
        let settled = events.saturating_sub(left.len() as u32);
        if settled > 0 {
            let mut left: Box<[u32]> = left.into();
            left.sort_unstable();
            held.events = left.len() as u32;
            if let Some(segment) = self.segments.get_mut(&held.base) {
                segment.slack += u64::from(held.bytes) * u64::from(settled) / u64::from(events.max(1));
            }
            if held.lane == PARKED
                && let Some(stream) = self.streams.get_mut(held.stream as usize)
            {
                stream.parked.events = stream.parked.events.saturating_sub(settled.into());
            }
            self.reduce(held.stream, seq, events, left);
            self.moved(held.stream, now);
            self.dirty = true;
        }
        Some(held)
    }

    /// Entries that were taken and that nobody got: as if they had never been.
    pub(in super::super) fn release(&mut self, seqs: impl Iterator<Item = u64>) {
        for seq in seqs {
            let Some(held) = self.out.remove(&seq) else { continue };
            if let Some(segment) = self.segments.get_mut(&held.base) {
                segment.out = segment.out.saturating_sub(1);
            }
            let Some(cursor) = self.lane(held.stream, held.lane) else { continue };
            cursor.from = cursor.from.min(seq);
            cursor.out = cursor.out.saturating_sub(1);
            if cursor.out == 0 {
                self.make_ready(held.stream, held.lane);
            }
        }
    }

    /// Ends all pauses.
    pub(in super::super) fn retry(&mut self) {
        let paused: Vec<_> = std::mem::take(&mut self.paused).into_iter().collect();
        for (_, stream, lane) in paused {
            if let Some(known) = self.lane(stream, lane) {
                known.turn = Turn::Ready;
                self.ready.push_back((stream, lane));
            }
        }
    }
}
