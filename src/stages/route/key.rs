//! The topic's key rule: the key of an event, read from its JSON value.
//!
//! It comes last: an event that has a key, from the envelope or `Kafka-Key`, keeps it. The value is walked as text;
//! nothing off the path is built, nothing is copied but a key that must be unescaped.

use std::ops::{ControlFlow, Range};

use crate::config::KeyRule;
use crate::event::json::{elements, members, offset_in, unescape};
use crate::event::{Batch, Event};
use crate::reject::{Fault, Place, Reason};

/// An RFC 6901 pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// Parses a pointer in its string form: empty (the whole value), or tokens that each begin with `/`.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(Self { text: String::new(), tokens: Vec::new() }),
                _ => Err(format!("`{text}` does not begin with `/`")),
            };
        };
        let tokens: Option<Vec<String>> = path.split('/').map(token).collect();
        let tokens = tokens.ok_or_else(|| format!("in `{text}` a `~` is not followed by 0 or 1"))?;
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The text that it points to within the JSON `value`. Of duplicate members the last counts.
    fn find<'a>(&self, value: &'a str) -> Option<&'a str> {
        let mut at = value;
        for token in &self.tokens {
            at = match at.as_bytes().first()? {
                b'{' => member(at, token)?,
                b'[' => element(at, token)?,
                _ => return None,
            };
        }
        Some(at)
    }
}

fn token(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('~');
    let mut token = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(1)?;
        token.push(match escape {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        token.push_str(rest);
    }
    Some(token)
}

fn member<'a>(object: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    let _ = members(object, &mut |name, value| {
        if is_named(name, wanted) {
            found = Some(value);
        }
        ControlFlow::Continue(())
    })
    .ok()?;
    found
}

/// Whether the JSON string `name`, as written, stands for `wanted`.
fn is_named(name: &str, wanted: &str) -> bool {
    if name.contains('\\') {
        return unescape(name).is_some_and(|name| name == wanted);
    }
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).is_some_and(|name| name == wanted)
}

fn element<'a>(array: &'a str, index: &str) -> Option<&'a str> {
    // RFC 6901, 4: digits without leading zeros.
    if !index.bytes().all(|byte| byte.is_ascii_digit()) || (index.starts_with('0') && index != "0") {
        return None;
    }
    let mut left: usize = index.parse().ok()?;
    let mut found = None;
    let _ = elements(array, &mut |element| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            ControlFlow::Continue(())
        }
        None => {
            found = Some(element);
            ControlFlow::Break(())
        }
    })
    .ok()?;
    found
}

/// Where the key of an event comes from, and whether it must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Into the JSON value.
    pub pointer: Option<Pointer>,
    /// Whether an event without a key is refused.
    pub required: bool,
}

impl Rule {
    /// The rule that a topic's config gives.
    ///
    /// # Errors
    /// Where its pointer is none, in words.
    pub fn of(config: &KeyRule) -> Result<Self, String> {
        let pointer = config.pointer.as_deref().map(Pointer::parse).transpose()?;
        Ok(Self { pointer, required: config.required })
    }
}

/// Gives each event without a key the one that `rule` finds in its value, where values are `json`.
///
/// Rows: `BadKey` where it finds what is no key, `KeyRequired` where there must be one and is none.
pub fn assign(rule: &Rule, json: bool, batch: &mut Batch) {
    let pointer = rule.pointer.as_ref().filter(|_| json);
    if pointer.is_none() && !rule.required {
        return;
    }
    let mut events = std::mem::take(&mut batch.events);
    events.retain_mut(|event| {
        if event.key.is_some() {
            return true;
        }
        let found = pointer.and_then(|pointer| locate(pointer, batch, event));
        let row = match found.map_or(Ok(None), |range| batch.json_key(range)) {
            Ok(None) if rule.required => (Reason::KeyRequired, "the topic requires a key"),
            Ok(key) => {
                event.key = key;
                return true;
            }
            Err(detail) => (Reason::BadKey, detail),
        };
        let place = match pointer {
            Some(pointer) => Place::Pointer(pointer.text.clone()),
            None => Place::Offset(event.offset.into()),
        };
        batch.faults.push(Fault { index: event.index, place, reason: row.0, detail: row.1.to_owned() });
        false
    });
    batch.events = events;
}

/// Where in the body the key of `event` is. A value that an envelope gives in base64 is not JSON.
fn locate(pointer: &Pointer, batch: &Batch, event: &Event) -> Option<Range<usize>> {
    let value = event.value?.in_body()?;
    let text = std::str::from_utf8(batch.body().get(value)?).ok()?;
    let raw = pointer.find(text)?;
    let start = offset_in(batch.body(), raw);
    Some(start..start + raw.len())
}

#[cfg(test)]
mod tests;
