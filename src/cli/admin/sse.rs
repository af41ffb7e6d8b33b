//! Server-sent events, as the WHATWG's HTML standard (9.2.6) has them: bytes in, events out, however the bytes are cut.
//!
//! Holds one event at a time, of at most [`MOST`] bytes.

use std::time::Duration;

/// The longest event. A `hello` with 50,000 clients has some 20 MB.
const MOST: usize = 64 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cli) struct Event {
    /// Its name; `message` where it has none.
    pub(in crate::cli) name: String,
    /// Its data; several lines are joined by line feeds.
    pub(in crate::cli) data: String,
}

/// An event that is longer than [`MOST`].
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct TooLong;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::cli) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed behind it ends no second line.
    returned: bool,
    /// A line has been read.
    begun: bool,
    name: String,
    data: String,
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// One that goes on after the event `last_id`.
    pub(in crate::cli) fn after(last_id: Option<String>) -> Self {
        Self { last_id, ..Self::default() }
    }

    /// The same, where the server has said how long to stay away.
    pub(in crate::cli) fn with_retry(self, retry: Option<Duration>) -> Self {
        Self { retry, ..self }
    }

    /// The id of the last event that had one.
    pub(in crate::cli) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants a viewer to stay away before it comes back.
    pub(in crate::cli) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes; the events that they end.
    ///
    /// # Errors
    /// Too much for one event.
    pub(in crate::cli) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    events.extend(self.end_of_line());
                }
                _ => {
                    self.returned = false;
                    self.line.push(byte);
                }
            }
            if self.line.len() + self.data.len() > MOST {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let line = if self.begun { &text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            // A comment, or a field that is not known.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        if let Some(id) = self.id.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        // The line feed behind the last line is no part of the data.
        data.pop()?;
        Some(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}retry: 1500\r\n\r\n: a comment\n\nid: 7-1\nevent: hello\ndata: {\"a\":\ndata:1}\n\n\
                          data: ä\r\rid: 7-2\r\nevent: nothing\r\n\r\nevent\ndata\n\nunknown: x\nretry: soon\ndata:  two\n\ndata: half";

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn however_it_is_cut_a_stream_is_read_the_same() {
        let expected =
            [event("hello", "{\"a\":\n1}"), event("message", "ä"), event("message", ""), event("message", " two")];
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let chunks = STREAM.as_bytes().chunks(size);
            let events: Vec<_> = chunks.flat_map(|chunk| parser.push(chunk).unwrap()).collect();
            assert_eq!(events, expected, "in chunks of {size}");
            assert_eq!((parser.last_id(), parser.retry()), (Some("7-2"), Some(Duration::from_millis(1500))));
        }
    }

    #[test]
    fn an_id_counts_with_its_event_and_stays_for_those_without_one() {
        let mut parser = Parser::after(Some("7-1".to_owned()));
        assert_eq!(parser.push(b"id: 7-2\ndata: x\n").unwrap(), []);
        assert_eq!(parser.last_id(), Some("7-1"));
        assert_eq!(parser.push(b"\ndata: y\n\n").unwrap(), [event("message", "x"), event("message", "y")]);
        assert_eq!(parser.last_id(), Some("7-2"));
        parser.push(b"id: 8\0\n\n").unwrap();
        assert_eq!(parser.last_id(), Some("7-2"));
        parser.push(b"id\n\n").unwrap();
        assert_eq!(parser.last_id(), None);
    }

    #[test]
    fn an_endless_event_is_not_gathered() {
        let mut parser = Parser::default();
        let chunk = [b'x'; 1 << 20];
        let read = (0..100).find(|_| parser.push(&chunk).is_err());
        assert_eq!(read, Some(MOST >> 20));
    }
}
