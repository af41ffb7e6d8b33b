//! A topic between two moments: what was written after [`Topic::open`] and before [`Topic::mark_end`].

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::check::{Record, Source};
use crate::topics::Cluster;

const LIMIT: Duration = Duration::from_secs(30);
/// A broker that gives nothing for so long while records are due is not waited for.
const SILENCE: Duration = Duration::from_secs(60);

/// The header that carries klamm's id of an event.
const EVENT_ID: &str = "klamm-event-id";

/// Reads every partition from where it ended when this was opened to where it ended when that was marked.
pub struct Topic {
    consumer: BaseConsumer,
    name: String,
    /// By partition: first offset to read, end (not itself read), done.
    partitions: Vec<Stretch>,
    heard: Instant,
}

struct Stretch {
    from: i64,
    to: i64,
    done: bool,
}

impl Topic {
    /// Notes where each partition ends now.
    ///
    /// # Errors
    /// If there is no such topic, or no broker answers.
    pub fn open(cluster: &Cluster, name: &str) -> Result<Self> {
        let count = cluster.partitions(name)?;
        ensure!(count > 0, "Kafka has no topic {name}");
        let mut config = cluster.client();
        // The group id is only there because assigning asks for one: nothing joins or commits.
        config.set("group.id", "klamm-load").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        config.set("queued.min.messages", "1000000").set("queued.max.messages.kbytes", "262144");
        config.set("fetch.wait.max.ms", "10").set("check.crcs", "true");
        let consumer: BaseConsumer = config.create().context("a consumer")?;
        let mut topic = Self { consumer, name: name.to_owned(), partitions: Vec::new(), heard: Instant::now() };
        for partition in 0..i32::try_from(count)? {
            let end = topic.end(partition)?;
            topic.partitions.push(Stretch { from: end, to: end, done: false });
        }
        Ok(topic)
    }

    /// A leader that has just been chosen may not know of it yet, and one that was killed has a successor soon.
    fn end(&self, partition: i32) -> Result<i64> {
        let start = Instant::now();
        loop {
            match self.consumer.fetch_watermarks(&self.name, partition, LIMIT) {
                Ok((_, end)) => return Ok(end),
                Err(_) if start.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(100)),
                Err(error) => return Err(error).with_context(|| format!("the ends of {}/{partition}", self.name)),
            }
        }
    }

    /// Notes where each partition ends now, and begins to read.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn mark_end(&mut self) -> Result<()> {
        let mut assignment = TopicPartitionList::new();
        for partition in 0..i32::try_from(self.partitions.len())? {
            let end = self.end(partition)?;
            let Some(stretch) = self.partitions.get_mut(usize::try_from(partition)?) else { continue };
            stretch.to = end;
            stretch.done = stretch.from >= end;
            if !stretch.done {
                assignment.add_partition_offset(&self.name, partition, Offset::Offset(stretch.from))?;
            }
        }
        self.heard = Instant::now();
        Ok(self.consumer.assign(&assignment)?)
    }
}

impl Source for Topic {
    fn next(&mut self, take: &mut dyn FnMut(Record<'_>)) -> Result<bool> {
        while self.partitions.iter().any(|stretch| !stretch.done) {
            match self.consumer.poll(Duration::from_millis(100)) {
                None => ensure!(self.heard.elapsed() < SILENCE, "{}: nothing came for {SILENCE:?}", self.name),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(stretch) = usize::try_from(partition).ok().and_then(|at| self.partitions.get_mut(at)) {
                        stretch.done = true;
                    }
                }
                // A broker that goes away comes back, or another leads; librdkafka goes on by itself.
                Some(Err(error)) => ensure!(self.heard.elapsed() < SILENCE, "reading {}: {error}", self.name),
                Some(Ok(message)) => {
                    self.heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let stretch = usize::try_from(partition).ok().and_then(|at| self.partitions.get_mut(at));
                    let Some(stretch) = stretch else { continue };
                    stretch.done |= offset + 1 >= stretch.to;
                    if offset < stretch.to {
                        let headers = message.headers();
                        let mut headers = headers.iter().flat_map(|headers| headers.iter());
                        let event_id = headers.find(|header| header.key == EVENT_ID).and_then(|header| header.value);
                        take(Record { partition, offset, key: message.key(), value: message.payload(), event_id });
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}
