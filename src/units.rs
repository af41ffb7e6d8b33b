//! Units as types: sizes, rates, durations and shares as a person writes them (`256MiB`, `5000/s`, `10s`, `50%`).
//!
//! Each type keeps one meaning in one integer, prints what it parses, and names the accepted forms in its errors.
//! Sizes: `B`, `KB`/`MB`/`GB` are powers of 1000, `KiB`/`MiB`/`GiB` powers of 1024.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod network;

pub use self::network::{Network, host_name, mask_v6};

/// What a text that is no unit of the wanted kind is answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    text: String,
    expected: &'static str,
}

impl ParseError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    const EXPECTED: &'static str = "a size such as 512B, 900KiB, 1000KB or 256MiB";

    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1024 times 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; saturates on machines with narrow pointers.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is no byte at all.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SIZES {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new(text, Self::EXPECTED);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim_start();
        let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(bad()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(bad)
    }
}

/// So many units each period, e.g. `5000/s`, `50MiB/s`, `90/m`. Never 0: write `off` where no limit is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    units: NonZeroU64,
    per: Duration,
}

impl Rate {
    const EXPECTED: &'static str = "a rate above 0 such as 5000/s, 50MiB/s or 90/m (or `off`)";

    /// `units` each second.
    pub const fn per_second(units: NonZeroU64) -> Self {
        Self { units, per: Duration::from_secs(1) }
    }

    /// How many units each [`period`](Self::period).
    pub const fn units(self) -> NonZeroU64 {
        self.units
    }

    /// The period: a second, a minute or an hour.
    pub const fn period(self) -> Duration {
        self.per
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per.as_secs() {
            3600 => "h",
            60 => "m",
            _ => "s",
        };
        write!(f, "{}/{per}", self.units)
    }
}

impl FromStr for Rate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new(text, Self::EXPECTED);
        let (units, per) = text.split_once('/').ok_or_else(bad)?;
        let seconds = match per.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            _ => return Err(bad()),
        };
        let units: ByteSize = units.trim().parse().map_err(|_| bad())?;
        let units = NonZeroU64::new(units.get()).ok_or_else(bad)?;
        Ok(Self { units, per: Duration::from_secs(seconds) })
    }
}

/// A limit that can be switched off: `off`, or the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// No limit.
    Off,
    /// This much and no more.
    At(T),
}

impl<T: Copy> Limit<T> {
    /// The limit, where there is one.
    pub fn get(self) -> Option<T> {
        match self {
            Limit::Off => None,
            Limit::At(limit) => Some(limit),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Off => f.write_str("off"),
            Limit::At(limit) => limit.fmt(f),
        }
    }
}

impl<T: FromStr<Err = ParseError>> FromStr for Limit<T> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "off" => Ok(Limit::Off),
            _ => text.parse().map(Limit::At),
        }
    }
}

/// A time span in milliseconds' grain, e.g. `5ms`, `10s`, `2m`, `1h`; `0s` is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Span {
    const EXPECTED: &'static str = "a time such as 5ms, 10s, 2m, 1h or 1d";

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// As the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, factor) in SPANS {
            if millis >= u128::from(factor) && millis.is_multiple_of(u128::from(factor)) {
                return write!(f, "{}{unit}", millis / u128::from(factor));
            }
        }
        write!(f, "{}s", self.0.as_secs())
    }
}

impl FromStr for Span {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new(text, Self::EXPECTED);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, factor) = SPANS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(bad)?;
        number.checked_mul(*factor).map(Self::millis).ok_or_else(bad)
    }
}

/// A part of a whole in per cent, `1%` to `100%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    const EXPECTED: &'static str = "a share from 1% to 100%";

    /// `n` per cent; above 100 counts as 100.
    pub const fn new(n: u8) -> Self {
        Self(if n > 100 { 100 } else { n })
    }

    /// This share of `whole`, rounded down.
    pub const fn of(self, whole: u64) -> u64 {
        (whole as u128 * self.0 as u128 / 100) as u64
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new(text, Self::EXPECTED);
        let number: u8 = text.strip_suffix('%').ok_or_else(bad)?.trim_end().parse().map_err(|_| bad())?;
        if (1..=100).contains(&number) { Ok(Self(number)) } else { Err(bad()) }
    }
}

/// Serde and JSON Schema by the text form, which every unit shares. A bare number is its text (`1000` bytes).
macro_rules! by_text {
    ($($name:literal: $type:ty, $expected:expr, $example:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text($expected)).and_then(|t| t.parse().map_err(de::Error::custom))
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": ["string", "integer"],
                    "description": $expected,
                    "examples": [$example],
                })
            }
        }
    )*};
}

by_text! {
    "ByteSize": ByteSize, ByteSize::EXPECTED, "256MiB";
    "RateLimit": Limit<Rate>, Rate::EXPECTED, "5000/s";
    "Span": Span, Span::EXPECTED, "10s";
    "Percent": Percent, Percent::EXPECTED, "50%";
}

/// Reads a scalar as the text it was written as.
struct Text(&'static str);

impl de::Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    /// YAML 1.1 reads a bare `off` as false.
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<String, E> {
        Ok(if flag { "on" } else { "off" }.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_print_what_they_parse() {
        for text in ["512B", "900KiB", "1MB", "256MiB", "3GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("1000KB".parse::<ByteSize>().unwrap().get(), 1_000_000);
        assert_eq!("7".parse::<ByteSize>().unwrap().get(), 7);
        for text in ["5000/s", "90/m", "1/h", "off"] {
            assert_eq!(text.parse::<Limit<Rate>>().unwrap().to_string(), text);
        }
        assert_eq!("50MiB/s".parse::<Rate>().unwrap().units().get(), 50 << 20);
        for text in ["5ms", "1500ms", "10s", "2m", "1h", "3d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("50%".parse::<Percent>().unwrap().of(1001), 500);
    }

    #[test]
    fn what_is_no_unit_is_refused_with_the_forms_that_are() {
        for text in ["", "MiB", "1XB", "-1B", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["0/s", "5", "5/week", "/s", "on"] {
            assert!(text.parse::<Limit<Rate>>().is_err(), "{text}");
        }
        for text in ["5", "s", "1.5s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["0%", "101%", "50"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        let error = "0/s".parse::<Rate>().unwrap_err().to_string();
        assert_eq!(error, "`0/s` is not a rate above 0 such as 5000/s, 50MiB/s or 90/m (or `off`)");
    }
}
