//! The rules that types cannot say: ranges, what goes together, what is required.
//!
//! Promise: every broken rule is named at once, by the key to change. Reads only the configuration, never the world.

use std::net::{IpAddr, SocketAddr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::fault::{Fault, Path};
use super::{Config, Listen, MetricsKey};
use crate::units::{ByteSize, Span};

mod access;
mod kafka;

pub use kafka::is_no_broker;

/// Every rule that `config` breaks; empty for a valid one.
pub fn faults(config: &Config) -> Vec<Fault> {
    let mut rules = Rules::default();
    listeners(config, &mut rules);
    caps(config, &mut rules);
    budget(config, &mut rules);
    spool(config, &mut rules);
    service(config, &mut rules);
    kafka::check(config, &mut rules);
    access::check(config, &mut rules);
    rules.broken
}

/// What is allowed but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if let (Listen::Tcp(address), true) = (&config.admin.listen, config.admin.keys.is_empty())
        && !address.ip().is_loopback()
    {
        warnings.push(format!("admin.listen: {address} is not loopback and admin.keys is empty: /admin/* answers 403"));
    }
    let stop = config.shutdown.lame_duck.get() + config.shutdown.flush.get();
    if stop > Span::secs(30).get() {
        warnings.push("shutdown: lame_duck + flush is over the 30s that Kubernetes grants by default".to_owned());
    }
    let need = largest_request(config);
    let shares = [("client", config.budget.client), ("topic", config.budget.topic)];
    for (name, share) in shares {
        let part = ByteSize::bytes(share.of(config.budget.total.get() - config.drain_bytes()));
        if part.get() < need {
            let need = ByteSize::bytes(need);
            warnings.push(format!("budget.{name}: {share} is {part}, less than the {need} of the largest request"));
        }
    }
    access::warn(config, &mut warnings);
    warnings
}

/// The rules broken so far.
#[derive(Default)]
struct Rules {
    broken: Vec<Fault>,
}

impl Rules {
    fn fault(&mut self, path: Path, message: impl Into<String>) {
        self.broken.push(Fault::new(path, message));
    }

    fn require(&mut self, holds: bool, path: Path, message: &str) {
        if !holds {
            self.fault(path, message);
        }
    }

    /// That a number of bytes or things lies in a range.
    fn within(&mut self, range: std::ops::RangeInclusive<u64>, got: u64, path: Path) {
        if !range.contains(&got) {
            self.fault(path, format!("{got} is not from {} to {}", range.start(), range.end()));
        }
    }

    fn size(&mut self, least: ByteSize, most: ByteSize, got: ByteSize, path: Path) {
        if got < least || got > most {
            self.fault(path, format!("{got} is not from {least} to {most}"));
        }
    }
}

fn listeners(config: &Config, rules: &mut Rules) {
    let ingest = &config.ingest;
    let above_zero = [
        ("wait", ingest.wait),
        ("header_timeout", ingest.header_timeout),
        ("body_idle", ingest.body_idle),
        ("body_timeout", ingest.body_timeout),
        ("keep_alive", ingest.keep_alive),
        ("write_timeout", ingest.write_timeout),
    ];
    for (key, span) in above_zero {
        rules.require(!span.get().is_zero(), Path::of(["ingest", key]), "must be above 0s");
    }
    rules.require(ingest.connections > 0, Path::of(["ingest", "connections"]), "must be above 0");
    for (index, network) in ingest.trusted_proxies.iter().enumerate() {
        if !is_network(network) {
            let path = Path::of(["ingest", "trusted_proxies"]).index(index);
            rules.fault(path, format!("`{network}` is no address or network such as 192.0.2.7 or 10.0.0.0/8"));
        }
    }
    let any_port = |listen: &Listen| matches!(listen, Listen::Tcp(address) if address.port() == 0);
    if ingest.listen == config.admin.listen && !any_port(&ingest.listen) {
        rules.fault(Path::of(["admin", "listen"]), format!("{} is the address of ingest.listen", ingest.listen));
    }
    for (index, host) in config.admin.hosts.iter().enumerate() {
        let name = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/@?#".contains(c));
        let path = Path::of(["admin", "hosts"]).index(index);
        rules.require(name, path, "must be a host name as in a URL, without scheme and path");
    }
}

/// Whether `text` is an IP address or a network in CIDR notation.
fn is_network(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|bits| bits <= widest))
}

