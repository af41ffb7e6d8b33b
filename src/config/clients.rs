//! `clients` and `defaults`: who may write what, and how much.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::units::{Limit, Rate, Span};

/// One client.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// Its keys; several while one is being replaced. `klamm keys new` makes one. Required, but with `local` or `unix`.
    pub keys: Vec<Key>,
    /// Whether requests without a key are its own. For one client at most, where `ingest.listen` is a unix socket or a
    /// loopback address. Default false.
    pub local: bool,
    /// The user whose processes are it on a unix socket, without a key. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<User>,
    /// The topics it may write to: exact names, or prefixes as `clicks-*`. Nothing else is allowed.
    pub topics: Vec<String>,
    /// Its weight where clients compete for the buffer. Default 1.
    pub share: NonZeroU32,
    /// Where it differs from `defaults.limits`.
    pub limits: ClientLimits,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            local: false,
            unix: None,
            topics: Vec::new(),
            share: NonZeroU32::MIN,
            limits: ClientLimits::default(),
        }
    }
}

/// A user of this machine. In a loaded configuration the number is there, and no name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// By number. This or `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// By name, as in /etc/passwd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// An API key, known by its digest alone. In a loaded configuration the digest is there, in lower case, and no file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Key {
    /// What people call it; shown in logs and by `/admin/clients`. Required.
    pub label: String,
    /// SHA-256 of the whole key, 64 hexadecimal digits (`klamm keys hash`). This or `sha256_file`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// A file that holds the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256_file: Option<PathBuf>,
    /// From then on it is refused, e.g. `2027-01-01T00:00:00Z`.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<OffsetDateTime>,
}

/// What holds for every client that does not say otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Quotas.
    pub limits: Quotas,
}

/// The quotas of a client. `off` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// HTTP requests. Default 1000/s.
    pub requests: Limit<Rate>,
    /// Events. Default 50000/s.
    pub events: Limit<Rate>,
    /// Bytes of key, value and headers, inflated. Default 50MiB/s.
    pub bytes: Limit<Rate>,
    /// How much of each may come at once: the rate times this. Default 2s.
    pub burst: Span,
}

impl Default for Quotas {
    fn default() -> Self {
        let rate = |text: &str| text.parse().unwrap_or(Limit::Off);
        Self { requests: rate("1000/s"), events: rate("50000/s"), bytes: rate("50MiB/s"), burst: Span::secs(2) }
    }
}

/// Where a client's quotas differ from the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientLimits {
    /// HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Limit<Rate>>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Limit<Rate>>,
    /// Bytes of key, value and headers, inflated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Limit<Rate>>,
    /// How much of each may come at once: the rate times this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Span>,
}

impl ClientLimits {
    /// These over `defaults`.
    pub fn over(&self, defaults: &Quotas) -> Quotas {
        Quotas {
            requests: self.requests.unwrap_or(defaults.requests),
            events: self.events.unwrap_or(defaults.events),
            bytes: self.bytes.unwrap_or(defaults.bytes),
            burst: self.burst.unwrap_or(defaults.burst),
        }
    }
}
