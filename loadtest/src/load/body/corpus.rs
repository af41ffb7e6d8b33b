//! Events from files: an NDJSON file, or a folder whose `*.json` files are one event each (an array: its elements).
//! Whitespace around members goes, so that an event fits a line; all else stays as it is.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::value::RawValue;

/// No more is taken than this: it stays in memory while the load runs.
const MOST: usize = 64 << 20;

/// The events of a file or folder, at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut events = Vec::new();
    if path.is_dir() {
        let list = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        let mut files = list.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        // The order of a folder is the file system's own; a load is the same each time.
        files.sort();
        for file in files {
            from_json(&text(&file)?, &mut events).with_context(|| format!("{}", file.display()))?;
        }
    } else {
        for (index, line) in text(path)?.lines().enumerate() {
            if !line.trim().is_empty() {
                from_line(line, &mut events).with_context(|| format!("{}:{}", path.display(), index + 1))?;
            }
        }
    }
    ensure!(!events.is_empty(), "{} holds no event", path.display());
    let bytes: usize = events.iter().map(Vec::len).sum();
    if bytes > MOST {
        bail!("{} holds {bytes} bytes of events, more than the {MOST} that are kept in memory", path.display());
    }
    Ok(events)
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn from_line(line: &str, events: &mut Vec<Vec<u8>>) -> Result<()> {
    let event: &RawValue = serde_json::from_str(line).context("not JSON")?;
    events.push(compact(event.get()));
    Ok(())
}

fn from_json(text: &str, events: &mut Vec<Vec<u8>>) -> Result<()> {
    if text.trim_start().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(text).context("not JSON")?;
        events.extend(list.into_iter().map(|event| compact(event.get())));
        return Ok(());
    }
    from_line(text, events)
}

/// Valid JSON without the white space between its tokens.
fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    json.bytes()
        .filter(|&byte| {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                return true;
            }
            in_string = byte == b'"';
            !byte.is_ascii_whitespace()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_only_between_tokens() {
        let json = "{\n  \"a b\": \"c \\\" d\\\\\",\t\"e\": [1, 2]\r\n}";
        assert_eq!(compact(json), b"{\"a b\":\"c \\\" d\\\\\",\"e\":[1,2]}");
    }

    #[test]
    fn a_folder_is_read_by_name_and_arrays_are_their_elements() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.json"), "[1, {\"b\": 2}]").unwrap();
        std::fs::write(folder.path().join("a.json"), "{\"a\":\n1}").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no").unwrap();
        let events = read(folder.path()).unwrap();
        assert_eq!(events, [&b"{\"a\":1}"[..], b"1", b"{\"b\":2}"]);
    }

    #[test]
    fn faults_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.ndjson");
        std::fs::write(&file, "1\n{\n").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("x.ndjson:2: not JSON"));
        std::fs::write(&file, "\n").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("holds no event"));
    }
}
