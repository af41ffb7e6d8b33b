//! Generated events: like what a web analytics script sends. Ids and times vary in every one, users and pages repeat
//! as they do in life, words come from a small table: a compressor finds about as much as in real events.

use std::fmt::Write;

use fastrand::Rng;

use super::timestamp::rfc3339;

/// Different users, and so different keys.
const USERS: f64 = 10_000.0;
/// The events of every load begin here, so that the same options make the same bytes: 2026-01-01T00:00:00Z.
const EPOCH_MS: u64 = 1_767_225_600_000;

const ACTIONS: [&str; 8] = ["page_view", "click", "scroll", "search", "add_to_cart", "checkout", "login", "share"];
const WORDS: [&str; 40] = [
    "alder", "amber", "autumn", "basket", "beech", "birch", "canvas", "cedar", "copper", "cotton", "dawn", "ember",
    "fern", "forest", "garden", "harbor", "hazel", "indigo", "island", "juniper", "lantern", "leather", "linen",
    "maple", "meadow", "mountain", "oak", "olive", "pebble", "pine", "river", "saffron", "silver", "spruce", "summer",
    "thistle", "timber", "valley", "willow", "winter",
];
const BROWSERS: [&str; 5] = ["Firefox 144", "Chrome 142", "Safari 26", "Edge 142", "Opera 124"];
const COUNTRIES: [&str; 8] = ["AT", "BR", "CA", "DE", "FR", "IN", "JP", "US"];

/// Where the id's text begins in an event, and its length (as a UUID has).
const ID: (usize, usize) = (7, 36);
/// The last digits of a numbered event's id, in hex.
const NUMBER: usize = 12;

/// Makes events, one after another.
pub(super) struct Generator {
    random: Rng,
    size: usize,
    time_ms: u64,
}

impl Generator {
    pub(super) fn new(seed: u64, size: usize) -> Self {
        Self { random: Rng::with_seed(seed), size, time_ms: EPOCH_MS }
    }

    /// Appends one to `out`, which is empty; the number of its user.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> u32 {
        let random = &mut self.random;
        self.time_ms += random.u64(0..20);
        let mut text = String::with_capacity(self.size);
        let (high, low) = (random.u64(..), random.u64(..));
        // The square of a uniform number: the first tenth of the users makes about a third of the events.
        let user = (random.f64().powi(2) * USERS) as u32;
        push(
            &mut text,
            format_args!(
                "{{\"id\":\"{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}\"",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                0x8000 | (low >> 48) & 0x3fff,
                low & 0xffff_ffff_ffff
            ),
        );
        push(&mut text, format_args!(",\"time\":\"{}\"", rfc3339(self.time_ms)));
        push(&mut text, format_args!(",\"user\":\"{}\"", key(user)));
        let fields: [fn(&mut String, &mut Rng); 6] = [
            |text, random| push(text, format_args!(",\"action\":\"{}\"", of(random, &ACTIONS))),
            |text, random| push(text, format_args!(",\"page\":\"/{}/{}\"", word(random), word(random))),
            |text, random| push(text, format_args!(",\"ms\":{}", random.u32(1..900))),
            |text, random| push(text, format_args!(",\"browser\":\"{}\"", of(random, &BROWSERS))),
            |text, random| push(text, format_args!(",\"country\":\"{}\"", of(random, &COUNTRIES))),
            |text, random| push(text, format_args!(",\"session\":\"{:016x}\",\"items\":[]", random.u64(..))),
        ];
        for field in fields {
            let before = text.len();
            field(&mut text, random);
            if text.len() + 1 > self.size {
                text.truncate(before);
                break;
            }
        }
        if text.ends_with("[]") {
            text.truncate(text.len() - 1);
            self.items(&mut text);
            text.push(']');
        }
        self.note(&mut text);
        text.push('}');
        out.extend_from_slice(text.as_bytes());
        user
    }

    /// What a large event is large with: a list of things.
    fn items(&mut self, text: &mut String) {
        let (random, mut first) = (&mut self.random, true);
        loop {
            let before = text.len();
            push(
                text,
                format_args!(
                    "{}{{\"sku\":\"{}-{:05}\",\"name\":\"{} {}\",\"price\":{}.{:02},\"quantity\":{}}}",
                    if first { "" } else { "," },
                    of(random, &COUNTRIES),
                    random.u32(..100_000),
                    word(random),
                    word(random),
                    random.u32(1..200),
                    random.u32(..100),
                    random.u32(1..9)
                ),
            );
            first = false;
            if text.len() + 2 > self.size {
                text.truncate(before);
                return;
            }
        }
    }

    /// Fills up to the size with words.
    fn note(&mut self, text: &mut String) {
        const AROUND: usize = ",\"note\":\"\"}".len();
        let Some(room) = self.size.checked_sub(text.len() + AROUND) else {
            // Too little for one more member: white space before the end is JSON too.
            while text.len() + 1 < self.size {
                text.push(' ');
            }
            return;
        };
        text.push_str(",\"note\":\"");
        let end = text.len() + room;
        while text.len() < end {
            text.push_str(word(&mut self.random));
            text.push(' ');
        }
        text.truncate(end);
        text.push('"');
    }
}

