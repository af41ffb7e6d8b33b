use crate::config::load::{Source, load};
use crate::config::{Config, User, environment};

/// The smallest valid configuration, with `flags` over it.
fn source(flags: &[(&str, &str)]) -> Source {
    let base = [
        ("kafka.default.bootstrap", "[k:9092]"),
        ("topics", "{orders: {}, \"clicks-*\": {}}"),
        ("clients", "{a: {topics: [orders]}, b: {topics: [\"clicks-*\"]}}"),
        ("clients.a.keys", "[{label: a, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]"),
        ("clients.b.keys", "[{label: b, sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb}]"),
    ];
    let flags = base.iter().chain(flags).map(|(path, value)| ((*path).to_owned(), (*value).to_owned()));
    Source { flags: flags.collect(), ..Source::default() }
}

fn warnings(flags: &[(&str, &str)]) -> Vec<String> {
    load(&source(flags)).unwrap().warnings
}

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn the_smallest_configuration_breaks_no_rule_and_gives_no_warning() {
    assert_eq!(warnings(&[]), [""; 0]);
    assert!(environment().iter().all(|(name, _)| name.starts_with("KLAMM__")));
}

#[test]
fn the_defaults_break_only_what_is_required() {
    let broken = super::faults(&Config::default());
    assert_eq!(broken.iter().map(|fault| fault.path.to_string()).collect::<Vec<_>>(), ["kafka.default.bootstrap"]);
}

