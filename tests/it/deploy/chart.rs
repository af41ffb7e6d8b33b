//! `deploy/helm/klamm`, as far as it can be judged without helm: its copies, and what it knows about klamm.
//!
//! What it renders is for `make test-deploy`.

use std::collections::BTreeSet;
use std::fs;

use klamm::config::schema;
use serde_json::Value;

use super::files::{path, text};

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
    entries.map(|entry| name(entry.expect("an entry"))).filter(|name| name.ends_with(".json")).collect()
}

#[test]
fn the_chart_holds_the_rules_and_dashboards_as_they_are() {
    let files = "deploy/helm/klamm/files";
    assert!(text(&format!("{files}/rules.yml")) == text("deploy/prometheus/rules.yml"), "run `make chart`");
    let dashboards = names("deploy/grafana");
    assert!(!dashboards.is_empty());
    assert_eq!(names(&format!("{files}/dashboards")), dashboards, "run `make chart`");
    for name in dashboards {
        let copy = text(&format!("{files}/dashboards/{name}"));
        assert!(copy == text(&format!("deploy/grafana/{name}")), "{name}: run `make chart`");
    }
}

/// The keys whose documentation says "Not live."; a section as a whole where all of its keys are.
fn not_live() -> BTreeSet<String> {
    let schema = schema();
    let resolve = |value: &Value| match value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        Some(name) => schema["$defs"][name].clone(),
        None => value.clone(),
    };
    let mut found = BTreeSet::from(["kafka".to_owned()]); // a map of clusters; klamm's own tests hold it to be not live
    for (section, value) in schema["properties"].as_object().expect("sections") {
        let keys = resolve(value)["properties"].as_object().cloned().unwrap_or_default();
        let waits = |value: &Value| value["description"].as_str().unwrap_or_default().contains("Not live.");
        let waiting: Vec<_> = keys.iter().filter(|(_, value)| waits(value)).map(|(key, _)| key).collect();
        if !waiting.is_empty() && waiting.len() == keys.len() {
            found.insert(section.clone());
        } else {
            found.extend(waiting.iter().map(|key| format!("{section}.{key}")));
        }
    }
    found
}

#[test]
fn pods_are_replaced_for_exactly_what_klamm_reads_at_its_start_alone() {
    let listed = text("deploy/helm/klamm/files/not-live.txt");
    assert_eq!(listed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), not_live());
}

#[test]
fn the_values_know_every_section_of_the_config() {
    let values: Value = serde_json::from_str(&text("deploy/helm/klamm/values.schema.json")).expect("JSON");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&values["properties"]["config"]["properties"]), keys(&schema()["properties"]));
}
