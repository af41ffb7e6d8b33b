//! One pass that splits and validates, for bodies in which all is well: most of them.
//!
//! It says yes or no and nothing else. After a no the body is read again by serde_json, which has the words for what is
//! wrong; so what counts is that a yes is right: `tests::laws` holds it to serde_json. Own code, because validating was
//! the dearest thing that klamm did for an event (docs/performance.md has the figures).
//!
//! Never recurses, never allocates, looks at each byte about once.

use wide::u8x16;

use crate::event::{Batch, Event, Piece};

/// The deepest nesting that is followed here: a bit a level.
const LEVELS: usize = u128::BITS as usize;

/// The text is looked at in windows of so many bytes: a bit a byte.
const WINDOW: usize = u64::BITS as usize;

/// What `Scan` has of its text, and whether a line feed is white space in it.
struct Scan<'a, const LINES: bool> {
    text: &'a [u8],
    at: usize,
    /// Where the window ends that `odd` tells of.
    end: usize,
    /// The bytes of the window at which a string ends, escapes or breaks.
    odd: u64,
}

/// Where in a text a scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where a value begins.
    Value,
    /// Behind a value.
    Behind,
}

impl<'a, const LINES: bool> Scan<'a, LINES> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, end: 0, odd: 0 }
    }
}

