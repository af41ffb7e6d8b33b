//! librdkafka's mock cluster, in the test's own process: a broker that refuses, stalls or goes away when it is told to.
//!
//! It has no topic settings (klamm goes on with `max_event`) and makes no topics by itself. It may not move between
//! threads, so it lives on one of its own and takes orders.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::gateway::Gateway;
use super::keys;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Order = Box<dyn FnOnce(&Cluster) + Send>;

/// Of each topic.
pub(crate) const PARTITIONS: i32 = 2;

/// A running mock cluster of one broker; gone when dropped.
pub(crate) struct Mock {
    orders: mpsc::Sender<Order>,
    bootstrap: String,
}

impl Mock {
    /// Starts one that has `topics`.
    pub(crate) fn start(topics: &[&str]) -> Self {
        let topics: Vec<String> = topics.iter().map(|&topic| topic.to_owned()).collect();
        let (tell, told) = mpsc::channel();
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            let cluster = MockCluster::new(1).expect("a mock cluster");
            for topic in &topics {
                cluster.create_topic(topic, PARTITIONS, 1).expect("a topic");
            }
            tell.send(cluster.bootstrap_servers()).expect("the test waits");
            inbox.into_iter().for_each(|order| order(&cluster));
        });
        Self { bootstrap: told.recv().expect("the cluster starts"), orders }
    }

    /// From now on the broker takes this long to answer anything.
    pub(crate) fn delay(&self, delay: Duration) {
        self.order(move |cluster| cluster.broker_round_trip_time(1, delay).expect("a delay"));
    }

    /// From now on every request to produce is answered with `error`; librdkafka sends one for each partition.
    pub(crate) fn refuse_to_produce(&self, error: RDKafkaRespErr) {
        self.order(move |cluster| cluster.request_errors(RDKafkaApiKey::Produce, &[error; 1000]));
    }

    /// Ends [`Mock::refuse_to_produce`].
    pub(crate) fn take_again(&self) {
        self.order(|cluster| cluster.clear_request_errors(RDKafkaApiKey::Produce));
    }

    fn order(&self, order: impl FnOnce(&Cluster) + Send + 'static) {
        let (done, obeyed) = mpsc::channel();
        let order = Box::new(move |cluster: &Cluster| {
            order(cluster);
            done.send(()).expect("the test waits");
        });
        self.orders.send(order).expect("the cluster runs");
        obeyed.recv().expect("the cluster obeys");
    }

    /// Where it is.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How many records `topic` has.
    pub(crate) fn records(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().expect("a consumer");
        let count = |partition| {
            let (low, high) =
                consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).expect("the ends of a partition");
            high - low
        };
        (0..PARTITIONS).map(count).sum()
    }

    /// `klamm serve` on this cluster: loopback on free ports, no lame duck, problem types under `https://docs`.
    /// `ingest` and `kafka` are more keys of these sections (`wait: 1s,`), `rest` the other sections.
    pub(crate) fn serve(&self, ingest: &str, kafka: &str, rest: &str) -> Gateway {
        Gateway::start(&self.config(ingest, kafka, rest))
    }

    /// The config of [`Mock::serve`].
    pub(crate) fn config(&self, ingest: &str, kafka: &str, rest: &str) -> String {
        format!(
            r#"
docs_url: "https://docs"
ingest: {{ {ingest} listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 10s }}
kafka: {{ default: {{ {kafka} bootstrap: ["{}"] }} }}
{rest}
"#,
            self.bootstrap
        )
    }
}

/// A line for the section `clients`: `name` with its fixed key, `topics` and `limits` as in YAML.
pub(crate) fn client(name: &str, topics: &str, limits: &str) -> String {
    let sha256 = keys::fixed(name).sha256;
    format!("  {name}: {{ keys: [{{ label: test, sha256: \"{sha256}\" }}], topics: {topics}, limits: {limits} }}\n")
}

/// What `name` sends to show who it is.
pub(crate) fn bearer(name: &str) -> String {
    format!("Bearer {}", keys::fixed(name).text)
}
