//! Topics, by Kafka's admin API.

use std::future::Future;
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

use super::Kafka;
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

    /// Sets one config value of a topic; its other ones go back to the brokers' defaults.
    pub(crate) fn configure_topic(&self, name: &str, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let results = wait(self.admin().alter_configs([&change], &AdminOptions::new())).expect("an answer");
        results.into_iter().for_each(|result| {
            result.expect("a changed config");
        });
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
