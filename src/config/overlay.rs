//! What the environment and the command line lay over the file.
//!
//! A variable is `KLAMM__` and the key path, its parts separated by two underscores: `KLAMM__INGEST__WAIT=5s`. A part
//! matches a key or name that is already there without regard to case, and with `_` for `-` and `.`; else it is taken
//! in lower case. Below `properties` all the rest is one name with dots for underscores, but for a final `_file`:
//! `KLAMM__KAFKA__DEFAULT__PROPERTIES__SASL_PASSWORD_FILE`. A flag is `key.path=value`, taken as it is; a name with dots
//! is quoted (`clients."eu.shop".share=2`), but not below `properties`.
//!
//! A value that begins with `[` or `{` is YAML (so lists work), but not below `properties`, and not an address such as
//! `[::1]:8080`; all else is itself.

use std::net::SocketAddr;

use super::fault::{Fault, Origin, Path, Step};
use super::tree::{Entry, Kind, Node};
use super::yaml;

const PREFIX: &str = "KLAMM__";

/// Lays one variable over `root`. Variables that are not klamm's do nothing.
///
/// # Errors
///
/// A name without a key path, or a value that is no YAML.
pub(super) fn variable(root: &mut Node, name: &str, value: &str) -> Result<(), Fault> {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(()) };
    let origin = Origin::Env(name.into());
    let parts: Vec<&str> = rest.split("__").collect();
    if parts.iter().any(|part| part.is_empty()) {
        let message = "not a key path such as KLAMM__INGEST__WAIT";
        return Err(Fault { origin: Some(origin), path: Path::default(), message: message.into() });
    }
    let keys = resolve(root, &parts);
    lay(root, &keys, value, &origin)
}

/// Lays one `--set` over `root`.
///
/// # Errors
///
/// No key path, or a value that is no YAML.
pub(super) fn flag(root: &mut Node, path: &str, value: &str) -> Result<(), Fault> {
    let Some(keys) = split(path) else {
        let message = format!("`{path}` is not a key path such as ingest.wait");
        return Err(Fault { origin: Some(Origin::Flag), path: Path::default(), message });
    };
    lay(root, &keys, value, &Origin::Flag)
}

/// The keys that the parts of a variable's name stand for.
fn resolve(root: &Node, parts: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let mut node = Some(root);
    for (depth, part) in parts.iter().enumerate() {
        if are_below_properties(&keys) {
            let rest = parts.get(depth..).unwrap_or_default().join("_").to_ascii_lowercase();
            keys.push(match rest.strip_suffix("_file") {
                Some(name) => format!("{}_file", name.replace('_', ".")),
                None => rest.replace('_', "."),
            });
            return keys;
        }
        let there = node.map(Node::entries).unwrap_or_default().iter().map(|entry| &entry.key);
        let same = there.filter(|key| folded(key) == folded(part));
        let key = same.min_by_key(|key| *key != part).cloned().unwrap_or_else(|| part.to_ascii_lowercase());
        node = node.and_then(|node| node.get(&key));
        keys.push(key);
    }
    keys
}

fn folded(key: &str) -> String {
    key.to_ascii_lowercase().replace(['-', '.'], "_")
}

fn are_below_properties(keys: &[String]) -> bool {
    matches!(keys, [kafka, _, properties] if kafka == "kafka" && properties == "properties")
}

/// The keys of a dotted path; none where one is empty or a quote stays open.
fn split(path: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = path;
    loop {
        if are_below_properties(&keys) {
            keys.push(rest.to_owned());
            rest = "";
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (key, after) = quoted.split_once('"')?;
            keys.push(key.to_owned());
            rest = after;
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            keys.push(key.to_owned());
            rest = after;
        }
        if keys.last().is_none_or(String::is_empty) {
            return None;
        }
        if rest.is_empty() {
            return Some(keys);
        }
        rest = rest.strip_prefix('.')?;
    }
}

fn lay(root: &mut Node, keys: &[String], value: &str, origin: &Origin) -> Result<(), Fault> {
    let yaml = value.trim_start().starts_with(['[', '{']) && value.parse::<SocketAddr>().is_err();
    let literal = keys.get(..3).is_some_and(are_below_properties) || !yaml;
    let mut node = if literal {
        Node { at: Some(origin.clone()), kind: Kind::Text(value.to_owned()) }
    } else {
        let steps: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
        let path = Path::from(steps);
        let (node, mut twice) =
            yaml::parse(value, &|_, _| origin.clone()).map_err(|fault| Fault { path: path.clone(), ..fault })?;
        if let Some(fault) = twice.pop() {
            return Err(Fault { path, ..fault });
        }
        node
    };
    for key in keys.iter().rev() {
        let entry = Entry { key: key.clone(), at: Some(origin.clone()), value: node };
        node = Node { at: Some(origin.clone()), kind: Kind::Map(vec![entry]) };
    }
    root.merge(node);
    Ok(())
}

/// The environment of this process, as far as it is text.
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with(PREFIX)).collect()
}
