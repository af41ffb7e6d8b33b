//! The table of refusals: stable names that are the problem's `code`, the metric's label and the anchor in
//! `docs/errors.md`, each with its status, its title and whether to try again.

use std::fmt;

use http::StatusCode;

/// One row of the table: everything about a refusal that does not depend on the request.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The stable name.
    pub name: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// RFC 9457 `title`: the same for every occurrence.
    pub title: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $retryable:literal, $title:literal;)*) => {
        /// Why a request, or an event of it, was not written.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of [`Code::index`].
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Its row of the table.
            pub const fn row(self) -> Row {
                match self {
                    $(Code::$variant => Row {
                        name: $name, status: StatusCode::$status, title: $title, retryable: $retryable,
                    },)*
                }
            }
        }
    };
}

codes! {
    /// No key, or an unknown, wrong or expired one.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, false, "A valid API key is required";
    /// A browser sends for a page, without a key, where others need none.
    WebPage = "web_page", FORBIDDEN, false, "Web pages need a key";
    /// The topic is not among the client's, whether it exists or not.
    ForbiddenTopic = "forbidden_topic", FORBIDDEN, false, "This client may not write to this topic";
    /// The topic is not in the config, or not in Kafka.
    UnknownTopic = "unknown_topic", NOT_FOUND, false, "There is no such topic";
    /// No such request of this client's, or none that is still known.
    UnknownRequest = "unknown_request", NOT_FOUND, false, "There is no such request";
    /// No such path.
    NotFound = "not_found", NOT_FOUND, false, "There is nothing at this path";
    /// The path does not take this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, false, "This path does not take this method";
    /// The body came slower than the limit.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, true, "The body came too slowly";
    /// The body is over the limit, on the wire or inflated.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, false, "The body is too large";
    /// The request holds more events than allowed.
    TooManyEvents = "too_many_events", PAYLOAD_TOO_LARGE, false, "Too many events in one request";
    /// The batch is larger than the quota's burst can ever allow.
    BatchOverBurst = "batch_over_burst", PAYLOAD_TOO_LARGE, false, "The batch is larger than the quota's burst";
    /// A single event is over the topic's limit.
    EventTooLarge = "event_too_large", PAYLOAD_TOO_LARGE, false, "The event is too large for its topic";
    /// The request target is over the limit.
    UriTooLong = "uri_too_long", URI_TOO_LONG, false, "The request target is too long";
    /// No such content type here.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, false,
        "This content type is not accepted here";
    /// No such content coding.
    UnsupportedEncoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE, false,
        "This content coding is not accepted";
    /// The body as a whole is not what its type says.
    MalformedBody = "malformed_body", BAD_REQUEST, false, "The body is not what its content type says";
    /// The body holds no event.
    NoEvents = "no_events", BAD_REQUEST, false, "The body holds no event";
    /// A request header that klamm reads is wrong.
    BadHeader = "bad_header", BAD_REQUEST, false, "A request header is not valid";
    /// A query parameter is wrong.
    BadQuery = "bad_query", BAD_REQUEST, false, "A query parameter is not valid";
    /// The body does not inflate.
    BadEncoding = "bad_encoding", BAD_REQUEST, false, "The body is not what its content coding says";
    /// Some events of the batch are not valid; nothing was written.
    InvalidEvents = "invalid_events", UNPROCESSABLE_ENTITY, false, "Some events are not valid";
    /// The client's quota is spent.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, true, "This client's quota is spent";
    /// The client holds its share of the buffer.
    ShareExhausted = "share_exhausted", TOO_MANY_REQUESTS, true, "This client's share of the buffer is used up";
    /// The header section is over the limit.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, false,
        "The request's header section is too large";
    /// A bug.
    Internal = "internal", INTERNAL_SERVER_ERROR, true, "klamm failed; whether the events were written is unknown";
    /// Kafka refused for good; nothing was written.
    KafkaRejected = "kafka_rejected", BAD_GATEWAY, false, "Kafka refused for good; nothing was written";
    /// The buffer is full; nothing was written.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, true, "The buffer is full; nothing was written";
    /// Kafka is away; nothing was written.
    KafkaUnavailable = "kafka_unavailable", SERVICE_UNAVAILABLE, true, "Kafka is away; nothing was written";
    /// The spool has no room; nothing was written.
    SpoolFull = "spool_full", SERVICE_UNAVAILABLE, true, "The spool is full; nothing was written";
    /// The spool's disk failed; the events are not taken.
    SpoolFailed = "spool_failed", SERVICE_UNAVAILABLE, true, "The spool's disk failed; the events were not taken";
    /// klamm is stopping; nothing was written.
    Draining = "draining", SERVICE_UNAVAILABLE, true, "klamm is stopping; nothing was written";
    /// The wait is over and the fate of some events is unknown.
    OutcomeUnknown = "outcome_unknown", GATEWAY_TIMEOUT, true, "The events may or may not be in Kafka";
}

impl Code {
    /// Its place in [`Code::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        for (place, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.index(), place);
            let same = Code::ALL.iter().filter(|other| other.name() == code.name()).count();
            assert_eq!(same, 1, "{code}");
        }
    }

    #[test]
    fn a_client_error_is_retryable_only_for_408_and_429() {
        for code in Code::ALL {
            let row = code.row();
            if row.status.is_client_error() {
                assert_eq!(row.retryable, matches!(row.status.as_u16(), 408 | 429), "{code}");
            }
        }
    }
}
