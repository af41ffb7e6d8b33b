//! `kafka`: the clusters and how klamm produces to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secrets::Properties;
use crate::units::{ByteSize, Span};

/// One Kafka cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// `host:port` of some brokers. Required. Not live.
    pub bootstrap: Vec<String>,
    /// How long a record waits for others of its partition: latency against batch size. Default 5ms. Not live.
    pub linger: Span,
    /// The most that a batch of records may have. Topics with a lower `max.message.bytes` get smaller batches by
    /// themselves. Default 1000KB. Not live.
    pub batch_bytes: ByteSize,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`. Default lz4. Not live.
    pub compression: Compression,
    /// How long klamm keeps trying to deliver a record before it is given up. Longer than `ingest.wait`.
    /// Default 30s. Not live.
    pub delivery_timeout: Span,
    /// How long a partition may stand still, while its broker is well and something waits for it, before its producer is
    /// replaced. Default 10s. Not live.
    pub stall_timeout: Span,
    /// How often partition counts and `max.message.bytes` are read again. Default 5m. Not live.
    pub metadata_refresh: Span,
    /// Any librdkafka property, e.g. `security.protocol`, `sasl.*`, `ssl.*`; `<name>_file` reads the value from a
    /// file. Properties that klamm derives or that its promises rest on are refused, the latter but for `unsafe`.
    /// Not live.
    pub properties: Properties,
    /// Allows `properties` to turn off idempotence and `acks=all`. Acknowledged events may then be lost or doubled;
    /// logs, metrics and `/readyz?verbose` show it. Default false. Not live.
    #[serde(rename = "unsafe")]
    pub unsafe_: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            linger: Span::millis(5),
            batch_bytes: ByteSize::bytes(1_000_000),
            compression: Compression::Lz4,
            delivery_timeout: Span::secs(30),
            stall_timeout: Span::secs(10),
            metadata_refresh: Span::secs(300),
            properties: Properties::default(),
            unsafe_: false,
        }
    }
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// librdkafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}
