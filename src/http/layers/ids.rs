//! Ids of a request: klamm's own, and the one that it came with.
//!
//! klamm's own is a UUIDv7, made here, unique whatever clients send: it is the `instance` of problems, the
//! `request_id` of answers, and part of event ids. An `X-Request-Id` of 1 to 128 visible ASCII characters is echoed
//! in the answer's `X-Request-Id` and logged beside the own; where none came, or several, or one that is not sane, the
//! answer's header carries the own.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::event::RequestId;

/// The header of both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An extension of every request.
#[derive(Debug, Clone)]
pub struct Ids {
    /// klamm's.
    pub own: RequestId,
    /// The client's, if sane.
    pub given: Option<HeaderValue>,
}

impl Ids {
    /// A new own id, and what `headers` give.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        let given = match (values.next(), values.next()) {
            (Some(one), None) if is_sane(one) => Some(one.clone()),
            _ => None,
        };
        Self { own: RequestId::new(), given }
    }

    /// The client's id as text.
    pub fn given(&self) -> Option<&str> {
        self.given.as_ref().and_then(|value| value.to_str().ok())
    }

    /// The value for the answer.
    pub(super) fn echo(&self) -> Option<HeaderValue> {
        self.given.clone().or_else(|| HeaderValue::from_str(self.own.text(&mut [0; 36])).ok())
    }
}

fn is_sane(value: &HeaderValue) -> bool {
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, value.parse().unwrap());
        }
        Ids::of(&headers).given().map(str::to_owned)
    }

    #[test]
    fn one_sane_id_is_kept() {
        assert_eq!(given(&["abc-123"]).as_deref(), Some("abc-123"));
        assert_eq!(given(&[&"x".repeat(128)]), Some("x".repeat(128)));
    }

    #[test]
    fn several_long_empty_or_strange_ids_are_not() {
        for values in [&[][..], &[""], &["a b"], &["ä"], &["a", "b"], &[&"x".repeat(129)]] {
            assert_eq!(given(values), None, "{values:?}");
        }
    }
}