/// Flag, value, and the one fault it makes: its path and a part of its words.
#[test]
fn each_rule_names_the_key_to_change() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("ingest.wait", "0s", "ingest.wait", "above 0s"),
        ("ingest.header_timeout", "0s", "ingest.header_timeout", "above 0s"),
        ("ingest.body_idle", "0s", "ingest.body_idle", "above 0s"),
        ("ingest.body_timeout", "0s", "ingest.body_timeout", "above 0s"),
        ("ingest.keep_alive", "0s", "ingest.keep_alive", "above 0s"),
        ("ingest.write_timeout", "0s", "ingest.write_timeout", "above 0s"),
        ("ingest.connections", "0", "ingest.connections", "above 0"),
        ("ingest.trusted_proxies", "[10.0.0.0/8, ::1, 10.0.0.0/33]", "ingest.trusted_proxies[2]", "10.0.0.0/33"),
        ("ingest.trusted_proxies", "[proxy]", "ingest.trusted_proxies[0]", "`proxy`"),
        ("admin.listen", "127.0.0.1:8080", "admin.listen", "address of ingest.listen"),
        ("admin.hosts", "[klamm.example, http://x]", "admin.hosts[1]", "host name"),
        ("caps.body", "0", "caps.body", "not from 1B"),
        ("caps.inflated", "4MiB", "caps.inflated", "less than caps.body (8MiB)"),
        ("caps.ratio", "0", "caps.ratio", "above 0"),
        ("caps.events", "0", "caps.events", "above 0"),
        ("caps.depth", "0", "caps.depth", "1 to 128"),
        ("caps.depth", "129", "caps.depth", "1 to 128"),
        ("caps.key", "2MiB", "caps.key", "1MiB"),
        ("caps.record_headers", "1001", "caps.record_headers", "1000"),
        ("caps.record_headers_bytes", "2MiB", "caps.record_headers_bytes", "1MiB"),
        ("caps.headers", "101", "caps.headers", "1 to 100"),
        ("caps.headers_bytes", "65KiB", "caps.headers_bytes", "64KiB"),
        ("caps.uri", "17KiB", "caps.uri", "16KiB"),
        ("spool.segment", "512KiB", "spool.segment", "from 1MiB to 1GiB"),
        ("spool.total", "255MiB", "spool.total", "4 x spool.segment = 256MiB"),
        ("spool.max_age", "0s", "spool.max_age", "above 0s"),
        ("spool.commit.delay", "101ms", "spool.commit.delay", "more than 100ms"),
        ("spool.commit.bytes", "1KiB", "spool.commit.bytes", "from 4KiB to 64MiB"),
        ("budget.total", "71MiB", "budget.total", "caps.body + 2 x caps.inflated = 72MiB"),
        ("log.level", "inof", "log.level", "`inof` is not one of"),
        ("log.level", "klamm=loud", "log.level", "error, warn"),
        ("metrics.pairs", "0", "metrics.pairs", "1 to"),
        ("docs_url", "ftp://x", "docs_url", "http"),
        ("docs_url", "https://", "docs_url", "http"),
        ("kafka.default.bootstrap", "[]", "kafka.default.bootstrap", "required"),
        ("kafka.default.bootstrap", "[k:9092, k2]", "kafka.default.bootstrap[1]", "host:port"),
        ("kafka.default.bootstrap", "[k:0]", "kafka.default.bootstrap[0]", "host:port"),
        ("kafka.other", "{bootstrap: [k:1]}", "kafka.other", "`default`"),
        ("kafka.default.batch_bytes", "100B", "kafka.default.batch_bytes", "1KiB"),
        ("kafka.default.metadata_refresh", "0s", "kafka.default.metadata_refresh", "not between 1s and 1d"),
        ("kafka.default.delivery_timeout", "10s", "kafka.default.delivery_timeout", "longer than ingest.wait"),
        ("kafka.default.delivery_timeout", "2d", "kafka.default.delivery_timeout", "longer than 1d"),
        ("kafka.default.linger", "30s", "kafka.default.linger", "shorter than 30s"),
        ("topics.orders.linger", "30s", "topics.orders.linger", "shorter than 30s"),
        ("kafka.default.properties.no.such", "1", "kafka.default.properties.no.such", "No such"),
        ("kafka.default.properties.socket.timeout.ms", "x", "kafka.default.properties.socket.timeout.ms", "Invalid"),
        ("kafka.default.properties.acks", "1", "kafka.default.properties.acks", "unsafe: true"),
        (
            "kafka.default.properties.request.required.acks",
            "0",
            "kafka.default.properties.request.required.acks",
            "lost",
        ),
        (
            "kafka.default.properties.enable.idempotence",
            "false",
            "kafka.default.properties.enable.idempotence",
            "unsafe",
        ),
        ("kafka.default.properties.max.in.flight", "6", "kafka.default.properties.max.in.flight", "1 to 5"),
        (
            "kafka.default.properties.max.in.flight.requests.per.connection",
            "6",
            "kafka.default.properties.max.in.flight.requests.per.connection",
            "1 to 5",
        ),
        (
            "kafka.default.properties.enable.gapless.guarantee",
            "true",
            "kafka.default.properties.enable.gapless.guarantee",
            "unsafe",
        ),
        ("clients._a", "{keys: [{label: x, sha256_file: /dev/null}]}", "clients._a.keys[0].sha256", "required"),
        ("clients.a.keys", "[]", "clients.a.keys", "required"),
        ("ingest.socket.mode", "0999", "ingest.socket.mode", "octal digits"),
        ("ingest.socket.mode", "01777", "ingest.socket.mode", "octal digits"),
        ("ingest.socket.group", "no-such-group", "ingest.socket.group", "/etc/group has no group `no-such-group`"),
        ("clients.a.unix", "{uid: 1}", "clients.a.unix", "needs ingest.listen on a unix socket"),
        ("clients.a.unix", "{}", "clients.a.unix", "by `uid` or `user`"),
        ("clients.a.unix", "{user: no-such-user}", "clients.a.unix.user", "/etc/passwd has no user `no-such-user`"),
        ("clients.a.unix", "{uid: 1, user: root}", "clients.a.unix.user", "keep one of the two"),
        ("clients.a.keys", "[{sha256: X}]", "clients.a.keys[0].label", "required"),
        ("clients.a.topics", "[a/b]", "clients.a.topics[0]", "`a/b`"),
        ("clients.a.topics", "[a*b]", "clients.a.topics[0]", "one `*`"),
        ("clients.a.limits.events", "1/h", "clients.a.limits.events", "never grants one"),
        ("clients.a.limits.burst", "0s", "clients.a.limits.burst", "never grants one"),
        ("defaults.limits.requests", "1/h", "defaults.limits.requests", "never grants one"),
        ("topics.a/b", "{}", "topics.a/b", "`a/b`"),
        ("topics.orders.formats", "[]", "topics.orders.formats", "one format"),
        ("topics.orders.max_event", "0", "topics.orders.max_event", "1B to 32MiB"),
        ("topics.orders.max_event", "33MiB", "topics.orders.max_event", "1B to 32MiB"),
        ("topics.orders.client_id", "a b", "topics.orders.client_id", "`a b` is not 1 to 249"),
        ("topics.orders.ack", "spool", "topics.orders.ack", "needs `spool.dir`"),
        ("topics.orders.on_outage", "spool", "topics.orders.on_outage", "needs `spool.dir`"),
        ("topics.orders.dead_letter", "orders", "topics.orders.dead_letter", "the topic itself"),
        ("topics.orders.dead_letter", "a b", "topics.orders.dead_letter", "no topic's name"),
        ("topics.orders.dead_letter", "\"\"", "topics.orders.dead_letter", "no topic's name"),
        ("topics.orders.key.pointer", "order_id", "topics.orders.key.pointer", "begins with `/`"),
        ("topics.orders.key.pointer", "/a~2", "topics.orders.key.pointer", "`~0`"),
        ("topics.orders.key.pointer", "/a~", "topics.orders.key.pointer", "`~0`"),
    ];
    for (key, value, path, words) in rows {
        let faults = load(&source(&[(key, value)])).unwrap_err();
        let hit = faults.0.iter().find(|fault| fault.path.to_string() == *path && fault.message.contains(words));
        assert!(hit.is_some(), "{key}={value}:\n{faults}");
    }
}

