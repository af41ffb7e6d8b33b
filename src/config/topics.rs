//! `topics`: what klamm knows and enforces of each topic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// The policy of one topic, or of all with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Topic {
    /// Where the key comes from when neither the envelope nor `Kafka-Key` gives one, and whether it must.
    pub key: KeyRule,
    /// The bodies accepted. Default json, ndjson, envelope.
    pub formats: Vec<Format>,
    /// The largest event (key, value and headers). The topic's own `max.message.bytes` less 1KiB holds too.
    /// Default 1000KiB.
    pub max_event: ByteSize,
    /// Whether an envelope's `"value": null` (which deletes its key from a compacted topic) is taken. Default refuse.
    pub tombstones: Decision,
    /// Whether a client may choose the partition. Default refuse.
    pub partition: Decision,
    /// How long a record waits for others of its partition. Topics with the same time share a producer, so keep to a few
    /// times. Default that of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<Span>,
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            key: KeyRule::default(),
            formats: vec![Format::Json, Format::Ndjson, Format::Envelope],
            max_event: ByteSize::kib(1000),
            tombstones: Decision::Refuse,
            partition: Decision::Refuse,
            linger: None,
        }
    }
}

/// Where the key of an event comes from. The envelope's `key` and `Kafka-Key` always go first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRule {
    /// An RFC 6901 pointer into the event, e.g. `/order_id`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Whether an event without a key is refused. Default false.
    pub required: bool,
}

/// A family of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `application/json`: an object or scalar is one event, an array is a batch.
    Json,
    /// `application/x-ndjson`, `application/jsonl`: an event a line.
    Ndjson,
    /// `application/vnd.klamm.v1+json`, `application/vnd.klamm.v1+x-ndjson`: records with key, value, headers,
    /// partition, timestamp.
    Envelope,
    /// `application/octet-stream`: one event, as it is.
    Binary,
    /// `text/plain`: one event, as it is.
    Text,
}

/// Whether something is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Taken.
    Allow,
    /// Refused.
    Refuse,
}
