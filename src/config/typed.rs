//! From the tree to the typed configuration, collecting every fault.
//!
//! A serde deserializer over [`Node`]. serde stops at the first error; [`read`] takes the faulty value out of the tree
//! and reads again (every key has a default), so that each round finds one more.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected};
use serde::de::{IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, Origin, Path, Step};
use super::tree::{Entry, Kind, Node};

/// Reads `root` as a `T`. What is faulty is taken out of the tree, reported, and has its default in the result.
pub(super) fn read<T: DeserializeOwned + Default>(root: &mut Node) -> (T, Vec<Fault>) {
    let mut faults = Vec::new();
    loop {
        let fault = match T::deserialize(Reader(root)) {
            Ok(value) => return (value, faults),
            Err(error) => error.into_fault(),
        };
        let removed = root.bury(&fault.path);
        faults.push(fault);
        if !removed {
            return (T::default(), faults);
        }
    }
}

/// What serde gives up with. The place and path are filled in on the way out.
#[derive(Debug)]
struct Error {
    message: String,
    origin: Option<Origin>,
    /// From the inside out.
    steps: Vec<Step>,
}

impl Error {
    fn within(mut self, step: Step, at: Option<&Origin>) -> Self {
        self.steps.push(step);
        self.origin = self.origin.or_else(|| at.cloned());
        self
    }

    fn into_fault(mut self) -> Fault {
        self.steps.reverse();
        Fault { origin: self.origin, path: Path::from(self.steps), message: self.message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), origin: None, steps: Vec::new() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {}, found {}", plainly(expected), shown(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("{} is not {}", shown(found), plainly(expected)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::custom(match closest(field, known) {
            Some(key) => format!("unknown key; did you mean `{key}`?"),
            None => format!("unknown key; known here: {}", known.join(", ")),
        })
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("`{found}` is not one of: {}", known.join(", ")))
    }
}

/// What was found, in YAML's words.
fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Unit => "nothing (leave the key out for its default)".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Str(text) => format!("`{text}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Signed(number) => format!("`{number}`"),
        other => other.to_string(),
    }
}

/// serde's words for what it expects, without Rust's names.
fn plainly(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u32" | "u64" | "usize" => "a whole number".to_owned(),
        "a nonzero u32" => "a whole number above 0".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

/// The known key that `field` is most likely a slip of.
pub(super) fn closest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = 1 + field.len() / 4;
    let best = known.iter().map(|key| (distance(field, key), *key)).min()?;
    (best.0 <= near).then_some(best.1)
}

/// Levenshtein's distance in bytes, one row at a time; case and `-` for `_` are free.
fn distance(a: &str, b: &str) -> usize {
    let a = a.to_ascii_lowercase().replace('-', "_");
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.bytes().zip(row.windows(2)) {
            if let (&[replace, delete], Some(&insert)) = (pair, next.last()) {
                next.push((replace + usize::from(x != y)).min(delete + 1).min(insert + 1));
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

struct Reader<'a>(&'a Node);

impl<'de> Reader<'de> {
    fn is_nothing(&self) -> bool {
        matches!(self.0.kind, Kind::Gone | Kind::Null)
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Kind::Text(text) = &self.0.kind else { return self.deserialize_any(visitor) };
        if let Ok(number) = text.parse() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse() {
            visitor.visit_i64(number)
        } else {
            visitor.visit_borrowed_str(text)
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.kind {
            Kind::Gone | Kind::Null => visitor.visit_unit(),
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Kind::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), current: None }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.kind {
            Kind::Text(text) if text == "true" => visitor.visit_bool(true),
            Kind::Text(text) if text == "false" => visitor.visit_bool(false),
            Kind::Gone | Kind::Null | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nothing() {
            return visitor.visit_seq(Items { items: [].iter().enumerate() });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nothing() {
            return visitor.visit_map(Entries { entries: [].iter(), current: None });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.0.kind {
            Kind::Text(text) => {
                let word: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Kind::Gone | Kind::Null | Kind::List(_) | Kind::Map(_) => Err(de::Error::custom("expected one word")),
        }
    }

    forward_to_deserialize_any! {
        f32 f64 i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, item)) = self.items.find(|(_, item)| !matches!(item.kind, Kind::Gone)) else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader(item));
        read.map(Some).map_err(|error| error.within(Step::Index(index), item.at.as_ref()))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    /// Some between a key and its value.
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.find(|entry| !matches!(entry.value.kind, Kind::Gone));
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.within(Step::Key(entry.key.clone()), entry.at.as_ref()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.current.take() else { return Err(de::Error::custom("a value without a key")) };
        let read = seed.deserialize(Reader(&entry.value));
        read.map_err(|error| error.within(Step::Key(entry.key.clone()), entry.place()))
    }
}
