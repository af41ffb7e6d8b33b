//! Secrets in the configuration: which they are, how they are read from files, how they are kept out of sight.
//!
//! Promise: neither `Debug` nor `Serialize` of a configuration shows the value of a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Path as FilePath, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::fault::{Fault, Path};
use super::tree::{Kind, Node};
use super::{Config, Key};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// librdkafka properties by name. Secrets among them print and serialise as `***`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Whether the value of `name` is a secret (or may hold one).
    pub fn is_secret(name: &str) -> bool {
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        has(&["password", "secret", "token", "key.pem", "jaas"])
            || name.starts_with("sasl.oauthbearer.")
            || (name.starts_with("ssl.key") && !name.ends_with(".location"))
    }

    fn masked(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), if Self::is_secret(name) { HIDDEN } else { value.as_str() }))
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(properties: BTreeMap<String, String>) -> Self {
        Self(properties)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        Self(properties.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a String, &'a String);
    type IntoIter = std::collections::btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.masked()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.masked())
    }
}

impl JsonSchema for Properties {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Properties".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("label", &self.label)
            .field("sha256", &shortened(&self.sha256))
            .field("sha256_file", &self.sha256_file)
            .field("expires", &self.expires)
            .finish()
    }
}

/// The first 8 digits of a digest: enough to compare, too few to look up.
fn shortened(digest: &str) -> String {
    match digest.char_indices().nth(8) {
        Some((end, _)) => format!("{}…", digest.get(..end).unwrap_or_default()),
        None => digest.to_owned(),
    }
}

/// `config` as JSON for people: secrets are `***`, digests their first 8 digits.
pub(super) fn masked(config: &Config) -> Value {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    shorten_digests(&mut value);
    value
}

fn shorten_digests(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(digest) if key == "sha256" => *digest = shortened(digest),
                    other => shorten_digests(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten_digests),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads the files that a configuration names instead of secrets, and remembers which.
pub(super) struct Files<'a> {
    /// Where relative paths start.
    base: &'a FilePath,
    /// Every file that was named, readable or not.
    pub(super) named: Vec<PathBuf>,
    pub(super) faults: Vec<Fault>,
    /// Keys that stay empty because of a fault.
    pub(super) unfilled: Vec<Path>,
}

impl<'a> Files<'a> {
    pub(super) fn new(base: &'a FilePath) -> Self {
        Self { base, named: Vec::new(), faults: Vec::new(), unfilled: Vec::new() }
    }

    /// Makes `<name>` of each `<name>_file` in the properties of every cluster.
    pub(super) fn fill_properties(&mut self, root: &mut Node) {
        let clusters = root.entries_mut().and_then(|all| all.iter_mut().find(|entry| entry.key == "kafka"));
        for cluster in clusters.and_then(|kafka| kafka.value.entries_mut()).into_iter().flatten() {
            let path = Path::of(["kafka", &cluster.key, "properties"]);
            let properties = cluster.value.entries_mut().and_then(|c| c.iter_mut().find(|e| e.key == "properties"));
            let Some(properties) = properties else { continue };
            let names: Vec<String> = properties.value.entries().iter().map(|entry| entry.key.clone()).collect();
            for entry in properties.value.entries_mut().into_iter().flatten() {
                let Some(name) = entry.key.strip_suffix("_file").map(str::to_owned) else { continue };
                let path = path.key(&entry.key);
                let Kind::Text(file) = &entry.value.kind else { continue };
                let read = if names.contains(&name) {
                    Err(format!("`{name}` is given as well: keep one of the two"))
                } else {
                    self.read(FilePath::new(file))
                };
                let origin = entry.place().cloned();
                entry.value.kind = match read {
                    Ok(text) => Kind::Text(text),
                    Err(message) => {
                        self.faults.push(Fault { origin, path, message });
                        Kind::Gone
                    }
                };
                entry.key = name;
            }
        }
    }

    /// Makes `sha256` of each `sha256_file`, and all digests lower case.
    pub(super) fn fill_keys(&mut self, config: &mut Config) {
        let clients = config.clients.iter_mut();
        let mut lists: Vec<_> = clients.map(|(name, client)| (Path::of(["clients", name]), &mut client.keys)).collect();
        lists.push((Path::of(["admin"]), &mut config.admin.keys));
        for (path, keys) in lists {
            for (index, key) in keys.iter_mut().enumerate() {
                self.fill_key(key, &path.key("keys").index(index));
            }
        }
    }

    fn fill_key(&mut self, key: &mut Key, path: &Path) {
        if let Some(file) = key.sha256_file.take() {
            let read = if key.sha256.is_empty() {
                self.read(&file)
            } else {
                Err("`sha256` is given as well: keep one of the two".to_owned())
            };
            match read {
                Ok(digest) => key.sha256 = digest,
                Err(message) => {
                    self.faults.push(Fault::new(path.key("sha256_file"), message));
                    self.unfilled.push(path.key("sha256"));
                }
            }
        }
        key.sha256.make_ascii_lowercase();
    }

    /// The text of a file less the line break at its end.
    fn read(&mut self, file: &FilePath) -> Result<String, String> {
        let file = self.base.join(file);
        self.named.push(file.clone());
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("{}: {error}", file.display())),
        }
    }
}
