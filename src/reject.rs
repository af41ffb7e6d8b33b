//! The whole refusal contract: code, status, retry and public text of everything that klamm answers but success.
//!
//! [`Code`] is the table: stable names that are the problem's `code`, the metric's label and the anchor in
//! `docs/errors.md`. [`Reject`] is one refusal with what its text needs. How it is rendered is `http::problem`'s.

use std::borrow::Cow;
use std::time::Duration;

mod code;
mod fault;

pub use code::{Code, Row};
pub use fault::{Failure, Fault, Place, Reason};

/// The three quotas of a client, by the names that its answers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// HTTP requests.
    Requests,
    /// Events, after decoding.
    Events,
    /// Bytes of key, value and headers, inflated.
    Bytes,
}

impl Policy {
    /// All three.
    pub const ALL: [Policy; 3] = [Policy::Requests, Policy::Events, Policy::Bytes];

    /// The name in config, headers, bodies and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Requests => "requests",
            Policy::Events => "events",
            Policy::Bytes => "bytes",
        }
    }
}

/// One refusal, with what its text and headers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// See [`Code::Unauthenticated`]; deliberately says nothing else.
    Unauthenticated,
    /// See [`Code::WebPage`].
    WebPage,
    /// See [`Code::ForbiddenTopic`].
    ForbiddenTopic {
        /// As asked for.
        topic: String,
    },
    /// See [`Code::UnknownTopic`].
    UnknownTopic {
        /// As asked for.
        topic: String,
    },
    /// See [`Code::UnknownRequest`].
    UnknownRequest,
    /// See [`Code::NotFound`].
    NotFound,
    /// See [`Code::MethodNotAllowed`].
    MethodNotAllowed,
    /// See [`Code::BodyTimeout`].
    BodyTimeout {
        /// The time that was not kept.
        limit: Duration,
        /// Whether it is the time between two pieces, not that of the whole body.
        idle: bool,
    },
    /// See [`Code::TooLarge`].
    TooLarge {
        /// Which limit.
        what: Extent,
        /// In bytes (for [`Extent::Ratio`]: inflated bytes for each wire byte).
        limit: u64,
    },
    /// See [`Code::TooManyEvents`].
    TooManyEvents {
        /// At most so many.
        limit: usize,
    },
    /// See [`Code::BatchOverBurst`].
    BatchOverBurst {
        /// Of which quota.
        policy: Policy,
        /// The most that one request may cost.
        limit: u64,
        /// What it costs.
        got: u64,
    },
    /// See [`Code::EventTooLarge`].
    EventTooLarge {
        /// In bytes.
        limit: u64,
        /// In bytes.
        got: u64,
    },
    /// See [`Code::UriTooLong`].
    UriTooLong {
        /// In bytes.
        limit: usize,
    },
    /// See [`Code::UnsupportedMediaType`].
    UnsupportedMediaType {
        /// What is accepted: the value of `Accept-Post`.
        accept: String,
    },
    /// See [`Code::UnsupportedEncoding`].
    UnsupportedEncoding,
    /// See [`Code::MalformedBody`].
    MalformedBody {
        /// Where in the (inflated) body.
        offset: u64,
        /// In words.
        detail: String,
    },
    /// See [`Code::NoEvents`].
    NoEvents,
    /// See [`Code::BadHeader`].
    BadHeader {
        /// The header's name.
        name: Cow<'static, str>,
        /// In words.
        detail: String,
    },
    /// See [`Code::BadHeader`]: whoever stands between may read the request otherwise, so the connection closes.
    Ambiguous {
        /// The header's name.
        name: &'static str,
        /// In words.
        detail: &'static str,
    },
    /// See [`Code::BadQuery`].
    BadQuery {
        /// In words.
        detail: String,
    },
    /// See [`Code::BadEncoding`].
    BadEncoding {
        /// In words.
        detail: String,
    },
    /// See [`Code::InvalidEvents`].
    InvalidEvents {
        /// Every bad event.
        faults: Vec<Fault>,
        /// How many events the request holds.
        of: usize,
    },
    /// See [`Code::RateLimited`].
    RateLimited {
        /// The quotas that are spent; empty for the guard per peer.
        violated: Vec<Policy>,
        /// When there will be room.
        retry_after: Duration,
    },
    /// See [`Code::ShareExhausted`].
    ShareExhausted,
    /// See [`Code::HeadersTooLarge`].
    HeadersTooLarge {
        /// How many fields, and how many bytes of them, are accepted.
        limit: (usize, usize),
    },
    /// See [`Code::Internal`].
    Internal,
    /// See [`Code::KafkaRejected`].
    KafkaRejected {
        /// Every event, in runs.
        failures: Vec<Failure>,
        /// How many events the request holds.
        of: usize,
    },
    /// See [`Code::Overloaded`].
    Overloaded,
    /// See [`Code::KafkaUnavailable`].
    KafkaUnavailable {
        /// In words.
        detail: Cow<'static, str>,
        /// Every event, in runs; empty where nothing was handed to the producer.
        failures: Vec<Failure>,
        /// When Kafka may be back, or the queue shorter: an estimate.
        retry_after: Duration,
    },
    /// See [`Code::SpoolFull`].
    SpoolFull {
        /// Of what there is no more.
        what: Room,
    },
    /// See [`Code::SpoolFailed`].
    SpoolFailed,
    /// See [`Code::Draining`].
    Draining,
    /// See [`Code::OutcomeUnknown`].
    OutcomeUnknown {
        /// Every event, in runs.
        failures: Vec<Failure>,
        /// How many events the request holds.
        of: usize,
    },
}

