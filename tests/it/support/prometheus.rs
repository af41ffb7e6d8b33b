//! Debian's Prometheus as a child process, scraping once a second with the rules of `deploy/prometheus`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::child::{self, Process};
use super::client::Client;
use super::kafka::free_port;
use super::{eventually, scratch};

/// Where the rules are.
pub(crate) fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yml")
}

/// A running Prometheus; killed when dropped.
pub(crate) struct Prometheus {
    _process: Process,
    address: String,
    client: Client,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts one whose job `klamm` scrapes `targets`.
    pub(crate) fn start(targets: &[&str]) -> Self {
        let dir = scratch::dir("prometheus");
        let (file, log) = (dir.path().join("prometheus.yml"), dir.path().join("prometheus.log"));
        let mut config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n",
            rules().display()
        );
        let _ = writeln!(config, "  - job_name: klamm\n    static_configs: [{{ targets: {targets:?} }}]");
        fs::write(&file, config).expect("the config is written");
        let address = format!("127.0.0.1:{}", free_port());
        let output = File::create(&log).expect("a log file");
        let mut command = child::command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        let mut process = Process::start(command);
        eventually("prometheus is ready", Duration::from_secs(20), || {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "prometheus ended at its start:\n{}", log());
            log().contains("Server is ready to receive web requests").then_some(())
        });
        Self { _process: process, client: Client::new(&address), address, _dir: dir }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The value of each series that `expression` gives now. Panics where Prometheus does not take it.
    pub(crate) async fn ask(&self, expression: &str) -> Vec<f64> {
        let mut query = String::new();
        for byte in expression.bytes() {
            let _ = write!(query, "%{byte:02x}");
        }
        let answer = self.client.get(&format!("/api/v1/query?query={query}"), &[]).await.json();
        assert_eq!(answer["status"], "success", "{expression}\n{answer}");
        let rows = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let value = |row: &Value| row["value"][1].as_str().and_then(|text| text.parse().ok());
        rows.iter().map(|row| value(row).unwrap_or_else(|| panic!("{expression}\n{row}"))).collect()
    }

    /// Every rule as Prometheus holds it: name, health, last error.
    pub(crate) async fn rules(&self) -> Vec<(String, String, String)> {
        let answer = self.client.get("/api/v1/rules", &[]).await.json();
        let groups = answer["data"]["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["health"]), text(&rule["lastError"]))).collect()
    }
}
