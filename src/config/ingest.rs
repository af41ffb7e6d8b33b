//! `ingest` and `admin`: the two listeners.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use super::Key;
use crate::units::{ByteSize, Limit, Rate, Span};

/// Where to listen: `address:port`, or `unix:/path/of.sock` for sidecars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket, made at start and removed at stop.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
            Some(_) => Err(format!("`{text}`: the path of a unix socket must be absolute")),
            None => text
                .parse()
                .map(Listen::Tcp)
                .map_err(|_| format!("`{text}` is neither an address such as 127.0.0.1:8080 nor unix:/path/of.sock")),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Who may connect to a unix socket: the permissions of its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Socket {
    /// Its mode in octal digits; who may write to it may connect. Default 0660.
    #[schemars(with = "String")]
    pub mode: Mode,
    /// Its group, by name (as in /etc/group) or number; klamm has to be in it. In a loaded configuration a number.
    /// Default klamm's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Socket {
    /// The number of its group.
    pub fn gid(&self) -> Option<u32> {
        self.group.as_ref()?.parse().ok()
    }
}

/// The permissions of a file, 0 to 0777.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Its bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777 && !text.starts_with('+'));
        bits.map(Self).ok_or_else(|| format!("`{text}` is no mode in octal digits such as 0660"))
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The listener for events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// `address:port` or `unix:/path/of.sock`. Default 127.0.0.1:8080. Not live.
    #[schemars(with = "String")]
    pub listen: Listen,
    /// The file of a unix socket that klamm makes itself. Not live.
    pub socket: Socket,
    /// How long a request waits for Kafka's acknowledgement before it is answered 504. Default 10s.
    pub wait: Span,
    /// Connections at the same time; more wait in the kernel's queue. Default 10000. Not live.
    pub connections: u32,
    /// From accept to the first byte, and from there to the end of the head. Default 10s. Not live.
    pub header_timeout: Span,
    /// How long no byte of a body may come. Default 10s.
    pub body_idle: Span,
    /// How long a body may take as a whole. Default 60s.
    pub body_timeout: Span,
    /// How long a connection may idle between requests. Default 75s. Not live.
    pub keep_alive: Span,
    /// How long a client may take no byte of its answer. Default 30s. Not live.
    pub write_timeout: Span,
    /// Requests of one peer address before authentication, or `off`. Default 50000/s, which no load balancer meets by
    /// accident. Unix sockets are never held to it. Not live.
    pub peer_rate: Limit<Rate>,
    /// Networks (`10.0.0.0/8`, `192.0.2.7`) whose `X-Forwarded-For` is believed: the peer is then its rightmost address
    /// that is not itself in here. Default none. Not live.
    pub trusted_proxies: Vec<String>,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080))),
            socket: Socket::default(),
            wait: Span::secs(10),
            connections: 10_000,
            header_timeout: Span::secs(10),
            body_idle: Span::secs(10),
            body_timeout: Span::secs(60),
            keep_alive: Span::secs(75),
            write_timeout: Span::secs(30),
            peer_rate: "50000/s".parse().unwrap_or(Limit::Off),
            trusted_proxies: Vec::new(),
        }
    }
}

/// The listener for operators: health, metrics, `/admin`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `address:port` or `unix:/path/of.sock`. Default 127.0.0.1:8081. Not live.
    #[schemars(with = "String")]
    pub listen: Listen,
    /// Keys for `/admin/*` (Bearer, or the login of the live page). Without one, `/admin/*` answers on loopback only.
    pub keys: Vec<Key>,
    /// Names, beside loopback and the listen address, that a request's Host may have where no key is configured.
    pub hosts: Vec<String>,
    /// The most that the live page's history may take: curves, last requests, problem bodies. Default 16MiB. Not live.
    pub history: ByteSize,
    /// Whether the tap shows the first 2 KiB of bodies. Default false.
    pub tap_payload: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8081))),
            keys: Vec::new(),
            hosts: Vec::new(),
            history: ByteSize::mib(16),
            tap_payload: false,
        }
    }
}
