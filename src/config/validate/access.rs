//! Rules for `clients`, `topics` and `admin.keys`: who may write what, and how much.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Rules;
use super::kafka::check_linger;
use crate::config::fault::Path;
use crate::config::{Ack, ClientLimits, Config, Key, Listen, Quotas, Topic};
use crate::event::TopicName;
use crate::units::{ByteSize, Limit, Rate};

/// The largest event that any configuration may allow.
const MAX_EVENT: ByteSize = ByteSize::mib(100);

pub(super) fn check(config: &Config, rules: &mut Rules) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, client) in &config.clients {
        let path = Path::of(["clients", name]);
        check_client_name(name, &path, rules);
        let known = !client.keys.is_empty() || client.local || client.unix.is_some();
        let message =
            "is required: one key at least (`klamm keys new`), or `local` or `unix` for clients on this machine";
        rules.require(known, path.key("keys"), message);
        check_keys(&client.keys, &path.key("keys"), rules);
        for (index, key) in client.keys.iter().enumerate().filter(|(_, key)| is_digest(&key.sha256)) {
            if let Some(owner) = owners.insert(&key.sha256, name).filter(|owner| owner != name) {
                let message = format!("client `{owner}` has the same key: then klamm cannot tell who sends");
                rules.fault(path.key("keys").index(index).key("sha256"), message);
            }
        }
        for (index, pattern) in client.topics.iter().enumerate() {
            check_pattern(pattern, path.key("topics").index(index), rules);
        }
        check_overrides(&client.limits, &config.defaults.limits, &path.key("limits"), rules);
    }
    check_local(config, rules);
    check_users(config, rules);
    check_keys(&config.admin.keys, &Path::of(["admin", "keys"]), rules);
    check_quotas(&config.defaults.limits, rules);
    for (pattern, topic) in &config.topics {
        let path = Path::of(["topics", pattern]);
        check_pattern(pattern, path.clone(), rules);
        check_topic(pattern, topic, config.caps.inflated, &path, rules);
        for (linger, cluster) in
            topic.linger.iter().flat_map(|linger| config.kafka.values().map(move |of| (*linger, of)))
        {
            check_linger(linger, cluster, path.key("linger"), rules);
        }
        if let Some(id) = topic.client_id.as_ref().filter(|id| !TopicName::is_legal(id)) {
            rules.fault(path.key("client_id"), format!("`{id}` is not 1 to 249 of a-z A-Z 0-9 . _ -"));
        }
        if topic.may_spool() && !config.spool.is_on() {
            let key = if topic.ack == Ack::Spool { "ack" } else { "on_outage" };
            rules.fault(path.key(key), "needs `spool.dir`");
        }
    }
}

/// Whoever comes without a key is on this machine, and only one client is meant by that.
fn check_local(config: &Config, rules: &mut Rules) {
    let mut first = None;
    for (name, _) in config.clients.iter().filter(|(_, client)| client.local) {
        let path = Path::of(["clients", name, "local"]);
        if let Some(first) = first {
            rules.fault(path.clone(), format!("client `{first}` is local too: then klamm cannot tell who sends"));
        }
        first = first.or(Some(name));
        if let Listen::Tcp(address) = &config.ingest.listen
            && !address.ip().is_loopback()
        {
            let message = format!("needs ingest.listen on a unix socket or a loopback address, not {address}");
            rules.fault(path.clone(), message);
        }
        let message = "is not for requests that a proxy of ingest.trusted_proxies passes on: give them a key";
        rules.require(config.ingest.trusted_proxies.is_empty(), path, message);
    }
}

fn check_users(config: &Config, rules: &mut Rules) {
    let mut owners = BTreeMap::new();
    for (name, client) in &config.clients {
        let Some(unix) = &client.unix else { continue };
        let path = Path::of(["clients", name, "unix"]);
        let socket = matches!(config.ingest.listen, Listen::Unix(_));
        rules.require(socket, path.clone(), "needs ingest.listen on a unix socket");
        let Some(uid) = unix.uid else {
            rules.fault(path, "must name a user by `uid` or `user`");
            continue;
        };
        if let Some(owner) = owners.insert(uid, name) {
            rules.fault(path, format!("client `{owner}` has uid {uid} too: then klamm cannot tell who sends"));
        }
    }
}

/// What a process sees in place of a user that its user namespace does not have.
const NOBODY: u32 = 65534;

/// Client patterns that no entry of `topics` can meet; users that are not who they seem.
pub(super) fn warn(config: &Config, warnings: &mut Vec<String>) {
    let users = config.clients.values().any(|client| client.unix.is_some());
    for (name, client) in &config.clients {
        if client.local && users {
            let why = "clients name users: a process of no such user is refused, not taken for it";
            warnings.push(format!("clients.{name}.local: has no effect on a unix socket where {why}"));
        }
        if client.unix.as_ref().is_some_and(|unix| unix.uid == Some(NOBODY)) {
            let why = "also every user that klamm's user namespace does not have";
            warnings.push(format!("clients.{name}.unix: uid {NOBODY} is {why}"));
        }
        if client.topics.is_empty() {
            warnings.push(format!("clients.{name}.topics: is empty, so it may write to no topic"));
        }
        for (index, pattern) in client.topics.iter().enumerate() {
            if !config.topics.keys().any(|topic| overlap(pattern, topic)) {
                warnings.push(format!("clients.{name}.topics[{index}]: no entry of `topics` matches `{pattern}`"));
            }
        }
    }
}

