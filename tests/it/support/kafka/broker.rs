//! One broker: its `server.properties`, its JVM, its ports.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::tls::Certificates;
use super::{KLAMM, Options, READER, path_text};
use crate::support::child::{self, Process};

/// Any 16 bytes in base64 do.
const CLUSTER_ID: &str = "a2xhbW0tdGVzdC1rYWZrYQ";
/// Small heaps, few threads, no long optimising: a test may run three brokers beside the shared one, and ends them soon.
const JVM: [&str; 5] = [
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// What a broker will be, before it runs.
pub(super) struct Plan {
    /// The one advertised to clients; a proxy's, where there is one.
    pub(super) address: String,
    /// Past the proxy; else the same.
    pub(super) inner_address: String,
    /// Where the proxy has to forward to, if there is one.
    pub(super) proxied_address: Option<String>,
    pub(super) secure_address: Option<String>,
    home: PathBuf,
    properties: String,
    format: Vec<String>,
}

/// A broker; killed when dropped.
pub(super) struct Broker {
    home: PathBuf,
    process: Process,
}

/// Plans a cluster under `dir`: picks the ports and writes no file yet.
pub(super) fn plan(dir: &Path, options: &Options, certificates: Option<&Certificates>) -> Vec<Plan> {
    let controllers = if options.brokers < 3 { 1 } else { options.brokers };
    let controller_ports: Vec<u16> = (0..controllers).map(|_| free_port()).collect();
    let voters: Vec<String> =
        controller_ports.iter().zip(1..).map(|(port, node)| format!("{node}@127.0.0.1:{port}")).collect();
    let voters = voters.join(",");
    let nodes = (1..=options.brokers).map(|node| {
        let home = dir.join(format!("broker-{node}"));
        let address = format!("127.0.0.1:{}", free_port());
        let secure_address = certificates.map(|_| format!("127.0.0.1:{}", free_port()));
        let proxied_address = options.proxied.then(|| format!("127.0.0.1:{}", free_port()));
        let inner_address =
            proxied_address.as_ref().map_or_else(|| address.clone(), |_| format!("127.0.0.1:{}", free_port()));
        let mut listeners = format!("PLAINTEXT://{}", proxied_address.as_ref().unwrap_or(&address));
        let mut advertised = format!("PLAINTEXT://{address}");
        for listeners in [&mut listeners, &mut advertised] {
            if let Some(secure) = &secure_address {
                let _ = write!(listeners, ",SASL_SSL://{secure}");
            }
            if proxied_address.is_some() {
                let _ = write!(listeners, ",INNER://{inner_address}");
            }
        }
        if let Some(port) = controller_ports.get(node - 1) {
            let _ = write!(listeners, ",CONTROLLER://127.0.0.1:{port}");
        }
        let mut lines = common(options, certificates);
        lines.extend([
            ("node.id", node.to_string()),
            ("process.roles", if node <= controllers { "broker,controller" } else { "broker" }.to_owned()),
            ("controller.quorum.voters", voters.clone()),
            ("listeners", listeners),
            ("advertised.listeners", advertised),
            ("inter.broker.listener.name", if options.proxied { "INNER" } else { "PLAINTEXT" }.to_owned()),
            ("log.dirs", path_text(&home.join("data"))),
        ]);
        lines.extend(options.properties.iter().cloned());
        let mut properties = String::new();
        for (name, value) in lines {
            let _ = writeln!(properties, "{name}={value}");
        }
        Plan {
            address,
            inner_address,
            proxied_address,
            secure_address,
            home,
            properties,
            format: format_arguments(options),
        }
    });
    nodes.collect()
}

/// What is the same on all brokers. Few threads: the machine is shared with the tests.
fn common(options: &Options, certificates: Option<&Certificates>) -> Vec<(&'static str, String)> {
    let replicas = if options.brokers < 3 { 1 } else { 3 };
    let in_sync = if options.brokers < 3 { 1 } else { 2 };
    let fixed = [
        ("controller.listener.names", "CONTROLLER"),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        ),
        ("auto.create.topics.enable", "false"),
        ("controlled.shutdown.enable", "false"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("offsets.topic.num.partitions", "2"),
        ("transaction.state.log.num.partitions", "2"),
        ("share.coordinator.state.topic.num.partitions", "2"),
    ];
    let mut lines: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    let counts = [
        ("default.replication.factor", replicas),
        ("offsets.topic.replication.factor", replicas),
        ("transaction.state.log.replication.factor", replicas),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("min.insync.replicas", in_sync),
        ("transaction.state.log.min.isr", in_sync),
        ("share.coordinator.state.topic.min.isr", in_sync),
    ];
    lines.extend(counts.map(|(name, count)| (name, count.to_string())));
    if let Some(certificates) = certificates {
        lines.push(("sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()));
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        lines.push(("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", module.to_owned()));
        lines.push(("ssl.keystore.type", "PEM".to_owned()));
        lines.push(("ssl.keystore.location", path_text(&certificates.server)));
    }
    if options.acls {
        let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
        lines.push(("authorizer.class.name", authorizer.to_owned()));
        lines.push(("super.users", format!("User:ANONYMOUS;User:{}", KLAMM.name)));
    }
    lines
}

fn format_arguments(options: &Options) -> Vec<String> {
    let users = if options.sasl_ssl { &[KLAMM, READER][..] } else { &[] };
    let scram = |user: &super::Login| format!("SCRAM-SHA-512=[name={},password={}]", user.name, user.password);
    users.iter().flat_map(|user| ["--add-scram".to_owned(), scram(user)]).collect()
}

impl Broker {
    /// Formats and starts them all side by side; does not wait until they answer.
    pub(super) fn start_all(plans: Vec<Plan>) -> Result<Vec<Self>, String> {
        std::thread::scope(|scope| {
            let starts: Vec<_> = plans.into_iter().map(|plan| scope.spawn(|| Self::start(plan))).collect();
            starts.into_iter().map(|start| start.join().expect("a start that does not panic")).collect()
        })
    }

    fn start(plan: Plan) -> Result<Self, String> {
        fs::create_dir_all(&plan.home).map_err(|error| format!("{}: {error}", plan.home.display()))?;
        let properties = properties_in(&plan.home);
        fs::write(&properties, &plan.properties).map_err(|error| format!("{}: {error}", properties.display()))?;
        let config = path_text(&properties);
        let fixed = ["format", "-t", CLUSTER_ID, "-c", &config];
        tool("kafka.tools.StorageTool", fixed.into_iter().chain(plan.format.iter().map(String::as_str)))?;
        Ok(Self { process: launch(&plan.home), home: plan.home })
    }

    /// Starts it again after [`Broker::kill`].
    pub(super) fn run(&mut self) -> Result<(), String> {
        if self.process.ended().is_none() {
            return Err("it still runs".to_owned());
        }
        self.process = launch(&self.home);
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.process.stop();
    }

    pub(super) fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// As it was before [`Broker::stop`] or [`Broker::kill`].
    pub(super) fn recover(&mut self) {
        self.go_on();
        if self.process.ended().is_some() {
            self.process = launch(&self.home);
        }
    }

    pub(super) fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
        let limit = Duration::from_secs(60);
        assert!(self.process.ended_within(limit).is_some(), "a broker still runs {limit:?} after SIGTERM");
    }

    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Its log, if it has ended.
    pub(super) fn fault(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        let log = fs::read_to_string(log_in(&self.home)).unwrap_or_default();
        Some(format!("broker ended, {status}:\n{log}"))
    }
}

fn launch(home: &Path) -> Process {
    let log = File::create(log_in(home)).expect("a log file");
    let mut command = child::command("java");
    command.args(JVM).args(["-cp", &class_path(), "kafka.Kafka"]).arg(properties_in(home));
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    Process::start(command)
}

/// Runs one of Kafka's own tools to its end; the error is what it printed.
pub(super) fn tool(class: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<(), String> {
    let mut command = Command::new("java");
    command.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    let output = command.args(["-cp", &class_path(), class]).args(arguments).output();
    let output = output.map_err(|error| format!("java: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{class}: {}\n{}", output.status, String::from_utf8_lossy(&text)))
}

/// A script that runs one of Kafka's own tools, as those in the folder `bin` of a Kafka do.
pub(crate) fn tool_script(class: &str) -> String {
    let options = "-Xmx128m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
    format!("#!/bin/sh\nexec java {options} -cp '{}' {class} \"$@\"\n", class_path())
}

/// The jars of the version that `tests/kafka/pom.xml` names.
fn class_path() -> String {
    let pom = include_str!("../../../kafka/pom.xml");
    let version = pom.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once("</kafka.version>"));
    let (version, _) = version.expect("a version in tests/kafka/pom.xml");
    let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/kafka").join(version).join("libs");
    assert!(libs.is_dir(), "no Kafka in {}: run `make kafka` once", libs.display());
    format!("{}/*", path_text(&libs))
}

fn properties_in(home: &Path) -> PathBuf {
    home.join("server.properties")
}

fn log_in(home: &Path) -> PathBuf {
    home.join("broker.log")
}

/// A port nobody listens on, below the range the system takes for outgoing connections: one of those could sit on a
/// killed broker's port when it comes back.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
