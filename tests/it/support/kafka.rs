//! A real Apache Kafka in KRaft mode, started by the tests from the jars that `make kafka` fetched.
//!
//! Owns the cluster's processes, ports and directory; all end with the test process, however that ends. Topics are
//! made in `topics.rs`, read back in `records.rs`; `broker.rs` runs one broker, `tls.rs` makes certificates.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use super::proxy::Proxy;
use super::{eventually, scratch};

mod broker;
mod records;
mod tls;
mod topics;

pub(crate) use broker::{free_port, tool_script};
pub(crate) use records::Record;

use broker::Broker;
use tls::Certificates;

/// A SCRAM-SHA-512 user of a `sasl_ssl` cluster.
#[derive(Clone, Copy)]
pub(crate) struct Login {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

/// May do everything.
pub(crate) const KLAMM: Login = Login { name: "klamm", password: "klamm-secret" };
/// With `acls`: may do nothing until [`Kafka::grant`] says so.
pub(crate) const READER: Login = Login { name: "reader", password: "reader-secret" };

/// What a cluster should be like.
#[derive(Clone)]
pub(crate) struct Options {
    /// 1 to 3. With 1 or 2, broker 1 is the only controller: stop others, not it. With 3 each is one, so that any one
    /// of them may go. Topics without explicit replicas get 1 replica, or 3 (and `min.insync.replicas` 2) with 3.
    pub(crate) brokers: usize,
    /// Adds a SASL_SSL listener with SCRAM-SHA-512 for [`KLAMM`] and [`READER`].
    pub(crate) sasl_ssl: bool,
    /// Refuses everything to everybody but [`KLAMM`] and whoever comes by PLAINTEXT.
    pub(crate) acls: bool,
    /// Puts a proxy before each broker, at the address that it advertises: whoever comes by [`Kafka::bootstrap`] passes
    /// them, the brokers among themselves and this module's own clients do not.
    pub(crate) proxied: bool,
    /// More lines of `server.properties`; they win over ours.
    pub(crate) properties: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { brokers: 1, sasl_ssl: false, acls: false, proxied: false, properties: Vec::new() }
    }
}

/// A running cluster; gone when dropped.
pub(crate) struct Kafka {
    /// By node id less 1.
    brokers: Vec<Mutex<Broker>>,
    addresses: Vec<String>,
    /// How this module's own clients reach the brokers.
    inner_addresses: Vec<String>,
    /// By node id less 1; empty unless `proxied`.
    proxies: Vec<Proxy>,
    secure_addresses: Vec<String>,
    certificates: Option<Certificates>,
    /// After the brokers: removed when they are gone.
    _dir: TempDir,
}

