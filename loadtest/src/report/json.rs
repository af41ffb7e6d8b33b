//! Reports as JSON: one document, indented, in the field names of the types it is made from.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes `facts` to a file, or to standard output for `-`.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, facts: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(facts)?;
    text.push('\n');
    if path == Path::new("-") {
        return io::stdout().write_all(text.as_bytes()).context("write the report");
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
