//! The command line: exit codes, JSON, signals.

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::target::{self, answer, ok};

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = tool(&["run", "--url", url, "--warm-up", "0", "--connections", "2"]);
    command.args(arguments);
    command
}

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm-load"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    outcome(command(url, arguments))
}

fn outcome(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn assertions_set_the_exit_code() {
    let url = target::start(|request| if request.number % 2 == 0 { ok() } else { answer(500, "") });
    let (code, table, _) = output(&url, &["--requests", "10", "--assert", "errors<=50%,p99<1000s"]);
    assert_eq!(code, Some(0));
    assert!(table.contains("accepted") && table.contains("500"), "{table}");
    let (code, _, said) = output(&url, &["--requests", "10", "--assert", "errors<0.1%,p99<1000s"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("errors<0.1% does not hold: 50.000%") && !said.contains("p99"), "{said}");
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_sent() {
    let url = target::start(|_| panic!("a request"));
    for bad in [
        &["--assert", "p98<1ms"][..],
        &["--rate", "0"],
        &["--form", "single", "--events", "2"],
        &["--keys", "/nonexistent"],
        &["--pid", "4294967295"],
        &["--metrics", "http://127.0.0.1:1/metrics"],
    ] {
        let (code, table, said) = output(&url, bad);
        assert_eq!((code, table.as_str()), (Some(2), ""), "{bad:?}: {said}");
        assert!(!said.is_empty());
    }
    let (code, _, said) = output("https://127.0.0.1:1/", &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("only http://"), "{said}");
}

#[test]
fn json_on_standard_output_is_the_whole_report() {
    let url = target::start(|_| ok());
    let pid = std::process::id().to_string();
    let (code, json, _) =
        output(&url, &["--requests", "10", "--header", "X-Api-Key: s3cret", "--pid", &pid, "--json", "-"]);
    assert_eq!(code, Some(0));
    assert!(!json.contains("s3cret"));
    let run: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(run["accepted"]["requests"], 10);
    assert_eq!(run["accepted"]["latency"]["count"], 10);
    assert!(run["target"]["rss"].as_u64().unwrap() > 0);
    assert_eq!(run["conditions"]["options"]["url"], url);
    assert!(run["conditions"]["cores"].as_u64().unwrap() > 0);
}

#[test]
fn an_interrupt_ends_the_load_and_the_report_is_printed() {
    let url = target::start(|_| ok());
    let child: Child = command(&url, &["--duration", "600"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    let table = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(table.starts_with("Stopped early") && table.contains("events/s"), "{table}");
}

#[test]
fn targets_that_are_compared_may_take_long_for_their_first_answer() {
    let slow_at_first = || {
        target::start(|request| {
            if request.number == 0 {
                thread::sleep(Duration::from_millis(900));
            }
            ok()
        })
    };
    let (a, b) = (slow_at_first(), slow_at_first());
    let short = ["--rounds", "2", "--warm-up", "0", "--duration", "0.2", "--connections", "1", "--json", "-"];
    let (code, json, said) = outcome(tool(&[&["compare", "--a-url", &a, "--b-url", &b][..], &short].concat()));
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for side in rounds.iter().flat_map(|round| [&round["a"], &round["b"]]) {
        // The slow one is in none of them.
        assert!(side["p99"].as_f64().unwrap() < 800.0 && side["events_per_second"].as_f64().unwrap() > 10.0, "{side}");
    }
}

#[test]
fn two_klamms_are_compared_without_a_kafka() {
    // `cargo test --workspace` builds it.
    let klamm = std::path::Path::new(env!("CARGO_BIN_EXE_klamm-load")).with_file_name("klamm");
    let klamm = klamm.to_str().unwrap();
    let short = ["--rounds", "1", "--warm-up", "0", "--duration", "1", "--connections", "2", "--events", "10"];
    let sides = ["compare", "--mock", "--a-klamm", klamm, "--b-klamm", klamm, "--json", "-"];
    let (code, json, said) = outcome(tool(&[&sides[..], &short].concat()));
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&json).unwrap();
    for side in ["a", "b"] {
        let figures = &report["rounds"][0][side];
        assert!(figures["cpu_per_event"].as_f64().unwrap() > 0.0 && figures["errors"] == 0.0, "{figures}");
    }
    let (code, _, said) = outcome(tool(&["compare", "--mock", "--a-url", "http://a", "--b-url", "http://b"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("--mock is for a klamm"), "{said}");
}
