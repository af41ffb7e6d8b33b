//! One file of the log, as the index knows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::bits::Bits;
use super::disk::Blob;
use super::format::{Head, Header, Sealed};

/// Where an entry is in its file. 16 bytes, as there may be a great many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its sequence number, less the file's base.
    pub delta: u32,
    /// Its place among the records.
    pub ordinal: u32,
    pub offset: u32,
    /// Of the record, in bytes, less the padding.
    pub len: u32,
}

/// The entries of a file by stream, ascending. It can be had again by reading the file.
pub(super) type Map = HashMap<u32, Vec<Slot>>;

/// How a file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// In use.
    Log,
    /// In use, with a part that cannot be read.
    Damaged,
    /// Out of use: damaged, and whatever can be read of it is done. Never touched again.
    Bad,
}

impl Name {
    pub(super) const ALL: [Self; 3] = [Self::Log, Self::Damaged, Self::Bad];

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".seg",
            Self::Damaged => ".damaged",
            Self::Bad => ".bad",
        }
    }

    /// What kind of file `name` is, if it is one of the log, and its stem.
    pub(super) fn of(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|kind| Some((kind, name.strip_suffix(kind.suffix())?)))
    }
}

/// The name of a file of the log, without its suffix: sorted by name they are in the order of their entries.
pub(super) fn stem(header: &Header) -> String {
    format!("{:016x}-{:06x}-{:016x}", header.base, header.generation, header.salt)
}

/// What the name of a file without its suffix says of its header. What it does not say is 0.
pub(super) fn named(name: &str) -> Option<Header> {
    let mut parts = name.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let (base, generation, salt) = (parts.next()??, parts.next()??, parts.next()??);
    let header = Header { base, generation: u32::try_from(generation).ok()?, salt, ..Header::default() };
    (stem(&header) == name).then_some(header)
}

/// A file of the log.
pub(super) struct Segment {
    /// Without the suffix.
    pub stem: String,
    pub name: Name,
    pub file: Arc<dyn Blob>,
    pub header: Header,
    /// What it takes on disk, in bytes.
    pub size: u64,
    /// What has been synced of it.
    pub synced: Sealed,
    /// Since when nothing is appended to it.
    pub sealed: Option<Instant>,
    /// By ordinal.
    pub done: Bits,
    /// Those of the done ones that were not done, but cannot be read.
    pub lost: Bits,
    pub parked: Bits,
    /// Entries to do.
    pub live: u32,
    /// Their bytes.
    pub live_bytes: u64,
    /// Those of `live_bytes` that a copy would not have: of entries of which some events are settled.
    pub slack: u64,
    /// Entries that are in somebody's hands.
    pub out: u32,
    /// It is being copied: nothing of it is handed out.
    pub busy: bool,
    pub damaged: bool,
    /// Always there while the file is appended to.
    pub map: Option<Map>,
    /// What the entries of a copy take less than before, by stream: all of them, and the parked ones.
    pub saved: Vec<(u32, u64, u64)>,
    /// When the map was last looked at, by the index's own count.
    pub used: u64,
}

impl Segment {
    pub(super) fn new(header: Header, name: Name, file: Arc<dyn Blob>, size: u64) -> Self {
        Self {
            stem: stem(&header),
            name,
            file,
            header,
            size,
            synced: Sealed { salt: header.salt, ..Sealed::default() },
            sealed: None,
            done: Bits::default(),
            lost: Bits::default(),
            parked: Bits::default(),
            live: 0,
            live_bytes: 0,
            slack: 0,
            out: 0,
            busy: false,
            damaged: name == Name::Damaged,
            map: None,
            saved: Vec::new(),
            used: 0,
        }
    }

    /// Its name on disk.
    pub(super) fn path(&self) -> String {
        format!("{}{}", self.stem, self.name.suffix())
    }

    /// The place of the entry `seq` of `stream`; `None` where it cannot be told without reading the file.
    pub(super) fn ordinal(&self, stream: u32, seq: u64) -> Option<u32> {
        let delta = u32::try_from(seq.checked_sub(self.header.base)?).ok()?;
        if self.header.generation == 0 {
            return Some(delta);
        }
        let slots = self.map.as_ref()?.get(&stream)?;
        let place = slots.binary_search_by_key(&delta, |slot| slot.delta).ok()?;
        slots.get(place).map(|slot| slot.ordinal)
    }

    /// Takes over what `from` knows of an entry that was copied to `slot`, and had `len` bytes there.
    pub(super) fn adopt(&mut self, from: &Segment, stream: u32, slot: &Slot, len: u32, ordinal: u32) {
        let bytes = Head::padded(slot.len as usize) as u64;
        if from.done.has(ordinal) {
            self.done.set(slot.ordinal);
            return;
        }
        let parked = from.parked.has(ordinal);
        if parked {
            self.parked.set(slot.ordinal);
        }
        self.live += 1;
        self.live_bytes += bytes;
        let saved = (Head::padded(len as usize) as u64).saturating_sub(bytes);
        if saved > 0 {
            let place = self.saved.iter().position(|(of, ..)| *of == stream).unwrap_or_else(|| {
                self.saved.push((stream, 0, 0));
                self.saved.len() - 1
            });
            if let Some((_, all, of_parked)) = self.saved.get_mut(place) {
                *all += saved;
                *of_parked += if parked { saved } else { 0 };
            }
        }
    }

    /// Whether nothing of it is needed any more.
    pub(super) fn is_finished(&self) -> bool {
        self.sealed.is_some() && self.live == 0 && self.out == 0 && !self.busy
    }
}
