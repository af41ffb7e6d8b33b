//! YAML 1.2 in and out: text to a [`Node`] with positions, a JSON value to text.
//!
//! Anchors, aliases and `<<` work and are bounded; tags but `!!str` are passed over. Never guesses at types.

use std::collections::HashMap;

use serde_json::Value;
use serde_saphyr::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, StrInput};

use super::fault::{Fault, Origin, Path, Step};
use super::tree::{Entry, Kind, Node};

/// The most values that a file may have after its aliases are expanded: 100 times what 1,000 clients need.
const VALUES: usize = 2_000_000;

/// Reads one document. `origin` names the place of a line and column, both from 1.
///
/// # Errors
///
/// A fault of the syntax, after which nothing can be known. Duplicate keys come beside the tree.
pub(super) fn parse(text: &str, origin: &dyn Fn(usize, usize) -> Origin) -> Result<(Node, Vec<Fault>), Fault> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader =
        Reader { events, origin, anchors: HashMap::new(), path: Path::default(), faults: Vec::new(), values: 0 };
    let root = reader.document()?;
    Ok((root, reader.faults))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    origin: &'a dyn Fn(usize, usize) -> Origin,
    anchors: HashMap<usize, Node>,
    /// Of the value being read.
    path: Path,
    faults: Vec<Fault>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = Node { at: None, kind: Kind::Null };
        let mut seen = false;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if seen => {
                    return Err(self.fault(span.start, "a second document: one configuration is one document"));
                }
                Event::DocumentStart(..) => seen = true,
                node => root = self.node(node, span.start)?,
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.fault(*error.marker(), &format!("not YAML: {}", error.info()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, at: Marker) -> Result<Node, Fault> {
        self.grow(1, at)?;
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_by_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let null = style == ScalarStyle::Plain && !text_by_tag && is_null(&text);
                (anchor, if null { Kind::Null } else { Kind::Text(text.into_owned()) })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.list()?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map()?),
            Event::Alias(id) => return self.alias(id, at),
            _ => return Err(self.fault(at, "not YAML: a value is missing here")),
        };
        let node = Node { at: Some(self.at(at)), kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: Marker) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(self.fault(at, "the alias stands inside its own anchor"));
        };
        self.grow(node.count(), at)?;
        Ok(node)
    }

    fn list(&mut self) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Kind::List(items));
            }
            let item = self.below(Step::Index(items.len()), event, span.start)?;
            items.push(item);
        }
    }

    fn map(&mut self) -> Result<Kind, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(self.fault(span.start, "a key must be a plain word")),
            };
            let at = span.start;
            let (event, span) = self.next()?;
            let value = self.below(Step::Key(key.clone()), event, span.start)?;
            if plain && key == "<<" {
                merged.push(value);
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let first = first.at.as_ref().map_or_else(String::new, |at| format!(" (first at {at})"));
                let mut fault = self.fault(at, &format!("is given twice{first}"));
                fault.path = self.path.key(&key);
                self.faults.push(fault);
            } else {
                entries.push(Entry { key, at: Some(self.at(at)), value });
            }
        }
        merged.into_iter().for_each(|source| inherit(&mut entries, source));
        Ok(Kind::Map(entries))
    }

    fn below(&mut self, step: Step, event: Event<'a>, at: Marker) -> Result<Node, Fault> {
        let below = self.path.then(step);
        let above = std::mem::replace(&mut self.path, below);
        let node = self.node(event, at)?;
        self.path = above;
        Ok(node)
    }

    fn grow(&mut self, by: usize, at: Marker) -> Result<(), Fault> {
        self.values = self.values.saturating_add(by);
        if self.values > VALUES { Err(self.fault(at, &format!("more than {VALUES} values"))) } else { Ok(()) }
    }

    fn at(&self, marker: Marker) -> Origin {
        (self.origin)(marker.line().max(1), marker.col() + 1)
    }

    fn fault(&self, marker: Marker, message: &str) -> Fault {
        Fault { origin: Some(self.at(marker)), path: self.path.clone(), message: message.to_owned() }
    }
}

/// What `<<` brings in: the keys that are not there yet, of one mapping or of each in a list.
fn inherit(entries: &mut Vec<Entry>, source: Node) {
    match source.kind {
        Kind::Map(more) => {
            for entry in more {
                if !entries.iter().any(|e| e.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
        Kind::List(sources) => sources.into_iter().for_each(|source| inherit(entries, source)),
        Kind::Gone | Kind::Null | Kind::Text(_) => {}
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// `value` as block YAML that reads back the same.
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&" ".repeat(indent));
                out.push_str(&scalar(key));
                out.push(':');
                below(value, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                let start = out.len() + 1;
                below(item, indent, out);
                // The first key of a mapping stands behind the dash.
                if item.as_object().is_some_and(|map| !map.is_empty()) {
                    out.replace_range(start - 1..start + indent + 2, " ");
                }
            }
        }
        other => {
            out.push_str(&leaf(other));
            out.push('\n');
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    let deep = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if deep {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        out.push_str(&leaf(value));
        out.push('\n');
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Plain where every YAML reader would take it for this text, else quoted as JSON (which YAML 1.2 reads).
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-:%+".contains(c))
        && !text.ends_with(':')
        && !looks_typed(text);
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

fn looks_typed(text: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
        || text.starts_with("0x")
        || text.starts_with("0o")
        || text.replace(['_', ':', '-'], "").parse::<f64>().is_ok()
}
