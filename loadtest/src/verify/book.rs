//! What was said of each request: a byte for each, by its number.

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::load::{Fate, Ledger};

/// What an answer says of the events of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Said {
    /// Nothing was said, because it was not sent: they must not be there.
    Unsent,
    /// All are in Kafka: each must be there once.
    Written,
    /// None was written: none may be there.
    Refused,
    /// Unknown, or different for each: each may be there, once at most.
    Unknown,
}

impl Said {
    /// What klamm's contract says. Of other gateways only what HTTP itself says would hold; they are held to the same.
    fn of(fate: Fate<'_>) -> Self {
        match fate {
            // Mixed, even where somebody accepts it.
            Fate::Accepted(207) | Fate::Refused(207, _) => Said::Unknown,
            Fate::Accepted(_) => Said::Written,
            Fate::Refused(status, _) => match status {
                400..=499 | 502 | 503 => Said::Refused,
                _ => Said::Unknown,
            },
            Fate::Lost("connect" | "missed") => Said::Unsent,
            Fate::Lost(_) => Said::Unknown,
        }
    }
}

/// Filled while a load runs.
#[derive(Debug, Default)]
pub struct Book {
    // Held for two lines, once a request.
    said: Mutex<Vec<Said>>,
}

impl Ledger for Book {
    fn settled(&self, request: u64, fate: Fate<'_>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut said, request, Said::of(fate));
    }
}

fn note(all: &mut Vec<Said>, request: u64, said: Said) {
    let Ok(request) = usize::try_from(request) else { return };
    if all.len() <= request {
        all.resize(request + 1, Said::Unsent);
    }
    if let Some(slot) = all.get_mut(request) {
        *slot = said;
    }
}

impl Book {
    /// The load is over.
    pub fn close(self) -> Closed {
        Closed { said: self.said.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// What was said, when nothing more is.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    said: Vec<Said>,
}

impl Closed {
    /// From what was said of requests 0, 1, 2, ...
    pub fn of(said: Vec<Said>) -> Self {
        Self { said }
    }

    /// What was said of a request. Nothing, if it is none of ours.
    pub fn said(&self, request: u64) -> Said {
        usize::try_from(request).ok().and_then(|request| self.said.get(request)).copied().unwrap_or(Said::Unsent)
    }

    /// Requests that were numbered.
    pub fn requests(&self) -> u64 {
        self.said.len() as u64
    }

    /// Whether the fate of some is unknown.
    pub fn has_unknown(&self) -> bool {
        self.said.contains(&Said::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_at_their_word() {
        let book = Book::default();
        let fates = [
            Fate::Accepted(200),
            Fate::Accepted(202),
            Fate::Accepted(207),
            Fate::Refused(429, "rate_limited"),
            Fate::Refused(503, "kafka_unavailable"),
            Fate::Refused(504, "outcome_unknown"),
            Fate::Refused(500, ""),
            Fate::Lost("cut"),
            Fate::Lost("connect"),
        ];
        // Answers come in any order.
        for (number, fate) in fates.into_iter().enumerate().rev() {
            book.settled(number as u64, fate);
        }
        let book = book.close();
        let said: Vec<Said> = (0..10).map(|request| book.said(request)).collect();
        use Said::{Refused, Unknown, Unsent, Written};
        assert_eq!(said, [Written, Written, Unknown, Refused, Refused, Unknown, Unknown, Unknown, Unsent, Unsent]);
        assert!(book.has_unknown() && book.requests() == 9);
    }
}
