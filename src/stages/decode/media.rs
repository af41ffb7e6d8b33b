//! `Content-Type`: which decoder a body gets.

use http::HeaderValue;

use crate::config::Format;
use crate::reject::Reject;

/// What a body is, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// An object or scalar is one event, an array is a batch.
    Json,
    /// One event a line.
    Ndjson,
    /// A record with key, value, headers, partition and timestamp, or an array of them.
    EnvelopeJson,
    /// One such record a line.
    EnvelopeNdjson,
    /// One event, as it is.
    Binary,
    /// One event, as it is.
    Text,
}

/// Every media type, and the key of `topics.*.formats` that allows it.
const TYPES: [(&str, Media, Format); 7] = [
    ("application/json", Media::Json, Format::Json),
    ("application/x-ndjson", Media::Ndjson, Format::Ndjson),
    ("application/jsonl", Media::Ndjson, Format::Ndjson),
    ("application/vnd.klamm.v1+json", Media::EnvelopeJson, Format::Envelope),
    ("application/vnd.klamm.v1+x-ndjson", Media::EnvelopeNdjson, Format::Envelope),
    ("application/octet-stream", Media::Binary, Format::Binary),
    ("text/plain", Media::Text, Format::Text),
];

impl Media {
    /// The decoder for `content_type`, among those that `allowed` names. Parameters do not matter, but for a charset
    /// other than UTF-8 or US-ASCII (RFC 9110, 8.3).
    ///
    /// # Errors
    /// `UnsupportedMediaType`, also where there is no content type.
    pub fn choose(content_type: Option<&HeaderValue>, allowed: &[Format]) -> Result<Self, Reject> {
        content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| Self::find(value, allowed))
            .ok_or_else(|| Reject::UnsupportedMediaType { accept: accept_post(allowed) })
    }

    fn find(value: &str, allowed: &[Format]) -> Option<Self> {
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let essence = essence.trim();
        let (_, media, _) =
            TYPES.iter().find(|(name, _, format)| name.eq_ignore_ascii_case(essence) && allowed.contains(format))?;
        (*media == Media::Binary || is_utf8(parameters)).then_some(*media)
    }

    /// Whether its values are JSON (but for those an envelope gives in base64).
    pub const fn is_json(self) -> bool {
        match self {
            Media::Json | Media::Ndjson | Media::EnvelopeJson | Media::EnvelopeNdjson => true,
            Media::Binary | Media::Text => false,
        }
    }
}

/// Whether no charset among the `parameters` says other than UTF-8 or its subset.
fn is_utf8(parameters: &str) -> bool {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"'))
        .all(|charset| ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(charset)))
}

/// The value of `Accept-Post`: every media type that `allowed` names.
pub fn accept_post(allowed: &[Format]) -> String {
    let names: Vec<&str> =
        TYPES.iter().filter(|(_, _, format)| allowed.contains(format)).map(|(name, _, _)| *name).collect();
    names.join(", ")
}
