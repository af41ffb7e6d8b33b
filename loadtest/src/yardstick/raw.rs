//! librdkafka alone, with klamm's settings and the very events that klamm is sent: the cost that no gateway on top of it
//! can be below.
//!
//! Without a rate it produces as fast as it can with so many messages outstanding (100,000), from one thread that also
//! serves the reports: the most that librdkafka does. With a rate it produces bursts at the times at which the load tool
//! would send requests of as many events (same arrivals, same seed), and the latency of a burst is from its intended
//! time to the delivery report of its last message.
//!
//! CPU is that of the whole process, librdkafka's threads included: run it alone (`klamm-load yardstick raw`).

mod feed;
mod producer;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::load::{self, Arrivals, Form, Latency, Stop};

use feed::Feed;
pub use producer::Reports;
use producer::{Batch, Producer};
use tally::Tally;

/// How long what is outstanding at the end may take.
const DRAIN: Duration = Duration::from_secs(10);
/// How long Kafka may take to take the first messages.
const START: Duration = Duration::from_secs(40);

/// What is produced.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct Options {
    /// `host:port` of some brokers, separated by commas
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topics, taken in turn by each request's worth of events (repeat or separate by commas)
    #[arg(long, value_delimiter = ',', default_value = "load")]
    pub topics: Vec<String>,
    /// A librdkafka property, over those klamm sets (repeat)
    #[arg(long = "kafka", value_name = "NAME=VALUE", value_parser = crate::topics::pair)]
    #[serde(skip)]
    pub properties: Vec<(String, String)>,
    /// Milliseconds that a record waits for others
    #[arg(long, default_value_t = 5)]
    pub linger: u64,
    /// Messages that may be outstanding
    #[arg(long, default_value_t = 100_000)]
    pub outstanding: usize,
    /// Takes the batch call, one for each request's worth of events
    #[arg(long)]
    pub batch: bool,
    /// How delivery reports are taken
    #[arg(long, value_enum, default_value = "callback")]
    pub reports: Reports,
    /// Bursts per second; without it as many messages as it can
    #[arg(long)]
    pub rate: Option<f64>,
    /// How the bursts of a rate are spread over time
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Messages of a burst: the events of a request
    #[arg(long, default_value_t = 500)]
    pub burst: usize,
    /// Bytes of an event, about
    #[arg(long, default_value_t = 160)]
    pub size: usize,
    /// Gives each event a key, as an envelope has
    #[arg(long)]
    pub keyed: bool,
    /// Seconds at the start that are left out
    #[arg(long, default_value = "3", value_parser = load::seconds)]
    pub warm_up: Duration,
    /// Seconds that are measured
    #[arg(long, default_value = "10", value_parser = load::seconds)]
    pub duration: Duration,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Options {
    /// The load of the same events at the same times over HTTP.
    fn load(&self) -> load::Options {
        load::Options {
            events: self.burst,
            size: self.size,
            keyed: self.keyed,
            form: if self.keyed { Form::Envelope } else { Form::Ndjson },
            rate: self.rate,
            arrivals: self.arrivals,
            warm_up: self.warm_up,
            duration: self.duration,
            seed: self.seed,
            ..load::Options::default()
        }
    }

    /// klamm's own properties (its `stages::produce::options`), with the outstanding messages of the yardstick.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("client.id", "klamm-load-raw"),
            ("allow.auto.create.topics", "false"),
            ("reconnect.backoff.max.ms", "1000"),
            ("socket.timeout.ms", "10000"),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("batch.size", "1000000"),
            ("batch.num.messages", "10000"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            ("delivery.timeout.ms", "30000"),
            ("message.max.bytes", "104858624"),
            ("queue.buffering.max.kbytes", "524288"),
            ("statistics.interval.ms", "1000"),
            ("topic.metadata.refresh.interval.ms", "300000"),
            ("topic.metadata.propagation.max.ms", "3000"),
        ] {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("linger.ms", self.linger.to_string());
        config.set("queue.buffering.max.messages", self.outstanding.to_string());
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

/// What was seen between the warm-up and the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What was measured, in seconds.
    pub seconds: f64,
    /// Messages that Kafka acknowledged in them.
    pub messages: u64,
    /// Messages that failed for good, from the start on.
    pub failed: u64,
    /// Messages without a report 10 s after the end.
    pub unanswered: u64,
    /// CPU of the whole process, user and system, in microseconds.
    pub cpu_us: f64,
    /// The same for each acknowledged message.
    pub cpu_per_message_us: f64,
    /// Acknowledged messages per second.
    pub messages_per_second: f64,
    /// Of a rate: from the intended time of a burst to the report of its last message.
    pub latency: Option<Percentiles>,
    /// Of a rate: from the intended time of a burst to its first call.
    pub lateness: Option<Percentiles>,
}

/// Of a distribution of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 99 of 100 are not above.
    pub p99_ms: f64,
    /// The highest.
    pub max_ms: f64,
}

