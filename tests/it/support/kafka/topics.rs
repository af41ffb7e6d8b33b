//! Topics, by Kafka's admin API.

use std::future::Future;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic};
use rdkafka::admin::{ResourceSpecifier, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::MetadataPartition;

use serde_json::{Value, json};

use super::{Kafka, broker};
use crate::support::eventually;

const LIMIT: Duration = Duration::from_secs(30);

impl Kafka {
    /// Creates a topic; returns when each partition has a leader.
    pub(crate) fn create_topic(&self, name: &str, partitions: usize, config: &[(&str, &str)]) {
        let count = i32::try_from(partitions).expect("a count of partitions");
        // -1: the brokers' default.
        self.create(NewTopic::new(name, count, TopicReplication::Fixed(-1)), config);
    }

    /// Creates a topic with these replicas, one list of node ids a partition; the first of each becomes its leader.
    pub(crate) fn create_topic_on(&self, name: &str, replicas: &[&[i32]], config: &[(&str, &str)]) {
        let count = i32::try_from(replicas.len()).expect("a count of partitions");
        self.create(NewTopic::new(name, count, TopicReplication::Variable(replicas)), config);
    }

    fn create(&self, topic: NewTopic<'_>, config: &[(&str, &str)]) {
        let (name, partitions) = (topic.name, topic.num_partitions);
        let topic = config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        only(wait(self.admin().create_topics([&topic], &AdminOptions::new())));
        self.wait_for_leaders(name, partitions);
    }

    /// Grows a topic to `total` partitions; returns when each has a leader.
    pub(crate) fn add_partitions(&self, name: &str, total: usize) {
        let new = NewPartitions::new(name, total);
        only(wait(self.admin().create_partitions([&new], &AdminOptions::new())));
        self.wait_for_leaders(name, i32::try_from(total).expect("a count of partitions"));
    }

    /// Sets one config value of a topic; its other ones go back to the brokers' defaults. Returns when the broker says so.
    pub(crate) fn configure_topic(&self, name: &str, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let results = wait(self.admin().alter_configs([&change], &AdminOptions::new())).expect("an answer");
        results.into_iter().for_each(|result| {
            result.expect("a changed config");
        });
        eventually("the broker has the setting", LIMIT, || {
            let topic = [ResourceSpecifier::Topic(name)];
            let config = wait(self.admin().describe_configs(&topic, &AdminOptions::new())).ok()?.pop()?.ok()?;
            (config.get(key)?.value.as_deref() == Some(value)).then_some(())
        });
    }

    /// Hands every partition of these topics to the next of its replicas, in the order of its list: reassignment of the
    /// order, then an election. Costs two starts of a JVM, 2 to 4 s.
    pub(crate) fn move_leaders(&self, names: &[&str]) {
        let probe: BaseConsumer = self.client().create().expect("a client");
        let mut partitions = Vec::new();
        for name in names {
            let metadata = probe.fetch_metadata(Some(name), LIMIT).expect("metadata");
            for part in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                let mut replicas = part.replicas().to_vec();
                replicas.rotate_left(1);
                partitions.push(json!({ "topic": name, "partition": part.id(), "replicas": replicas }));
            }
        }
        let bootstrap = self.inner_bootstrap();
        let tool = |class: &str, flag: &str, plan: Value, rest: &[&str]| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(plan.to_string().as_bytes()).expect("a plan that is written");
            let path = file.path().to_str().expect("a path of text");
            let arguments = ["--bootstrap-server", &bootstrap, flag, path];
            let done = broker::tool(&format!("org.apache.kafka.tools.{class}"), arguments.iter().chain(rest));
            done.unwrap_or_else(|error| panic!("{error}"));
        };
        let reassigned = json!({ "version": 1, "partitions": partitions });
        let moved = "reassign.ReassignPartitionsCommand";
        tool(moved, "--reassignment-json-file", reassigned, &["--execute"]);
        let elected = partitions.iter().map(|part| json!({ "topic": part["topic"], "partition": part["partition"] }));
        let elected = json!({ "partitions": elected.collect::<Vec<_>>() });
        tool("LeaderElectionCommand", "--path-to-json-file", elected, &["--election-type", "preferred"]);
    }

    /// Deletes a topic; returns when the metadata lacks it.
    pub(crate) fn delete_topic(&self, name: &str) {
        only(wait(self.admin().delete_topics(&[name], &AdminOptions::new())));
        eventually("the topic is gone", LIMIT, || self.leaders(name).is_empty().then_some(()));
    }

    /// The leaders' node ids by partition (-1: none); empty if there is no such topic.
    pub(crate) fn leaders(&self, name: &str) -> Vec<i32> {
        let probe: BaseConsumer = self.client().create().expect("a client");
        let metadata = probe.fetch_metadata(Some(name), LIMIT).expect("metadata");
        let mut partitions: Vec<_> = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
            .map(|part| (part.id(), part.leader()))
            .collect();
        partitions.sort_unstable();
        partitions.into_iter().map(|(_, leader)| leader).collect()
    }

    /// Waits until every replica of these topics is in sync. Panics after 60 s.
    pub(crate) fn wait_until_in_sync(&self, names: &[&str]) {
        let probe: BaseConsumer = self.client().create().expect("a client");
        eventually("every replica is in sync", 2 * LIMIT, || {
            let in_sync = |name: &&str| {
                let metadata = probe.fetch_metadata(Some(name), LIMIT).ok()?;
                let parts = metadata.topics().first()?.partitions();
                let whole = |part: &MetadataPartition| part.leader() > 0 && part.isr().len() == part.replicas().len();
                (!parts.is_empty() && parts.iter().all(whole)).then_some(())
            };
            names.iter().all(|name| in_sync(name).is_some()).then_some(())
        });
    }

    fn wait_for_leaders(&self, name: &str, partitions: i32) {
        let count = usize::try_from(partitions).expect("a count of partitions");
        eventually("every partition has a leader", LIMIT, || {
            let leaders = self.leaders(name);
            (leaders.len() == count && leaders.iter().all(|leader| *leader > 0)).then_some(())
        });
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }
}

fn only(results: KafkaResult<Vec<TopicResult>>) {
    for result in results.expect("an answer to the admin call") {
        result.unwrap_or_else(|(topic, code)| panic!("{topic}: {code:?}"));
    }
}

/// Waits for an admin call. Its answer comes from librdkafka's thread: any waker will do, and no runtime is needed, so
/// that this works inside and outside of one.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
