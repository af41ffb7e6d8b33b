//! Reads a file of the log from front to end, past whatever cannot be read. Bounded memory: one window of the file.

use std::io;
use std::ops::Range;

use super::disk::Blob;
use super::format::{COPY, DATA, HEAD, HEADER, Head, Header, Parsed, Sealed, is_whole};
use super::record::{LEAST_EVENT, LEAST_RECORD};

/// How much is read at once, unless a record is larger.
const WINDOW: usize = 1 << 20;
/// What is read at once where a read failed.
const SECTOR: usize = 4096;
const ZEROS: [u8; 1024] = [0; 1024];

/// A part of a file between records, or behind them, that holds none that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where it begins.
    pub from: u32,
    /// Where it ends; at the end of the file, where the file should end.
    pub to: u32,
    /// Which records are missing, by their place in the file.
    pub records: Range<u32>,
    /// How many events they have.
    pub events: u32,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Behind the last record.
    pub end: u32,
    /// Up to where the file is known to have been synced.
    pub durable: u32,
    /// Records that it had, unreadable ones in between counted.
    pub records: u32,
    /// Their events.
    pub events: u32,
    /// In ascending order.
    pub gaps: Vec<Gap>,
}

impl Scanned {
    /// The gaps that are damage: what was in them had been synced. The others are what a crash left of a write that
    /// nobody was told of.
    pub(super) fn damage(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| gap.from < self.durable)
    }
}

/// The header of `file`, from whichever copy is whole.
pub(super) fn header(file: &dyn Blob) -> io::Result<Parsed> {
    let mut fault = None;
    for offset in [0, COPY] {
        let mut bytes = [0; HEADER];
        match file.read_at(&mut bytes, offset) {
            Ok(_) => match Header::parse(&bytes) {
                Parsed::Bad => {}
                parsed => return Ok(parsed),
            },
            Err(error) => fault = Some(error),
        }
    }
    fault.map_or(Ok(Parsed::Bad), Err)
}

/// Whether nothing was ever written to the file: it was being made when a crash came.
pub(super) fn is_blank(file: &dyn Blob) -> io::Result<bool> {
    Ok(written_to(file, 0)? == 0)
}

/// Behind the last byte from `offset` on that is not zero; `offset` where all are.
fn written_to(file: &dyn Blob, offset: u64) -> io::Result<u64> {
    let mut window = Window::new(file)?;
    let (mut offset, mut end) = (offset, offset);
    while offset < window.len {
        let Some(bytes) = window.get(offset, 1) else { break };
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = offset + last as u64 + 1;
        }
        offset += bytes.len() as u64;
    }
    Ok(end)
}

/// Takes whatever cannot be read of a file for damage, since nothing says where it ends: that it has so many `records`
/// at most, and the least that a record and an event take, is all that bounds what is lost.
///
/// # Errors
///
/// When the length of the file cannot be had.
pub(super) fn suspect(file: &dyn Blob, scanned: &mut Scanned, records: u32) -> io::Result<()> {
    scanned.durable = scanned.durable.max(u32::try_from(file.len()?).unwrap_or(u32::MAX));
    let from = scanned.gaps.last().map_or(scanned.end, |gap| gap.to.max(scanned.end));
    let to = written_to(file, from.into())? as u32;
    let bytes = (to - from) as usize;
    let missing = records.saturating_sub(scanned.records).min(bytes.div_ceil(LEAST_RECORD) as u32);
    if missing > 0 {
        let events = missing.max(bytes.div_ceil(LEAST_EVENT) as u32);
        scanned.gaps.push(Gap { from, to, records: scanned.records..scanned.records + missing, events });
        scanned.records += missing;
        scanned.events = scanned.events.saturating_add(events);
    }
    Ok(())
}

