//! The runbooks: one for each alert, and their commands are real.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::live::{Site, TOPIC};
use super::{promql, rules};
use crate::support::gateway::binary;
use crate::support::kafka::tool_script;
use crate::support::scratch;

const SECTIONS: [&str; 5] = ["What it means", "What users notice", "First commands", "Decide", "Roll back"];

/// Kafka's own tools that runbooks may use, and their classes.
const TOOLS: [(&str, &str); 4] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    ("kafka-broker-api-versions.sh", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-get-offsets.sh", "org.apache.kafka.tools.GetOffsetShell"),
];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks")
}

/// Every page by its name without `.md`, but the one about all of them.
fn pages() -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir()).expect("docs/runbooks");
    let pages = entries.map(|entry| entry.expect("a page").path()).map(|path| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("a page of text"))
    });
    pages.filter(|(name, _)| name != "README").collect()
}

/// The commands of a page: what stands in fenced blocks, lines that end in a backslash joined.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    let text: String = blocks.map(|block| block.trim_start_matches("sh\n")).collect();
    text.replace("\\\n", " ").lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: BTreeMap<_, _> = rules::alerts().into_iter().map(|alert| (alert.page(), alert)).collect();
    let pages = pages();
    assert_eq!(pages.keys().collect::<Vec<_>>(), alerts.keys().collect::<Vec<_>>());
    let index = fs::read_to_string(dir().join("README.md")).expect("docs/runbooks/README.md");
    for (name, page) in &pages {
        let alert = &alerts[name];
        assert!(page.starts_with(&format!("# {}\n", alert.name)), "{name}");
        let found: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(found, SECTIONS, "{name}");
        for text in page.split("\n## ").skip(1) {
            assert!(text.lines().skip(1).any(|line| !line.trim().is_empty()), "{name}: {text}");
        }
        assert_eq!(commands(page).len(), 3, "{name}: the first three commands");
        assert!(index.contains(&format!("[{}]({name}.md)", alert.name)), "{name} is not in the index");
    }
}

#[test]
fn commands_use_curl_klamm_and_kafka_s_tools_and_ask_for_metrics_that_exist() {
    let recorded = rules::recorded();
    for (name, page) in pages() {
        for command in commands(&page) {
            let program = command.split_whitespace().next().expect("a program");
            let known = ["curl", "klamm"].contains(&program) || TOOLS.iter().any(|(tool, _)| *tool == program);
            let unquoted: String = command.split('\'').step_by(2).collect();
            assert!(known && !unquoted.contains(['|', ';', '>', '&', '(']), "{name}: {command}");
            if let Some((_, query)) = command.split_once("query=") {
                let query = query.trim_end_matches('\'');
                assert!(!promql::selectors(query).is_empty(), "{name}: {command}");
                assert_eq!(promql::faults(query, &recorded), Vec::<String>::new(), "{name}: {command}");
            }
        }
    }
}

/// Runs each once, with the variables that docs/runbooks/README.md explains. A question to Prometheus has to succeed,
/// whatever the answer.
pub(super) async fn run_commands(site: &Site) {
    let all: BTreeSet<_> = pages().values().flat_map(|page| commands(page)).collect();
    assert!(all.len() > 20, "{all:?}");
    let bin = scratch::dir("bin");
    for (name, class) in TOOLS {
        let file = bin.path().join(name);
        fs::write(&file, tool_script(class)).expect("a script");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a script that may run");
    }
    let klamm = Path::new(&binary()).parent().expect("a directory").to_owned();
    let path = format!("{}:{}:{}", bin.path().display(), klamm.display(), std::env::var("PATH").unwrap_or_default());
    let environment = [
        ("PATH", path),
        ("ADMIN", format!("http://{}", site.gateway.admin())),
        ("PROMETHEUS", format!("http://{}", site.prometheus.address())),
        ("KAFKA", site.kafka.bootstrap()),
        ("CONFIG", site.gateway.config().display().to_string()),
        ("SPOOL", site.spool.path().display().to_string()),
        ("TOPIC", TOPIC.to_owned()),
    ];
    for line in all {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&line).envs(environment.iter().map(|(name, value)| (name, value)));
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let fault = String::from_utf8_lossy(&output.stderr).into_owned();
        // Kafka's tools say nothing where there is nothing to list.
        let silent = said.trim().is_empty() && !line.starts_with("kafka-");
        assert!(output.status.success() && !silent, "{line}: {}\n{said}{fault}", output.status);
        assert!(!fault.contains("Exception"), "{line}\n{fault}");
        assert!(!line.contains("query=") || said.contains("\"status\":\"success\""), "{line}\n{said}");
    }
}
