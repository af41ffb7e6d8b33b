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
    #[inline]
    fn string(&mut self) -> Option<()> {
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
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Moves the window to where the scan is.
    // Not inlined: one string in three gets here, and none should pay for its registers.
    #[inline(never)]
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

/// A bit for each byte that is a quote, a backslash or a control character, the first byte's lowest.
fn odd_bytes(text: &[u8; WINDOW]) -> u64 {
    // The compiler makes sixteen comparisons at a time of this.
    let odd = text.map(|byte| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20));
    let (words, _) = odd.as_chunks::<8>();
    let bits = words.iter().enumerate().map(|(n, word)| {
        // Moves the lowest bit of each byte into the highest byte.
        let gathered = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        gathered << (8 * n)
    });
    bits.fold(0, |all, some| all | some)
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
}
