//! A broker that costs the measured process nothing: librdkafka's mock cluster in a process of its own.
//!
//! It takes idempotent producers, keeps at most 5 MB a partition, has no settings of topics and answers at once, or after
//! a delay. It says what a gateway costs; it says nothing of a real Kafka's latency.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::{Ready, until_stdin_ends};
use crate::load::Stop;

/// What the cluster is like.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Its topics (repeat or separate by commas); none is made by itself
    #[arg(long, value_delimiter = ',', default_value = "load")]
    pub topics: Vec<String>,
    /// Partitions of each topic
    #[arg(long, default_value_t = 8)]
    pub partitions: i32,
    /// Milliseconds that every answer takes
    #[arg(long, default_value_t = 0)]
    pub delay: u64,
}

/// A running mock cluster of one broker; it may not move between threads.
pub struct Broker(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    /// Starts it with its topics.
    ///
    /// # Errors
    /// What librdkafka says.
    pub fn start(options: &Options) -> Result<Self> {
        let cluster = MockCluster::new(1).context("start a mock cluster")?;
        for topic in &options.topics {
            cluster.create_topic(topic, options.partitions, 1).with_context(|| format!("make the topic {topic}"))?;
        }
        if options.delay > 0 {
            cluster.broker_round_trip_time(1, Duration::from_millis(options.delay)).context("set the delay")?;
        }
        Ok(Self(cluster))
    }

    /// Its `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }
}

/// Serves until standard input ends.
///
/// # Errors
/// What librdkafka says.
pub fn run(options: &Options, stop: &Stop) -> Result<()> {
    let broker = Broker::start(options)?;
    Ready::tell(&broker.bootstrap())?;
    until_stdin_ends(stop);
    Ok(())
}
