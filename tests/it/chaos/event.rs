//! An event's bytes, made from its id alone: what stands in Kafka can be held against what was sent without keeping it.

use std::io::Write as _;

use super::dice::mixed;

/// Which event: the number of its request in the ledger, its place in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) request: u64,
    pub(super) index: u32,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.request, self.index)
    }
}

const LONGEST: u64 = 240;

/// Makes the values of one run.
#[derive(Debug, Clone)]
pub(super) struct Values {
    seed: u64,
    /// Each value has a stretch of it.
    noise: Vec<u8>,
}

impl Values {
    pub(super) fn new(seed: u64) -> Self {
        let noise = (0..512).flat_map(|word| format!("{:016x}", mixed(seed ^ word)).into_bytes());
        Self { seed, noise: noise.collect() }
    }

    /// The noise of a value.
    fn noise_of(&self, id: Id) -> &[u8] {
        let chance = mixed(self.seed ^ id.request.rotate_left(20) ^ u64::from(id.index));
        let (from, length) = (((chance >> 32) % (8192 - LONGEST)) as usize, (chance % LONGEST) as usize);
        &self.noise[from..from + length]
    }

    /// JSON: the id, noise whose place and length follow from it, and a CRC of both.
    pub(super) fn of(&self, id: Id) -> Vec<u8> {
        let mut value = format!("{{\"id\":\"{id}\",\"noise\":\"").into_bytes();
        value.extend_from_slice(self.noise_of(id));
        let crc = crc32fast::hash(&value);
        value.extend_from_slice(format!("\",\"crc\":\"{crc:08x}\"}}").as_bytes());
        value
    }

    /// Whether `value` is what [`of`](Self::of) makes, byte for byte. Makes nothing.
    pub(super) fn is(&self, id: Id, value: &[u8]) -> bool {
        let noise = self.noise_of(id);
        let is = || {
            let end = value.len().checked_sub(CRC_PART)?;
            let (body, crc_part) = value.split_at(end);
            let rest = body.strip_suffix(noise)?.strip_suffix(b"\",\"noise\":\"")?.strip_prefix(b"{\"id\":\"")?;
            let hex = crc_part.strip_prefix(b"\",\"crc\":\"")?.strip_suffix(b"\"}")?;
            Some(is_number_pair(rest, id) && is_hex(hex, crc32fast::hash(body)))
        };
        is().unwrap_or(false)
    }
}

/// The bytes of a value behind its noise.
const CRC_PART: usize = 9 + 8 + 2;

/// Whether `text` is `id` as it is written, without another zero or sign.
fn is_number_pair(text: &[u8], id: Id) -> bool {
    let mut written = [0; 32];
    let mut rest = &mut written[..];
    write!(rest, "{id}").is_ok() && {
        let left = rest.len();
        written[..32 - left] == *text
    }
}

/// Whether `text` is `number` in eight small digits.
fn is_hex(text: &[u8], number: u32) -> bool {
    let mut rest = number;
    text.len() == 8
        && text.iter().rev().all(|digit| {
            let is = *digit == b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
            is
        })
}

/// The id that stands in `value`, if it looks like one of ours; nothing is said of the rest.
pub(super) fn id_in(value: &[u8]) -> Option<Id> {
    let (request, rest) = number_in(value.strip_prefix(b"{\"id\":\"")?)?;
    let (index, rest) = number_in(rest.strip_prefix(b"-")?)?;
    rest.starts_with(b"\"").then_some(Id { request, index: index.try_into().ok()? })
}

/// The number that `text` begins with, and what is behind it.
fn number_in(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut digits) = (0u64, 0);
    for byte in text.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.checked_mul(10)?.checked_add((byte - b'0').into())?;
        digits += 1;
    }
    (digits > 0).then_some((number, &text[digits..]))
}

#[test]
fn a_value_follows_from_its_id_alone_and_is_json() {
    let (values, id) = (Values::new(7), Id { request: 12, index: 3 });
    assert_eq!(values.of(id), Values::new(7).of(id));
    assert_ne!(values.of(id), Values::new(8).of(id));
    for request in 0..200 {
        let id = Id { request, index: 3 };
        let value = values.of(id);
        assert_eq!(id_in(&value), Some(id));
        assert!(values.is(id, &value) && !values.is(Id { index: 4, ..id }, &value));
        for at in 0..value.len() {
            let mut other = value.clone();
            other[at] ^= 1 << (at % 8);
            assert!(!values.is(id, &other) && !values.is(id, &value[..at]), "byte {at}");
        }
        serde_json::from_slice::<serde_json::Value>(&value).unwrap();
    }
    for other in ["{\"id\":\"x-1\"}", "{}", "{\"id\":\"12", "{\"id\":\"12-\"", "{\"id\":\"1-5000000000\""] {
        assert_eq!(id_in(other.as_bytes()), None, "{other}");
    }
}
