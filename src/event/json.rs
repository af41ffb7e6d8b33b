//! JSON text as slices: elements, members, strings and keys, found without building a tree.
//!
//! Owns the one rule by which JSON becomes the bytes of a key. Never copies text that needs no unescaping, and never
//! recurses, whatever the depth of the text.

use std::fmt;
use std::ops::{ControlFlow, Range};

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Batch, Piece};

/// Shows the text of each element of the array `text`, in order and without the white space around it, until `visit`
/// breaks off.
///
/// # Errors
/// Where `text` is no JSON array, up to its end.
pub fn elements<'a>(
    text: &'a str,
    visit: &mut dyn FnMut(&'a str) -> ControlFlow<()>,
) -> serde_json::Result<ControlFlow<()>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut walk = Walk { stopped: false, visit };
    let read = json.deserialize_seq(&mut walk);
    finish(read, walk.stopped, &mut json)
}

/// Shows the text of each member of the object `text`, its name (a JSON string as written) and its value, until
/// `visit` breaks off.
///
/// # Errors
/// Where `text` is no JSON object, up to its end.
pub fn members<'a>(
    text: &'a str,
    visit: &mut dyn FnMut(&'a str, &'a str) -> ControlFlow<()>,
) -> serde_json::Result<ControlFlow<()>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut walk = Walk { stopped: false, visit };
    let read = json.deserialize_map(&mut walk);
    finish(read, walk.stopped, &mut json)
}

/// The text that the JSON string `raw` stands for; `None` for a lone surrogate, which stands for none.
pub fn unescape(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// Where `part`, a slice of `whole`, begins in it, in bytes.
pub fn offset_in(whole: &[u8], part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

fn finish<'a>(
    read: serde_json::Result<()>,
    stopped: bool,
    json: &mut serde_json::Deserializer<serde_json::de::StrRead<'a>>,
) -> serde_json::Result<ControlFlow<()>> {
    if stopped {
        return Ok(ControlFlow::Break(()));
    }
    read?;
    json.end()?;
    Ok(ControlFlow::Continue(()))
}

struct Walk<V> {
    stopped: bool,
    visit: V,
}

impl<V> Walk<V> {
    /// serde has no way to leave an array or object early but by an error.
    fn stop<E: serde::de::Error>(&mut self) -> E {
        self.stopped = true;
        E::custom("stopped")
    }
}

impl<'a> Visitor<'a> for &mut Walk<&mut dyn FnMut(&'a str) -> ControlFlow<()>> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&RawValue>()? {
            if (self.visit)(element.get()).is_break() {
                return Err(self.stop());
            }
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for &mut Walk<&mut dyn FnMut(&'a str, &'a str) -> ControlFlow<()>> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some((name, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            if (self.visit)(name.get(), value.get()).is_break() {
                return Err(self.stop());
            }
        }
        Ok(())
    }
}

impl Batch {
    /// What the JSON string at `range` of the body stands for, in UTF-8; `None` where there is no such string, or it
    /// has a lone surrogate.
    pub fn json_string(&mut self, range: Range<usize>) -> Option<Piece> {
        let raw = self.body.get(range.clone())?;
        let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr::memchr(b'\\', inner).is_none() {
            return Some(Piece::of_body(range.start + 1..range.end - 1));
        }
        let text: String = serde_json::from_slice(raw).ok()?;
        Some(self.make(text.as_bytes()))
    }

    /// The key that the JSON value at `range` of the body gives: of a string its text, of a number or boolean the
    /// bytes as written, of null none.
    ///
    /// # Errors
    /// In words, where it gives no key: an object, an array, a string with a lone surrogate.
    pub fn json_key(&mut self, range: Range<usize>) -> Result<Option<Piece>, &'static str> {
        match self.body.get(range.start) {
            Some(b'n') => Ok(None),
            Some(b'{' | b'[') => Err("a key is a string, a number or a boolean"),
            Some(b'"') => match self.json_string(range) {
                Some(key) => Ok(Some(key)),
                None => Err("a lone surrogate has no bytes"),
            },
            _ => Ok(Some(Piece::of_body(range))),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn key(text: &'static str) -> Result<Option<Vec<u8>>, &'static str> {
        let mut batch = Batch::over(Bytes::from_static(text.as_bytes()));
        Ok(batch.json_key(0..text.len())?.map(|key| batch.bytes(key).to_vec()))
    }

    #[test]
    fn json_gives_a_key_by_one_rule() {
        for (json, bytes) in [
            (r#""plain""#, "plain"),
            (r#""""#, ""),
            (r#""a\"b\\\/\u00e4\ud83d\ude00""#, "a\"b\\/\u{e4}\u{1f600}"),
            ("1.50e3", "1.50e3"),
            ("-0", "-0"),
            ("true", "true"),
            ("false", "false"),
        ] {
            assert_eq!(key(json).unwrap().as_deref(), Some(bytes.as_bytes()), "{json}");
        }
        assert_eq!(key("null").unwrap(), None);
        for json in ["{}", "[1]", r#""\ud800""#] {
            assert!(key(json).is_err(), "{json}");
        }
    }

    #[test]
    fn elements_and_members_are_slices_without_white_space() {
        let mut seen = Vec::new();
        let _ = elements(" [ 1 ,\t{\"a\": [ ]} , \"x\" ] ", &mut |element| {
            seen.push(element);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, ["1", "{\"a\": [ ]}", "\"x\""]);

        let mut seen = Vec::new();
        let _ = members(r#"{"a" : 1 , "a":null, "\u0062": "\ud800"}"#, &mut |name, value| {
            seen.push((name, value));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, [("\"a\"", "1"), ("\"a\"", "null"), ("\"\\u0062\"", "\"\\ud800\"")]);
    }

    #[test]
    fn a_visit_can_break_off_and_what_follows_is_not_read() {
        let stopped = elements("[1,2,garbage", &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped, ControlFlow::Break(()));
        assert!(elements("[1] 2", &mut |_| ControlFlow::Continue(())).is_err());
        assert!(members("[1]", &mut |_, _| ControlFlow::Continue(())).is_err());
    }
}
