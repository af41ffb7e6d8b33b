//! PromQL, as far as it takes to say which metrics an expression names, and with which labels.

use klamm::reject::Code;
use klamm::telemetry::names::{self, Def, Kind};
use klamm::telemetry::{Outcome, RequestResult, Route};

/// Series that klamm does not export: Prometheus makes them.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

/// A series and the labels by which it is chosen, with their values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) matchers: Vec<(String, String)>,
}

/// The series that `expression` names: each word with an underscore or a colon, or with braces behind it, that is no
/// function, and `up`.
pub(super) fn selectors(expression: &str) -> Vec<Selector> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || matches!(c, '"' | '$')) {
        rest = &rest[start..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, behind)| behind);
            continue;
        }
        let end = rest.find(|c: char| !is_word(c) && c != '$').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        let opens = behind.trim_start().chars().next();
        // The labels of `by (...)` are words, too.
        if matches!(name, "by" | "on" | "without" | "ignoring" | "group_left") && opens == Some('(') {
            rest = behind.split_once(')').map_or("", |(_, behind)| behind);
            continue;
        }
        let braces = behind.strip_prefix('{').map(|inside| inside.split_once('}').expect("a closing brace"));
        let series = braces.is_some() || name == "up" || (name.contains(['_', ':']) && opens != Some('('));
        if series && !name.starts_with('$') && name != "group_left" {
            let matchers = braces.map(|(inside, _)| matchers(inside)).unwrap_or_default();
            found.push(Selector { name: name.to_owned(), matchers });
        }
        rest = braces.map_or(rest, |(_, behind)| behind);
    }
    found
}

/// `a="x",b=~"y|z"`. No value of ours has a comma or a quote.
fn matchers(inside: &str) -> Vec<(String, String)> {
    let pairs = inside.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (label, value) = pair.split_once('"').expect("a quoted value");
        let label = label.trim_end_matches(['=', '~', '!', ' ']);
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    };
    pairs.map(pair).collect()
}

/// The metric of the code's list that exports the series `name`.
pub(super) fn metric(name: &str) -> Option<&'static Def> {
    let of = |def: &&&Def| {
        let suffix = name.strip_prefix(def.name);
        let parts: &[&str] = if def.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        suffix.is_some_and(|suffix| parts.contains(&suffix))
    };
    names::ALL.iter().find(of).copied()
}

/// What is wrong with `expression`: series that nobody exports or records, labels that they do not have, and values of
/// labels that klamm never gives.
pub(super) fn faults(expression: &str, recorded: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for Selector { name, matchers } in selectors(expression) {
        if recorded.contains(&name) || OF_PROMETHEUS.contains(&name.as_str()) {
            continue;
        }
        let Some(def) = metric(&name) else {
            faults.push(format!("{name} is not exported"));
            continue;
        };
        for (label, value) in matchers {
            let bucket = label == "le" && name.ends_with("_bucket");
            if !def.labels.contains(&label.as_str()) && !["job", "instance"].contains(&label.as_str()) && !bucket {
                faults.push(format!("{name} has no label {label}"));
            }
            for value in value.split('|').filter(|value| !value.contains(['$', '*'])) {
                if !is_given(&name, &label, value) {
                    faults.push(format!("{name} is never exported with {label}=\"{value}\""));
                }
            }
        }
    }
    faults
}

/// Whether klamm gives this value to a label that has a fixed set of them.
fn is_given(name: &str, label: &str, value: &str) -> bool {
    match (name, label) {
        (_, "code") => Code::ALL.iter().any(|code| code.name() == value),
        (_, "result") => RequestResult::ALL.iter().any(|result| result.name() == value),
        (_, "outcome") => Outcome::ALL.iter().any(|outcome| outcome.name() == value),
        (_, "route") => Route::ALL.iter().any(|route| route.name() == value),
        (_, "stat") => ["avg", "p99"].contains(&value),
        (_, "le") => klamm::telemetry::histogram::SECONDS.iter().any(|bound| bound.to_string() == value),
        ("klamm_spool_bytes", "scope") => ["waiting", "disk", "total"].contains(&value),
        ("klamm_admission_bytes", "scope") => ["used", "total"].contains(&value),
        ("klamm_spool_events", "state") => ["waiting", "parked"].contains(&value),
        ("klamm_producers_replaced_total", "reason") => ["fatal", "stalled"].contains(&value),
        ("klamm_resent_events_total", "doubled") => ["no", "maybe"].contains(&value),
        // Those of a config.
        (_, "job" | "instance" | "client" | "topic") => true,
        _ => false,
    }
}

#[test]
fn series_and_their_labels_are_found_and_functions_and_labels_are_not() {
    let found = selectors(
        r#"sum by (job, client_x) (rate(klamm_a_total{code=~"x_y|z", job="j"}[5m])) / on (job) group_left
        job:b:rate5m offset 15m > 0.5 and up{job="klamm"} unless up == bool 0 or count_over_time(klamm_c[$__rate_interval])"#,
    );
    let names: Vec<_> = found.iter().map(|selector| selector.name.as_str()).collect();
    assert_eq!(names, ["klamm_a_total", "job:b:rate5m", "up", "up", "klamm_c"]);
    let pair = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    assert_eq!(found[0].matchers, [pair("code", "x_y|z"), pair("job", "j")]);
}

#[test]
fn a_metric_a_label_and_a_value_that_do_not_exist_are_faults() {
    for (expression, faulty) in [
        ("klamm_kafka_up", 0),
        ("klamm_kafka_upp", 1),
        ("klamm_kafka_up{client=\"x\"}", 1),
        ("klamm_refusals_total{code=~\"overloaded|overlooded\"}", 1),
        ("klamm_ack_seconds_bucket{le=\"0.25\"} / klamm_ack_seconds_count", 0),
        ("klamm_ack_seconds_bucket{le=\"0.3\"}", 1),
        ("klamm_ack_seconds", 1),
        ("job:x:rate5m", 1),
    ] {
        assert_eq!(faults(expression, &[]).len(), faulty, "{expression}: {:?}", faults(expression, &[]));
    }
}
