//! `shutdown`, `log`, `metrics`: the process itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// What happens at SIGTERM. The sum should stay under what the supervisor grants (Kubernetes: 30 s).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long requests are still served while `/readyz` already says no. Default 5s.
    pub lame_duck: Span,
    /// How long what is in flight may take after that. Default 20s.
    pub flush: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { lame_duck: Span::secs(5), flush: Span::secs(20) }
    }
}

/// What is logged.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a filter such as `info,klamm::stages::produce=debug`.
    /// Default info.
    pub level: String,
    /// How lines look. Default auto. Not live.
    pub format: LogFormat,
    /// Which requests get a line (target `klamm::access`). Default failures.
    pub access: Access,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto, access: Access::Failures }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `pretty` on a terminal, else `json`.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Which requests get a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// None.
    Off,
    /// Refusals and failures, at most 10 a second of each code, with a count of those left out.
    Failures,
    /// Every request.
    All,
}

/// How many series the metrics may have, and who may read them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Pairs of client and topic with rows of their own; beyond it the topic becomes `_other`. Default 2000. Not live.
    pub pairs: usize,
    /// Whether `/metrics` needs one of `admin.keys`. Default open.
    pub key: MetricsKey,
}

/// Whether a path needs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsKey {
    /// It never does.
    Open,
    /// It does.
    Required,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { pairs: 2000, key: MetricsKey::Open }
    }
}
