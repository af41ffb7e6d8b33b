//! `deploy/prometheus/rules.yml` and its cases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use klamm::config::Config;
use klamm::reject::Code;
use klamm::telemetry::RequestResult;
use serde_json::Value;

use super::promql;
use crate::support::prometheus::rules;

/// An alert.
pub(super) struct Alert {
    pub(super) name: String,
    expression: String,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Alert {
    /// `KlammKafkaDown` -> `kafka-down`.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        for letter in self.name.strip_prefix("Klamm").expect("each begins with Klamm").chars() {
            if letter.is_ascii_uppercase() && !page.is_empty() {
                page.push('-');
            }
            page.push(letter.to_ascii_lowercase());
        }
        page
    }
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn map(value: &Value) -> BTreeMap<String, String> {
    let rows = value.as_object().into_iter().flatten();
    rows.map(|(key, value)| (key.clone(), value.as_str().expect("text").to_owned())).collect()
}

fn each_rule() -> Vec<Value> {
    let file = yaml(&rules());
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The names of the recording rules.
pub(super) fn recorded() -> Vec<String> {
    each_rule().iter().filter_map(|rule| rule["record"].as_str().map(str::to_owned)).collect()
}

/// Every alert, those with several windows as often.
pub(super) fn alerts() -> Vec<Alert> {
    let alert = |rule: &Value| {
        Some(Alert {
            name: rule["alert"].as_str()?.to_owned(),
            expression: rule["expr"].as_str().expect("an expression").to_owned(),
            labels: map(&rule["labels"]),
            annotations: map(&rule["annotations"]),
        })
    };
    each_rule().iter().filter_map(alert).collect()
}

#[test]
fn promtool_takes_the_rules_and_every_case_holds() {
    let cases = rules().with_file_name("rules_test.yml");
    for (command, file) in [("check", rules()), ("test", cases)] {
        let output = Command::new("promtool").args([command, "rules"]).arg(&file).output();
        let output = output.expect("promtool (Debian's package prometheus): run scripts/setup.sh test");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "promtool {command} rules:\n{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let file = yaml(&rules().with_file_name("rules_test.yml"));
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in file["tests"].as_array().expect("tests") {
        for case in test["alert_rule_test"].as_array().expect("cases") {
            let name = case["alertname"].as_str().expect("a name");
            let expected = case["exp_alerts"].as_array().expect("a list");
            if expected.is_empty() {
                silent.insert((name.to_owned(), String::new()));
            }
            for alert in expected {
                let labels = map(&alert["exp_labels"]);
                assert_eq!(alert["exp_annotations"].as_object().map(serde_json::Map::len), Some(3), "{name}");
                fires.insert((name.to_owned(), labels.get("window").cloned().unwrap_or_default()));
            }
        }
    }
    for Alert { name, labels, .. } in alerts() {
        let window = labels.get("window").cloned().unwrap_or_default();
        assert!(fires.contains(&(name.clone(), window.clone())), "{name} {window} never fires");
        assert!(silent.contains(&(name.clone(), String::new())), "{name} is never silent");
    }
}

#[test]
fn every_alert_says_how_grave_it_is_what_it_is_and_where_its_runbook_is() {
    let docs = Config::default().docs_url;
    for alert in alerts() {
        let name = &alert.name;
        assert!(["page", "ticket"].contains(&alert.labels["severity"].as_str()), "{name}");
        assert!(alert.labels.keys().all(|label| ["severity", "window"].contains(&label.as_str())), "{name}");
        let expected = format!("{docs}/runbooks/{}.md", alert.page());
        assert_eq!(alert.annotations.get("runbook_url"), Some(&expected), "{name}");
        assert!(alert.annotations.get("summary").is_some_and(|text| text.contains("$labels.")), "{name}");
        assert!(alert.annotations.get("description").is_some_and(|text| text.ends_with('.')), "{name}");
    }
}

#[test]
fn rules_name_only_what_klamm_exports_and_sum_over_the_replicas() {
    let recorded = recorded();
    for rule in each_rule() {
        let name = rule["alert"].as_str().or_else(|| rule["record"].as_str()).expect("a name");
        let expression = rule["expr"].as_str().expect("an expression");
        assert_eq!(promql::faults(expression, &recorded), Vec::<String>::new(), "{name}");
        assert!(!promql::selectors(expression).is_empty(), "{name}");
        let sums = ["sum by (job", "max by (job"].iter().any(|sum| expression.contains(sum));
        let of_sums =
            promql::selectors(expression).iter().all(|series| series.name.contains(':') || series.name == "ALERTS");
        assert!((sums || of_sums) && !expression.contains("instance"), "{name}: {expression}");
    }
    let used: BTreeSet<_> =
        alerts().iter().flat_map(|alert| promql::selectors(&alert.expression)).map(|s| s.name).collect();
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn every_code_is_watched_by_the_alert_about_those_who_are_at_fault() {
    let codes = |name: &str| -> BTreeSet<String> {
        let alert = alerts().into_iter().find(|alert| alert.name == name).expect("an alert");
        let matchers = promql::selectors(&alert.expression).into_iter().flat_map(|series| series.matchers);
        let codes = matchers.filter(|(label, _)| label == "code").map(|(_, value)| value).next().expect("codes");
        codes.split('|').map(str::to_owned).collect()
    };
    let of_klamm = || Code::ALL.iter().filter(|code| RequestResult::of(**code) != RequestResult::Refused);
    let names = |codes: Vec<&Code>| codes.into_iter().map(|code| code.name().to_owned()).collect::<BTreeSet<_>>();
    // One that stops is no fault; the quota has an alert of its own.
    let watched = names(of_klamm().filter(|code| **code != Code::Draining).collect());
    assert_eq!(codes("KlammRequestsUnavailable"), watched);
    let left_out = names(of_klamm().chain([&Code::RateLimited]).collect());
    assert_eq!(codes("KlammClientRefused"), left_out);
}
