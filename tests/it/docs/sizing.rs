//! The figures under "Sizing" are those of `klamm size`, and those of the measurements.

use std::process::Command;

use serde_json::Value;

use super::pages::{read, sections};

fn size(line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_klamm")).arg("size").args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn plan(line: &str) -> Value {
    let mut all: Value = serde_json::from_str(&size(&format!("{line} --json"))).unwrap();
    all["plan"].take()
}

/// The value of a row of the plan as it is printed.
fn printed(page: &str, name: &str) -> String {
    let row =
        page.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    let row = row.unwrap_or_else(|| panic!("{name}: {page}"));
    row.trim().split("  ").next().unwrap().to_owned()
}

fn section(heading: &str) -> String {
    let found = sections(&read("docs/deploy.md"), "###").into_iter().find(|(name, _)| name == heading);
    found.unwrap_or_else(|| panic!("{heading}")).1
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The cells of the rows of a table, its head first.
fn table<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let rows = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.filter(|line| !line.starts_with("|---")).map(cells).collect()
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// Three digits, as the tables of measurements have them.
fn micros(per_second: &Value) -> String {
    let micros = 1e6 / per_second.as_f64().unwrap();
    if micros < 10.0 { format!("{micros:.2} us") } else { format!("{micros:.1} us") }
}

#[test]
fn the_capacity_plans_are_what_the_command_says() {
    let text = section("Capacity plan");
    let mut plans = 0;
    let mut wrong = Vec::new();
    for (before, after) in text.match_indices("\nklamm size --events RATE").map(|(at, _)| text.split_at(at + 1)) {
        assert!(before.ends_with("```\n"));
        let flags = after.lines().next().unwrap().trim_start_matches("klamm size --events RATE");
        let table = table(after.lines());
        for row in &table[1..] {
            let page = size(&format!("--events {} {flags}", row[0].replace(',', "")));
            let mut said = vec![row[0].clone()];
            said.extend(table[0][1..].iter().map(|name| printed(&page, name)));
            wrong.extend((said != *row).then(|| line(&said)));
        }
        plans += table.len() - 1;
    }
    assert_eq!(plans, 8);
    assert!(wrong.is_empty(), "docs/deploy.md should hold\n{}", wrong.join("\n"));
}

#[test]
fn events_of_a_core_are_what_the_command_says() {
    let text = section("What an event takes");
    let table = table(text.lines().skip_while(|line| !line.starts_with("| |")));
    let mut wrong = Vec::new();
    for row in &table[1..] {
        let mut said = vec![row[0].clone()];
        for batch in &table[0][1..] {
            let core = &plan(&format!("--events 1/s --event {} --batch {batch}", row[0]))["events_per_core"];
            said.push(grouped(core.as_u64().unwrap()));
        }
        wrong.extend((said != *row).then(|| line(&said)));
    }
    assert_eq!((table.len(), table[0].len()), (4, 5));
    assert!(wrong.is_empty(), "docs/deploy.md should hold\n{}", wrong.join("\n"));
}

#[test]
fn what_an_event_takes_is_what_was_measured_and_what_the_command_reckons_with() {
    let page = read("docs/performance.md");
    let figures: Vec<Vec<String>> = page.lines().map(|line| cells(&line.replace("**", ""))).collect();
    let measured = |name: &str| {
        let row = figures.iter().find(|cells| cells[0] == name && cells.len() == 9);
        let row = row.unwrap_or_else(|| panic!("{name}"));
        format!("{} {}", row[2], row[3])
    };
    let text = section("What an event takes");
    let table = table(text.lines());
    for row in &table[1..] {
        let name = row[0].split(' ').next().unwrap();
        assert_eq!(row[3], measured(name), "{name}");
        let plan = plan(&format!("--events 1/s --event {}B --batch {}", row[2], row[1]));
        let of = if name == "S1-cpu" { "events_per_core_spooling" } else { "events_per_core" };
        assert_eq!(row[4], micros(&plan[of]), "{name}");
        let number = |cell: &str| cell.trim_end_matches(" us").parse::<f64>().unwrap();
        assert!((number(&row[4]) / number(&row[3]) - 1.0).abs() < 0.08, "{row:?}");
    }
    assert_eq!(table.len(), 7);
    for row in ["P5a-memory", "P5b-memory", "P5-idle", "P5-connections"] {
        let said = measured(row);
        assert!(text.contains(&format!("{said} ({row})")), "{row}: {said}");
    }
}
