//! `application/json`: a batch is an array; anything else is one event.

use std::ops::ControlFlow;

use serde_json::value::RawValue;

use crate::config::Caps;
use crate::event::json::{elements, offset_in};
use crate::event::{Batch, Event, Piece};
use crate::reject::Reject;

use super::{fault, quick};

pub(super) fn decode(batch: &mut Batch, caps: &Caps) -> Result<(), Reject> {
    if quick::value_or_array(batch, caps.events, caps.depth) {
        return Ok(());
    }
    let body = batch.body().clone();
    each(&body, caps, &mut |text| {
        let index = batch.received() as u32;
        let start = offset_in(&body, text);
        match fault::within_depth(text, start, caps.depth) {
            Ok(()) => batch.events.push(Event::new(index, start, Some(Piece::of_body(start..start + text.len())))),
            Err(row) => fault::keep(batch, index, row),
        }
    })
}

/// Shows the text of each element of the array in `body`, or of the one value that it is; of nothing for white space.
pub(super) fn each<'a>(body: &'a [u8], caps: &Caps, visit: &mut dyn FnMut(&'a str)) -> Result<(), Reject> {
    let text = fault::text_of(body)?;
    match text.bytes().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        None => return Ok(()),
        Some(b'[') => {}
        Some(_) => {
            let value: &RawValue = serde_json::from_str(text).map_err(|e| fault::body_is_not_json(&e, text))?;
            visit(value.get());
            return Ok(());
        }
    }
    let mut left = caps.events;
    let end = elements(text, &mut |element| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        visit(element);
        ControlFlow::Continue(())
    });
    match end {
        Ok(ControlFlow::Continue(())) => Ok(()),
        Ok(ControlFlow::Break(())) => Err(Reject::TooManyEvents { limit: caps.events }),
        Err(error) => Err(fault::body_is_not_json(&error, text)),
    }
}
