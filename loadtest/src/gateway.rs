//! `klamm serve` as a child process, with a config made for a measurement.
//!
//! The listeners are on free ports of 127.0.0.1 (`--ready-file` tells which); clients have keys, and quotas far above
//! any rate, never `off`, so that what is measured does all that a gateway in service does. Metrics and the access log
//! are as by default; the log goes to a file. The child is in a process group of its own: Ctrl-C reaches the tool
//! alone, which then stops the gateway by SIGTERM.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Above any rate that one machine makes; a quota that is `off` would cost less than one that is on.
const RATE: &str = "100000000/s";
const BYTE_RATE: &str = "1000GiB/s";

/// What the gateway is told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `host:port` of some brokers, separated by commas.
    pub bootstrap: String,
    /// librdkafka properties for Kafka, e.g. of its security.
    pub properties: BTreeMap<String, String>,
    /// How long a record waits for others.
    pub linger: Duration,
    /// The most bytes of a batch.
    pub batch_bytes: u64,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// Exact names or prefixes (`load-*`).
    pub topics: Vec<String>,
    /// How many clients, each with a key of its own; at least 1.
    pub clients: usize,
    /// The address and port of the listener for events; port 0 takes a free one.
    pub listen: String,
    /// `--set` of any other key of the config: `(budget.total, 120MiB)`.
    pub set: Vec<(String, String)>,
    /// Variables of its environment, e.g. `TOKIO_WORKER_THREADS`.
    pub environment: Vec<(String, String)>,
}

impl Setup {
    /// klamm's defaults against these brokers, one client, these topics.
    pub fn new(bootstrap: &str, topics: &[String]) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            properties: BTreeMap::new(),
            linger: Duration::from_millis(5),
            batch_bytes: 1_000_000,
            compression: "lz4".to_owned(),
            topics: topics.to_vec(),
            clients: 1,
            listen: "127.0.0.1:0".to_owned(),
            set: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The config as JSON, which is YAML too. The keys of the clients are `keys`.
    fn config(&self, keys: &[String]) -> Value {
        let limits = json!({ "requests": RATE, "events": RATE, "bytes": BYTE_RATE });
        let clients: serde_json::Map<String, Value> = keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                let entry = json!({ "label": "load", "sha256": digest(key) });
                (format!("load-{number}"), json!({ "keys": [entry], "topics": self.topics }))
            })
            .collect();
        let topics: serde_json::Map<String, Value> =
            self.topics.iter().map(|topic| (topic.clone(), json!({}))).collect();
        json!({
            "ingest": { "listen": self.listen, "peer_rate": RATE },
            "admin": { "listen": "127.0.0.1:0" },
            "shutdown": { "lame_duck": "0s" },
            "kafka": { "default": {
                "bootstrap": self.bootstrap.split(',').map(str::trim).collect::<Vec<_>>(),
                "linger": format!("{}ms", self.linger.as_millis()),
                "batch_bytes": format!("{}B", self.batch_bytes),
                "compression": self.compression,
                "properties": self.properties,
            } },
            "defaults": { "limits": limits },
            "clients": clients,
            "topics": topics,
        })
    }
}

fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    ingest: String,
    admin: String,
    keys: Vec<String>,
    /// Removed when dropped.
    dir: Scratch,
}

impl Gateway {
    /// Starts `binary` with this setup and waits until it is ready: its listeners are bound and Kafka has answered.
    ///
    /// # Errors
    /// With the end of its log, if it ends or is not ready within 30 s.
    pub fn start(binary: &Path, setup: &Setup) -> Result<Self> {
        let dir = Scratch::new()?;
        let secret = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let keys: Vec<String> = (0..setup.clients.max(1)).map(|number| format!("load-{secret}-{number}")).collect();
        let config = dir.0.join("klamm.yaml");
        fs::write(&config, serde_json::to_vec_pretty(&setup.config(&keys))?).context("write the gateway's config")?;
        Self::launch(binary, &config, &setup.set, &setup.environment, keys, dir)
    }