#[test]
fn what_klamm_derives_is_refused_with_what_to_use_instead() {
    for (property, instead) in super::kafka::DERIVED {
        let path = format!("kafka.default.properties.{property}");
        let flags = [(path.as_str(), "1"), ("kafka.default.unsafe", "true")];
        let faults = load(&source(&flags)).unwrap_err().to_string();
        assert_eq!(faults, format!("flag --set: {path}: not to be set here: {instead}"));
    }
}

#[test]
fn unsafe_allows_what_breaks_promises_and_safe_values_need_no_leave() {
    let risky = [("acks", "1"), ("enable.idempotence", "false"), ("max.in.flight", "10")];
    let safe =
        [("acks", "all"), ("request.required.acks", "-1"), ("enable.idempotence", "true"), ("max.in.flight", "5")];
    for (leave, rows) in [("true", risky.as_slice()), ("false", safe.as_slice())] {
        for (property, value) in rows {
            let path = format!("kafka.default.properties.{property}");
            let flags = [(path.as_str(), *value), ("kafka.default.unsafe", leave)];
            load(&source(&flags)).unwrap();
        }
    }
}

#[test]
fn keys_must_be_told_apart() {
    let two = |first: &str, second: &str| format!("[{{label: {first}}}, {{label: {second}}}]");
    let same_label = two(&format!("x, sha256: {A}"), &format!("x, sha256: {}", "c".repeat(64)));
    let same_key = two(&format!("x, sha256: {A}"), &format!("y, sha256: {}", A.to_uppercase()));
    let other_client = format!("[{{label: b, sha256: {}}}]", A.to_uppercase());
    for (key, value, path, words) in [
        ("clients.a.keys", &same_label, "clients.a.keys[1].label", "`x` is the label of another key"),
        ("admin.keys", &same_label, "admin.keys[1].label", "`x` is the label of another key"),
        ("clients.a.keys", &same_key, "clients.a.keys[1].sha256", "digest of another key"),
        ("clients.b.keys", &other_client, "clients.b.keys[0].sha256", "client `a` has the same key"),
    ] {
        let faults = load(&source(&[(key, value)])).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert!(faults.0[0].path.to_string() == path && faults.0[0].message.contains(words), "{faults}");
    }
}

/// As [`source`], on a unix socket.
fn on_a_socket(flags: &[(&str, &str)]) -> Source {
    source(&[&[("ingest.listen", "unix:/run/klamm.sock")], flags].concat())
}

