//! From the config to librdkafka's properties: what klamm derives, then what the config overrides.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::partitions::Stick;
use crate::config::Cluster;

/// What the broker counts beside the events themselves when it holds a batch to `max.message.bytes`.
pub const BATCH_OVERHEAD: u64 = 1024;

/// The largest event that any config may allow, in bytes.
pub const MAX_EVENT: u64 = 100 << 20;

/// What every event costs beside its bytes while it waits, in bytes; admission charges the same.
pub const EVENT_OVERHEAD: u64 = 256;

/// Everything a producer is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's section of the config.
    pub cluster: Cluster,
    /// Bytes that may wait for Kafka; admission sees to it.
    pub budget: u64,
}

impl Options {
    /// For [`super::catalog::Scout`], which only asks questions.
    pub fn scout(&self) -> ClientConfig {
        let mut config = self.client();
        // librdkafka asks the broker it asked last: one that hangs must be dropped soon, or klamm would not see that
        // the others answer.
        config.set("socket.timeout.ms", "1500");
        self.override_by_properties(config)
    }

    /// Where Kafka is. The properties, which say how to get in, come last.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap.join(","));
        config.set("client.id", "klamm");
        config.set("allow.auto.create.topics", "false");
        // The default of 10 s is as long as a request waits: Kafka would be back and klamm would not know.
        config.set("reconnect.backoff.max.ms", "1000");
        config.set_log_level(RDKafkaLogLevel::Info);
        // A broker that hangs keeps its connection: without this, what is asked of it would wait for a minute.
        config.set("socket.timeout.ms", "10000");
        config
    }

    // Not by `ClientConfig::config_map`: that one masks passwords.
    fn override_by_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.cluster.properties {
            config.set(name, value);
        }
        config
    }

    /// For a producer whose batches have at most `batch_bytes` and wait for `linger`, and that calls itself `client_id`.
    pub fn producer(&self, batch_bytes: u64, linger: Duration, client_id: Option<&str>) -> ClientConfig {
        let cluster = &self.cluster;
        // Admission refuses first: with every event charged its bytes and EVENT_OVERHEAD, neither limit can be met.
        let kbytes = (self.budget / 1024 * 2).clamp(1024, 2_147_483_647);
        let messages = (self.budget / EVENT_OVERHEAD * 2).clamp(100_000, 2_147_483_647);
        let mut config = self.client();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("linger.ms", millis(linger));
        config.set("batch.size", batch_bytes.to_string());
        config.set("batch.num.messages", "10000");
        config.set("compression.type", cluster.compression.name());
        config.set("partitioner", "murmur2_random");
        config.set("delivery.timeout.ms", millis(cluster.delivery_timeout.get()));
        config.set("message.max.bytes", (MAX_EVENT + BATCH_OVERHEAD).to_string());
        config.set("queue.buffering.max.kbytes", kbytes.to_string());
        config.set("queue.buffering.max.messages", messages.to_string());
        config.set("statistics.interval.ms", "1000");
        config.set("topic.metadata.refresh.interval.ms", millis(cluster.metadata_refresh.get()));
        config.set("topic.metadata.propagation.max.ms", "3000");
        let mut config = self.override_by_properties(config);
        if let Some(id) = client_id {
            config.set("client.id", id);
        }
        config
    }

    /// How long records wait for others where their topic says `linger`.
    pub fn linger(&self, linger: Option<Duration>) -> Duration {
        linger.unwrap_or_else(|| self.cluster.linger.get())
    }

    /// How records without a key stick to a partition: twice as long as they linger, so that batches fill.
    pub fn stick(&self, linger: Duration) -> Stick {
        let time = (linger * 2).max(Duration::from_millis(1));
        Stick { time, bytes: self.cluster.batch_bytes.get(), cap: self.budget / 8 }
    }

    /// The batch size for a topic that takes batches of at most `max_message_bytes`: the configured one where it fits,
    /// else the next power of two below, so that topics with odd limits share producers.
    pub fn batch_bytes(&self, max_message_bytes: Option<u64>) -> u64 {
        let wanted = self.cluster.batch_bytes.get();
        match max_message_bytes {
            Some(limit) if limit < wanted => {
                let fitting = limit.saturating_sub(BATCH_OVERHEAD).max(1024);
                1 << fitting.ilog2()
            }
            _ => wanted,
        }
    }
}

fn millis(span: Duration) -> String {
    // Not below what librdkafka takes for a fraction.
    format!("{}", span.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ByteSize, Span};

    fn options() -> Options {
        let cluster = Cluster { bootstrap: vec!["a:1".into(), "b:2".into()], ..Cluster::default() };
        Options { cluster, budget: 256 << 20 }
    }

    #[test]
    fn the_producer_is_idempotent_with_java_s_partitioner_and_limits_above_the_budget() {
        let config = options().producer(1_000_000, Duration::from_millis(1), Some("orders"));
        for (name, value) in [
            ("bootstrap.servers", "a:1,b:2"),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "1"),
            ("client.id", "orders"),
            ("batch.size", "1000000"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            ("allow.auto.create.topics", "false"),
            ("delivery.timeout.ms", "30000"),
            ("queue.buffering.max.kbytes", "524288"),
            ("queue.buffering.max.messages", "2097152"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        config.create_native_config().expect("librdkafka takes every property");
    }

    #[test]
    fn a_topic_with_a_small_limit_gets_batches_that_fit_it() {
        let options = options();
        assert_eq!(options.batch_bytes(None), 1_000_000);
        assert_eq!(options.batch_bytes(Some(1_048_588)), 1_000_000);
        assert_eq!(options.batch_bytes(Some(65_536)), 32_768);
        assert_eq!(options.batch_bytes(Some(100)), 1024);
        for limit in 2048..100_000 {
            assert!(options.batch_bytes(Some(limit)) + BATCH_OVERHEAD <= limit, "{limit}");
        }
    }

    #[test]
    fn properties_override_what_klamm_derives() {
        let mut options = options();
        options.cluster.properties = [("client.id", "edge-1"), ("sasl.password", "pw")].into_iter().collect();
        options.cluster.linger = Span::millis(0);
        options.cluster.batch_bytes = ByteSize::kib(16);
        let config = options.producer(options.batch_bytes(None), options.linger(None), None);
        assert_eq!(config.get("client.id"), Some("edge-1"));
        assert_eq!((config.get("sasl.password"), options.scout().get("sasl.password")), (Some("pw"), Some("pw")));
        assert_eq!(config.get("linger.ms"), Some("0"));
        assert_eq!(config.get("batch.size"), Some("16384"));
    }
}