fn caps(config: &Config, rules: &mut Rules) {
    let caps = &config.caps;
    let (one, none) = (ByteSize::bytes(1), ByteSize::bytes(0));
    let under_gib = ByteSize::bytes((1 << 30) - 1);
    let path = |key| Path::of(["caps", key]);
    rules.size(one, under_gib, caps.body, path("body"));
    rules.size(one, under_gib, caps.inflated, path("inflated"));
    if caps.inflated < caps.body {
        rules.fault(path("inflated"), format!("{} is less than caps.body ({})", caps.inflated, caps.body));
    }
    rules.require(caps.ratio > 0, path("ratio"), "must be above 0");
    rules.require(caps.events > 0, path("events"), "must be above 0");
    rules.within(1..=128, caps.depth as u64, path("depth"));
    rules.size(one, ByteSize::mib(1), caps.key, path("key"));
    rules.within(0..=1000, caps.record_headers as u64, path("record_headers"));
    rules.size(none, ByteSize::mib(1), caps.record_headers_bytes, path("record_headers_bytes"));
    rules.within(1..=100, caps.headers as u64, path("headers"));
    rules.size(ByteSize::kib(1), ByteSize::kib(64), caps.headers_bytes, path("headers_bytes"));
    rules.size(ByteSize::bytes(64), ByteSize::kib(16), caps.uri, path("uri"));
}

/// The bytes that the largest request may hold: its body, what it inflates to, and what is made of that: keys and
/// headers for Kafka, values that came in base64.
fn largest_request(config: &Config) -> u64 {
    config.caps.body.get().saturating_add(config.caps.inflated.get().saturating_mul(2))
}

fn budget(config: &Config, rules: &mut Rules) {
    let (total, drain, need) = (config.budget.total, config.drain_bytes(), largest_request(config));
    if total.get() - drain < need {
        let need = ByteSize::bytes(need);
        let less = if drain > 0 { " less the eighth that the spool's drain has" } else { "" };
        let message =
            format!("{total}{less} is less than the largest request takes: caps.body + 2 x caps.inflated = {need}");
        rules.fault(Path::of(["budget", "total"]), message);
    }
}

fn spool(config: &Config, rules: &mut Rules) {
    let spool = &config.spool;
    let path = |key| Path::of(["spool", key]);
    rules.size(ByteSize::mib(1), ByteSize::mib(1 << 10), spool.segment, path("segment"));
    let least = ByteSize::bytes(spool.segment.get().saturating_mul(4));
    if spool.total < least {
        rules.fault(path("total"), format!("{} is less than 4 x spool.segment = {least}", spool.total));
    }
    rules.require(!spool.max_age.get().is_zero(), path("max_age"), "must be above 0s");
    let commit = |key| Path::of(["spool", "commit", key]);
    let longest = Span::millis(100);
    if spool.commit.delay > longest {
        rules.fault(commit("delay"), format!("{} is more than {longest}", spool.commit.delay));
    }
    rules.size(ByteSize::kib(4), ByteSize::mib(64), spool.commit.bytes, commit("bytes"));
}

fn service(config: &Config, rules: &mut Rules) {
    if let Err(message) = check_filter(&config.log.level) {
        rules.fault(Path::of(["log", "level"]), message);
    }
    rules.within(1..=1_000_000, config.metrics.pairs as u64, Path::of(["metrics", "pairs"]));
    rules.size(ByteSize::mib(1), ByteSize::mib(1 << 10), config.admin.history, Path::of(["admin", "history"]));
    let locked_out = config.metrics.key == MetricsKey::Required && config.admin.keys.is_empty();
    rules.require(!locked_out, Path::of(["metrics", "key"]), "`required` needs a key in `admin.keys`");
    let url = &config.docs_url;
    let address = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let web = address.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()));
    rules.require(web, Path::of(["docs_url"]), "must be an http:// or https:// address");
}

/// A filter that `tracing_subscriber` reads, less the trap that it takes a misspelt level for the name of a module.
fn check_filter(text: &str) -> Result<(), String> {
    let levels = "error, warn, info, debug, trace or a filter such as info,klamm::stages::produce=debug";
    for part in text.split(',') {
        if !part.contains(['=', '[', ':']) && part.parse::<LevelFilter>().is_err() {
            return Err(format!("`{part}` is not one of: {levels}"));
        }
    }
    EnvFilter::try_new(text).map(drop).map_err(|error| format!("{error}; give {levels}"))
}

/// Whether `text` is `host:port`.
fn is_host_port(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    name && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
