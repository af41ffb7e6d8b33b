//! What was sent and what was answered, in a file that only grows: a line before each request is sent, a line after its
//! answer. Written by `write(2)`, so that it survives the end of this process, however that comes.
//!
//! ```text
//! S <request> <microseconds> <client> <topic> <stream or -> <events>
//! A <request> <microseconds> <status, 0 for none> [<first>+<count>=<status> ...]
//! ```
//!
//! The runs are those of a 207 that failed. Times are since [`Ledger::begin`].

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::event::Id;

/// The status of a request that got no answer.
pub(super) const SILENCE: u16 = 0;

/// Events of a request, from `first` on, that ended with another status than the request.
pub(super) type Run = (u32, u32, u16);

/// A request, as it is written before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Places in the tables of clients and topics.
    pub(super) client: usize,
    pub(super) topic: usize,
    /// The number of the key that all its events have; requests of one stream are sent one after another.
    pub(super) stream: Option<u32>,
    pub(super) events: u32,
}

/// Being written.
pub(super) struct Ledger {
    // Held for one write, so that requests stand in the order of their numbers.
    open: Mutex<(File, u64)>,
    path: PathBuf,
    start: OnceLock<Instant>,
}

impl Ledger {
    pub(super) fn create(path: &Path) -> Self {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { open: Mutex::new((file, 0)), path: path.to_owned(), start: OnceLock::new() }
    }

    /// The clock starts.
    pub(super) fn begin(&self) {
        self.start.get_or_init(Instant::now);
    }

    /// Since the start; zero before.
    pub(super) fn now(&self) -> Duration {
        self.start.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Notes that this request is about to be sent; its number.
    pub(super) fn sent(&self, order: Order) -> u64 {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.1;
        open.1 += 1;
        let Order { client, topic, stream, events } = order;
        let stream = stream.map_or_else(|| "-".to_owned(), |stream| stream.to_string());
        let line = format!("S {number} {} {client} {topic} {stream} {events}\n", self.now().as_micros());
        open.0.write_all(line.as_bytes()).expect("the ledger takes a line");
        number
    }

    /// Notes what it was answered.
    pub(super) fn answered(&self, request: u64, status: u16, failed: &[Run]) {
        let mut line = format!("A {request} {} {status}", self.now().as_micros());
        for (first, count, status) in failed {
            line.push_str(&format!(" {first}+{count}={status}"));
        }
        line.push('\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0.write_all(line.as_bytes()).expect("the ledger takes a line");
    }

    /// All that it says so far.
    pub(super) fn read(&self) -> Book {
        Book::read(&self.path)
    }
}

/// What became of an event, by what was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// 200: in Kafka.
    Acked,
    /// 202: on disk, and will be in Kafka.
    Spooled,
    /// Not in Kafka, and never will be.
    Refused,
    /// Possibly.
    Unknown,
}

impl Said {
    fn of(status: u16) -> Self {
        match status {
            200 => Self::Acked,
            202 => Self::Spooled,
            400..=499 | 502 | 503 => Self::Refused,
            // A 207's own status says nothing: its runs do.
            _ => Self::Unknown,
        }
    }

    /// A promise that it is or will be in Kafka.
    pub(super) fn is_promise(self) -> bool {
        matches!(self, Self::Acked | Self::Spooled)
    }
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) order: Order,
    pub(super) sent: Duration,
    /// None while it is waited for.
    pub(super) answered: Option<Duration>,
    pub(super) status: u16,
    pub(super) failed: Vec<Run>,
}

impl Entry {
    /// What was said of its event at this place.
    pub(super) fn said(&self, index: u32) -> Said {
        if self.status != 207 {
            return Said::of(self.status);
        }
        let run = self.failed.iter().find(|(first, count, _)| (*first..*first + *count).contains(&index));
        run.map_or(Said::Acked, |(_, _, status)| Said::of(*status))
    }

    /// How many of its events were said to be this.
    pub(super) fn count(&self, said: Said) -> u64 {
        if self.status != 207 {
            return if Said::of(self.status) == said { self.order.events.into() } else { 0 };
        }
        (0..self.order.events).filter(|index| self.said(*index) == said).count() as u64
    }

    /// All of its events are promised.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.status, 200 | 202)
    }
}

/// A ledger read back.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    /// By number.
    pub(super) entries: Vec<Entry>,
}

impl Book {
    fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut book = Self::default();
        for line in BufReader::new(file).lines() {
            let line = line.expect("a ledger that can be read");
            book.take(&line).unwrap_or_else(|| panic!("not a line of a ledger: {line}"));
        }
        book
    }

    fn take(&mut self, line: &str) -> Option<()> {
        fn number<T: FromStr>(fields: &mut std::str::Split<'_, char>) -> Option<T> {
            fields.next()?.parse().ok()
        }
        let mut fields = line.split(' ');
        let kind = fields.next()?;
        let request: usize = number(&mut fields)?;
        let at = Duration::from_micros(number(&mut fields)?);
        if kind == "S" {
            let (client, topic) = (number(&mut fields)?, number(&mut fields)?);
            let stream = fields.next()?.parse().ok();
            let order = Order { client, topic, stream, events: number(&mut fields)? };
            assert_eq!(request, self.entries.len(), "requests in the order of their numbers");
            let (answered, status, failed) = (None, SILENCE, Vec::new());
            self.entries.push(Entry { order, sent: at, answered, status, failed });
            return Some(());
        }
        let entry = self.entries.get_mut(request)?;
        (entry.answered, entry.status) = (Some(at), number(&mut fields)?);
        for run in fields {
            let (first, rest) = run.split_once('+')?;
            let (count, status) = rest.split_once('=')?;
            entry.failed.push((first.parse().ok()?, count.parse().ok()?, status.parse().ok()?));
        }
        Some(())
    }

    pub(super) fn get(&self, id: Id) -> Option<&Entry> {
        let entry = self.entries.get(usize::try_from(id.request).ok()?)?;
        (id.index < entry.order.events).then_some(entry)
    }
}

#[test]
fn a_ledger_is_read_back_as_it_was_written() {
    let dir = crate::support::scratch::dir("ledger");
    let ledger = Ledger::create(&dir.path().join("ledger"));
    ledger.begin();
    let one = Order { client: 1, topic: 2, stream: Some(3), events: 4 };
    let other = Order { stream: None, ..one };
    assert_eq!((ledger.sent(one), ledger.sent(other), ledger.sent(one)), (0, 1, 2));
    ledger.answered(1, 207, &[(0, 1, 503), (2, 2, 504)]);
    ledger.answered(0, 202, &[]);
    let book = ledger.read();
    let [first, second, third] = &book.entries[..] else { panic!("{book:?}") };
    assert_eq!((first.order, second.order, third.order), (one, other, one));
    assert!(first.answered > second.answered && third.answered.is_none());
    assert!((0..4).all(|index| first.said(index) == Said::Spooled && third.said(index) == Said::Unknown));
    let said: Vec<_> = (0..4).map(|index| second.said(index)).collect();
    assert_eq!(said, [Said::Refused, Said::Acked, Said::Unknown, Said::Unknown]);
    assert_eq!((second.count(Said::Unknown), first.count(Said::Spooled)), (2, 4));
    assert!(book.get(Id { request: 2, index: 3 }).is_some() && book.get(Id { request: 2, index: 4 }).is_none());
}