    /// Starts `binary` with a config of the user's own; its clients' keys are not known here. The listeners may have
    /// any address.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_with(binary: &Path, config: &Path, set: &[(String, String)]) -> Result<Self> {
        Self::launch(binary, config, set, &[], Vec::new(), Scratch::new()?)
    }

    fn launch(
        binary: &Path,
        config: &Path,
        set: &[(String, String)],
        environment: &[(String, String)],
        keys: Vec<String>,
        dir: Scratch,
    ) -> Result<Self> {
        let (ready, log) = (dir.0.join("ready.json"), File::create(dir.0.join("klamm.log"))?);
        let mut command = mortal(binary);
        command.arg("serve").arg("--config").arg(config).arg("--ready-file").arg(&ready);
        for (key, value) in set {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
        let mut gateway = Self { child, ingest: String::new(), admin: String::new(), keys, dir };
        let deadline = Instant::now() + Duration::from_secs(30);
        let bound: Value = gateway
            .until(deadline, "its listeners were not bound", || serde_json::from_slice(&fs::read(&ready).ok()?).ok())?;
        let address = |name: &str| bound.get(name).and_then(Value::as_str).map(str::to_owned);
        gateway.ingest = address("ingest").context("no `ingest` in the ready file")?;
        gateway.admin = address("admin").context("no `admin` in the ready file")?;
        let admin = gateway.admin.clone();
        gateway.until(deadline, "it was not ready", || (status(&admin, "/readyz").ok()? == 200).then_some(()))?;
        Ok(gateway)
    }

    fn until<T>(&mut self, deadline: Instant, fault: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("klamm serve ended at its start, {status}:\n{}", self.last_lines());
            }
            ensure!(Instant::now() < deadline, "klamm serve: {fault} in time:\n{}", self.last_lines());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where events go, with `{topic}` in it.
    pub fn url(&self) -> String {
        format!("http://{}/v1/topics/{{topic}}/events", self.ingest)
    }

    /// The address of the listener for events.
    pub fn ingest(&self) -> &str {
        &self.ingest
    }

    /// Its Prometheus page.
    pub fn metrics(&self) -> String {
        format!("http://{}/metrics", self.admin)
    }

    /// The keys of its clients.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The header that names the first client; none with a config of the user's own.
    pub fn header(&self) -> Option<String> {
        self.keys.first().map(|key| format!("Authorization: Bearer {key}"))
    }

    /// Writes the keys to a file, one a line, for `load::Options::keys`; it goes with the gateway.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keys_file(&self) -> Result<PathBuf> {
        let path = self.dir.0.join("keys");
        fs::write(&path, self.keys.join("\n") + "\n")?;
        Ok(path)
    }

    /// SIGTERM, and waits until it has ended: everything it took is in Kafka, or its exit code is not 0.
    ///
    /// # Errors
    /// If it still runs after 40 s.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("stop klamm serve")?;
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "klamm serve does not end after SIGTERM:\n{}", self.last_lines());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = fs::read(self.dir.0.join("klamm.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `program`, to be killed by the kernel when the thread that starts it ends, where `setpriv` (util-linux) is there: a
/// tool that is killed leaves no gateway behind. Start it from a thread that outlives it.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    if find("setpriv").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The klamm to start: `named`, else the one beside this program, else the one in `PATH`.
///
/// # Errors
/// If there is none.
pub fn binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        ensure!(path.is_file(), "{}: no such file", path.display());
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("where this program lies")?;
    let beside = own.with_file_name("klamm");
    if beside.is_file() {
        return Ok(beside);
    }
    find("klamm").context("no klamm beside this program nor in PATH: name one with --klamm")
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What `klamm version` says, on one line.
pub fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "unknown".to_owned() } else { lines.join(", ") }
}

/// The status that a GET of `path` is answered with.
fn status(address: &str, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let text = std::str::from_utf8(&head)?;
    Ok(text.strip_prefix("HTTP/1.1 ").context("no HTTP/1.1 answer")?.parse()?)
}

/// A directory of one gateway. Not the `tempfile` crate: it would be there for this alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("klamm-load-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_names_the_setting_and_every_client_and_never_a_key() {
        let mut setup = Setup::new("a:1, b:2", &["load".to_owned()]);
        setup.linger = Duration::from_millis(20);
        setup.batch_bytes = 65_536;
        setup.compression = "zstd".to_owned();
        let keys = vec!["one".to_owned(), "two".to_owned()];
        let config = setup.config(&keys);
        let kafka = &config["kafka"]["default"];
        assert_eq!(kafka["bootstrap"], json!(["a:1", "b:2"]));
        assert_eq!((&kafka["linger"], &kafka["batch_bytes"]), (&json!("20ms"), &json!("65536B")));
        assert_eq!(kafka["compression"], "zstd");
        assert_eq!(config["clients"].as_object().unwrap().len(), 2);
        let sha256 = &config["clients"]["load-0"]["keys"][0]["sha256"];
        assert_eq!(sha256, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "sha256 of `one`");
        assert!(!config.to_string().contains("\"off\""), "quotas are on");
    }
}
