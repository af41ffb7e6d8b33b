//! One setting of klamm's producer, as its config names it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// As the config has it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

/// A setting. Ordered by compression, batch, linger: as tables list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Setting {
    /// `compression`.
    pub compression: Compression,
    /// `batch_bytes`.
    pub batch_bytes: u64,
    /// `linger` in milliseconds.
    pub linger_ms: u64,
}

impl Setting {
    /// klamm's defaults.
    pub const DEFAULT: Self = Self::new(5, 1_000_000, Compression::Lz4);
    /// Where the classic tuning of a Kafka producer begins: the Java client's defaults for years.
    pub const BEFORE: Self = Self::new(0, 16 << 10, Compression::None);
    /// Where it ends.
    pub const AFTER: Self = Self::new(5, 256 << 10, Compression::Lz4);

    /// A setting.
    pub const fn new(linger_ms: u64, batch_bytes: u64, compression: Compression) -> Self {
        Self { compression, batch_bytes, linger_ms }
    }

    /// As a time.
    pub fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    /// Lines for klamm.yaml.
    pub fn snippet(&self) -> String {
        format!(
            "kafka:\n  default:\n    linger: {}ms\n    batch_bytes: {}\n    compression: {}\n",
            self.linger_ms,
            Size(self.batch_bytes),
            self.compression.name()
        )
    }
}

/// `5ms 1000KB lz4`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms {} {}", self.linger_ms, Size(self.batch_bytes), self.compression.name())
    }
}

/// Bytes as klamm's config writes them: `16KiB` (1024), `1000KB` (1000), `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 5] = [("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000), ("KB", 1000), ("B", 1)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 1000KB rather than 1MB: as klamm's own config has it.
        let fits = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit) && *unit != 1_000_000;
        let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no size such as 16KiB or 1000KB");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).map(Size).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (bytes, text) in
            [(16_384, "16KiB"), (1_000_000, "1000KB"), (1 << 20, "1MiB"), (262_144, "256KiB"), (7, "7B")]
        {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        assert_eq!("1MB".parse(), Ok(Size(1_000_000)));
        assert!("16".parse::<Size>().is_err() && "KiB".parse::<Size>().is_err());
    }

    #[test]
    fn the_snippet_is_what_the_config_takes() {
        let text = "kafka:\n  default:\n    linger: 5ms\n    batch_bytes: 1000KB\n    compression: lz4\n";
        assert_eq!(Setting::DEFAULT.snippet(), text);
    }
}
