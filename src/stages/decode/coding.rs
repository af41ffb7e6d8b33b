//! `Content-Encoding`: inflating a body, never past its caps and never ahead of the memory budget.

use std::io::{self, Read};

use bytes::Bytes;
use http::HeaderValue;

use crate::config::Caps;
use crate::reject::{Extent, Reject};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952, also of several members.
    Gzip,
    /// RFC 8878, with a window of at most 8 MiB.
    Zstd,
    /// RFC 7932.
    Brotli,
}

/// Below this many bytes of output no ratio is too large: small bodies of one repeated byte are no attack.
const RATIO_FLOOR: u64 = 64 << 10;

/// The largest zstd window, as a power of two: what RFC 9659 asks HTTP to keep to.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The first step of the output: room for what JSON usually inflates to, within these bounds.
const FIRST_STEP: (usize, usize) = (4 << 10, 256 << 10);

impl Coding {
    /// The coding that `content_encoding` names; one at most.
    ///
    /// # Errors
    /// `UnsupportedEncoding`.
    pub fn choose(content_encoding: Option<&HeaderValue>) -> Result<Self, Reject> {
        let Some(value) = content_encoding else { return Ok(Coding::Identity) };
        let name = value.to_str().map_err(|_| Reject::UnsupportedEncoding)?.trim();
        [
            ("identity", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("br", Coding::Brotli),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, coding)| coding)
        .ok_or(Reject::UnsupportedEncoding)
    }

    const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
        }
    }

    fn bad(self, detail: impl std::fmt::Display) -> Reject {
        Reject::BadEncoding { detail: format!("the body is not {}: {detail}", self.name()) }
    }
}

/// Inflates `body`; a body without coding comes back as it is.
///
/// `grow` is called with a number of bytes before each time that so many more are taken for the output.
///
/// # Errors
/// `TooLarge` at the first byte over `caps.inflated` or `caps.ratio` (the latter judged from 64 KiB of output on),
/// `BadEncoding` for what is garbage, cut off or followed by other bytes, and whatever `grow` refuses with.
pub fn inflate(
    coding: Coding,
    body: Bytes,
    caps: &Caps,
    grow: &mut dyn FnMut(u64) -> Result<(), Reject>,
) -> Result<Bytes, Reject> {
    let mut output = Output::new(coding, body.len(), caps, grow);
    match coding {
        Coding::Identity => return Ok(body),
        // Each decoder has its own idea of what no byte at all is.
        Coding::Gzip | Coding::Zstd | Coding::Brotli if body.is_empty() => return Err(coding.bad("it is empty")),
        Coding::Gzip => output.fill(&mut flate2::bufread::MultiGzDecoder::new(&*body))?,
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&*body).map_err(|error| coding.bad(error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| coding.bad(error))?;
            output.fill(&mut decoder)?;
        }
        Coding::Brotli => {
            let mut decoder = brotli_decompressor::Decompressor::new(&*body, 4096);
            output.fill(&mut decoder)?;
            // Bytes behind the end: in its buffer they are an error of one more read, else they were never read.
            if decoder.read(&mut [0]).is_err() || !decoder.get_ref().is_empty() {
                return Err(coding.bad("other bytes follow its end"));
            }
        }
    }
    Ok(Bytes::from(output.bytes))
}

/// Invariant: the capacity of `bytes` is at most what `grow` granted, and at most `limit`.
struct Output<'a> {
    coding: Coding,
    bytes: Vec<u8>,
    step: usize,
    limit: usize,
    over: Reject,
    grow: &'a mut dyn FnMut(u64) -> Result<(), Reject>,
}

impl<'a> Output<'a> {
    fn new(coding: Coding, wire: usize, caps: &Caps, grow: &'a mut dyn FnMut(u64) -> Result<(), Reject>) -> Self {
        let by_size = caps.inflated.get();
        let by_ratio = (wire as u64).saturating_mul(caps.ratio.into()).max(RATIO_FLOOR);
        let (what, limit, shown) = if by_ratio < by_size {
            (Extent::Ratio, by_ratio, caps.ratio.into())
        } else {
            (Extent::Inflated, by_size, by_size)
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let step = wire.saturating_mul(4).clamp(FIRST_STEP.0, FIRST_STEP.1);
        Self { coding, bytes: Vec::new(), step, limit, over: Reject::TooLarge { what, limit: shown }, grow }
    }

    fn fill(&mut self, from: &mut dyn Read) -> Result<(), Reject> {
        let mut filled = 0;
        loop {
            if filled == self.bytes.len() && !self.take_room()? {
                return match self.read(from, &mut [0])? {
                    0 => Ok(()),
                    _ => Err(self.over.clone()),
                };
            }
            let mut bytes = std::mem::take(&mut self.bytes);
            let read = self.read(from, bytes.get_mut(filled..).unwrap_or_default());
            self.bytes = bytes;
            match read? {
                0 => break,
                more => filled += more,
            }
        }
        self.bytes.truncate(filled);
        // It stays in memory until Kafka has answered, and counts with its length.
        self.bytes.shrink_to_fit();
        Ok(())
    }

    /// Makes `bytes` longer, by half at least; false where it may not be.
    fn take_room(&mut self) -> Result<bool, Reject> {
        let len = self.bytes.len();
        let more = self.step.max(len / 2).min(self.limit - len);
        if more == 0 {
            return Ok(false);
        }
        (self.grow)(more as u64)?;
        self.bytes.reserve_exact(more);
        self.bytes.resize(len + more, 0);
        Ok(true)
    }

    fn read(&self, from: &mut dyn Read, into: &mut [u8]) -> Result<usize, Reject> {
        from.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.coding.bad("it is cut off"),
            _ => self.coding.bad(error),
        })
    }
}
