use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::load::{Loaded, Source, load};
use super::*;

/// A valid file: what is required, and no more.
const SMALL: &str = "kafka: { default: { bootstrap: [k:9092] } }\n";

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn source(path: &Path, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Source {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Source { file: Some(path.to_owned()), env: pairs(env), flags: pairs(flags) }
}

fn loaded(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Loaded {
    let directory = files(&[("klamm.yaml", text)]);
    load(&source(&directory.path().join("klamm.yaml"), env, flags)).unwrap()
}

/// The faults of `text` (with the temporary directory taken out of the names).
fn faulty(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let directory = files(&[("klamm.yaml", text)]);
    faults_of(&directory, "klamm.yaml", env, flags)
}

fn faults_of(directory: &TempDir, name: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let error = load(&source(&directory.path().join(name), env, flags)).unwrap_err();
    error.to_string().replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn all_faults_of_a_file_are_reported_at_once_with_their_places() {
    let text = r#"
ingest:
  listen: nowhere
  wiat: 5s
  connections: many
caps: { depth: 200, body: 64MiB }
kafka:
  default:
    bootstrap: [k1]
    compression: brotli
    properties:
      linger.ms: 5
      acks: 1
clients:
  acme:
    keys: [{ label: a, sha256: short }]
    topics: ["a*b"]
    share: 0
    limits:
      bytes: 0/s
  acme: {}
topics:
  - orders
log: ~
docs_url: []
wrong: 1
"#;
    insta::assert_snapshot!(faulty(text, &[("KLAMM__METRICS__PAIRS", "-1")], &[("budget.total", "1MiB")]), @r"
    klamm.yaml:3:11: ingest.listen: `nowhere` is neither an address such as 127.0.0.1:8080 nor unix:/path/of.sock
    klamm.yaml:4:3: ingest.wiat: unknown key; did you mean `wait`?
    klamm.yaml:5:16: ingest.connections: expected a whole number, found `many`
    klamm.yaml:6:1: caps.inflated: 32MiB is less than caps.body (64MiB)
    klamm.yaml:6:16: caps.depth: 200 is not from 1 to 128
    klamm.yaml:9:17: kafka.default.bootstrap[0]: `k1` is not `host:port`
    klamm.yaml:10:18: kafka.default.compression: `brotli` is not one of: none, gzip, snappy, lz4, zstd
    klamm.yaml:12:18: kafka.default.properties.linger.ms: not to be set here: set `linger`
    klamm.yaml:13:13: kafka.default.properties.acks: acknowledged events could be lost: acks must be `all`; allowed only with `unsafe: true`
    klamm.yaml:16:32: clients.acme.keys[0].sha256: is not 64 hexadecimal digits: `klamm keys hash` makes them of a key
    klamm.yaml:17:14: clients.acme.topics[0]: `a*b` is no topic (1 to 249 of a-z A-Z 0-9 . _ -) and no prefix with one `*` at its end
    klamm.yaml:18:12: clients.acme.share: `0` is not a whole number above 0
    klamm.yaml:20:14: clients.acme.limits.bytes: `0/s` is not a rate above 0 such as 5000/s, 50MiB/s or 90/m (or `off`)
    klamm.yaml:21:3: clients.acme: is given twice (first at klamm.yaml:15:3)
    klamm.yaml:22:1: topics: expected a mapping, found a list
    klamm.yaml:25:1: docs_url: expected a string, found a list
    klamm.yaml:26:1: wrong: unknown key; known here: ingest, admin, shutdown, kafka, budget, spool, caps, defaults, clients, topics, log, metrics, docs_url
    env KLAMM__METRICS__PAIRS: metrics.pairs: `-1` is not a whole number
    flag --set: budget.total: 1MiB is less than the largest request takes: caps.body + 2 x caps.inflated = 128MiB
    ");
}

#[test]
fn a_syntax_error_is_one_fault_with_its_line() {
    insta::assert_snapshot!(faulty("ingest:\n  wait: 5s\n bad: [\n", &[], &[]), @r"klamm.yaml:3:2: not YAML: while parsing a block mapping, did not find expected key");
    insta::assert_snapshot!(faulty("ingest: {}\n---\nadmin: {}\n", &[], &[]), @r"klamm.yaml:2:1: a second document: one configuration is one document");
    insta::assert_snapshot!(faulty("a: &a [*a]\n", &[], &[]), @r"klamm.yaml:1:8: a[0]: the alias stands inside its own anchor");
    insta::assert_snapshot!(faulty("[1, 2]: x\n", &[], &[]), @r"klamm.yaml:1:1: a key must be a plain word");
}

#[test]
fn missing_files_and_empty_directories_are_faults() {
    let empty = files(&[]);
    insta::assert_snapshot!(faults_of(&empty, "klamm.yaml", &[], &[]), @r"klamm.yaml: No such file or directory (os error 2)");
    let error = load(&source(empty.path(), &[], &[])).unwrap_err().to_string();
    assert!(error.ends_with(": no *.yaml in this directory"), "{error}");
    let error = load(&Source::default()).unwrap_err().to_string();
    assert_eq!(error, "kafka.default.bootstrap: is required: `host:port` of some brokers");
}

#[test]
fn flags_go_over_the_environment_over_the_file_over_the_defaults() {
    let text = format!("{SMALL}ingest: {{ wait: 1s, body_idle: 1s, body_timeout: 1s }}\n");
    let env = [("KLAMM__INGEST__BODY_IDLE", "2s"), ("KLAMM__INGEST__BODY_TIMEOUT", "2s"), ("KLAMM_X", "no")];
    let config = loaded(&text, &env, &[("ingest.body_timeout", "3s")]).config;
    let spans = [config.ingest.keep_alive, config.ingest.wait, config.ingest.body_idle, config.ingest.body_timeout];
    assert_eq!(spans.map(|span| span.get().as_secs()), [75, 1, 2, 3]);
}

#[test]
fn variables_and_flags_reach_names_lists_and_properties() {
    let text = format!(
        "{SMALL}clients: {{ EU.shop: {{ topics: [x*], keys: [{{ label: a, sha256: {} }}] }} }}\n",
        "a".repeat(64)
    );
    let env = [
        ("KLAMM__CLIENTS__EU_SHOP__SHARE", "3"),
        ("KLAMM__CLIENTS__EU_SHOP__TOPICS", "[orders, 'clicks-*']"),
        ("KLAMM__KAFKA__DEFAULT__PROPERTIES__SASL_PASSWORD", "[p: w#d"),
        ("KLAMM__TOPICS__ORDERS__KEY", "{pointer: /id}"),
    ];
    let flags = [("clients.\"EU.shop\".limits.events", "off"), ("kafka.default.properties.sasl.username", "me")];
    let config = loaded(&text, &env, &flags).config;
    let client = &config.clients["EU.shop"];
    assert_eq!((client.share.get(), client.topics.len()), (3, 2));
    assert_eq!(client.limits.events, Some(crate::units::Limit::Off));
    assert_eq!(config.kafka["default"].properties["sasl.password"], "[p: w#d");
    assert_eq!(config.kafka["default"].properties["sasl.username"], "me");
    assert_eq!(config.topics["orders"].key.pointer.as_deref(), Some("/id"));
}

#[test]
fn faults_of_variables_and_flags_name_them() {
    let env = [("KLAMM__INGEST__WAIT", "soon"), ("KLAMM__INGEST__WIAT", "5s")];
    insta::assert_snapshot!(faulty(SMALL, &env, &[("caps.depth", "0"), ("caps.events", "1,000")]), @r"
    env KLAMM__INGEST__WAIT: ingest.wait: `soon` is not a time such as 5ms, 10s, 2m, 1h or 1d
    env KLAMM__INGEST__WIAT: ingest.wiat: unknown key; did you mean `wait`?
    flag --set: caps.depth: 0 is not from 1 to 128
    flag --set: caps.events: expected a whole number, found `1,000`
    ");
    insta::assert_snapshot!(faulty(SMALL, &[("KLAMM__INGEST____X", "1")], &[("a..b", "1"), ("caps", "{")]), @r"
    env KLAMM__INGEST____X: not a key path such as KLAMM__INGEST__WAIT
    flag --set: `a..b` is not a key path such as ingest.wait
    flag --set: caps: not YAML: unclosed bracket '{'
    ");
}

#[test]
fn a_directory_is_merged_in_the_order_of_the_names() {
    let key = "b".repeat(64);
    let directory = files(&[
        ("10-base.yaml", &format!("{SMALL}ingest: {{ wait: 1s, body_idle: 1s }}\n")),
        ("20-over.yml", "ingest: { wait: 2s }\n"),
        ("30-clients.yaml", &format!("clients: {{ a: {{ keys: [{{ label: 1, sha256: {key} }}] }} }}\n")),
        ("40-empty.yaml", "# nothing yet\nclients:\n"),
        (".hidden.yaml", "nonsense: true\n"),
        ("readme.txt", "nonsense"),
    ]);
    let config = load(&source(directory.path(), &[], &[])).unwrap().config;
    assert_eq!((config.ingest.wait.get().as_secs(), config.ingest.body_idle.get().as_secs()), (2, 1));
    assert_eq!(config.clients["a"].keys[0].label, "1");
}

#[test]
fn scalars_stay_the_text_they_are() {
    let digits = format!("{}e{}", "1".repeat(32), "2".repeat(31));
    let text = format!(
        "{SMALL}clients:\n  \"007\":\n    keys: [{{ label: 2026, sha256: {digits} }}]\n    topics: [1e3, \"null\"]\n\
         defaults: {{ limits: {{ events: off, requests: \"10/s\" }} }}\ntopics: {{ \"*\": }}\n"
    );
    let config = loaded(&text, &[], &[]).config;
    let client = &config.clients["007"];
    assert_eq!((client.keys[0].label.as_str(), &client.keys[0].sha256), ("2026", &digits));
    assert_eq!(client.topics, ["1e3", "null"]);
    assert_eq!(config.defaults.limits.events, crate::units::Limit::Off);
    assert_eq!(config.topics["*"], Topic::default());
}

#[test]
fn anchors_and_merge_keys_share_values() {
    let text = format!(
        "{SMALL}topics:\n  a: &a {{ max_event: 1KiB, partition: allow }}\n  b: {{ <<: *a, max_event: 2KiB }}\n  c: *a\n"
    );
    let topics = loaded(&text, &[], &[]).config.topics;
    assert_eq!(topics["b"].max_event.to_string(), "2KiB");
    assert_eq!((topics["b"].partition, &topics["c"]), (Decision::Allow, &topics["a"]));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    let fault = faulty(&text, &[], &[]);
    assert!(fault.ends_with("more than 2000000 values"), "{fault}");
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let digest = "AB".repeat(32);
    let text = "kafka: { default: { bootstrap: [k:9092], properties: { sasl.password_file: pw } } }\n\
                clients: { a: { keys: [{ label: a, sha256_file: digest }] } }\n";
    let directory = files(&[("klamm.yaml", text), ("pw", "p w\r\n"), ("digest", &format!("{digest}\n"))]);
    let loaded = load(&source(&directory.path().join("klamm.yaml"), &[], &[])).unwrap();
    assert_eq!(loaded.config.kafka["default"].properties["sasl.password"], "p w");
    assert_eq!(loaded.config.kafka["default"].properties.len(), 1);
    let key = &loaded.config.clients["a"].keys[0];
    assert_eq!((key.sha256.as_str(), &key.sha256_file), ("ab".repeat(32).as_str(), &None));
    let names: Vec<_> = loaded.files.iter().filter_map(|file| file.file_name()).collect();
    assert_eq!(names, ["klamm.yaml", "pw", "digest"]);
}

#[test]
fn secret_files_that_cannot_be_read_or_are_not_needed_are_faults() {
    let text = "kafka: { default: { bootstrap: [k:9092], properties: {\n\
                ssl.key.password_file: gone, sasl.password: x, sasl.password_file: gone } } }\n\
                admin: { keys: [{ label: a, sha256_file: gone }, { label: b, sha256: x, sha256_file: gone }] }\n";
    insta::assert_snapshot!(faulty(text, &[], &[]), @r"
    klamm.yaml:2:24: kafka.default.properties.ssl.key.password_file: gone: No such file or directory (os error 2)
    klamm.yaml:2:68: kafka.default.properties.sasl.password_file: `sasl.password` is given as well: keep one of the two
    klamm.yaml:3:42: admin.keys[0].sha256_file: gone: No such file or directory (os error 2)
    klamm.yaml:3:86: admin.keys[1].sha256_file: `sha256` is given as well: keep one of the two
    ");
}

const SECRETS: &str = "kafka: { default: { bootstrap: [k:9092], properties: {\n\
    sasl.password: hunter2, ssl.key.pem: hunter2, ssl.keystore.password: hunter2, sasl.oauthbearer.config: hunter2,\n\
    ssl.key.password: hunter2, ssl.key.location: /seen, client.id: seen } } }\n";

#[test]
fn secrets_are_masked_in_every_output() {
    let text = format!("{SECRETS}admin: {{ keys: [{{ label: ops, sha256: {} }}] }}\n", "ab".repeat(32));
    let config = loaded(&text, &[], &[]).config;
    let masked = config.masked();
    let outputs = [masked.to_string(), to_yaml(&masked), format!("{config:?}")];
    for output in &outputs {
        assert!(!output.contains("hunter2"), "{output}");
        assert!(!output.contains(&"ab".repeat(32)) && output.contains("abababab…"), "{output}");
        assert!(output.contains("/seen"), "{output}");
    }
    assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
    assert_eq!(masked["kafka"]["default"]["properties"]["sasl.password"], "***");
}

#[test]
fn faults_do_not_show_secrets() {
    let secret = "klamm_hunter2";
    let properties = format!(
        "properties: {{ sasl.password: [{secret}], ssl.key.pem: {secret}, ssl.key.password: {{ a: {secret} }},\n\
         sasl.oauthbearer.token: {secret} }}"
    );
    let text = format!(
        "kafka: {{ default: {{ bootstrap: [k:9092], {properties} }} }}\n\
         clients: {{ a: {{ keys: [{{ label: a, sha256: {secret} }}] }} }}\n"
    );
    let faults = faulty(&text, &[("KLAMM__ADMIN__KEYS", "[{label: a, sha256: klamm_hunter2}]")], &[]);
    assert_eq!(faults.lines().count(), 5, "{faults}");
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn printed_yaml_reads_back_the_same() {
    let value = json!({
        "plain": "info,klamm::stages::produce=debug", "path": "/etc/x", "time": "5ms", "number like": "1e3", "off": "off",
        "quote": "say \"ö\"\n", "empty": "", "none": null, "list": [1, true, "true", [], {}, {"a": [["b"]]}],
        "0755": "0x10", "star": "*", "dash": "- a", "colon": "a: b", "hash": "a #b",
    });
    let (node, faults) = yaml::parse(&to_yaml(&value), &|_, _| fault::Origin::Flag).unwrap();
    assert!(faults.is_empty());
    fn text(node: &tree::Node) -> Value {
        match &node.kind {
            tree::Kind::Gone | tree::Kind::Null => Value::Null,
            tree::Kind::Text(text) => text.as_str().into(),
            tree::Kind::List(items) => items.iter().map(text).collect(),
            tree::Kind::Map(entries) => entries.iter().map(|e| (e.key.clone(), text(&e.value))).collect(),
        }
    }
    let mut expected = value;
    expected["list"][0] = "1".into();
    expected["list"][1] = "true".into();
    assert_eq!(text(&node), expected);
}

#[test]
fn the_effective_configuration_loads_again() {
    let config = loaded(TEMPLATE, &[], &[]).config;
    let mut shown = serde_json::to_value(&config).unwrap();
    shown["docs_url"] = "https://example.org".into();
    let again = loaded(&to_yaml(&shown), &[], &[]).config;
    assert_eq!(serde_json::to_value(&again).unwrap(), shown);
}

#[test]
fn the_template_states_every_default() {
    let config = loaded(TEMPLATE, &[], &[]).config;
    let mut expected = Config::default();
    expected.kafka.insert("default".into(), Cluster { bootstrap: vec!["127.0.0.1:9092".into()], ..Cluster::default() });
    expected.clients.clone_from(&config.clients);
    expected.topics.clone_from(&config.topics);
    let (is, should) = (serde_json::to_value(&config).unwrap(), serde_json::to_value(&expected).unwrap());
    assert_eq!(is, should);
    let key = KeyRule { pointer: Some("/order_id".into()), required: true };
    let orders = Topic { key, client_id: Some("klamm-orders".into()), ..Topic::default() };
    assert_eq!(
        config.topics["orders"],
        Topic { max_event: crate::units::ByteSize::kib(900), linger: Some(crate::units::Span::millis(1)), ..orders }
    );
    assert_eq!(config.topics["clicks-*"], Topic::default());
    assert_eq!(config.clients["shop"].share, Client::default().share);
    // Not only by leaving keys out: each key with a default is written.
    let written: Value = {
        let (node, _) = yaml::parse(TEMPLATE, &|_, _| fault::Origin::Flag).unwrap();
        keys_of(&node)
    };
    for section in ["ingest", "admin", "shutdown", "budget", "caps", "defaults", "log", "metrics"] {
        assert_eq!(written[section], keys_of_value(&should[section]), "{section}");
    }
    assert_eq!(written["kafka"], keys_of_value(&should["kafka"]));
}

fn keys_of(node: &tree::Node) -> Value {
    node.entries().iter().map(|entry| (entry.key.clone(), keys_of(&entry.value))).collect()
}

fn keys_of_value(value: &Value) -> Value {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), keys_of_value(value))).collect()
}

#[test]
fn every_key_of_the_schema_is_in_the_template() {
    let schema = schema();
    let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys: Vec<&String> = sections.filter_map(|s| s["properties"].as_object()).flat_map(|map| map.keys()).collect();
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        let written = |line: &str| line.trim_start_matches([' ', '-', '#']).starts_with(&format!("{key}:"));
        assert!(TEMPLATE.lines().any(written), "{key}");
    }
}

#[test]
fn a_slip_of_the_pen_finds_its_key() {
    let known = ["wait", "body_idle", "body_timeout", "listen"];
    for (slip, key) in [("wiat", Some("wait")), ("body-idle", Some("body_idle")), ("Listen", Some("listen"))] {
        assert_eq!(typed::closest(slip, &known), key);
    }
    assert_eq!(typed::closest("nonsense", &known), None);
}