/// Whether a topic can meet both patterns.
fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_suffix('*'), b.strip_suffix('*')) {
        (None, None) => a == b,
        (Some(prefix), None) => b.starts_with(prefix),
        (None, Some(prefix)) => a.starts_with(prefix),
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
    }
}

fn check_client_name(name: &str, path: &Path, rules: &mut Rules) {
    let legal = (1..=64).contains(&name.len())
        && !name.starts_with('_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    rules.require(legal, path.clone(), "a client's name is 1 to 64 of a-z A-Z 0-9 . _ - and does not begin with _");
}

fn check_keys(keys: &[Key], path: &Path, rules: &mut Rules) {
    let mut labels = BTreeSet::new();
    let mut digests = BTreeSet::new();
    for (index, key) in keys.iter().enumerate() {
        let path = path.index(index);
        rules.require(!key.label.trim().is_empty(), path.key("label"), "is required: what people call this key");
        if !key.label.trim().is_empty() && !labels.insert(&key.label) {
            rules.fault(path.key("label"), format!("`{}` is the label of another key of the same list", key.label));
        }
        if key.sha256.is_empty() {
            rules.fault(path.key("sha256"), "is required (or `sha256_file`): `klamm keys hash` makes it");
        } else if !is_digest(&key.sha256) {
            // Never shown: it may be the key itself, pasted by mistake.
            rules.fault(path.key("sha256"), "is not 64 hexadecimal digits: `klamm keys hash` makes them of a key");
        } else if !digests.insert(key.sha256.to_ascii_lowercase()) {
            rules.fault(path.key("sha256"), "is the digest of another key of the same list");
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An exact name, a prefix and `*`, or `*` alone.
fn check_pattern(pattern: &str, path: Path, rules: &mut Rules) {
    let legal = match pattern.strip_suffix('*') {
        Some("" | "." | "..") => true,
        Some(prefix) => TopicName::is_legal(prefix),
        None => TopicName::is_legal(pattern),
    };
    if !legal {
        let message = "is no topic (1 to 249 of a-z A-Z 0-9 . _ -) and no prefix with one `*` at its end";
        rules.fault(path, format!("`{pattern}` {message}"));
    }
}

fn check_topic(pattern: &str, topic: &Topic, inflated: ByteSize, path: &Path, rules: &mut Rules) {
    if let Some(reason) = topic.key.pointer.as_deref().and_then(bad_pointer) {
        rules.fault(path.key("key").key("pointer"), reason);
    }
    rules.require(!topic.formats.is_empty(), path.key("formats"), "must name one format at least");
    rules.size(ByteSize::bytes(1), MAX_EVENT.min(inflated), topic.max_event, path.key("max_event"));
    // A prefix stands for names that are longer; how long, nobody knows.
    let name = pattern.trim_end_matches('*');
    if let Some(letters) = topic.dead_letter.of(name) {
        let path = path.key("dead_letter");
        rules.require(letters != name, path.clone(), "is the topic itself: name another, or `off`");
        if !TopicName::is_legal(&letters) {
            rules.fault(path, format!("`{}` makes `{letters}`, which is no topic's name", topic.dead_letter));
        }
    }
}

/// What is wrong with a JSON pointer (RFC 6901).
fn bad_pointer(pointer: &str) -> Option<&'static str> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Some("a JSON pointer begins with `/`, e.g. /order_id");
    }
    let escapes = pointer.split('~').skip(1);
    escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])).then_some("in a JSON pointer `~` is written `~0`")
}

fn check_quotas(quotas: &Quotas, rules: &mut Rules) {
    let limits = [("requests", quotas.requests), ("events", quotas.events), ("bytes", quotas.bytes)];
    for (name, limit) in limits {
        if let Some(message) = grants_nothing(limit, quotas.burst.get()) {
            rules.fault(Path::of(["defaults", "limits", name]), message);
        }
    }
}

/// Each quota that a client changed, and all of them where it changed the burst.
fn check_overrides(own: &ClientLimits, defaults: &Quotas, path: &Path, rules: &mut Rules) {
    let quotas = own.over(defaults);
    let limits = [
        ("requests", own.requests, quotas.requests),
        ("events", own.events, quotas.events),
        ("bytes", own.bytes, quotas.bytes),
    ];
    for (name, changed, limit) in limits {
        let key = match (changed, own.burst) {
            (Some(_), _) => name,
            (None, Some(_)) => "burst",
            (None, None) => continue,
        };
        if let Some(message) = grants_nothing(limit, quotas.burst.get()) {
            rules.fault(path.key(key), message);
        }
    }
}

/// Why no single unit ever fits: the rate times the burst is below one.
fn grants_nothing(limit: Limit<Rate>, burst: Duration) -> Option<String> {
    let rate = limit.get()?;
    let granted = u128::from(rate.units().get()) * burst.as_millis() / rate.period().as_millis().max(1);
    (granted == 0)
        .then(|| format!("{rate} with a burst of {}ms never grants one: raise one of them", burst.as_millis()))
}
