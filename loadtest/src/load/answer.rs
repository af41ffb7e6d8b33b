//! The answers of HTTP/1.1, read no further than needed: status, where the answer ends, whether the connection stays,
//! and the problem `code` of those that are not accepted.

use std::borrow::Cow;

use serde::Deserialize;

const HEADERS: usize = 64;

/// Where an answer ends and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The connection must not be used again.
    pub(super) close: bool,
    /// Bytes up to its end, interim answers before it included.
    pub(super) length: usize,
    body_at: usize,
    chunked: bool,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Not all of an answer; at least this many bytes belong to it.
    Partial(usize),
    /// An answer.
    Whole(Answer),
    /// Not HTTP/1.1.
    Malformed,
}

/// Reads `bytes`; `ended` = the peer will send no more.
pub(super) fn read(bytes: &[u8], ended: bool) -> Read {
    let mut start = 0;
    loop {
        match read_one(bytes, start, ended) {
            // An interim answer (100, 103): the final one follows.
            Read::Whole(answer) if answer.status < 200 && answer.status != 101 => start = answer.length,
            other => return other,
        }
    }
}

fn read_one(bytes: &[u8], start: usize, ended: bool) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let body_at = match head.parse(bytes.get(start..).unwrap_or_default()) {
        Ok(httparse::Status::Complete(length)) => start + length,
        Ok(httparse::Status::Partial) => return Read::Partial(bytes.len() + 1),
        Err(_) => return Read::Malformed,
    };
    let status = head.code.unwrap_or_default();
    let mut close = head.version == Some(0);
    let (mut length, mut chunked) = (None, false);
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let Some(parsed) = number(header.value) else { return Read::Malformed };
            length = Some(parsed);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = header.value.to_ascii_lowercase().ends_with(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            close |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let whole = |length, close| Read::Whole(Answer { status, close, length, body_at, chunked });
    if status < 200 || status == 204 || status == 304 {
        return whole(body_at, close);
    }
    if chunked {
        return match chunks(bytes, body_at, |_| {}) {
            Ok(Some(end)) => whole(end, close),
            Ok(None) => Read::Partial(bytes.len() + 1),
            Err(()) => Read::Malformed,
        };
    }
    match length {
        Some(length) if bytes.len() >= body_at + length => whole(body_at + length, close),
        Some(length) => Read::Partial(body_at + length),
        // RFC 9112 6.3: without a length the body ends with the connection.
        None if ended => whole(bytes.len(), true),
        None => Read::Partial(bytes.len() + 1),
    }
}

impl Answer {
    /// `code` of the problem document (RFC 9457) that `bytes` hold; empty if there is none.
    pub(super) fn code(&self, bytes: &[u8]) -> String {
        code(&self.body(bytes))
    }

    /// Its body in `bytes`.
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.chunked {
            let mut body = Vec::new();
            let _ = chunks(bytes, self.body_at, |chunk| body.extend_from_slice(chunk));
            return body.into();
        }
        bytes.get(self.body_at..self.length).unwrap_or_default().into()
    }
}

/// `code` of a problem document; empty if it is none.
pub(super) fn code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    serde_json::from_slice::<Problem<'_>>(body).map(|problem| problem.code.into_owned()).unwrap_or_default()
}

/// Walks the chunks from `at` (RFC 9112 7.1); the offset after the last one, trailers included, if it is there.
fn chunks(bytes: &[u8], mut at: usize, mut visit: impl FnMut(&[u8])) -> Result<Option<usize>, ()> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(rest).map_err(|_| ())? else {
            return Ok(None);
        };
        let size = usize::try_from(size).map_err(|_| ())?;
        at += line;
        if size == 0 {
            let mut trailers = [httparse::EMPTY_HEADER; 16];
            let rest = bytes.get(at..).unwrap_or_default();
            return match httparse::parse_headers(rest, &mut trailers).map_err(|_| ())? {
                httparse::Status::Complete((length, _)) => Ok(Some(at + length)),
                httparse::Status::Partial => Ok(None),
            };
        }
        let end = at.checked_add(size).ok_or(())?;
        let Some(chunk) = bytes.get(at..end) else { return Ok(None) };
        visit(chunk);
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => at = end + 2,
            Some(_) => return Err(()),
            None => return Ok(None),
        }
    }
}

fn number(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Answer {
        match read(bytes, false) {
            Read::Whole(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let answer = whole(bytes);
        assert_eq!((answer.status, answer.length, answer.close), (200, bytes.len(), false));
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut], false), Read::Partial(need) if need > cut), "cut at {cut}");
        }
        assert_eq!(read(&bytes[..39], false), Read::Partial(bytes.len()));
    }

    #[test]
    fn chunks_are_joined_for_the_code_and_every_cut_waits() {
        let bytes = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n\
            9\r\n{\"code\":\"\r\ne;x=1\r\nrate_limited\"}\r\n0\r\nTrailer: 1\r\n\r\n";
        let answer = whole(bytes);
        assert_eq!((answer.status, answer.length), (429, bytes.len()));
        assert_eq!(answer.code(bytes), "rate_limited");
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut], false), Read::Partial(_)), "cut at {cut}");
        }
    }

    #[test]
    fn close_interim_and_bodies_without_length() {
        assert!(whole(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n").close);
        assert!(whole(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").close);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!((whole(interim).status, whole(interim).length), (204, interim.len()));
        let bare = b"HTTP/1.1 503 Down\r\n\r\n{\"code\":\"x\"}";
        assert!(matches!(read(bare, false), Read::Partial(_)));
        let Read::Whole(answer) = read(bare, true) else { panic!("ended") };
        assert!(answer.close);
        assert_eq!(answer.code(bare), "x");
    }

    #[test]
    fn what_is_no_answer_or_no_problem_is_said_so() {
        assert_eq!(read(b"SSH-2.0-OpenSSH\r\n", false), Read::Malformed);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", false), Read::Malformed);
        let bad = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc";
        assert_eq!(read(bad, false), Read::Malformed);
        assert_eq!(code(b"<html>"), "");
        assert_eq!(code(b"{\"title\":\"x\"}"), "");
    }
}
