//! `spool`: what klamm keeps on disk until Kafka has it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Percent, Span};

/// The durable spool. Not live.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Its directory, made if it is missing (mode 0700) and held by one klamm at a time. Empty, the default: no spool.
    /// Not live.
    pub dir: PathBuf,
    /// The most that its files may take on disk. Default 10GiB. Not live.
    pub total: ByteSize,
    /// The age of a client's oldest event for a topic from which on no more are taken for the two. Default 24h.
    /// Not live.
    pub max_age: Span,
    /// The most of `total` that the events of one client may take. Default 50%. Not live.
    pub client_share: Percent,
    /// The most of `total` that the events for one topic may take. Default 50%. Not live.
    pub topic_share: Percent,
    /// The size of a file of the log. Default 64MiB. Not live.
    pub segment: ByteSize,
    /// When events are synced to disk. Not live.
    pub commit: Commit,
}

/// When events are synced to disk: whichever comes first. A lone request on an idle spool waits for neither.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    /// The least time from one sync to the next; at most 100ms. Default 2ms. Not live.
    pub delay: Span,
    /// So many bytes that wait are synced at once. Default 1MiB. Not live.
    pub bytes: ByteSize,
}

impl Spool {
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        !self.dir.as_os_str().is_empty()
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            total: ByteSize::mib(10 << 10),
            max_age: Span::secs(86_400),
            client_share: Percent::new(50),
            topic_share: Percent::new(50),
            segment: ByteSize::mib(64),
            commit: Commit::default(),
        }
    }
}

impl Default for Commit {
    fn default() -> Self {
        Self { delay: Span::millis(2), bytes: ByteSize::mib(1) }
    }
}
