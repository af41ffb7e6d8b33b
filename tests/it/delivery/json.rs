//! JSON texts as people and machines write them: odd white space, escapes, numbers, duplicate members.

use std::fmt::Write as _;

/// Makes JSON texts; the same ones for the same seed.
pub(super) struct Texts {
    state: u64,
    /// Whether a text may have line feeds, which in NDJSON end it.
    lines: bool,
}

impl Texts {
    pub(super) fn new(seed: u64, lines: bool) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, lines }
    }

    /// A value of any kind, no white space around it.
    pub(super) fn value(&mut self) -> String {
        let mut text = String::new();
        self.write(&mut text, 4);
        text
    }

    /// White space as JSON knows it, or none.
    pub(super) fn space(&mut self) -> &'static str {
        let spaces: &[&str] = if self.lines {
            &["", "", " ", "\t", "\r\n", "\n  ", " \t\r"]
        } else {
            &["", "", " ", "\t", "  ", "\t ", "\r"]
        };
        spaces[self.below(spaces.len())]
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // xorshift64*: good enough to vary texts.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(random).unwrap() % end
    }

    fn write(&mut self, text: &mut String, depth: usize) {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => text.push_str(["null", "true", "false"][self.below(3)]),
            1 | 2 => text.push_str(self.number()),
            3 | 4 => self.string(text),
            5 => self.list(text, '[', ']', |texts, text| texts.write(text, depth - 1)),
            _ => self.list(text, '{', '}', |texts, text| {
                texts.string(text);
                text.push_str(texts.space());
                text.push(':');
                text.push_str(texts.space());
                texts.write(text, depth - 1);
            }),
        }
    }

    fn list(&mut self, text: &mut String, open: char, close: char, mut item: impl FnMut(&mut Self, &mut String)) {
        text.push(open);
        text.push_str(self.space());
        for place in 0..self.below(5) {
            if place > 0 {
                text.push(',');
                text.push_str(self.space());
            }
            item(self, text);
            text.push_str(self.space());
        }
        text.push(close);
    }

    fn number(&mut self) -> &'static str {
        const NUMBERS: [&str; 12] = [
            "0",
            "-0",
            "-0.0",
            "1E+02",
            "1.50",
            "0.1e-07",
            "18446744073709551616",
            "-9223372036854775809",
            "3.14159265358979323846264338327950288",
            "1e308",
            "123456789012345678901234567890.0",
            "42",
        ];
        NUMBERS[self.below(NUMBERS.len())]
    }

    fn string(&mut self, text: &mut String) {
        const PARTS: [&str; 18] = [
            "a",
            "id",
            " ",
            "ä",
            "€",
            "😀",
            "\u{7f}",
            "\u{2028}",
            "e\u{301}",
            "\\\"",
            "\\\\",
            "\\/",
            "\\n",
            "\\u0000",
            "\\u00e4",
            "\\uD83D\\ude00",
            "{[,:]}",
            "'",
        ];
        text.push('"');
        for _ in 0..self.below(6) {
            text.push_str(PARTS[self.below(PARTS.len())]);
        }
        if self.below(4) == 0 {
            let _ = write!(text, "\\u{:04x}", self.below(0xd800));
        }
        text.push('"');
    }
}

#[test]
fn the_texts_are_json_and_vary() {
    let texts: Vec<String> = (0..200).map(|seed| Texts::new(seed, seed % 2 == 0).value()).collect();
    for text in &texts {
        let read = serde_json::from_str::<&serde_json::value::RawValue>(text);
        assert!(read.is_ok_and(|raw| raw.get() == text), "{text}");
    }
    let mut distinct = texts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 100, "{} of {}", distinct.len(), texts.len());
    assert!(texts.iter().any(|text| text.contains('\n')));
    assert!(texts.iter().skip(1).step_by(2).all(|text| !text.contains('\n')));
}
