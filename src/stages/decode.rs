//! From the bytes of a body to the [`Batch`] of its events.
//!
//! Promises: a value leaves as it came, byte for byte (white space around it aside), and JSON is JSON to its last
//! byte. Whatever the input, work is linear in its size, the stack stays flat and memory stays below the caps. A
//! fault of one line or record is a row of the batch; a fault of the whole body is a [`Reject`].
//! Never re-encodes, never builds a tree of values, never awaits.
//!
//! The order: [`Media::choose`] and [`Coding::choose`] before the body is read, [`inflate`], then [`decode`].

mod coding;
mod depth;
mod envelope;
mod fault;
mod json;
mod media;
mod ndjson;
mod quick;
mod single;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::config::Caps;
use crate::event::{Batch, Event, Piece};
use crate::reject::Reject;

pub use coding::{Coding, inflate};
pub use media::{Media, accept_post};
pub use single::Single;

/// Makes a batch of an inflated `body`; `single` is what the request's headers say of its one event.
///
/// # Errors
/// `MalformedBody` where the body as a whole is not what `media` says, `NoEvents`, `TooManyEvents` (reading stops
/// there), `BadHeader` where `single` says something and there is more than one event, or says too much.
pub fn decode(media: Media, body: Bytes, single: &Single, caps: &Caps) -> Result<Batch, Reject> {
    single.check(caps)?;
    let mut batch = Batch::over(body);
    match media {
        Media::Json => json::decode(&mut batch, caps)?,
        Media::Ndjson => ndjson::decode(&mut batch, caps)?,
        Media::EnvelopeJson => envelope::decode_json(&mut batch, caps)?,
        Media::EnvelopeNdjson => envelope::decode_ndjson(&mut batch, caps)?,
        Media::Binary | Media::Text => whole(&mut batch),
    }
    if batch.received() == 0 {
        return Err(Reject::NoEvents);
    }
    single.apply(&mut batch, caps)?;
    Ok(batch)
}

/// The body as it is, as one event.
fn whole(batch: &mut Batch) {
    let len = batch.body().len();
    if len > 0 {
        batch.events.push(Event::new(0, 0, Some(Piece::of_body(0..len))));
    }
}
