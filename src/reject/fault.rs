//! What is wrong with single events of a request.

use std::borrow::Cow;

use super::Code;

/// What is wrong with one event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not JSON, or an envelope of the wrong shape.
    Malformed,
    /// Nested deeper than the limit.
    TooDeep,
    /// A member that the envelope does not know.
    UnknownMember,
    /// An envelope without a value.
    MissingValue,
    /// A null value where the topic does not allow it, or one without a key.
    Tombstone,
    /// The topic requires a key and there is none.
    KeyRequired,
    /// The key is an object or an array, or too long.
    BadKey,
    /// The headers are too many, too long or of the wrong shape.
    BadHeaders,
    /// The partition does not exist or may not be chosen.
    BadPartition,
    /// The timestamp is no time.
    BadTimestamp,
    /// The event is over the topic's limit.
    TooLarge,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Reason] = &[
        Reason::Malformed,
        Reason::TooDeep,
        Reason::UnknownMember,
        Reason::MissingValue,
        Reason::Tombstone,
        Reason::KeyRequired,
        Reason::BadKey,
        Reason::BadHeaders,
        Reason::BadPartition,
        Reason::BadTimestamp,
        Reason::TooLarge,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::TooDeep => "too_deep",
            Reason::UnknownMember => "unknown_member",
            Reason::MissingValue => "missing_value",
            Reason::Tombstone => "tombstone",
            Reason::KeyRequired => "key_required",
            Reason::BadKey => "bad_key",
            Reason::BadHeaders => "bad_headers",
            Reason::BadPartition => "bad_partition",
            Reason::BadTimestamp => "bad_timestamp",
            Reason::TooLarge => "event_too_large",
        }
    }
}

/// Where in the body a fault lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An RFC 6901 pointer into the event.
    Pointer(String),
    /// Bytes from the start of the (inflated) body.
    Offset(u64),
}

/// One bad event of a batch: a row of the 422.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its place among the events of the request, from 0.
    pub index: u32,
    /// Where the fault lies.
    pub place: Place,
    /// What is wrong.
    pub reason: Reason,
    /// The same in words; never a part of the payload.
    pub detail: String,
}

/// A run of events with the same unhappy fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of the first.
    pub index: u32,
    /// How many.
    pub count: u32,
    /// Why.
    pub code: Code,
    /// The same in words.
    pub detail: Cow<'static, str>,
    /// For events that klamm found fault with: what and where.
    pub fault: Option<(Reason, Place)>,
}
