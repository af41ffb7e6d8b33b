//! One pass that splits and validates, for bodies in which all is well: most of them.
//!
//! It says yes or no and nothing else. After a no the body is read again by serde_json, which has the words for what is
//! wrong; so what counts is that a yes is right: `tests::laws` holds it to serde_json. Own code, because validating was
//! the dearest thing that klamm did for an event (docs/performance.md has the figures).
//!
//! Never recurses, never allocates, looks at each byte about once.

use crate::event::{Batch, Event, Piece};

/// The deepest nesting that is followed here: a bit a level.
const LEVELS: usize = u128::BITS as usize;

/// What `Scan` has of its text, and whether a line feed is white space in it.
struct Scan<'a, const LINES: bool> {
    text: &'a [u8],
    at: usize,
}

/// Pushes an event for each line of `batch`'s body, at most `most`. False where something is odd: the batch is then as
/// it was.
pub(super) fn lines(batch: &mut Batch, most: usize, depth: usize) -> bool {
    all(batch, |batch, body| {
        let mut scan: Scan<'_, true> = Scan { text: body, at: 0 };
        loop {
            while matches!(scan.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
                scan.at += 1;
            }
            let start = scan.at;
            if start == body.len() {
                return Some(());
            }
            scan.value(depth)?;
            push(batch, start..scan.at, most)?;
            scan.space();
            if !matches!(scan.peek(), Some(b'\n') | None) {
                return None;
            }
        }
    })
}

/// Pushes an event for each element of the array that `batch`'s body is, or for the one value that it is; as [`lines`].
pub(super) fn value_or_array(batch: &mut Batch, most: usize, depth: usize) -> bool {
    all(batch, |batch, body| {
        let mut scan: Scan<'_, false> = Scan { text: body, at: 0 };
        scan.space();
        if scan.peek() != Some(b'[') {
            let start = scan.at;
            scan.value(depth)?;
            push(batch, start..scan.at, most)?;
        } else {
            scan.at += 1;
            scan.space();
            if scan.peek() == Some(b']') {
                scan.at += 1;
            } else {
                loop {
                    let start = scan.at;
                    scan.value(depth)?;
                    push(batch, start..scan.at, most)?;
                    scan.space();
                    match scan.next()? {
                        b',' => scan.space(),
                        b']' => break,
                        _ => return None,
                    }
                }
            }
        }
        scan.space();
        (scan.at == body.len()).then_some(())
    })
}

fn all(batch: &mut Batch, read: impl FnOnce(&mut Batch, &[u8]) -> Option<()>) -> bool {
    let body = batch.body().clone();
    // Once for the whole body: the scan then has no need to look at bytes beyond ASCII.
    let good = std::str::from_utf8(&body).is_ok() && read(batch, &body).is_some();
    if !good {
        batch.events.clear();
    }
    good
}

fn push(batch: &mut Batch, value: std::ops::Range<usize>, most: usize) -> Option<()> {
    let index = batch.events.len();
    if index == most {
        return None;
    }
    batch.events.push(Event::new(index as u32, value.start, Some(Piece::of_body(value))));
    Some(())
}

impl<const LINES: bool> Scan<'_, LINES> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Goes over white space; where `LINES`, not over line feeds.
    fn space(&mut self) {
        while let Some(byte) = self.peek()
            && (matches!(byte, b' ' | b'\t' | b'\r') || (!LINES && byte == b'\n'))
        {
            self.at += 1;
        }
    }

    /// Goes over one value (RFC 8259) that is nested no deeper than `deepest`.
    fn value(&mut self, deepest: usize) -> Option<()> {
        // A bit a level, the innermost lowest: 1 is an object.
        let (mut objects, mut depth) = (0_u128, 0);
        loop {
            match self.next()? {
                b'"' => self.string()?,
                open @ (b'{' | b'[') => {
                    if depth == deepest.min(LEVELS) {
                        return None;
                    }
                    let object = open == b'{';
                    (objects, depth) = (objects << 1 | u128::from(object), depth + 1);
                    self.space();
                    if self.peek()? == open + 2 {
                        self.at += 1;
                        (objects, depth) = (objects >> 1, depth - 1);
                    } else {
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                digit @ b'0'..=b'9' => self.number(digit)?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                _ => return None,
            }
            // A value is over: so may be what it is in.
            loop {
                if depth == 0 {
                    return Some(());
                }
                self.space();
                let object = objects & 1 == 1;
                match (self.next()?, object) {
                    (b',', _) => {
                        self.space();
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => (objects, depth) = (objects >> 1, depth - 1),
                    _ => return None,
                }
            }
        }
    }

    /// Goes over the name of a member and its colon, up to its value.
    fn name(&mut self) -> Option<()> {
        (self.next()? == b'"').then_some(())?;
        self.string()?;
        self.space();
        (self.next()? == b':').then_some(())?;
        self.space();
        Some(())
    }

    /// Goes over the rest of a string, behind its first quote.
    fn string(&mut self) -> Option<()> {
        loop {
            // Eight bytes at a time up to the first that is not plain.
            while let Some(chunk) = self.text.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let odd = odd_bytes(u64::from_le_bytes(*chunk));
                if odd != 0 {
                    self.at += odd.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.get(self.at..)?.first_chunk::<4>()?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// Goes over the rest of a number that begins with `first`, its sign aside.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.next()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            let mut first = self.next()?;
            if let b'+' | b'-' = first {
                first = self.next()?;
            }
            first.is_ascii_digit().then_some(())?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(())
    }
}

/// The top bit of each byte that is a quote, a backslash or a control character; only the lowest one set can be
/// trusted. ("Determine if a word has a byte less than n", S. E. Anderson, Bit Twiddling Hacks.)
fn odd_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES * 0x80;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | below_space) & TOPS
}