/// What of the spool is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// All of it, or the disk under it.
    Total,
    /// The client's share.
    Client,
    /// The topic's share.
    Topic,
    /// The time that events may wait.
    Age,
}

/// Which size of a body is over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// As it comes.
    Wire,
    /// After inflation.
    Inflated,
    /// Inflated over wire.
    Ratio,
}

impl Reject {
    /// Its row of the table.
    pub fn code(&self) -> Code {
        match self {
            Reject::Unauthenticated => Code::Unauthenticated,
            Reject::WebPage => Code::WebPage,
            Reject::ForbiddenTopic { .. } => Code::ForbiddenTopic,
            Reject::UnknownTopic { .. } => Code::UnknownTopic,
            Reject::UnknownRequest => Code::UnknownRequest,
            Reject::NotFound => Code::NotFound,
            Reject::MethodNotAllowed => Code::MethodNotAllowed,
            Reject::BodyTimeout { .. } => Code::BodyTimeout,
            Reject::TooLarge { .. } => Code::TooLarge,
            Reject::TooManyEvents { .. } => Code::TooManyEvents,
            Reject::BatchOverBurst { .. } => Code::BatchOverBurst,
            Reject::EventTooLarge { .. } => Code::EventTooLarge,
            Reject::UriTooLong { .. } => Code::UriTooLong,
            Reject::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Reject::UnsupportedEncoding => Code::UnsupportedEncoding,
            Reject::MalformedBody { .. } => Code::MalformedBody,
            Reject::NoEvents => Code::NoEvents,
            Reject::BadHeader { .. } | Reject::Ambiguous { .. } => Code::BadHeader,
            Reject::BadQuery { .. } => Code::BadQuery,
            Reject::BadEncoding { .. } => Code::BadEncoding,
            Reject::InvalidEvents { .. } => Code::InvalidEvents,
            Reject::RateLimited { .. } => Code::RateLimited,
            Reject::ShareExhausted => Code::ShareExhausted,
            Reject::HeadersTooLarge { .. } => Code::HeadersTooLarge,
            Reject::Internal => Code::Internal,
            Reject::KafkaRejected { .. } => Code::KafkaRejected,
            Reject::Overloaded => Code::Overloaded,
            Reject::KafkaUnavailable { .. } => Code::KafkaUnavailable,
            Reject::SpoolFull { .. } => Code::SpoolFull,
            Reject::SpoolFailed => Code::SpoolFailed,
            Reject::Draining => Code::Draining,
            Reject::OutcomeUnknown { .. } => Code::OutcomeUnknown,
        }
    }

