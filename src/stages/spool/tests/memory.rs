//! A directory in memory that keeps no promise but those that the spool relies on.
//!
//! What was not synced is lost, kept or torn at sectors, in any order, each by chance; names that were not synced too.
//! A sync that fails drops what it should have written and says so once: the next one succeeds.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::stages::spool::disk::{Blob, Disk};

/// Small, fast, repeatable: xorshift64*.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(start: u64) -> Self {
        Self(start.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end.max(1)
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A fault to come, and after how many calls of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Sync,
    Write,
    Directory,
    Read,
    /// The process is gone: nothing works any more.
    Crash,
}

/// A promise that the disk breaks without a word: a bug planted into whoever relies on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// No sync of a file does anything, once the file has its header.
    NoSync,
    /// No sync of the directory does anything.
    NoDirectorySync,
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
    syncs: u32,
}

#[derive(Debug)]
enum Change {
    Bytes(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug)]
enum Renaming {
    Link(String, usize),
    Unlink(String),
    Move(String, String, usize),
}

#[derive(Debug)]
struct State {
    chance: Chance,
    sector: usize,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Renaming>,
    faults: Vec<(Fault, u32)>,
    crashed: bool,
    capacity: usize,
    planted: Option<Planted>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory(Arc<Mutex<State>>);

struct Handle(Arc<Mutex<State>>, usize);

fn gone() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    /// Whether a call of this kind fails now, or the process is gone with it.
    fn meets(&mut self, kind: Fault) -> bool {
        let mut hit = false;
        for (fault, calls) in &mut self.faults {
            if *fault != kind && *fault != Fault::Crash {
                continue;
            }
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                hit = true;
                self.crashed |= *fault == Fault::Crash;
            }
        }
        self.faults.retain(|(_, calls)| *calls > 0);
        hit || self.crashed
    }

    /// The name and the inode of some file of the log.
    fn some_log(&mut self) -> Option<(String, usize)> {
        let is_log = |name: &str| !name.contains("checkpoint") && !name.ends_with(".tmp");
        let logs = self.names.iter().filter(|(name, _)| is_log(name)).map(|(name, inode)| (name.clone(), *inode));
        let logs: Vec<_> = logs.collect();
        let at = self.chance.below(logs.len() as u64) as usize;
        logs.get(at).cloned()
    }

    fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].now.len()).sum()
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Some of the sectors of what was pending reach the disk.
fn persist(inode: &mut Inode, chance: &mut Chance, sector: usize, percent: u64) {
    for change in std::mem::take(&mut inode.pending) {
        match change {
            Change::Len(len) if chance.is(percent) => inode.durable.resize(len, 0),
            Change::Len(_) => {}
            Change::Bytes(offset, bytes) => {
                let mut from = 0;
                while from < bytes.len() {
                    let to = ((offset + from) / sector * sector + sector - offset).min(bytes.len());
                    if chance.is(percent) {
                        put(&mut inode.durable, offset + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
}

impl Memory {
    pub(super) fn new(start: u64, sector: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance: Chance::new(start),
            sector,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            faults: Vec::new(),
            crashed: false,
            capacity: usize::MAX,
            planted: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The same directory, for another life.
    pub(super) fn again(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn plant(&self, planted: Planted) {
        self.state().planted = Some(planted);
    }

    pub(super) fn fault(&self, fault: Fault, calls: u32) {
        self.state().faults.push((fault, calls.max(1)));
    }

    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.capacity = usize::MAX;
    }

    /// No more than `spare` bytes fit in beside what there is.
    pub(super) fn fill(&self, spare: usize) {
        let mut state = self.state();
        state.capacity = state.used() + spare;
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The power is cut: of what was not synced, `percent` is there.
    pub(super) fn crash(&self, percent: u64) {
        let mut state = self.state();
        let State { chance, inodes, sector, names, durable, pending, .. } = &mut *state;
        for change in std::mem::take(pending) {
            if !chance.is(percent) {
                continue;
            }
            match change {
                Renaming::Link(name, inode) => drop(durable.insert(name, inode)),
                Renaming::Unlink(name) => drop(durable.remove(&name)),
                Renaming::Move(from, to, inode) => {
                    durable.remove(&from);
                    durable.insert(to, inode);
                }
            }
        }
        names.clone_from(durable);
        for inode in inodes {
            persist(inode, chance, *sector, percent);
            inode.now.clone_from(&inode.durable);
        }
        state.faults.clear();
        state.crashed = false;
    }

    /// Flips a bit in each of these places, as long as both are, of some file of the log, at rest. Its name, if there
    /// is one that is so large.
    pub(super) fn flip_in(&self, places: [usize; 2], len: usize) -> Option<String> {
        let mut state = self.state();
        let (name, inode) = state.some_log()?;
        let State { inodes, chance, .. } = &mut *state;
        let Inode { now, durable, .. } = &mut inodes[inode];
        let size = now.len().min(durable.len());
        if places.iter().any(|place| place + len > size) {
            return None;
        }
        for place in places {
            let (byte, bit) = (place + chance.below(len as u64) as usize, chance.below(8));
            now[byte] ^= 1 << bit;
            durable[byte] ^= 1 << bit;
        }
        Some(name)
    }

    /// Flips a bit of some file of the log, at rest. The name of the file, if there is one.
    pub(super) fn flip(&self) -> Option<String> {
        let mut state = self.state();
        let (name, inode) = state.some_log()?;
        let len = state.inodes[inode].durable.len().min(state.inodes[inode].now.len());
        let (byte, bit) = (state.chance.below(len as u64) as usize, state.chance.below(8));
        if len == 0 {
            return None;
        }
        state.inodes[inode].durable[byte] ^= 1 << bit;
        state.inodes[inode].now[byte] ^= 1 << bit;
        Some(name)
    }
}

impl Disk for Memory {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn Blob>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fails = state.meets(Fault::Directory);
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.pending.push(Renaming::Link(name.to_owned(), inode));
        if fails {
            return Err(gone());
        }
        if state.used() + size as usize > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.inodes[inode].now.resize(size as usize, 0);
        state.inodes[inode].pending.push(Change::Len(size as usize));
        Ok(Arc::new(Handle(Arc::clone(&self.0), inode)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let state = self.state();
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle(Arc::clone(&self.0), inode)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.meets(Fault::Directory) {
            return Err(gone());
        }
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.pending.push(Renaming::Move(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.meets(Fault::Directory) {
            return Err(gone());
        }
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push(Renaming::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.meets(Fault::Directory) {
            return Err(gone());
        }
        if state.planted == Some(Planted::NoDirectorySync) {
            return Ok(());
        }
        state.pending.clear();
        state.durable = state.names.clone();
        Ok(())
    }
}

impl Blob for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let crashed = state.crashed;
        let fails = state.meets(Fault::Write);
        let offset = offset as usize;
        if !crashed {
            // Of a write that fails, or that a crash cuts short, some may be there.
            put(&mut state.inodes[self.1].now, offset, bytes);
            state.inodes[self.1].pending.push(Change::Bytes(offset, bytes.to_vec()));
        }
        if fails { Err(gone()) } else { Ok(()) }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        if state.meets(Fault::Read) {
            return Err(gone());
        }
        let from = state.inodes[self.1].now.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(bytes.len());
        bytes[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let crashed = state.crashed;
        let fails = state.meets(Fault::Sync);
        let State { inodes, chance, sector, planted, .. } = &mut *state;
        let inode = &mut inodes[self.1];
        if crashed {
            return Err(gone());
        }
        inode.syncs += 1;
        if *planted == Some(Planted::NoSync) && inode.syncs > 1 {
            return Ok(());
        }
        persist(inode, chance, *sector, if fails { 50 } else { 100 });
        if fails { Err(gone()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.meets(Fault::Write) {
            return Err(gone());
        }
        state.inodes[self.1].now.resize(len as usize, 0);
        state.inodes[self.1].pending.push(Change::Len(len as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().inodes[self.1].now.len() as u64)
    }
}
