//! What an event may cost, as it was committed in `tests/costs.json`; a gate fails above 1.2 times that.
//!
//! Counts, not times: they hold on any machine. `make costs` writes what is measured into the file instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// How far a figure may rise before the gate fails.
const SLACK: f64 = 1.2;
/// Set to `commit`, figures are written, not checked.
const SWITCH: &str = "KLAMM_COSTS";

/// Fails if `measured` is above 1.2 times the committed figure of that name. Prints both.
pub(crate) fn hold(name: &str, measured: f64) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/costs.json");
    let text = fs::read_to_string(&path).expect("tests/costs.json");
    let mut figures: BTreeMap<String, f64> = serde_json::from_str(&text).expect("names and figures");
    if std::env::var(SWITCH).is_ok_and(|value| value == "commit") {
        println!("costs: {name} = {measured:.3}, committed");
        figures.insert(name.to_owned(), (measured * 1000.0).round() / 1000.0);
        let text = serde_json::to_string_pretty(&figures).expect("JSON") + "\n";
        return fs::write(&path, text).expect("tests/costs.json is written");
    }
    let committed = *figures.get(name).unwrap_or_else(|| panic!("{name}: not committed yet; run `make costs`"));
    println!("costs: {name} = {measured:.3}, committed {committed:.3}");
    assert!(holds(measured, committed), "{}", verdict(name, measured, committed));
}

fn holds(measured: f64, committed: f64) -> bool {
    measured <= committed * SLACK
}

fn verdict(name: &str, measured: f64, committed: f64) -> String {
    format!(
        "{name}: {measured:.3}, more than {SLACK} times the committed {committed:.3}. If that is meant, `make costs` \
         commits it"
    )
}

#[test]
fn the_gate_lets_a_fifth_through_and_no_more() {
    assert!(holds(1.19, 1.0) && holds(0.5, 1.0));
    assert!(!holds(1.21, 1.0) && !holds(f64::NAN, 1.0));
    assert!(verdict("x", 1.3, 1.0).contains("make costs"));
}
