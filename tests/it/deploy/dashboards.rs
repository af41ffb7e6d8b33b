//! The Grafana dashboards under `deploy/grafana`. This folder is their source, and metric names come from the code's
//! list: no panel can name a metric that does not exist. `KLAMM_DASHBOARDS=write` (`make dashboards`) writes them; else
//! the files are compared.

mod boards;
mod panel;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use klamm::telemetry::names;
use serde_json::Value;

use super::promql;

/// A panel's query.
pub(super) struct Asked {
    /// Dashboard, panel, query.
    pub(super) place: String,
    pub(super) expression: String,
}

/// Every query of every dashboard, with the variables of Grafana in them.
pub(super) fn queries() -> Vec<Asked> {
    let mut asked = Vec::new();
    for board in boards::all() {
        for panel in panels(&board.json()) {
            for target in panel["targets"].as_array().expect("targets") {
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                let place = format!("{}: {}, {}", board.uid, text(&panel["title"]), text(&target["refId"]));
                asked.push(Asked { place, expression: text(&target["expr"]) });
            }
        }
    }
    asked
}

/// The panels, without the rows.
fn panels(board: &Value) -> Vec<Value> {
    let panels = board["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

#[test]
fn the_dashboards_are_as_their_source_makes_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana");
    let write = std::env::var("KLAMM_DASHBOARDS").is_ok_and(|value| value == "write");
    let mut files = BTreeSet::new();
    for board in boards::all() {
        let file = dir.join(format!("{}.json", board.uid));
        let made = format!("{:#}\n", board.json());
        if write {
            fs::write(&file, &made).expect("deploy/grafana can be written");
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == made, "{} is not what its source makes: run `make dashboards`", file.display());
        files.insert(file);
    }
    let found: BTreeSet<_> =
        fs::read_dir(dir).expect("deploy/grafana").map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(found, files);
}

#[test]
fn panels_have_a_title_a_description_and_a_unit_and_their_queries_sum_over_the_instances() {
    for board in boards::all() {
        let board = board.json();
        for panel in panels(&board) {
            let text = |key: &str| panel[key].as_str().unwrap_or_default().to_owned();
            let (title, description) = (text("title"), text("description"));
            assert!(!title.is_empty() && description.ends_with('.'), "{title}: {description}");
            assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default().is_empty(), "{title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{title}");
            for target in targets {
                let expression = target["expr"].as_str().expect("a query");
                assert_eq!(promql::faults(expression, &[]), Vec::<String>::new(), "{title}");
                let sums = ["sum", "max", "min", "count"].iter().any(|sum| {
                    expression.contains(&format!("{sum}("))
                        || expression.contains(&format!("{sum} ("))
                        || expression.contains(&format!("{sum} by ("))
                });
                assert!(sums && !expression.contains("by (instance"), "{title}: {expression}");
                let ranges = expression.matches('[').count();
                let known = expression.matches("[$__rate_interval]").count() + expression.matches("[1d]").count();
                assert_eq!(ranges, known, "{title}: {expression}");
                for series in promql::selectors(expression) {
                    for label in ["job", "instance"] {
                        let chosen = (label.to_owned(), format!("${label}"));
                        assert!(series.matchers.contains(&chosen), "{title}: {expression}");
                    }
                }
            }
        }
    }
}

#[test]
fn panels_lie_in_the_grid_overlap_no_other_and_have_ids_of_their_own() {
    for board in boards::all() {
        let board = board.json();
        let all = board["panels"].as_array().expect("panels");
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in all {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
            assert!(at("x") + at("w") <= 24 && at("h") > 0, "{panel}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn dashboards_have_the_variables_and_ids_that_links_lead_to() {
    let boards: Vec<_> = boards::all().iter().map(|board| board.json()).collect();
    let uids: BTreeSet<_> = boards.iter().map(|board| board["uid"].as_str().expect("a uid").to_owned()).collect();
    assert_eq!(uids.len(), boards.len());
    for board in &boards {
        let variables = board["templating"]["list"].as_array().expect("variables");
        let found: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().expect("a name")).collect();
        assert_eq!(found, ["datasource", "job", "instance", "client", "topic"]);
        let text = board.to_string();
        for link in text.split("\"/d/").skip(1) {
            let (uid, _) = link.split_once('?').expect("a query");
            assert!(uids.contains(uid), "{uid}");
        }
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let texts: Vec<_> = boards::all().iter().map(|board| board.json().to_string()).collect();
    let shown = |name: &str| {
        texts.iter().any(|text| text.contains(&format!("{name}{{")) || text.contains(&format!("{name}_bucket{{")))
    };
    let missing: Vec<_> = names::ALL.iter().map(|def| def.name).filter(|name| !shown(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
