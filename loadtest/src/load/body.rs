//! The bodies: a pool of distinct ones, made before the start and taken in turn by the request's number.
//!
//! The same options make the same bodies, byte for byte, so that candidates meet the same load and a record read back
//! can be compared with what was sent.

mod corpus;
mod event;
mod template;
mod timestamp;

use std::io::Write;
use std::ops::Range;

use anyhow::{Result, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use self::event::Generator;
use super::{Form, Options};

/// The pool is about this large, so that neither a compressor's window nor a cache sees the same bytes again soon.
const POOL: usize = 4 << 20;
/// A pool never has fewer or more bodies than this, whatever their size.
const BODIES: (usize, usize) = (4, 4096);

/// The bodies of a load.
#[derive(Debug)]
pub struct Bodies {
    pool: Vec<Body>,
    events: usize,
    /// What the ids of numbered events begin with; others of the same seed do the same.
    prefix: String,
}

/// One body, ready to be sent.
#[derive(Debug)]
pub(super) struct Body {
    /// The headers that depend on it as HTTP/1.1 has them, the blank line, the payload.
    pub(super) wire: Bytes,
    payload_at: usize,
    /// The key of its only event, for a header.
    pub(super) key: Option<String>,
    /// Where in `wire` each event's value stands; empty where the body is compressed or not ours.
    values: Vec<Range<usize>>,
}

impl Body {
    fn new(payload: &[u8], key: Option<String>, values: Vec<Range<usize>>) -> Self {
        let mut wire = format!("content-length: {}\r\n", payload.len()).into_bytes();
        if let Some(key) = &key {
            wire.extend_from_slice(format!("{KEY_HEADER}: {key}\r\n").as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        let payload_at = wire.len();
        wire.extend_from_slice(payload);
        let values = values.into_iter().map(|at| at.start + payload_at..at.end + payload_at).collect();
        Self { wire: wire.into(), payload_at, key, values }
    }

    /// The body alone.
    pub(super) fn payload(&self) -> Bytes {
        self.wire.slice(self.payload_at..)
    }

    /// Bytes of the body alone.
    pub(super) fn len(&self) -> usize {
        self.wire.len() - self.payload_at
    }
}

/// The header for the key of a request of one event.
pub(super) const KEY_HEADER: &str = "kafka-key";

impl Bodies {
    /// Makes the bodies of `options`. `numbered`: they will be numbered, which only generated and uncompressed events
    /// can be.
    ///
    /// # Errors
    /// A corpus or template that cannot be read.
    pub fn new(options: &Options, numbered: bool) -> Result<Self> {
        ensure!(
            !numbered || (options.corpus.is_none() && options.template.is_none() && !options.gzip),
            "only generated events, without gzip, can be numbered and verified"
        );
        let pool = if let Some(file) = &options.template {
            template::bodies(file, options)?
        } else if let Some(path) = &options.corpus {
            from_corpus(&corpus::read(path)?, options)
        } else {
            generated(options)
        };
        let pool = pool.into_iter().map(|raw| raw.finish(options.gzip)).collect::<Result<_>>()?;
        Ok(Self { pool, events: options.events, prefix: event::prefix(options.seed) })
    }

    /// The body of a request.
    #[allow(clippy::indexing_slicing, reason = "a remainder of its length; the pool is never empty")]
    pub(super) fn of(&self, request: u64) -> &Body {
        &self.pool[(request % self.pool.len() as u64) as usize]
    }

    /// The bodies in the order in which requests take them, each once.
    pub fn payloads(&self) -> impl Iterator<Item = Bytes> {
        self.pool.iter().map(Body::payload)
    }

    /// Writes the numbers of the request's events over their ids in `wire`, a copy of its body's.
    pub(super) fn number(&self, wire: &mut [u8], request: u64) {
        for (index, value) in self.of(request).values.iter().enumerate() {
            if let Some(value) = wire.get_mut(value.clone()) {
                event::number(value, &self.prefix, self.first(request) + index as u64);
            }
        }
    }

    /// The value of the event `number` of a numbered load, as it must stand in Kafka; none if the events are not ours.
    pub fn event(&self, number: u64) -> Option<Vec<u8>> {
        let (request, index) = (number / self.events as u64, (number % self.events as u64) as usize);
        let body = self.of(request);
        let mut value = body.wire.get(body.values.get(index)?.clone())?.to_vec();
        event::number(&mut value, &self.prefix, number);
        Some(value)
    }

    /// The number of an event of a load with this seed by its value, or none if it is not one.
    pub fn number_of(&self, value: &[u8]) -> Option<u64> {
        event::number_of(value, &self.prefix)
    }

    fn first(&self, request: u64) -> u64 {
        request * self.events as u64
    }
}

/// A body that is not compressed yet.
struct Raw {
    payload: Vec<u8>,
    key: Option<String>,
    values: Vec<Range<usize>>,
}

impl Raw {
    fn finish(self, gzip: bool) -> Result<Body> {
        if !gzip {
            return Ok(Body::new(&self.payload, self.key, self.values));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.payload)?;
        Ok(Body::new(&encoder.finish()?, self.key, Vec::new()))
    }
}

fn generated(options: &Options) -> Vec<Raw> {
    let count = (POOL / (options.size * options.events).max(1)).clamp(BODIES.0, BODIES.1);
    let mut generator = Generator::new(options.seed, options.size);
    let mut value = Vec::with_capacity(options.size);
    (0..count)
        .map(|_| {
            let mut packer = Packer::new(options.form);
            for _ in 0..options.events {
                value.clear();
                let user = generator.write(&mut value);
                packer.push(&value, options.keyed.then(|| event::key(user)));
            }
            packer.finish()
        })
        .collect()
}

/// Packs the events in turn until each of them and each body was full once.
fn from_corpus(events: &[Vec<u8>], options: &Options) -> Vec<Raw> {
    let count = events.len().div_ceil(options.events);
    let mut turn = events.iter().cycle();
    (0..count)
        .map(|_| {
            let mut packer = Packer::new(options.form);
            for value in turn.by_ref().take(options.events) {
                packer.push(value, None);
            }
            packer.finish()
        })
        .collect()
}

/// Puts events into one body.
struct Packer {
    form: Form,
    payload: Vec<u8>,
    key: Option<String>,
    values: Vec<Range<usize>>,
}

impl Packer {
    fn new(form: Form) -> Self {
        let payload = if matches!(form, Form::Array | Form::Envelope) { vec![b'['] } else { Vec::new() };
        Self { form, payload, key: None, values: Vec::new() }
    }

    fn push(&mut self, value: &[u8], key: Option<String>) {
        let out = &mut self.payload;
        if !self.values.is_empty() && self.form != Form::Ndjson {
            out.push(b',');
        }
        match (self.form, key) {
            (Form::Envelope, Some(key)) => out.extend_from_slice(format!("{{\"key\":\"{key}\",\"value\":").as_bytes()),
            (Form::Envelope, None) => out.extend_from_slice(b"{\"value\":"),
            (_, key) => self.key = key,
        }
        self.values.push(out.len()..out.len() + value.len());
        out.extend_from_slice(value);
        match self.form {
            Form::Ndjson => out.push(b'\n'),
            Form::Envelope => out.push(b'}'),
            Form::Single | Form::Array => {}
        }
    }

    fn finish(mut self) -> Raw {
        if matches!(self.form, Form::Array | Form::Envelope) {
            self.payload.push(b']');
        }
        Raw { payload: self.payload, key: self.key, values: self.values }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Read;

    use serde_json::Value;

    use super::*;

    fn small() -> Options {
        Options { events: 10, ..Options::default() }
    }

    fn text(bodies: &Bodies, request: u64) -> String {
        String::from_utf8(bodies.of(request).payload().to_vec()).unwrap()
    }

    #[test]
    fn each_form_holds_the_same_events() {
        let events = |form| {
            let text = text(&Bodies::new(&Options { form, ..small() }, false).unwrap(), 3);
            let list: Vec<Value> = match form {
                Form::Ndjson => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
                _ => serde_json::from_str(&text).unwrap(),
            };
            list.into_iter().map(|event| event.get("value").cloned().unwrap_or(event)).collect::<Vec<_>>()
        };
        let ndjson = events(Form::Ndjson);
        assert_eq!(ndjson.len(), 10);
        assert_eq!(ndjson, events(Form::Array));
        assert_eq!(ndjson, events(Form::Envelope));
    }

    #[test]
    fn gzip_decodes_to_the_same_events() {
        let plain = Bodies::new(&small(), false).unwrap();
        let packed = Bodies::new(&Options { gzip: true, ..small() }, false).unwrap();
        let mut decoded = String::new();
        flate2::read::GzDecoder::new(&packed.of(7).payload()[..]).read_to_string(&mut decoded).unwrap();
        assert_eq!(decoded, text(&plain, 7));
        let ratio = plain.of(7).len() as f64 / packed.of(7).len() as f64;
        assert!((1.5..6.0).contains(&ratio), "events are neither constant nor random: gzip {ratio:.1}x");
    }

    #[test]
    fn keys_stand_in_the_record_or_the_header() {
        let options = Options { keyed: true, form: Form::Envelope, ..small() };
        let records: Vec<Value> = serde_json::from_str(&text(&Bodies::new(&options, false).unwrap(), 0)).unwrap();
        for record in &records {
            assert_eq!(record["key"], record["value"]["user"]);
        }
        let bodies = Bodies::new(&Options { keyed: true, ..Options::default() }, false).unwrap();
        let body = bodies.of(5);
        let event: Value = serde_json::from_str(&text(&bodies, 5)).unwrap();
        assert_eq!(body.key.as_deref(), event["user"].as_str());
        let head = String::from_utf8(body.wire[..body.payload_at].to_vec()).unwrap();
        assert_eq!(head, format!("content-length: {}\r\nkafka-key: {}\r\n\r\n", body.len(), body.key.clone().unwrap()));
        let keys: HashSet<_> = bodies.pool.iter().map(|body| body.key.clone()).collect();
        assert!((1000..4000).contains(&keys.len()), "some keys often, some seldom: {}", keys.len());
    }

    #[test]
    fn numbered_events_can_be_told_and_rebuilt() {
        for form in [Form::Ndjson, Form::Array, Form::Envelope] {
            let bodies = Bodies::new(&Options { form, ..small() }, true).unwrap();
            // Past the end of the pool: the body is used again, the numbers are not.
            let request = bodies.pool.len() as u64 + 2;
            let mut wire = bodies.of(request).wire.to_vec();
            bodies.number(&mut wire, request);
            for (index, at) in bodies.of(request).values.iter().enumerate() {
                let value = &wire[at.clone()];
                let number = request * 10 + index as u64;
                assert_eq!(bodies.number_of(value), Some(number));
                assert_eq!(bodies.event(number).as_deref(), Some(value));
                assert!(serde_json::from_slice::<Value>(value).is_ok());
            }
        }
        let other = Bodies::new(&Options { seed: 2, ..small() }, true).unwrap();
        let mine = Bodies::new(&small(), true).unwrap();
        assert_eq!(mine.number_of(&other.event(4).unwrap()), None, "another seed, another load");
        assert_eq!(mine.number_of(b"{}"), None);
        assert!(Bodies::new(&Options { gzip: true, ..small() }, true).is_err());
    }

    #[test]
    fn a_corpus_is_packed_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        std::fs::write(&file, "{\"a\":1}\n\n{\"a\":2}\n{\"a\":3}\n").unwrap();
        let options = Options { corpus: Some(file), events: 2, form: Form::Array, ..Options::default() };
        let bodies = Bodies::new(&options, false).unwrap();
        let seen: Vec<String> = (0..3).map(|request| text(&bodies, request)).collect();
        assert_eq!(seen, ["[{\"a\":1},{\"a\":2}]", "[{\"a\":3},{\"a\":1}]", "[{\"a\":1},{\"a\":2}]"]);
    }
}