impl Kafka {
    /// The one broker most tests share, PLAINTEXT. The first call takes about 4 s.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default()))
    }

    /// A cluster of the test's own: about 5 s for one broker, 10 s for three.
    pub(crate) fn start(options: &Options) -> Self {
        assert!((1..=3).contains(&options.brokers), "1 to 3 brokers");
        let mut fault = String::new();
        for _ in 0..3 {
            match Self::try_start(options) {
                Ok(kafka) => return kafka,
                // Another process took one of the ports between our look and the broker's bind.
                Err(error) if error.contains("Address already in use") => fault = error,
                Err(error) => panic!("Kafka does not start: {error}"),
            }
        }
        panic!("Kafka does not start: {fault}");
    }

    fn try_start(options: &Options) -> Result<Self, String> {
        let dir = scratch::dir("kafka");
        let certificates = options.sasl_ssl.then(|| Certificates::make(dir.path()));
        let plans = broker::plan(dir.path(), options, certificates.as_ref());
        let addresses = plans.iter().map(|plan| plan.address.clone()).collect();
        let inner_addresses = plans.iter().map(|plan| plan.inner_address.clone()).collect();
        let proxies = plans.iter().filter_map(|plan| {
            let proxy = Proxy::bind(&plan.address);
            proxy.forward_to(plan.proxied_address.as_ref()?);
            Some(proxy)
        });
        let proxies = proxies.collect();
        let secure_addresses = plans.iter().filter_map(|plan| plan.secure_address.clone()).collect();
        let brokers = Broker::start_all(plans)?.into_iter().map(Mutex::new).collect();
        let kafka = Self { brokers, addresses, inner_addresses, proxies, secure_addresses, certificates, _dir: dir };
        kafka.wait_until_up()?;
        Ok(kafka)
    }

    /// The PLAINTEXT addresses, comma-separated: librdkafka's `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        self.addresses.join(",")
    }

    /// The SASL_SSL addresses, comma-separated.
    pub(crate) fn secure_bootstrap(&self) -> String {
        self.secure_addresses.join(",")
    }

    /// librdkafka's properties for the SASL_SSL listener as this user.
    pub(crate) fn secure_properties(&self, login: Login) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("security.protocol", "SASL_SSL".to_owned()),
            ("ssl.ca.location", path_text(&self.certificates().ca)),
            ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
            ("sasl.username", login.name.to_owned()),
            ("sasl.password", login.password.to_owned()),
        ])
    }

    /// The certificate of a CA that has not signed the brokers' certificates.
    pub(crate) fn unknown_ca(&self) -> String {
        path_text(&self.certificates().unknown_ca)
    }

    fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a cluster with sasl_ssl")
    }

    /// SIGSTOP, in force on return: the broker keeps its connections and answers nothing. A controller fences it after about 9 s.
    pub(crate) fn stop_broker(&self, node: usize) {
        self.broker(node).stop();
    }

    /// SIGCONT.
    pub(crate) fn continue_broker(&self, node: usize) {
        self.broker(node).go_on();
    }

    /// SIGKILL: its connections end at once.
    pub(crate) fn kill_broker(&self, node: usize) {
        self.broker(node).kill();
    }

    /// SIGTERM; returns when it is gone. It hands its partitions over where `controlled.shutdown.enable` says so. Panics
    /// if it still runs after 60 s.
    pub(crate) fn terminate_broker(&self, node: usize) {
        self.broker(node).terminate();
    }

    /// Starts a broker that has ended again, on its ports and its data. Returns when every broker answers.
    pub(crate) fn restart_broker(&self, node: usize) {
        self.restart_brokers(&[node]);
    }

    /// Ends what a test did to the brokers and could not undo since it failed. Returns when every broker answers.
    pub(crate) fn recover(&self) {
        for node in 1..=self.brokers.len() {
            self.broker(node).recover();
        }
        self.wait_until_up().unwrap_or_else(|error| panic!("the brokers do not come up again: {error}"));
    }

    /// [`Kafka::restart_broker`] for several at once.
    pub(crate) fn restart_brokers(&self, nodes: &[usize]) {
        for &node in nodes {
            self.broker(node).run().unwrap_or_else(|error| panic!("broker {node} does not start again: {error}"));
        }
        self.wait_until_up().unwrap_or_else(|error| panic!("brokers {nodes:?} do not come up again: {error}"));
    }

    /// What stands before a broker of a `proxied` cluster.
    pub(crate) fn proxy(&self, node: usize) -> &Proxy {
        &self.proxies[node - 1]
    }

    /// Lets `login` do `operation` (`Describe`, `Write`, ...) on `topic`. Costs the start of a JVM, 1 to 2 s.
    pub(crate) fn grant(&self, login: Login, operation: &str, topic: &str) {
        let principal = format!("User:{}", login.name);
        let bootstrap = self.bootstrap();
        let arguments =
            ["--bootstrap-server", &bootstrap, "--add", "--allow-principal", &principal, "--operation", operation];
        let class = "org.apache.kafka.tools.AclCommand";
        broker::tool(class, arguments.iter().chain(&["--topic", topic])).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Lets the clients that call themselves `client_id` produce so many bytes a second. Costs the start of a JVM, 1 to
    /// 2 s.
    pub(crate) fn limit_producer(&self, client_id: &str, bytes: u32) {
        let (bootstrap, quota) = (self.bootstrap(), format!("producer_byte_rate={bytes}"));
        let change = ["--bootstrap-server", &bootstrap, "--alter", "--add-config", &quota];
        let entity = ["--entity-type", "clients", "--entity-name", client_id];
        broker::tool("kafka.admin.ConfigCommand", change.iter().chain(&entity))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    fn broker(&self, node: usize) -> MutexGuard<'_, Broker> {
        self.brokers[node - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Kafka::bootstrap`], past the proxies where there are some.
    pub(crate) fn inner_bootstrap(&self) -> String {
        self.inner_addresses.join(",")
    }

    /// A client's config for this cluster, by PLAINTEXT and past the proxies.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.inner_bootstrap());
        config
    }

    /// Waits until every broker is in the metadata.
    fn wait_until_up(&self) -> Result<(), String> {
        let probe: BaseConsumer = self.client().create().expect("a client");
        eventually("all brokers are in the metadata", Duration::from_secs(120), || {
            for node in 1..=self.brokers.len() {
                if let Some(fault) = self.broker(node).fault() {
                    return Some(Err(fault));
                }
            }
            let metadata = probe.fetch_metadata(None, Duration::from_secs(2)).ok()?;
            (metadata.brokers().len() == self.brokers.len()).then_some(Ok(()))
        })
    }
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}
