//! How deep JSON text is nested. serde_json bounds it only for values that it builds, and klamm builds none.

use memchr::memchr2;

/// The place of the first bracket that nests deeper than `limit`, in bytes; strings are seen as such.
///
/// Nearly free for text with few brackets. For text that is no JSON it may say anything.
pub(super) fn beyond(text: &[u8], limit: usize) -> Option<usize> {
    // Each level takes two brackets.
    if text.len() <= limit * 2 || opened(text) <= limit {
        return None;
    }
    scan(text, limit)
}

/// How many brackets open in `text`, those in strings too.
fn opened(text: &[u8]) -> usize {
    // In this form the compiler makes it 16 or more bytes at a time; memchr2 is several times slower, for brackets
    // are frequent. The two differ in the bit 0x20 alone, and no sum is over a `u8`.
    let of = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    text.chunks(128).map(|chunk| usize::from(of(chunk))).sum()
}

fn scan(text: &[u8], limit: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return Some(at - 1);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(text, at),
            _ => {}
        }
    }
    None
}

/// Behind the quote that ends the string whose text begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match text.get(at) {
            Some(b'"') => return at + 1,
            // The escaped byte, which may be a quote.
            _ => at += 2,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_brackets_are_counted() {
        assert_eq!(opened("[{]}[ä\u{5b}".repeat(1000).as_bytes()), 4000);
        assert_eq!(opened(&(0..=255).collect::<Vec<u8>>()), 2);
    }

    #[test]
    fn depth_is_exact_and_blind_to_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(beyond(nested(128).as_bytes(), 128), None);
        assert_eq!(beyond(nested(129).as_bytes(), 128), Some(128));
        let wide = format!("[{}{{}}]", "{},".repeat(1000));
        assert_eq!(beyond(wide.as_bytes(), 2), None);
        assert_eq!(beyond(wide.as_bytes(), 1), Some(1));
        let text = format!(r#"["\"{}\\", {}]"#, "[".repeat(500), nested(127));
        assert_eq!(beyond(text.as_bytes(), 128), None);
        assert!(beyond(text.as_bytes(), 127).is_some());
        assert_eq!(beyond(br#"[[["\"#, 1), Some(1));
    }
}
