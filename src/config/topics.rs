//! `topics`: what klamm knows and enforces of each topic.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

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
    /// What the producer of this topic calls itself at the brokers, whose quotas go by it. Topics with the same id (and
    /// linger) share a producer. Default the cluster's `client.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What a request waits for: `kafka`, or `spool`, which answers 202 once its events are on disk. Default kafka.
    pub ack: Ack,
    /// What becomes of events that Kafka cannot take: `refuse` (503, 504), or `spool` (202). Default refuse.
    pub on_outage: OnOutage,
    /// Which events get the record header `klamm-event-id`: `auto` (those that the spool takes, all of a topic with
    /// `on_outage: spool`, those of requests with an `Idempotency-Key`), `always`, `never`. Default auto.
    pub event_ids: EventIds,
    /// The topic for spooled events that Kafka refuses for good, `{topic}` standing for this one's name; or `off`.
    /// Default `{topic}.dlq`.
    #[schemars(with = "String")]
    pub dead_letter: DeadLetter,
}

impl Topic {
    /// Whether its events may go to the spool without that a request asks for it.
    pub fn may_spool(&self) -> bool {
        self.ack == Ack::Spool || self.on_outage == OnOutage::Spool
    }
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
            client_id: None,
            ack: Ack::Kafka,
            on_outage: OnOutage::Refuse,
            event_ids: EventIds::Auto,
            dead_letter: DeadLetter::default(),
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

/// What the answer to a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// Kafka's acknowledgement.
    Kafka,
    /// The spool's disk.
    Spool,
}

/// What becomes of events that Kafka cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnOutage {
    /// Refused.
    Refuse,
    /// Spooled.
    Spool,
}

/// Which events carry their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventIds {
    /// Those that may be sent twice.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// The name of a dead-letter topic, as a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetter {
    /// There is none.
    Off,
    /// With `{topic}` where the topic's name goes.
    To(String),
}

impl DeadLetter {
    const TOPIC: &str = "{topic}";

    /// The dead-letter topic of `topic`.
    pub fn of(&self, topic: &str) -> Option<String> {
        match self {
            DeadLetter::Off => None,
            DeadLetter::To(pattern) => Some(pattern.replace(Self::TOPIC, topic)),
        }
    }
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self::To("{topic}.dlq".to_owned())
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeadLetter::Off => "off",
            DeadLetter::To(pattern) => pattern,
        })
    }
}

impl FromStr for DeadLetter {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "off" { DeadLetter::Off } else { DeadLetter::To(text.to_owned()) })
    }
}

impl Serialize for DeadLetter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeadLetter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