/// The key of a user's events.
pub(super) fn key(user: u32) -> String {
    format!("u-{user:05}")
}

/// What the ids of numbered events begin with in a load of this seed: all but the number.
pub(super) fn prefix(seed: u64) -> String {
    let mut random = Rng::with_seed(!seed);
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-",
        random.u32(..),
        random.u16(..),
        random.u16(..0x1000),
        random.u16(..0x1000)
    )
}

/// Writes prefix and number over an event's id.
pub(super) fn number(event: &mut [u8], prefix: &str, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(id) = event.get_mut(ID.0..ID.0 + ID.1) else { return };
    let (head, tail) = id.split_at_mut(ID.1 - NUMBER);
    head.copy_from_slice(prefix.as_bytes());
    let mut rest = number;
    for place in tail.iter_mut().rev() {
        #[allow(clippy::indexing_slicing, reason = "four bits, sixteen digits")]
        {
            *place = DIGITS[(rest & 15) as usize];
        }
        rest >>= 4;
    }
}

/// The number in an event's id, if it has the prefix.
pub(super) fn number_of(event: &[u8], prefix: &str) -> Option<u64> {
    let id = event.get(ID.0..ID.0 + ID.1)?;
    let digits = id.strip_prefix(prefix.as_bytes())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(what);
}

fn of<'a>(random: &mut Rng, list: &[&'a str]) -> &'a str {
    random.choice(list).copied().unwrap_or_default()
}

fn word(random: &mut Rng) -> &'static str {
    of(random, &WORDS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn events(size: usize, count: usize) -> Vec<Vec<u8>> {
        let mut generator = Generator::new(1, size);
        (0..count)
            .map(|_| {
                let mut event = Vec::new();
                generator.write(&mut event);
                event
            })
            .collect()
    }

    #[test]
    fn events_are_json_of_the_size_asked_for() {
        for size in [100, 150, 160, 177, 300, 1024, 10 * 1024] {
            for event in events(size, 50) {
                assert_eq!(event.len(), size, "{}", String::from_utf8_lossy(&event));
                let value: Value = serde_json::from_slice(&event).unwrap();
                assert_eq!(value["id"].as_str().unwrap().len(), 36);
            }
        }
    }

    #[test]
    fn ids_are_unique_and_times_grow() {
        let values: Vec<Value> = events(160, 2000).iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
        let ids: HashSet<&str> = values.iter().map(|value| value["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), values.len());
        assert!(values.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()));
    }

    #[test]
    fn a_number_is_read_back() {
        let mut event = events(160, 1).remove(0);
        for n in [0, 1, 0xabcdef, 10_000_000_000] {
            number(&mut event, &prefix(1), n);
            assert_eq!(number_of(&event, &prefix(1)), Some(n));
            assert_eq!(number_of(&event, &prefix(2)), None);
        }
    }
}
