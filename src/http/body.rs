//! Bodies of requests: read under a cap, or thrown away.
//!
//! Promises: not a byte is kept before it was paid for (`take`), a body is one contiguous [`Bytes`], and at most
//! 64 KiB are allocated ahead of what came where the length is not known. Never looks at the content.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::problem::Refused;
use crate::reject::{Extent, Reject};

/// How much memory may be allocated ahead of what came, in bytes.
const AHEAD: usize = 64 * 1024;

/// The limits of one body.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// On the wire, in bytes.
    pub cap: u64,
    /// Between two pieces.
    pub idle: Duration,
    /// As a whole.
    pub total: Duration,
}

/// Why there is no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The client is to be told.
    Refused(Reject),
    /// The client is gone, or its framing is broken: nobody would read an answer.
    Aborted,
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Error::Refused(reject)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Error::Refused(reject) => Refused(reject).into_response(),
            Error::Aborted => {
                let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
                (StatusCode::BAD_REQUEST, close).into_response()
            }
        }
    }
}

/// Reads all of `body`. `take(n)` is asked for `n` more bytes before they are read (where the length is declared) or
/// kept (where it is not); its refusal ends the reading.
///
/// # Errors
/// `TooLarge` over the cap, without reading where the length is declared; `BodyTimeout`; what `take` says;
/// [`Error::Aborted`] where the body breaks off.
///
/// # Cancellation
/// What was read is lost; what was taken is the caller's to give back.
pub async fn read_capped<B>(
    mut body: B,
    limits: Limits,
    mut take: impl FnMut(u64) -> Result<(), Reject>,
) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = body.size_hint().exact();
    let mut taken = 0;
    if let Some(length) = declared {
        within(length, limits.cap)?;
        take(length)?;
        taken = length;
    }
    let mut kept = Vec::new();
    let mut got: u64 = 0;
    let deadline = Instant::now() + limits.total;
    // Where the length is known, so is the end.
    while !body.is_end_stream()
        && let Some(piece) = next_piece(&mut body, limits, deadline).await?
    {
        got += piece.len() as u64;
        within(got, limits.cap)?;
        if got > taken {
            take(got - taken)?;
            taken = got;
        }
        keep(&mut kept, &piece, declared);
    }
    kept.shrink_to_fit();
    Ok(kept.into())
}

fn within(bytes: u64, cap: u64) -> Result<(), Reject> {
    if bytes > cap { Err(Reject::TooLarge { what: Extent::Wire, limit: cap }) } else { Ok(()) }
}

/// The next data of `body`; `None` is its end.
async fn next_piece<B>(body: &mut B, limits: Limits, deadline: Instant) -> Result<Option<Bytes>, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let until = deadline.min(Instant::now() + limits.idle);
        let Ok(frame) = timeout_at(until, body.frame()).await else {
            let idle = until < deadline;
            let limit = if idle { limits.idle } else { limits.total };
            return Err(Reject::BodyTimeout { limit, idle }.into());
        };
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Error::Aborted),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => return Ok(Some(piece)),
                Ok(_) => {}
                // hyper's reading of a bare LF where the last line should be: no chunked body ends so.
                Err(frame) if frame.trailers_ref().is_some_and(HeaderMap::is_empty) => return Err(Error::Aborted),
                // Trailers say nothing.
                Err(_) => {}
            },
        }
    }
}

/// Copies, and at once: a piece is a part of the connection's buffer, which may be many times as large, could not be used
/// again, and would stay in memory until Kafka has answered.
fn keep(kept: &mut Vec<u8>, piece: &[u8], declared: Option<u64>) {
    if kept.capacity() - kept.len() < piece.len() {
        let room = match declared {
            Some(length) if kept.is_empty() => length as usize,
            None if kept.is_empty() => piece.len(),
            // Exact: doubling would hold up to twice what was taken from the budget. Large blocks move by remapping.
            _ => piece.len().max(AHEAD),
        };
        kept.reserve_exact(room);
    }
    kept.extend_from_slice(piece);
}

/// Reads and throws away the rest of `body`: at most about `cap` bytes, and not longer than `time`. Tells whether the
/// end was reached.
///
/// Closing a socket while the client still sends resets it, and the reset can destroy an answer on its way.
pub async fn discard<B>(mut body: B, cap: u64, time: Duration) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    let deadline = Instant::now() + time;
    let mut left = cap;
    loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => return true,
            Ok(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(rest) = left.checked_sub(size) else { return false };
                left = rest;
            }
            Ok(Some(Err(_))) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
