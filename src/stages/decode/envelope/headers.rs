//! The `headers` of a record: an object of name and value, or an array of `[name, value]` for names that repeat.
//!
//! A value is a string, null, or `{"base64": "..."}`. Reading stops at the first header too many.

use std::ops::ControlFlow;

use crate::event::json::{elements, members};
use crate::event::{Header, Piece};
use crate::reject::Reason;

use super::super::fault::{self, Row};
use super::super::single::too_many_headers;
use super::{Records, pointer};

impl Records<'_> {
    /// Reads them into `self.headers`, which is empty before.
    pub(super) fn read_headers(&mut self, raw: &str) -> Result<(), Row> {
        self.headers.clear();
        let mut bad = None;
        let end = match raw.as_bytes().first() {
            Some(b'n') => Ok(ControlFlow::Continue(())),
            Some(b'{') => members(raw, &mut |name, value| stop_at(&mut bad, self.member(name, value))),
            Some(b'[') => {
                let mut index = 0;
                elements(raw, &mut |pair| {
                    let read = self.pair(pair).map_err(|detail| row(format!("/headers/{index}"), detail));
                    index += 1;
                    stop_at(&mut bad, read)
                })
            }
            _ => return Err(row("/headers".to_owned(), "want an object, or an array of [name, value]".to_owned())),
        };
        if let Err(error) = end {
            return Err(row("/headers".to_owned(), error.to_string()));
        }
        bad.map_or(Ok(()), Err)
    }

    fn member(&mut self, raw_name: &str, raw_value: &str) -> Result<(), Row> {
        let mut add = || {
            let header = self.header(raw_name, raw_value)?;
            let name = self.batch.bytes(header.name);
            // The last of duplicate members counts. There are few headers: see the cap.
            let same = self.headers.iter().position(|other| self.batch.bytes(other.name) == name);
            if let Some(same) = same {
                self.headers.remove(same);
            }
            self.push(header)
        };
        add().map_err(|detail| row(pointer("/headers", raw_name), detail))
    }

    fn pair(&mut self, raw: &str) -> Result<(), String> {
        const WANT: &str = "want [name, value]";
        let mut parts = [None; 2];
        let mut count = 0;
        if !raw.starts_with('[') {
            return Err(WANT.to_owned());
        }
        let read = elements(raw, &mut |part| match parts.get_mut(count) {
            Some(place) => {
                *place = Some(part);
                count += 1;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        });
        match (read, parts) {
            (Ok(ControlFlow::Continue(())), [Some(name), Some(value)]) => {
                let header = self.header(name, value)?;
                self.push(header)
            }
            _ => Err(WANT.to_owned()),
        }
    }

    fn push(&mut self, header: Header) -> Result<(), String> {
        self.headers.push(header);
        too_many_headers(&self.headers, self.caps).map_or(Ok(()), Err)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<Header, &'static str> {
        let name = self.string(name).ok_or("a header's name is a string of Unicode text")?;
        // librdkafka's callers pass names as C strings.
        if name.is_empty() || self.batch.bytes(name).contains(&0) {
            return Err("a header's name is not empty and has no NUL");
        }
        Ok(Header { name, value: self.header_value(value)? })
    }

    fn header_value(&mut self, raw: &str) -> Result<Option<Piece>, &'static str> {
        const WANT: &str = "a header's value is a string, null or {\"base64\": \"...\"}";
        match raw.as_bytes().first() {
            Some(b'n') => Ok(None),
            Some(b'"') => self.string(raw).map(Some).ok_or("a lone surrogate has no bytes"),
            Some(b'{') => {
                let mut text = None;
                let read = members(raw, &mut |name, value| {
                    if name != "\"base64\"" {
                        return ControlFlow::Break(());
                    }
                    text = Some(value);
                    ControlFlow::Continue(())
                });
                match (read, text) {
                    (Ok(ControlFlow::Continue(())), Some(text)) if text != "null" => self.base64(text),
                    _ => Err(WANT),
                }
            }
            _ => Err(WANT),
        }
    }
}

fn stop_at(bad: &mut Option<Row>, read: Result<(), Row>) -> ControlFlow<()> {
    match read {
        Ok(()) => ControlFlow::Continue(()),
        Err(row) => {
            *bad = Some(row);
            ControlFlow::Break(())
        }
    }
}

fn row(pointer: String, detail: String) -> Row {
    fault::at(Reason::BadHeaders, pointer, detail)
}