impl From<&Latency> for Percentiles {
    fn from(latency: &Latency) -> Self {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        Self {
            count: latency.count(),
            p50_ms: ms(latency.at(0.5)),
            p99_ms: ms(latency.at(0.99)),
            max_ms: ms(latency.max()),
        }
    }
}

/// Produces until the time is over, `stop` says so, or a message is refused.
///
/// # Errors
/// A fault in the options, or what librdkafka says of a message it does not take.
pub fn run(options: &Options, stop: &Stop) -> Result<Report> {
    ensure!(!options.topics.is_empty() && options.burst > 0, "nothing to send");
    let load = options.load();
    let feed = Feed::of(&load)?;
    let schedule =
        options.rate.map(|_| load::intended(&load).take_while(|at| *at < whole(options)).collect::<Vec<_>>());
    let tally = Arc::new(Tally::new(options.warm_up, schedule.as_deref().unwrap_or_default(), options.burst));
    let producer = Producer::new(&options.config(), &options.topics, options.reports, Arc::clone(&tally))?;
    open(&producer, &tally, options, &feed)?;
    let start = Instant::now() + Duration::from_millis(20);
    tally.begin(start);
    let run = Run { options, feed, producer, tally, start, stop };
    match schedule {
        Some(schedule) => run.bursts(&schedule),
        None => run.saturate(),
    }
}

/// Sends one message to each topic: connections, metadata and the producer's id are there before the clock runs.
fn open(producer: &Producer<Tally>, tally: &Tally, options: &Options, feed: &Feed) -> Result<()> {
    for topic in 0..options.topics.len() {
        let message = feed.request(topic).messages().next();
        let message = message.ok_or_else(|| anyhow!("a request without events"))?;
        producer.produce(topic, message, usize::MAX).map_err(refused)?;
    }
    let left = producer.drain(START);
    ensure!(left == 0 && tally.failed() == 0, "Kafka at {} does not take messages to these topics", options.bootstrap);
    Ok(())
}

fn refused(code: RDKafkaErrorCode) -> anyhow::Error {
    anyhow!("librdkafka refuses a message: {code}")
}

fn whole(options: &Options) -> Duration {
    options.warm_up + options.duration
}

struct Run<'a> {
    options: &'a Options,
    feed: Feed,
    producer: Producer<Tally>,
    tally: Arc<Tally>,
    start: Instant,
    stop: &'a Stop,
}

/// Where the counts stood at one moment.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu: Duration,
    delivered: u64,
}

