//! How a file of the log is laid out. All numbers are little-endian.
//!
//! A file is a header, twice (at 0 and at 4096), and from 8192 on records, each at a multiple of 8. A record is a head
//! of 32 bytes and a body; its CRC32C is taken over the file's salt, the head without length and CRC, the length, and
//! the body, so that bytes of another file, or of another place, never pass for a record.
//!
//! `ordinal` and `before` say what is missing where records in between cannot be read: how many of them, with how many
//! events. `durable` says up to where the file had been synced when the record was written: what is unreadable below
//! it is damage, what is unreadable above it may be a write that a crash cut short.

/// The version that this klamm writes, and the newest that it reads. A newer one has to give files another suffix or
/// records another CRC: where its header is lost, a file is read by its name.
pub(super) const VERSION: u32 = 1;
/// Where the records begin.
pub(super) const DATA: u64 = 2 * COPY;
/// Where the second copy of the header is.
pub(super) const COPY: u64 = 4096;
/// The size of a record's head.
pub(super) const HEAD: usize = 32;
/// The size of a header.
pub(super) const HEADER: usize = 80;

const MAGIC: [u8; 8] = *b"klammspl";

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    /// The first sequence number that may be in it.
    pub base: u64,
    /// The end of the sequence numbers that it stands for, where it was made of older files; else 0.
    pub end: u64,
    /// 0 for a file that events were appended to; one more than what it was made of, else.
    pub generation: u32,
    /// Random; tells it from every other file.
    pub salt: u64,
    /// What the writer knew of the file before, when it began this one.
    pub before: Sealed,
}

/// A file that nothing is appended to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sealed {
    /// Which; 0 is none.
    pub salt: u64,
    /// Where its records end. What lies behind was never acknowledged.
    pub end: u32,
    /// How many records it has.
    pub records: u32,
    /// How many events.
    pub events: u32,
}

/// What a header turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    Good(Header),
    /// Written by a newer klamm.
    Newer(u32),
    Bad,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        for number in [self.base, self.end, self.salt, self.before.salt] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.before.end, self.before.records, self.before.events] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEADER - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Parsed {
        let read = || {
            let (bytes, crc) = bytes.get(..HEADER)?.split_at_checked(HEADER - 4)?;
            let mut fields = Fields(bytes.strip_prefix(&MAGIC)?);
            if crc32c::crc32c(bytes).to_le_bytes() != crc {
                return None;
            }
            let version = fields.u32()?;
            if version > VERSION {
                return Some(Parsed::Newer(version));
            }
            let generation = fields.u32()?;
            let (base, end, salt, before) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
            let before = Sealed { salt: before, end: fields.u32()?, records: fields.u32()?, events: fields.u32()? };
            Some(Parsed::Good(Self { base, end, generation, salt, before }))
        };
        read().unwrap_or(Parsed::Bad)
    }
}

/// The head of a record, less its CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the whole record, in bytes, less the padding behind it.
    pub len: u32,
    /// Ascending in a file, without gaps where it is of generation 0.
    pub seq: u64,
    /// Its place among the records of the file, from 0.
    pub ordinal: u32,
    /// Up to where the file was synced when this was written.
    pub durable: u32,
    /// The events of the records before it in the file.
    pub before: u32,
    /// Its own.
    pub events: u32,
}

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..HEAD)?);
        let (len, _crc) = (fields.u32()?, fields.u32()?);
        let seq = fields.u64()?;
        let (ordinal, durable) = (fields.u32()?, fields.u32()?);
        Some(Self { len, seq, ordinal, durable, before: fields.u32()?, events: fields.u32()? })
    }

    /// Puts the head into the first bytes of `record`, which is as long as `len` says.
    pub(super) fn seal(&self, record: &mut [u8], salt: u64) {
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&self.len.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&self.seq.to_le_bytes());
        for number in [self.ordinal, self.durable, self.before, self.events] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(place) = record.get_mut(..HEAD) {
            place.copy_from_slice(&head);
        }
        let crc = checksum(record, salt);
        if let Some(place) = record.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// The space that a record of `len` bytes takes.
    pub(super) fn padded(len: usize) -> usize {
        len.next_multiple_of(8)
    }
}

fn checksum(record: &[u8], salt: u64) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, record.get(..4).unwrap_or_default());
    crc32c::crc32c_append(crc, record.get(8..).unwrap_or_default())
}

/// Whether `record` is whole.
pub(super) fn is_whole(record: &[u8], salt: u64) -> bool {
    record.len() > HEAD && record.get(4..8) == Some(&checksum(record, salt).to_le_bytes())
}

/// Reads numbers and bytes one after another.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// LEB128, at most 32 bits.
    pub(super) fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// A text with its length in 16 bits before it.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.bytes(len.into())?).ok()
    }
}

/// LEB128.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A text of at most 65535 bytes, its length in 16 bits before it.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}
