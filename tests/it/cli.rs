//! The command line as a shell sees it: exit codes, what goes to stdout and what to stderr.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::client::Client;
use crate::support::keys;
use crate::support::mock::Mock;
use crate::support::scratch;

fn command(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.args(line).env_clear();
    command
}

fn run(line: &[&str]) -> Output {
    command(line).output().expect("klamm runs")
}

/// Gives `input` on stdin.
fn run_with(line: &[&str], input: &str) -> Output {
    let mut command = command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("klamm runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn a_fresh_config_passes_check() {
    let dir = scratch::dir("cli");
    let file = dir.path().join("klamm.yaml");
    let file = file.to_str().expect("a path of text");
    let init = run(&["config", "init"]);
    assert!(init.status.success());
    fs::write(file, &init.stdout).expect("written");
    let check = run(&["check", "--config", file]);
    assert_eq!((check.status.code(), out(&check)), (Some(0), "ok\n"), "{}", err(&check));
    let show = run(&["config", "show", "--config", file]);
    assert!(show.status.success() && out(&show).contains("lame_duck: 5s"), "{}", out(&show));
}

#[test]
fn a_faulty_config_is_78_with_every_fault_and_its_place() {
    let dir = scratch::dir("cli");
    let file = dir.path().join("klamm.yaml");
    let text = "ingest: { wait: soon }\nkafka: { default: { bootstrap: [\"a:1\"], lingr: 5ms } }\ncaps: { depth: 0 }\n";
    fs::write(&file, text).expect("written");
    let file = file.to_str().expect("a path of text");
    for line in [["check", "-c", file], ["serve", "-c", file]] {
        let output = run(&line);
        assert_eq!((output.status.code(), out(&output)), (Some(78), ""));
        for fault in ["klamm.yaml:1:17: ingest.wait", "klamm.yaml:2:", "lingr", "klamm.yaml:3:16: caps.depth"] {
            assert!(err(&output).contains(fault), "{fault}: {}", err(&output));
        }
    }
    let missing = run(&["check", "-c", "/nowhere/klamm.yaml"]);
    assert_eq!(missing.status.code(), Some(78), "{}", err(&missing));
    assert!(err(&missing).contains("/nowhere/klamm.yaml"), "{}", err(&missing));
}

#[test]
fn environment_goes_over_the_file_and_flags_over_both() {
    let dir = scratch::dir("cli");
    let file = dir.path().join("klamm.yaml");
    fs::write(&file, "kafka: { default: { bootstrap: [\"a:1\"] } }\ningest: { wait: 2s }\n").expect("written");
    let show = |line: &[&str], env: &[(&str, &str)]| {
        let mut command = command(&["config", "show", "--json", "-c", file.to_str().expect("text")]);
        let output = command.args(line).envs(env.iter().copied()).output().expect("klamm runs");
        let config: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        config["ingest"]["wait"].as_str().expect("a span").to_owned()
    };
    let env = [("KLAMM__INGEST__WAIT", "3s")];
    assert_eq!(show(&[], &[]), "2s");
    assert_eq!(show(&[], &env), "3s");
    assert_eq!(show(&["--set", "ingest.wait=4s"], &env), "4s");
}

#[test]
fn wrong_usage_is_2_and_help_names_every_command() {
    for line in [&["serv"][..], &["check", "--confg", "x"], &["keys"], &[]] {
        assert_eq!(run(line).status.code(), Some(2), "{line:?}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success());
    for command in ["serve", "dev", "check", "config", "keys", "probe", "size", "spool", "version", "completions"] {
        assert!(out(&help).contains(&format!("\n  {command} ")), "{command}: {}", out(&help));
        assert!(run(&[command, "--help"]).status.success(), "{command}");
    }
}

#[test]
fn a_key_is_hashed_as_the_config_wants_it() {
    let hash = run_with(&["keys", "hash"], "test-key-of-shop\n");
    assert_eq!(out(&hash).trim_end(), keys::fixed("shop").sha256, "{}", err(&hash));
    assert_eq!(run_with(&["keys", "hash"], "\n").status.code(), Some(1));
}

#[test]
fn a_size_tells_every_assumption_with_its_source_and_counts_up_to_what_anybody_has() {
    let page = run(&["size", "--events", "100000000/s", "--event", "200B", "--retention", "90m"]);
    assert!(page.status.success(), "{}", err(&page));
    let json = run(&["size", "--events", "100000000/s", "--event", "200B", "--retention", "90m", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let assumed = json["assumed"].as_object().expect("an object");
    let help = run(&["size", "--help"]);
    let flags: Vec<_> = out(&help).lines().filter_map(|line| line.trim().strip_prefix("--")).collect();
    let flags: Vec<_> = flags.iter().filter_map(|line| line.split(' ').next()).filter(|flag| *flag != "json").collect();
    assert!(flags.len() == 20 && flags.iter().all(|flag| assumed.contains_key(*flag)), "{flags:?}");
    for (flag, row) in assumed {
        let field = |name: &str| row[name].as_str().expect("text");
        assert!(["value", "meaning", "source"].iter().all(|name| !field(name).is_empty()), "{flag}: {row}");
        let line = out(&page).lines().find(|line| line.contains(&format!("--{flag} {} ", field("value"))));
        let line = line.unwrap_or_else(|| panic!("{flag}: {}", out(&page)));
        assert!(line.contains(field("meaning")) && line.ends_with(&format!("({})", field("source"))), "{line}");
        assert_eq!(field("source") == "given", ["events", "retention"].contains(&flag.as_str()), "{flag}");
    }
    assert_eq!((&json["plan"]["partitions"], &assumed["retention"]["value"]), (&10_000.into(), &"90m".into()));
    for events in ["1/m", "10000/s", "1000000000000/s"] {
        assert!(run(&["size", "--events", events]).status.success(), "{events}");
    }
    assert!(
        out(&run(&["size", "--events", "1000/s", "--outage", "0s"])).lines().all(|line| !line.starts_with("  spool"))
    );
}

#[test]
fn a_size_of_what_is_no_assumption_is_2_and_says_what_would_be() {
    for (line, words) in [
        (&[][..], "--events <RATE>"),
        (&["--events", "0/s"], "`0/s` is not a rate of events such as 5000/s"),
        (&["--events", "1000"], "`1000` is not a rate of events"),
        (&["--events", "5MB/s"], "`5MB/s` is not a rate of events"),
        (&["--events", "2000000000000/s"], "is above 1000000000000/s"),
        (&["--events", "1/s", "--event", "0B"], "an event has 1B to 100MiB"),
        (&["--events", "1/s", "--event", "1GiB"], "an event has 1B to 100MiB"),
        (&["--events", "1/s", "--event", "big"], "`big` is not a size such as 512B"),
        (&["--events", "1/s", "--cores", "0"], "0 is not in 1..=1000000"),
        (&["--events", "1/s", "--busy", "0%"], "`0%` is not a share from 1% to 100%"),
        (&["--events", "1/s", "--outage", "long"], "`long` is not a time such as"),
        (&["--events", "1/s", "--disk-write", "0MB/s"], "`0MB/s` is not bytes a second such as 125MB/s"),
        (&["--events", "1/s", "--broker-write", "50MB"], "`50MB` is not bytes a second"),
    ] {
        let output = run(&[&["size"][..], line].concat());
        assert_eq!((output.status.code(), out(&output)), (Some(2), ""), "{line:?}");
        assert!(err(&output).contains(words), "{line:?}: {}", err(&output));
    }
}

#[tokio::test]
async fn a_new_key_and_its_lines_in_the_config_let_a_client_in() {
    let made = run(&["keys", "new", "--client", "till", "--label", "first"]);
    let (key, snippet) = out(&made).split_once('\n').expect("the key on a line of its own");
    assert!(key.starts_with("klamm_") && key.len() == 55, "{key}");
    let mock = Mock::start(&["orders"]);
    let gateway = mock.serve("", "", &format!("{snippet}    topics: [orders]\ntopics: {{ orders: {{}} }}\n"));
    gateway.ready().await;
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    let answer = Client::new(gateway.ingest()).post("/v1/topics/orders/events", &headers, "{}").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!gateway.log().contains(key));
}

#[test]
fn what_others_read_is_well_formed() {
    let version: serde_json::Value =
        serde_json::from_slice(&run(&["version", "--json"]).stdout).expect("a version as JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let schema: serde_json::Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).expect("a JSON Schema");
    assert!(schema["properties"]["clients"].is_object());
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success() && out(&script).contains("klamm"), "{shell}");
    }
    let bash = run(&["completions", "bash"]);
    let mut reads = Command::new("bash");
    let mut reads = reads.arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    reads.stdin.take().expect("a pipe").write_all(&bash.stdout).expect("bash reads");
    assert!(reads.wait().expect("bash ends").success(), "bash takes its completions");
}
