//! What a request asks for beside its body: the query, `Prefer`, the media type, the coding, the headers for one event.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use crate::config::Format;
use crate::reject::Reject;
use crate::stages::decode::{Coding, Media, Single};
use crate::stages::validate::OnInvalid;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The wishes of one request.
#[derive(Debug)]
pub struct Wishes {
    /// What the body is.
    pub media: Media,
    /// How it is compressed.
    pub coding: Coding,
    /// Key, partition, timestamp and headers of a single event.
    pub single: Single,
    /// What happens to the good events of a batch with bad ones.
    pub on_invalid: OnInvalid,
    /// The preferences, as given.
    pub prefer: Prefer,
    /// `Idempotency-Key`, without its quotes.
    pub idempotency_key: Option<String>,
}

/// RFC 7240 preferences that klamm knows; others are ignored, as the RFC asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `wait=N`: how long the caller is willing to wait.
    pub wait: Option<Duration>,
    /// `return=minimal`: no receipts.
    pub minimal: bool,
    /// `respond-async`: the answer need not wait for Kafka.
    pub respond_async: bool,
}

impl Wishes {
    /// Reads them.
    ///
    /// # Errors
    /// 400 `bad_query`, `bad_header`; 415.
    pub fn of(headers: &HeaderMap, query: Option<&str>, formats: &[Format]) -> Result<Self, Reject> {
        let mut wishes = Self {
            media: Media::choose(headers.get(header::CONTENT_TYPE), formats)?,
            coding: coding(headers)?,
            single: Single::of(headers)?,
            on_invalid: OnInvalid::Refuse,
            prefer: Prefer::of(headers)?,
            idempotency_key: idempotency_key(headers)?,
        };
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            wishes.read_query(pair)?;
        }
        Ok(wishes)
    }

    fn read_query(&mut self, pair: &str) -> Result<(), Reject> {
        let bad = |detail: &str| Err(Reject::BadQuery { detail: detail.to_owned() });
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("on_invalid", "refuse") => self.on_invalid = OnInvalid::Refuse,
            ("on_invalid", "skip") => self.on_invalid = OnInvalid::Skip,
            ("on_invalid", "dead-letter") => return bad("on_invalid=dead-letter: not available yet"),
            ("on_invalid", _) => return bad("on_invalid is `refuse` or `skip`"),
            ("wait", text) => match text.parse() {
                Ok(seconds) => self.prefer.wait = Some(Duration::from_secs(seconds)),
                Err(_) => return bad("wait is a whole number of seconds"),
            },
            ("return", "minimal") => self.prefer.minimal = true,
            ("return", "representation") => self.prefer.minimal = false,
            ("return", _) => return bad("return is `minimal` or `representation`"),
            ("respond", "async") => self.prefer.respond_async = true,
            ("respond", _) => return bad("respond is `async`"),
            _ => return bad("known parameters: on_invalid, wait, return, respond"),
        }
        Ok(())
    }
}

/// One coding in one field: of two, the second would be left on the events.
fn coding(headers: &HeaderMap) -> Result<Coding, Reject> {
    let mut fields = headers.get_all(header::CONTENT_ENCODING).iter();
    match (fields.next(), fields.next()) {
        (field, None) => Coding::choose(field),
        (_, Some(_)) => Err(Reject::UnsupportedEncoding),
    }
}

/// How long a key may be.
const MAX_KEY: usize = 255;

/// A structured-field string (RFC 8941), or the bare text that most clients send (draft-ietf-httpapi-idempotency-key).
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Reject> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let bad = |detail: &str| Err(Reject::BadHeader { name: "Idempotency-Key".into(), detail: detail.to_owned() });
    let value = match (fields.next(), fields.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default().trim(),
        (Some(_), Some(_)) => return bad("one is meant"),
    };
    let key = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return bad("1 to 255 visible ASCII characters");
    }
    Ok(Some(key.to_owned()))
}

impl Wishes {
    /// How long it waits for Kafka's word, where none may wait longer than `limit`.
    pub fn wait(&self, limit: Duration) -> Duration {
        self.prefer.wait.map_or(limit, |wait| wait.min(limit))
    }
}

impl Prefer {
    fn of(headers: &HeaderMap) -> Result<Self, Reject> {
        let bad = |detail: &str| Reject::BadHeader { name: "Prefer".into(), detail: detail.to_owned() };
        let mut prefer = Self::default();
        for value in headers.get_all(PREFER) {
            let value = value.to_str().map_err(|_| bad("not ASCII"))?;
            for preference in value.split([',', ';']) {
                let preference = preference.trim();
                match preference.split_once('=').unwrap_or((preference, "")) {
                    (name, seconds) if name.eq_ignore_ascii_case("wait") => {
                        let seconds = seconds.trim_matches('"').parse();
                        let seconds = seconds.map_err(|_| bad("wait is a whole number of seconds"))?;
                        prefer.wait = Some(Duration::from_secs(seconds));
                    }
                    (name, value) if name.eq_ignore_ascii_case("return") => {
                        prefer.minimal = value.trim_matches('"') == "minimal";
                    }
                    (name, _) if name.eq_ignore_ascii_case("respond-async") => prefer.respond_async = true,
                    _ => {}
                }
            }
        }
        Ok(prefer)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wishes(prefer: Option<&'static str>, query: &str) -> Result<Wishes, Reject> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(prefer) = prefer {
            headers.insert("prefer", HeaderValue::from_static(prefer));
        }
        Wishes::of(&headers, Some(query), &[Format::Json])
    }

    #[test]
    fn preferences_come_from_the_header_or_the_query_and_unknown_ones_are_ignored() {
        let expected = Prefer { wait: Some(Duration::from_secs(3)), minimal: true, respond_async: true };
        for (header, query) in [
            (Some("wait=3, return=minimal"), "respond=async"),
            (Some("Respond-Async, Wait=3; return=minimal, priority=5"), ""),
            (None, "wait=3&return=minimal&respond=async"),
        ] {
            assert_eq!(wishes(header, query).unwrap().prefer, expected, "{header:?} {query}");
        }
    }

    #[test]
    fn an_idempotency_key_comes_with_or_without_quotes() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", value.parse().unwrap());
            }
            idempotency_key(&headers).map_err(|reject| reject.code().name())
        };
        assert_eq!(of(&[]), Ok(None));
        for value in ["k-1", "\"k-1\""] {
            assert_eq!(of(&[value]), Ok(Some("k-1".to_owned())));
        }
        for values in [&["a", "b"][..], &[""], &["\"\""], &[&"x".repeat(256)], &["\u{e4}"]] {
            assert_eq!(of(values), Err("bad_header"), "{values:?}");
        }
    }

    #[test]
    fn a_wrong_query_is_bad_query_and_a_wrong_preference_is_bad_header() {
        for query in [
            "respond=sync",
            "on_invalid=maybe",
            "on_invalid=dead-letter",
            "wait=soon",
            "return=all",
            "onvalid=skip",
            "x",
        ] {
            assert_eq!(wishes(None, query).unwrap_err().code().name(), "bad_query", "{query}");
        }
        assert_eq!(wishes(Some("wait=soon"), "").unwrap_err().code().name(), "bad_header");
        assert_eq!(wishes(None, "on_invalid=skip").unwrap().on_invalid, OnInvalid::Skip);
    }
}