#[test]
fn a_local_client_is_alone_and_takes_nothing_from_outside() {
    let local = [("clients.a.keys", "[]"), ("clients.a.local", "true")];
    let with = |more: &[(&str, &str)]| load(&source(&[&local, more].concat())).map(|loaded| loaded.warnings);
    assert_eq!(with(&[]).unwrap(), [""; 0], "on loopback");
    assert_eq!(with(&[("ingest.listen", "[::1]:8080")]).unwrap(), [""; 0]);
    assert_eq!(load(&on_a_socket(&local)).unwrap().warnings, [""; 0]);
    for (key, value, path, words) in [
        ("ingest.listen", "0.0.0.0:8080", "clients.a.local", "loopback address, not 0.0.0.0:8080"),
        ("ingest.listen", "192.0.2.1:8080", "clients.a.local", "loopback"),
        ("ingest.trusted_proxies", "[127.0.0.1]", "clients.a.local", "give them a key"),
        ("clients.b.local", "true", "clients.b.local", "client `a` is local too"),
    ] {
        let faults = with(&[(key, value)]).unwrap_err();
        assert!(faults.0.len() == 1 && faults.0[0].path.to_string() == path, "{faults}");
        assert!(faults.0[0].message.contains(words), "{faults}");
    }
}

#[test]
fn users_and_groups_become_numbers_and_stand_for_one_client_each() {
    let root = [("clients.a.unix", "{user: root}"), ("clients.a.keys", "[]"), ("ingest.socket.group", "root")];
    let loaded = load(&on_a_socket(&root)).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(loaded.config.clients["a"].unix, Some(User { uid: Some(0), user: None }));
    assert_eq!(loaded.config.ingest.socket.gid(), Some(0));
    let faults = load(&on_a_socket(&[root[0], ("clients.b.unix", "{uid: 0}")])).unwrap_err().to_string();
    assert!(faults.ends_with("clients.b.unix: client `a` has uid 0 too: then klamm cannot tell who sends"), "{faults}");
    let both = [root[0], ("clients.b.local", "true"), ("clients.b.unix", "{uid: 65534}")];
    let warnings = load(&on_a_socket(&both)).unwrap().warnings;
    assert!(warnings[0].starts_with("clients.b.local: has no effect"), "{warnings:?}");
    assert!(warnings[1].starts_with("clients.b.unix: uid 65534 is also"), "{warnings:?}");
}

#[test]
fn client_names_are_held_to_their_alphabet() {
    let keys = |n: u8| format!("{{keys: [{{label: x, sha256: {}}}]}}", format!("{n:02x}").repeat(32));
    for (n, name) in ["_admin", "a b", "ö", &"x".repeat(65)].into_iter().enumerate() {
        let faults = load(&source(&[(&format!("clients.\"{name}\""), &keys(n as u8))])).unwrap_err().to_string();
        assert!(faults.contains("a client's name is") && faults.lines().count() == 1, "{faults}");
    }
    load(&source(&[("clients.\"Eu.shop_1-2\"", &keys(1))])).unwrap();
}

#[test]
fn what_is_allowed_but_hardly_meant_is_a_warning() {
    let rows: &[(&str, &str, &str)] = &[
        ("admin.listen", "0.0.0.0:8081", "admin.listen: 0.0.0.0:8081 is not loopback"),
        ("shutdown.lame_duck", "15s", "shutdown: lame_duck + flush is over the 30s"),
        ("budget.client", "20%", "budget.client: 20% is"),
        ("budget.topic", "20%", "budget.topic: 20% is"),
        ("clients.a.topics", "[order]", "clients.a.topics[0]: no entry of `topics` matches `order`"),
        ("clients.a.topics", "[]", "clients.a.topics: is empty"),
    ];
    for (key, value, warning) in rows {
        let warnings = warnings(&[(key, value)]);
        assert!(warnings.len() == 1 && warnings[0].starts_with(warning), "{key}={value}: {warnings:?}");
    }
    for topics in ["[\"*\"]", "[\"clicks-eu-*\"]", "[\"click*\"]", "[clicks-1]", "[\"ord*\"]"] {
        assert_eq!(warnings(&[("clients.a.topics", topics)]), [""; 0], "{topics}");
    }
}