/// Tells `visit` of every whole record, with its offset and its bytes, in ascending order.
///
/// `sealed` is what is known of the file from elsewhere: `Some((known, true))` where it ends there, `Some((known,
/// false))` where it had come that far at least.
///
/// # Errors
///
/// When the length of the file cannot be had; what cannot be read is a gap.
pub(super) fn records(
    file: &dyn Blob,
    header: &Header,
    known: Option<(Sealed, bool)>,
    mut visit: impl FnMut(&Head, u32, &[u8]),
) -> io::Result<Scanned> {
    let mut window = Window::new(file)?;
    let limit = match known {
        Some((sealed, true)) => window.len.min(sealed.end.into()),
        Some((_, false)) | None => window.len,
    };
    let mut scanned = Scanned { end: DATA as u32, durable: DATA as u32, ..Scanned::default() };
    let mut seq = header.base;
    let mut offset = DATA;
    while offset + (HEAD as u64) < limit {
        let plausible = |head: &Head| {
            head.len as usize > HEAD
                && offset + u64::from(head.len) <= limit
                && head.seq >= seq
                && head.ordinal >= scanned.records
                && head.before >= scanned.events
                && (header.generation > 0 || head.seq - header.base == u64::from(head.ordinal))
        };
        let head = window.get(offset, HEAD).and_then(Head::parse).filter(plausible);
        let record =
            head.and_then(|head| Some((head, window.get(offset, head.len as usize)?.get(..head.len as usize)?)));
        let Some((head, record)) = record.filter(|(_, record)| is_whole(record, header.salt)) else {
            let rest = window.get(offset, 1).unwrap_or_default();
            let zeros = rest.chunks_exact(ZEROS.len()).take_while(|part| **part == ZEROS).count();
            // No record begins with zeros: what was allocated and not written is passed over quickly.
            offset += ((zeros * ZEROS.len()) as u64).max(8);
            continue;
        };
        if head.ordinal > scanned.records {
            let (records, events) = (scanned.records..head.ordinal, head.before - scanned.events);
            scanned.gaps.push(Gap { from: scanned.end, to: offset as u32, records, events });
        }
        visit(&head, offset as u32, record);
        offset += Head::padded(head.len as usize) as u64;
        seq = head.seq + 1;
        scanned.end = offset as u32;
        scanned.durable = scanned.durable.max(head.durable);
        scanned.records = head.ordinal + 1;
        scanned.events = head.before + head.events;
    }
    if let Some((known, _)) = known {
        scanned.durable = scanned.durable.max(known.end);
        if known.records > scanned.records {
            let (records, events) = (scanned.records..known.records, known.events.saturating_sub(scanned.events));
            scanned.gaps.push(Gap { from: scanned.end, to: known.end, records, events });
            scanned.records = known.records;
            scanned.events = scanned.events.max(known.events);
        }
    }
    Ok(scanned)
}

/// A part of a file in memory.
struct Window<'a> {
    file: &'a dyn Blob,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn Blob) -> io::Result<Self> {
        Ok(Self { file, len: file.len()?, start: 0, bytes: Vec::new() })
    }

    /// At least `least` bytes from `offset` on, fewer at the end of the file; `None` behind it.
    fn get(&mut self, offset: u64, least: usize) -> Option<&[u8]> {
        let held = offset >= self.start && offset + least as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            let want = (self.len.checked_sub(offset)?).min(least.max(WINDOW) as u64) as usize;
            self.start = offset;
            self.bytes.resize(want, 0);
            read(self.file, &mut self.bytes, offset);
        }
        self.bytes.get((offset - self.start) as usize..)
    }
}

/// Fills `bytes`; with zeros where it cannot be read.
fn read(file: &dyn Blob, bytes: &mut [u8], offset: u64) {
    match file.read_at(bytes, offset) {
        Ok(read) => bytes.get_mut(read..).unwrap_or_default().fill(0),
        Err(_) if bytes.len() > SECTOR => {
            for (index, part) in bytes.chunks_mut(SECTOR).enumerate() {
                read_part(file, part, offset + (index * SECTOR) as u64);
            }
        }
        Err(_) => bytes.fill(0),
    }
}

fn read_part(file: &dyn Blob, bytes: &mut [u8], offset: u64) {
    let read = file.read_at(bytes, offset).unwrap_or(0);
    bytes.get_mut(read..).unwrap_or_default().fill(0);
}