    /// RFC 9457 `detail`: this occurrence in words for the caller; never a part of a payload, never a secret.
    pub fn detail(&self) -> String {
        match self {
            Reject::Unauthenticated => "send a valid key as `Authorization: Bearer <key>` or `X-Api-Key: <key>`".into(),
            Reject::WebPage => "a request of a web page needs a key here: it has Origin, Sec-Fetch-Site, or a Host that is neither localhost nor an address".into(),
            Reject::ForbiddenTopic { topic } => format!("topic `{topic}` is not among the topics of this client"),
            Reject::UnknownTopic { topic } => format!("topic `{topic}` does not exist"),
            Reject::UnknownRequest => "of this client, with events that the spool took, and not too long ago".into(),
            Reject::NotFound => "events are POSTed to /v1/topics/{topic}/events".into(),
            Reject::MethodNotAllowed => "see the Allow header for the methods of this path".into(),
            Reject::BodyTimeout { limit, idle: true } => {
                format!("no byte of the body came for {} s", limit.as_secs_f64())
            }
            Reject::BodyTimeout { limit, idle: false } => {
                format!("the body was not complete after {} s", limit.as_secs_f64())
            }
            Reject::TooLarge { what, limit } => match what {
                Extent::Wire => format!("a body may be at most {limit} bytes"),
                Extent::Inflated => format!("a body may be at most {limit} bytes after inflation"),
                Extent::Ratio => format!("a body may inflate to at most {limit} times its size"),
            },
            Reject::TooManyEvents { limit } => format!("a request may hold at most {limit} events"),
            Reject::BatchOverBurst { policy, limit, got } => {
                format!("the request costs {got} {}, the quota allows at most {limit} at once", policy.name())
            }
            Reject::EventTooLarge { limit, got } => {
                format!("the event has {got} bytes of key, value and headers; its topic takes at most {limit}")
            }
            Reject::UriTooLong { limit } => format!("a request target may be at most {limit} bytes"),
            Reject::UnsupportedMediaType { accept } => format!("accepted here: {accept}"),
            Reject::UnsupportedEncoding => "accepted: one of gzip, zstd, br, identity".into(),
            Reject::MalformedBody { offset, detail } => format!("{detail} (byte {offset})"),
            Reject::NoEvents => "send at least one event".into(),
            Reject::BadHeader { name, detail } => format!("{name}: {detail}"),
            Reject::Ambiguous { name, detail } => format!("{name}: {detail}"),
            Reject::BadQuery { detail } | Reject::BadEncoding { detail } => detail.clone(),
            Reject::InvalidEvents { faults, of } => {
                format!("{} of {of} events are not valid; nothing was written", faults.len())
            }
            Reject::RateLimited { violated, .. } if violated.is_empty() => "too many requests from this address".into(),
            Reject::RateLimited { violated, .. } => {
                let names: Vec<_> = violated.iter().map(|p| p.name()).collect();
                format!("spent: {}", names.join(", "))
            }
            Reject::ShareExhausted => {
                "too many bytes of this client still wait for Kafka; wait for answers before sending more".into()
            }
            Reject::HeadersTooLarge { limit: (count, bytes) } => {
                format!("a request may have at most {count} header fields and {bytes} bytes of them")
            }
            Reject::Internal => "this is a bug; the request id finds it in the log".into(),
            // Found out at the gate: no event was read yet.
            Reject::KafkaRejected { of: 0, .. } => "Kafka does not let klamm see this topic".into(),
            Reject::KafkaRejected { of, .. } => format!("none of {of} events was written"),
            Reject::Overloaded => "too many bytes still wait for Kafka".into(),
            Reject::KafkaUnavailable { detail, .. } => detail.clone().into_owned(),
            Reject::SpoolFull { what } => match what {
                Room::Total => "the spool's disk space is used up",
                Room::Client => "this client's share of the spool is used up",
                Room::Topic => "this topic's share of the spool is used up",
                Room::Age => "this client's oldest event for the topic has waited too long already",
            }
            .into(),
            Reject::SpoolFailed => "the events could not be written to disk".into(),
            Reject::Draining => "this instance is stopping; another one will answer".into(),
            Reject::OutcomeUnknown { of, .. } => {
                format!("Kafka did not confirm all of {of} events in time; sending them again may double some")
            }
        }
    }

    /// When to come back, for the refusals that say so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Reject::RateLimited { retry_after, .. } | Reject::KafkaUnavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            Reject::ShareExhausted | Reject::Overloaded | Reject::Draining => Some(Duration::from_secs(1)),
            Reject::SpoolFailed => Some(Duration::from_secs(1)),
            Reject::SpoolFull { .. } => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
