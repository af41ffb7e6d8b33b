//! Files: their maps, and what becomes of them.

use std::collections::HashMap;

use super::{Index, LANES, PARKED, Part, SLOTS};
use crate::stages::spool::scan::Gap;
use crate::stages::spool::segment::{Map, Segment};

impl Index {
    /// Records of a file turned out to be unreadable when its map was read. Whose they were cannot be told but from what
    /// is missing. Nothing, where a copy has meanwhile taken the place of the file with this `salt`.
    pub(in super::super) fn lose_unmapped(&mut self, base: u64, salt: u64, gaps: &[Gap]) {
        let Self { segments, streams, .. } = self;
        let Some(segment) = segments.get_mut(&base).filter(|segment| segment.header.salt == salt) else { return };
        let Some(map) = &segment.map else { return };
        let missing = |gap: &Gap| gap.records.clone().filter(|ordinal| !segment.done.has(*ordinal)).count() as u32;
        let (mut ordinals, mut events, mut bytes) = (Vec::new(), 0, 0);
        for gap in gaps {
            let part =
                |whole: u32| (u64::from(whole) * u64::from(missing(gap)) / gap.records.len().max(1) as u64) as u32;
            events += part(gap.events);
            bytes += part(gap.to.saturating_sub(gap.from));
            ordinals.extend(gap.records.clone().filter(|ordinal| !segment.done.has(*ordinal)));
        }
        if ordinals.is_empty() {
            return;
        }
        let mut deficits = Vec::new();
        for (stream, known) in (0..).zip(streams.iter()) {
            let Some(part) = known.parts.get(&base) else { continue };
            let slots = map.get(&stream).map(Vec::as_slice).unwrap_or_default();
            let todo = |lane| {
                let here = slots.iter().filter(|slot| !segment.done.has(slot.ordinal));
                here.filter(|slot| segment.parked.has(slot.ordinal) == (lane == PARKED)).count() as u32
            };
            let deficit = LANES.map(|lane| part.todo.get(lane).map_or(0, |part| part.saturating_sub(todo(lane))));
            deficits.extend(std::iter::repeat_n(stream, (deficit[0] + deficit[1]) as usize));
        }
        segment.damaged = true;
        for ordinal in &ordinals {
            segment.lost.set(*ordinal);
        }
        self.lost += u64::from(events);
        let count = ordinals.len() as u32;
        for (place, (ordinal, stream)) in (0..).zip(ordinals.into_iter().zip(deficits)) {
            let part = |whole: u32| whole / count + u32::from(place < whole % count);
            self.settle(base, ordinal, stream, part(events), part(bytes));
        }
    }

    /// The map of a file was read.
    pub(in super::super) fn install(&mut self, base: u64, salt: u64, map: Map) {
        self.clock += 1;
        let clock = self.clock;
        let Some(segment) = self.segments.get_mut(&base).filter(|segment| segment.header.salt == salt) else { return };
        segment.map = Some(map);
        segment.used = clock;
        let size = |map: &Map| map.values().map(Vec::len).sum::<usize>();
        let mut kept = 0;
        let mut by_use: Vec<_> = self.segments.values_mut().filter(|segment| segment.sealed.is_some()).collect();
        by_use.sort_by_key(|segment| std::cmp::Reverse(segment.used));
        for segment in by_use {
            let Some(map) = &segment.map else { continue };
            kept += size(map);
            if kept > SLOTS && segment.used != clock {
                segment.map = None;
            }
        }
    }

    /// Whether more than half of the room is taken.
    pub(in super::super) fn is_pressed(&self) -> bool {
        self.disk > self.total / 2
    }

    /// A file is about to be replaced by a copy.
    pub(in super::super) fn forget_for_copy(&mut self, base: u64) -> Option<Segment> {
        let segment = self.segments.remove(&base)?;
        self.disk = self.disk.saturating_sub(segment.size);
        Some(segment)
    }

    /// A copy takes the place of `old`.
    pub(in super::super) fn replace(&mut self, mut segment: Segment, map: Map, old: &[Segment]) {
        let base = segment.header.base;
        let before: u64 = old.iter().map(|old| old.live_bytes).sum();
        // What entries with settled events now take less, by stream.
        let mut saved: HashMap<u32, u64> = HashMap::new();
        for (stream, slots) in &map {
            let Some(known) = self.streams.get_mut(*stream as usize) else { continue };
            let mut part = Part { first: u32::MAX, ..Part::default() };
            for slot in slots.iter().filter(|slot| !segment.done.has(slot.ordinal)) {
                let [ordinary, parked] = &mut part.todo;
                *if segment.parked.has(slot.ordinal) { parked } else { ordinary } += 1;
                // The copy has nothing else.
                self.partial.remove(&(base + u64::from(slot.delta)));
            }
            let mut held = 0;
            for old in old {
                if let Some(gone) = known.parts.remove(&old.header.base) {
                    part.first = part.first.min(gone.first);
                    held += gone.todo[0] + gone.todo[1];
                }
            }
            debug_assert_eq!(held, part.todo[0] + part.todo[1], "a copy has what the old files had");
            if part.todo != [0, 0] {
                known.parts.insert(base, part);
            }
            if let Some((_, bytes, parked)) = segment.saved.iter().find(|(of, ..)| of == stream) {
                known.sums.bytes = known.sums.bytes.saturating_sub(*bytes);
                known.parked.bytes = known.parked.bytes.saturating_sub(*parked);
                saved.insert(*stream, *bytes);
            }
        }
        for (stream, bytes) in saved {
            self.sums.bytes = self.sums.bytes.saturating_sub(bytes);
            let Some(known) = self.streams.get(stream as usize) else { continue };
            for (account, at) in self.accounts.iter_mut().zip(known.accounts) {
                account.get_mut(at).into_iter().for_each(|sum| *sum = sum.saturating_sub(bytes));
            }
        }
        debug_assert!(segment.live_bytes <= before, "a copy is no larger");
        segment.saved = Vec::new();
        self.disk += segment.size;
        let salt = segment.header.salt;
        self.segments.insert(base, segment);
        self.install(base, salt, map);
        self.dirty = true;
    }

    /// A file is gone.
    pub(in super::super) fn forget(&mut self, base: u64) -> Option<Segment> {
        let segment = self.segments.remove(&base)?;
        self.disk = self.disk.saturating_sub(segment.size);
        let end = segment.header.end.max(base + u64::from(segment.synced.records));
        self.withdrawn.retain(|seq, _| !(base..end).contains(seq));
        Some(segment)
    }
}
