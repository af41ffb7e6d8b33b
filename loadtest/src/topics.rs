//! Topics for a measurement, by Kafka's admin API: made with the partitions asked for, deleted after.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::util::Timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// How a cluster is reached.
#[derive(Debug, Clone, clap::Args)]
pub struct Cluster {
    /// `host:port` of some brokers, separated by commas
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// A librdkafka property for reaching Kafka, e.g. `security.protocol=SASL_SSL` (repeat)
    #[arg(long = "kafka", value_name = "NAME=VALUE", value_parser = pair)]
    pub properties: Vec<(String, String)>,
}

/// `name=value`.
///
/// # Errors
/// Without an equals sign, or with nothing before it.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not NAME=VALUE".to_owned()),
    }
}

impl Cluster {
    /// The properties by name.
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.properties.iter().cloned().collect()
    }

    /// The beginning of every client's config.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", "klamm-load");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// Makes a topic with the brokers' replication, if there is none; returns when each partition has a leader.
    ///
    /// Asks for its files to be removed at once when it is deleted: a sweep writes gigabytes. Clusters that do not let
    /// topics say so keep them for their own time.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn create(&self, name: &str, partitions: i32) -> Result<()> {
        // -1: the brokers' default.
        let plain = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let brief = NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set("file.delete.delay.ms", "1000");
        let admin = self.admin()?;
        if submit(&admin, &brief).is_err() {
            submit(&admin, &plain).with_context(|| format!("create the topic {name}"))?;
        }
        let deadline = Instant::now() + LIMIT;
        let probe: BaseConsumer = self.client().create()?;
        loop {
            let metadata = probe.fetch_metadata(Some(name), LIMIT).context("Kafka's metadata")?;
            let parts = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let led = parts.filter(|part| part.leader() >= 0).count();
            if led == usize::try_from(partitions)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{name}: {led} of {partitions} partitions have a leader after {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Deletes a topic; does not wait until its files are gone.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn delete(&self, name: &str) -> Result<()> {
        only(wait(self.admin()?.delete_topics(&[name], &limits()))?).with_context(|| format!("delete the topic {name}"))
    }

    /// How many partitions a topic has; 0 if there is none of that name.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn partitions(&self, name: &str) -> Result<usize> {
        let probe: BaseConsumer = self.client().create()?;
        let metadata = probe.fetch_metadata(Some(name), LIMIT).context("Kafka's metadata")?;
        Ok(metadata.topics().iter().filter(|topic| topic.name() == name).map(|topic| topic.partitions().len()).sum())
    }

    /// Brokers as a report names them: how many, and where.
    ///
    /// # Errors
    /// If none answers.
    pub fn describe(&self) -> Result<String> {
        let probe: BaseConsumer = self.client().create()?;
        let metadata = probe.fetch_metadata(None, LIMIT).with_context(|| format!("no Kafka at {}", self.bootstrap))?;
        let brokers: Vec<String> =
            metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
        let count = brokers.len();
        Ok(format!("{count} broker{} ({})", if count == 1 { "" } else { "s" }, brokers.join(", ")))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }
}

fn submit(admin: &AdminClient<DefaultClientContext>, topic: &NewTopic<'_>) -> Result<()> {
    only(wait(admin.create_topics([topic], &limits()))?)
}

fn limits() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Timeout::After(LIMIT))).operation_timeout(Some(Timeout::After(LIMIT)))
}

fn only(results: Vec<TopicResult>) -> Result<()> {
    for result in results {
        match result {
            // A retry by the client: the first one had worked.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => bail!("{topic}: {code}"),
        }
    }
    Ok(())
}

fn wait<T>(call: impl Future<Output = Result<T, KafkaError>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(call)?)
}
