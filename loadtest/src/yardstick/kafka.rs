//! A real Apache Kafka for a measurement: one broker in KRaft mode from the jars that `make kafka` fetched, its data in
//! a scratch directory, gone when dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::gateway::mortal;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(60);
/// Any 16 bytes in base64 do.
const CLUSTER_ID: &str = "a2xhbW0tYmVuY2gta2Fma2E";
const LOG: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";

/// A running broker.
pub struct Kafka {
    broker: Child,
    address: String,
    dir: PathBuf,
}

impl Kafka {
    /// Starts one from the newest jars under `.cache/kafka` of the working directory.
    ///
    /// # Errors
    /// If there are no jars or no Java, or the broker does not answer within a minute; with its log.
    pub fn start() -> Result<Self> {
        let jars = jars(Path::new(".cache/kafka"))?;
        let class_path = format!("{}/*", jars.display());
        let dir = std::env::temp_dir().join(format!("klamm-bench-kafka-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let (port, controller) = (free_port()?, free_port()?);
        let address = format!("127.0.0.1:{port}");
        let properties = dir.join("server.properties");
        fs::write(&properties, server_properties(&address, controller, &dir.join("data")))?;
        let mut format = Command::new("java");
        format.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", LOG, "-cp", &class_path, "kafka.tools.StorageTool"]);
        let formatted = format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&properties).output().context("java")?;
        ensure!(formatted.status.success(), "kafka: {}", String::from_utf8_lossy(&formatted.stdout));
        let log = File::create(dir.join("broker.log"))?;
        let mut command = mortal("java");
        command.args(["-Xms512m", "-Xmx1g", "-XX:+UseG1GC", LOG, "-cp", &class_path, "kafka.Kafka"]).arg(&properties);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let broker = command.spawn().context("java")?;
        let mut kafka = Self { broker, address, dir };
        kafka.until_it_answers()?;
        Ok(kafka)
    }

    /// Its `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.address
    }

    fn until_it_answers(&mut self) -> Result<()> {
        let probe: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.address).create()?;
        let deadline = Instant::now() + START;
        loop {
            if probe.fetch_metadata(None, Duration::from_secs(1)).is_ok_and(|found| found.brokers().len() == 1) {
                return Ok(());
            }
            let ended = self.broker.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default();
                bail!("kafka does not answer ({ended:?}):\n{log}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One node that is broker and controller, with the settings of a broker in service where they cost: nothing is
/// flushed by hand, every record is in the page cache of one replica.
fn server_properties(address: &str, controller: u16, data: &Path) -> String {
    let single = ["default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"];
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         auto.create.topics.enable=false\ngroup.initial.rebalance.delay.ms=0\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.min.isr=1\n\
         log.retention.bytes=268435456\nlog.retention.check.interval.ms=10000\nlog.segment.bytes=134217728\n\
         log.segment.delete.delay.ms=1000\nlog.dirs={}\n",
        data.display()
    );
    for name in single {
        text.push_str(name);
        text.push_str(".replication.factor=1\n");
    }
    text
}

/// The newest version that was fetched wholly.
fn jars(cache: &Path) -> Result<PathBuf> {
    let found = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path().join("libs"));
    let newest = found.filter(|libs| libs.is_dir()).max();
    newest.with_context(|| format!("no Kafka under {}: run `make kafka` once", cache.display()))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_jars_that_are_whole_are_taken() {
        let cache = tempfile::tempdir().unwrap();
        assert!(jars(cache.path()).unwrap_err().to_string().contains("make kafka"));
        for version in ["4.2.0/libs", "4.3.0/libs", "4.4.0/part"] {
            fs::create_dir_all(cache.path().join(version)).unwrap();
        }
        assert!(jars(cache.path()).unwrap().ends_with("4.3.0/libs"));
    }
}
