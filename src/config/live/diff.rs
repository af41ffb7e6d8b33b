//! What differs between two configurations, and which of it may change while klamm runs.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Change;
use crate::config::Config;

/// Copies one value that needs a restart from the running configuration.
type Keep = fn(&mut Config, &Config);

/// The keys whose documentation says "Not live", each with how to keep its old value.
const NOT_LIVE: [(&str, Keep); 15] = [
    ("ingest.listen", |new, old| new.ingest.listen.clone_from(&old.ingest.listen)),
    ("ingest.socket", |new, old| new.ingest.socket.clone_from(&old.ingest.socket)),
    ("ingest.connections", |new, old| new.ingest.connections = old.ingest.connections),
    ("ingest.header_timeout", |new, old| new.ingest.header_timeout = old.ingest.header_timeout),
    ("ingest.keep_alive", |new, old| new.ingest.keep_alive = old.ingest.keep_alive),
    ("ingest.write_timeout", |new, old| new.ingest.write_timeout = old.ingest.write_timeout),
    ("ingest.peer_rate", |new, old| new.ingest.peer_rate = old.ingest.peer_rate),
    ("ingest.trusted_proxies", |new, old| new.ingest.trusted_proxies.clone_from(&old.ingest.trusted_proxies)),
    ("admin.listen", |new, old| new.admin.listen.clone_from(&old.admin.listen)),
    ("admin.history", |new, old| new.admin.history = old.admin.history),
    ("kafka", |new, old| new.kafka.clone_from(&old.kafka)),
    ("budget", |new, old| new.budget.clone_from(&old.budget)),
    ("spool", |new, old| new.spool.clone_from(&old.spool)),
    ("log.format", |new, old| new.log.format = old.log.format),
    ("metrics.pairs", |new, old| new.metrics.pairs = old.metrics.pairs),
];

/// Whether the key at `path` waits for a restart.
pub(super) fn is_not_live(path: &str) -> bool {
    NOT_LIVE.iter().any(|(key, _)| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// `new` with the old values of what is not live, and how that differs from `old`.
pub(super) fn apply(old: &Config, mut new: Config) -> (Config, Change) {
    let (needs_restart, changed) = differences(old, &new).into_iter().partition(|path| is_not_live(path));
    for (_, keep) in NOT_LIVE {
        keep(&mut new, old);
    }
    (new, Change { changed, needs_restart })
}

/// The deepest key paths at which the two differ. Lists count as one value.
fn differences(old: &Config, new: &Config) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    compare("", &tree(old), &tree(new), &mut paths);
    // Secrets look all the same in the trees.
    for (name, cluster) in &new.kafka {
        let Some(before) = old.kafka.get(name) else { continue };
        for (property, value) in &cluster.properties {
            if before.properties.get(property).is_some_and(|old| old != value) {
                paths.insert(format!("kafka.{name}.properties.{property}"));
            }
        }
    }
    paths
}

fn tree(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn compare(path: &str, old: &Value, new: &Value, out: &mut BTreeSet<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_maps(path, old, new, out),
        (old, new) if old == new => {}
        _ => {
            out.insert(path.to_owned());
        }
    }
}

fn compare_maps(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, out: &mut BTreeSet<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in old {
        match new.get(key) {
            Some(other) => compare(&below(key), value, other, out),
            None => {
                out.insert(below(key));
            }
        }
    }
    out.extend(new.keys().filter(|key| !old.contains_key(*key)).map(|key| below(key)));
}