/// Pushes an event for each line of `batch`'s body, at most `most`. False where something is odd: the batch is then as
/// it was.
pub(super) fn lines(batch: &mut Batch, most: usize, depth: usize) -> bool {
    all(batch, |batch, body| {
        let mut scan = Scan::<true>::of(body);
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
        let mut scan = Scan::<false>::of(body);
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
            // That there is none takes one comparison.
            && byte <= b' '
            && (matches!(byte, b' ' | b'\t' | b'\r') || (!LINES && byte == b'\n'))
        {
            self.at += 1;
        }
    }

    /// Goes over `text` where that comes next; says whether.
    fn take(&mut self, text: &[u8; 2]) -> bool {
        let next = self.text.get(self.at..).and_then(|rest| rest.first_chunk()) == Some(text);
        if next {
            self.at += text.len();
        }
        next
    }

    /// Goes over one value (RFC 8259) that is nested no deeper than `deepest`.
    fn value(&mut self, deepest: usize) -> Option<()> {
        // A bit a level, the innermost lowest: 1 is an object.
        let (mut objects, mut depth) = (0_u128, 0);
        let mut place = Place::Value;
        loop {
            let in_object = objects & 1 == 1;
            place = match (place, self.next()?) {
                (Place::Value, b'"') => self.string()?,
                (Place::Value, open @ (b'{' | b'[')) => {
                    if depth == deepest.min(LEVELS) {
                        return None;
                    }
                    let object = open == b'{';
                    (objects, depth) = (objects << 1 | u128::from(object), depth + 1);
                    self.space();
                    if self.peek()? == open + 2 {
                        // Its end is met as that of any other.
                        Place::Behind
                    } else if object {
                        self.members()?
                    } else {
                        Place::Value
                    }
                }
                (Place::Value, b'-') => {
                    let first = self.next()?;
                    self.number(first)?
                }
                (Place::Value, digit @ b'0'..=b'9') => self.number(digit)?,
                (Place::Value, b't') => self.word(b"rue")?,
                (Place::Value, b'f') => self.word(b"alse")?,
                (Place::Value, b'n') => self.word(b"ull")?,
                (Place::Behind, b',') => {
                    self.space();
                    if in_object { self.members()? } else { Place::Value }
                }
                (Place::Behind, end @ (b'}' | b']')) if in_object == (end == b'}') => {
                    (objects, depth) = (objects >> 1, depth - 1);
                    Place::Behind
                }
                _ => return None,
            };
            if place == Place::Behind {
                if depth == 0 {
                    return Some(());
                }
                self.space();
            }
        }
    }

    /// Goes over members of an object, most of which are strings with no white space about: from a name on, up to a value
    /// that is no string, or behind one.
    // Inlined, so that what it reads and writes stays in registers: a tenth of the time.
    #[inline(always)]
    fn members(&mut self) -> Option<Place> {
        (self.next()? == b'"').then_some(())?;
        loop {
            self.string()?;
            if !self.take(b":\"") {
                self.space();
                (self.next()? == b':').then_some(())?;
                self.space();
                return Some(Place::Value);
            }
            self.string()?;
            if !self.take(b",\"") {
                return Some(Place::Behind);
            }
        }
    }

    /// Goes over the rest of a string, behind its first quote.
    #[inline]
    fn string(&mut self) -> Option<Place> {
        loop {
            if self.at >= self.end {
                self.look()?;
            }
            let odd = self.odd >> (self.at % WINDOW);
            if odd == 0 {
                self.at = self.end;
                continue;
            }
            self.at += odd.trailing_zeros() as usize;
            match self.next()? {
                b'"' => return Some(Place::Behind),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Moves the window to where the scan is.
    #[inline]
    fn look(&mut self) -> Option<()> {
        let start = self.at / WINDOW * WINDOW;
        let rest = self.text.get(start..)?;
        self.odd = match rest.first_chunk() {
            Some(chunk) => odd_bytes(chunk),
            None => {
                // What is behind the end is odd, too.
                let mut chunk = [0; WINDOW];
                chunk.get_mut(..rest.len())?.copy_from_slice(rest);
                odd_bytes(&chunk)
            }
        };
        self.end = start + WINDOW;
        Some(())
    }

    #[inline(never)]
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
    fn number(&mut self, first: u8) -> Option<Place> {
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
        Some(Place::Behind)
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<Place> {
        self.text.get(self.at..)?.starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(Place::Behind)
    }
}

/// A bit for each byte that is a quote, a backslash or a control character, the first byte's lowest.
#[inline]
fn odd_bytes(text: &[u8; WINDOW]) -> u64 {
    let (parts, _) = text.as_chunks();
    parts.iter().rev().fold(0, |bits, part| {
        let part = u8x16::new(*part);
        let any_of = part.simd_eq(u8x16::splat(b'"')) | part.simd_eq(u8x16::splat(b'\\'));
        let odd = any_of | part.simd_le(u8x16::splat(0x1f));
        bits << 16 | u64::from(odd.to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_odd_byte_has_its_bit_wherever_it_stands() {
        for place in 0..WINDOW {
            for byte in 0..=u8::MAX {
                let mut text = [b'a'; WINDOW];
                text[place] = byte;
                let odd = matches!(byte, b'"' | b'\\' | 0..=0x1f);
                assert_eq!(odd_bytes(&text), u64::from(odd) << place, "{byte} at {place}");
            }
        }
        assert_eq!(odd_bytes(&[b'"'; WINDOW]), u64::MAX);
    }

    #[test]
    fn strings_of_every_length_end_where_they_end() {
        for before in 0..70 {
            for len in 0..140 {
                let text = [" ".repeat(before), "\"".into(), "x".repeat(len), "\"".into()].concat();
                let mut scan = Scan::<false>::of(text.as_bytes());
                scan.space();
                assert_eq!((scan.value(1), scan.at), (Some(()), text.len()));
                let mut cut = Scan::<false>::of(&text.as_bytes()[..text.len() - 1]);
                cut.space();
                assert_eq!(cut.value(1), None, "without its last quote");
            }
        }
    }

    #[test]
    fn every_short_row_of_tokens_is_taken_just_where_serde_json_takes_it() {
        const TOKENS: [&str; 7] = ["{", "}", ":", ",", "\"s\"", "1", " "];
        let mut taken = 0;
        for len in 1..=7 {
            for row in 0..TOKENS.len().pow(len) {
                let token = |place| TOKENS[row / TOKENS.len().pow(place) % TOKENS.len()];
                let text: String = (0..len).map(token).collect();
                let good = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
                let body = bytes::Bytes::from(text);
                assert_eq!(value_or_array(&mut Batch::over(body.clone()), 1, 8), good, "{body:?}");
                let blank = body.iter().all(|byte| *byte == b' ');
                assert_eq!(lines(&mut Batch::over(body.clone()), 1, 8), good || blank, "{body:?}");
                taken += usize::from(good);
            }
        }
        assert!(taken > 100, "{taken}");
    }
}
