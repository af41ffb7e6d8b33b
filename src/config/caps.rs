//! `budget` and `caps`: what klamm holds at most, and what it accepts at most.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Percent};

/// Bytes in flight, from the first byte of a body to Kafka's acknowledgement.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Of all clients together. Default 256MiB. Not live.
    pub total: ByteSize,
    /// The most that one client may hold while it is alone; the rest is kept for clients below their share.
    /// Default 75%. Not live.
    pub client: Percent,
    /// The most that may wait for one topic. Default 50%. Not live.
    pub topic: Percent,
}

impl Default for Budget {
    fn default() -> Self {
        Self { total: ByteSize::mib(256), client: Percent::new(75), topic: Percent::new(50) }
    }
}

/// The largest sizes and counts accepted. Each has its own refusal (see docs/errors.md).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// A body on the wire. Default 8MiB.
    pub body: ByteSize,
    /// A body after inflation. Default 32MiB.
    pub inflated: ByteSize,
    /// Inflated bytes for each wire byte. Default 100.
    pub ratio: u32,
    /// Events in a request. Default 10000.
    pub events: usize,
    /// Nested arrays and objects in an event, at most 128 (the default).
    pub depth: usize,
    /// A record's key. Default 1KiB.
    pub key: ByteSize,
    /// Headers of a record. Default 32.
    pub record_headers: usize,
    /// Names and values of a record's headers together. Default 8KiB.
    pub record_headers_bytes: ByteSize,
    /// Header fields of a request, at most 100. Default 64.
    pub headers: usize,
    /// Names and values of a request's header fields together, at most 64KiB. Default 16KiB.
    pub headers_bytes: ByteSize,
    /// The request target, at most 16KiB. Default 4KiB.
    pub uri: ByteSize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            body: ByteSize::mib(8),
            inflated: ByteSize::mib(32),
            ratio: 100,
            events: 10_000,
            depth: 128,
            key: ByteSize::kib(1),
            record_headers: 32,
            record_headers_bytes: ByteSize::kib(8),
            headers: 64,
            headers_bytes: ByteSize::kib(16),
            uri: ByteSize::kib(4),
        }
    }
}