impl Run<'_> {
    fn mark(&self) -> Mark {
        Mark { at: Instant::now(), cpu: cpu(), delivered: self.tally.delivered() }
    }

    /// As fast as it goes, by this thread alone.
    fn saturate(&self) -> Result<Report> {
        let (measured, end) = (self.start + self.options.warm_up, self.start + whole(self.options));
        let mut begin = None;
        thread::sleep(self.start.saturating_duration_since(Instant::now()));
        for number in 0.. {
            let now = Instant::now();
            if begin.is_none() && now >= measured {
                begin = Some(self.mark());
            }
            if now >= end || self.stop.is_stopped() {
                break;
            }
            self.send(number, 0, || self.producer.poll(Duration::from_millis(1)))?;
        }
        let finish = self.mark();
        let unanswered = self.producer.drain(DRAIN);
        Ok(self.report(begin.unwrap_or(finish), finish, unanswered, None))
    }

    /// At their times; another thread serves the reports, so that neither waits for the other.
    fn bursts(&self, schedule: &[Duration]) -> Result<Report> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.producer.poll(Duration::from_millis(50));
                }
            });
            let sent = self.send_bursts(schedule);
            done.store(true, Ordering::Relaxed);
            sent
        })
        .map(|(begin, finish, lateness)| {
            let unanswered = self.producer.drain(DRAIN);
            self.report(begin, finish, unanswered, Some(&lateness))
        })
    }

    fn send_bursts(&self, schedule: &[Duration]) -> Result<(Mark, Mark, Latency)> {
        // As the load tool's: late bursts would be the tool's fault, not librdkafka's.
        load::priority::raise();
        let (mut begin, mut lateness) = (None, Latency::default());
        for (number, &due) in schedule.iter().enumerate() {
            let at = self.start + due;
            let wait = at.saturating_duration_since(Instant::now());
            thread::sleep(wait);
            if self.stop.is_stopped() {
                break;
            }
            if due >= self.options.warm_up {
                begin = begin.or_else(|| Some(self.mark()));
                // Late because librdkafka took long over the burst before is its own latency, and no fault.
                if !wait.is_zero() {
                    lateness.record(at.elapsed());
                }
            }
            self.send(number, number, || thread::sleep(Duration::from_micros(100)))?;
        }
        thread::sleep((self.start + whole(self.options)).saturating_duration_since(Instant::now()));
        let finish = self.mark();
        Ok((begin.unwrap_or(finish), finish, lateness))
    }

    /// Sends one request's worth of events; `full` is called while the queue is.
    fn send(&self, number: usize, tag: usize, full: impl Fn()) -> Result<()> {
        let topic = number % self.options.topics.len();
        let request = self.feed.request(number);
        let mut outcome = Ok(());
        if self.options.batch {
            let mut batch = Batch::with_capacity(self.options.burst);
            request.messages().for_each(|message| batch.push(message, tag));
            while batch.len() > 0 && outcome.is_ok() {
                outcome = self.producer.produce_batch(topic, &mut batch);
                if batch.len() > 0 && !self.stop.is_stopped() {
                    full();
                }
            }
        } else {
            for message in request.messages() {
                outcome = self.producer.produce(topic, message, tag);
                while outcome == Err(RDKafkaErrorCode::QueueFull) && !self.stop.is_stopped() {
                    full();
                    outcome = self.producer.produce(topic, message, tag);
                }
            }
        }
        outcome.map_err(refused)
    }

    fn report(&self, begin: Mark, finish: Mark, unanswered: usize, lateness: Option<&Latency>) -> Report {
        let seconds = (finish.at - begin.at).as_secs_f64();
        let messages = finish.delivered - begin.delivered;
        let cpu_us = (finish.cpu - begin.cpu).as_secs_f64() * 1e6;
        Report {
            seconds,
            messages,
            failed: self.tally.failed(),
            unanswered: unanswered as u64,
            cpu_us,
            cpu_per_message_us: cpu_us / messages as f64,
            messages_per_second: messages as f64 / seconds,
            latency: lateness.map(|_| Percentiles::from(&self.tally.latency())),
            lateness: lateness.map(Percentiles::from),
        }
    }
}

/// CPU time of this process with all its threads, those that have ended too.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests;
