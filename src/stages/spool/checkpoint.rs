//! The checkpoint: what is done, so that a restart does not send it again. Losing it loses nothing: what was done is
//! then sent again.
//!
//! It is replaced as a whole: written beside the old one, synced, renamed over it. Files are known by their salts, so
//! a checkpoint never speaks of another file than the one that it was written about.

use super::bits::Bits;
use super::disk::Disk;
use super::format::{Fields, Sealed, put_text};

/// Its name.
pub(super) const NAME: &str = "checkpoint";
/// Its name while it is written.
pub(super) const FRESH: &str = "checkpoint.tmp";

const MAGIC: [u8; 8] = *b"klammchk";
const VERSION: u32 = 1;

/// What the checkpoint says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// No sequence number from this one on was given to an entry when it was written.
    pub next: u64,
    /// The files that hold entries to do.
    pub files: Vec<Seen>,
    /// The salts of those that hold none any more; they may still be there.
    pub finished: Vec<u64>,
    /// The entries of which some events are settled: which, and the indexes of those that are not, sorted.
    pub partial: Vec<(u64, Vec<u32>)>,
    /// The streams with parked events: client, topic, events. For people.
    pub parked: Vec<(String, String, u64)>,
    /// Events found unreadable while running, and not yet part of a recovery. For people.
    pub lost: u64,
}

/// What is known of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Up to where it was synced, and what is in it up to there.
    pub sealed: Sealed,
    /// Whether it ends there: what lies behind was never acknowledged.
    pub ends: bool,
    /// The records that are done, by their place in the file.
    pub done: Bits,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let number = |out: &mut Vec<u8>, number: usize| out.extend_from_slice(&(number as u32).to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.lost.to_le_bytes());
        number(&mut out, self.files.len());
        for file in &self.files {
            out.extend_from_slice(&file.sealed.salt.to_le_bytes());
            for part in [file.sealed.end, file.sealed.records, file.sealed.events, file.ends.into()] {
                out.extend_from_slice(&part.to_le_bytes());
            }
            number(&mut out, file.done.words().len());
            file.done.words().iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        }
        number(&mut out, self.finished.len());
        self.finished.iter().for_each(|salt| out.extend_from_slice(&salt.to_le_bytes()));
        number(&mut out, self.partial.len());
        for (seq, left) in &self.partial {
            out.extend_from_slice(&seq.to_le_bytes());
            number(&mut out, left.len());
            left.iter().for_each(|index| out.extend_from_slice(&index.to_le_bytes()));
        }
        number(&mut out, self.parked.len());
        for (client, topic, events) in &self.parked {
            put_text(&mut out, client);
            put_text(&mut out, topic);
            out.extend_from_slice(&events.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` where it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32c::crc32c(bytes).to_le_bytes() != crc {
            return None;
        }
        let mut fields = Fields(bytes.strip_prefix(&MAGIC)?);
        if fields.u32()? != VERSION {
            return None;
        }
        let mut out = Self { next: fields.u64()?, lost: fields.u64()?, ..Self::default() };
        for _ in 0..fields.u32()? {
            let salt = fields.u64()?;
            let sealed = Sealed { salt, end: fields.u32()?, records: fields.u32()?, events: fields.u32()? };
            let ends = fields.u32()? != 0;
            let words = fields.u32()?;
            let words = (0..words).map(|_| fields.u64()).collect::<Option<Vec<_>>>()?;
            out.files.push(Seen { sealed, ends, done: words.into() });
        }
        let finished = fields.u32()?;
        out.finished = (0..finished).map(|_| fields.u64()).collect::<Option<_>>()?;
        for _ in 0..fields.u32()? {
            let seq = fields.u64()?;
            let count = fields.u32()?;
            out.partial.push((seq, (0..count).map(|_| fields.u32()).collect::<Option<_>>()?));
        }
        for _ in 0..fields.u32()? {
            out.parked.push((fields.text()?.to_owned(), fields.text()?.to_owned(), fields.u64()?));
        }
        Some(out)
    }

    /// The one in `disk`; an empty one where there is none that is whole.
    pub(super) fn read(disk: &dyn Disk) -> Self {
        let read = || {
            let file = disk.open(NAME).ok()?;
            let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
            let read = file.read_at(&mut bytes, 0).ok()?;
            bytes.truncate(read);
            Self::parse(&bytes)
        };
        read().unwrap_or_default()
    }

    /// Replaces the one in `disk`.
    pub(super) fn write(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let bytes = self.encode();
        match disk.remove(FRESH) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = disk.create(FRESH, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(FRESH, NAME)?;
        disk.sync()
    }

    /// What it says of the file with this salt.
    pub(super) fn of(&self, salt: u64) -> Option<&Seen> {
        self.files.iter().find(|file| file.sealed.salt == salt)
    }
}
