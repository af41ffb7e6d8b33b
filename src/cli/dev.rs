//! `klamm dev`: a gateway to try things on, with a Kafka of its own in the same process.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;

use super::BAD_CONFIG;
use super::serve::gateway;
use crate::admin::sampler::Example;
use crate::boot::{Notify, Running, Sockets, Start};
use crate::config::live::Live;
use crate::config::load::Source;
use crate::event::TopicName;
use crate::stages::auth::api_key;
use crate::stages::produce::catalog::Create;
use crate::telemetry::{LogStyle, access, logs};

mod demo;

/// The key of the client `dev`.
const KEY: &str = "dev";
/// How many topics are made on first use at most.
const TOPICS: usize = 1000;
/// Of each topic made on first use.
const PARTITIONS: i32 = 4;
/// How long Kafka may take to answer before the welcome says that it does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Try it: a gateway with a Kafka of its own, or yours
#[derive(Debug, Args)]
#[command(after_help = "\
The client `dev` has the key `dev` and may write to any topic; topics are made on first use. Nothing is kept: the Kafka \
of its own lives in memory, holds the last 5 MiB of each partition and ends with the process.")]
pub(super) struct Dev {
    /// Use this Kafka instead of one in the process
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,

    /// Send a gentle load of good, bad and over-quota events
    #[arg(long)]
    demo: bool,

    /// Log klamm's own lines too
    #[arg(long, short)]
    verbose: bool,
}

impl Dev {
    pub(super) fn run(self) -> io::Result<ExitCode> {
        let (bootstrap, create) = match &self.bootstrap {
            Some(bootstrap) => (bootstrap.clone(), create_in(bootstrap)?),
            None => mock()?,
        };
        let live = match Live::open(source(&bootstrap)?) {
            Ok((live, _)) => live,
            Err(faults) => {
                eprintln!("{faults}");
                return Ok(ExitCode::from(BAD_CONFIG));
            }
        };
        let level = if self.verbose { "info" } else { "error" };
        let logs = logs::init(level, LogStyle::Pretty).map_err(io::Error::other)?;
        let create = Some(at_most(TOPICS, create));
        let example = Some(Example { topic: "demo", key: KEY });
        let start = Start {
            live: Arc::new(live),
            logs,
            access: access::Style::Dev,
            example,
            create,
            ready_file: None,
            sockets: Sockets::default(),
            notify: Notify::default(),
        };
        gateway(start, async |running| {
            // Who pastes the line at once is not to meet a 503.
            let answers = running.kafka_answers(PATIENCE).await;
            welcome(running, self.bootstrap.as_deref());
            if !answers {
                println!("{bootstrap} does not answer yet: requests get 503 until it does.\n");
            }
            if self.demo {
                demo::start(running.ingest.to_string());
            }
        })
    }
}

/// The config of `klamm dev`, as flags over the defaults.
fn source(bootstrap: &str) -> io::Result<Source> {
    let digest = |key: &str| hex::encode(api_key::digest(key));
    let client = |key: &str, topics: &str, limits: &str| {
        format!("{{keys: [{{label: dev, sha256: {}}}], topics: [{topics}], limits: {limits}}}", digest(key))
    };
    let topic = "{formats: [json, ndjson, envelope, binary, text], tombstones: allow, partition: allow}";
    let (ingest, admin) = (free_port(8080)?, free_port(8081)?);
    let flags = [
        ("kafka.default.bootstrap", format!("[\"{bootstrap}\"]")),
        ("ingest.listen", format!("127.0.0.1:{ingest}")),
        ("admin.listen", format!("127.0.0.1:{admin}")),
        ("admin.tap_payload", "true".to_owned()),
        ("shutdown", "{lame_duck: 0s, flush: 5s}".to_owned()),
        ("log.access", "all".to_owned()),
        ("clients.dev", client(KEY, "\"*\"", "{}")),
        ("topics", format!("{{\"*\": {topic}, demo-orders: {{key: {{pointer: /order_id, required: true}}}}}}")),
    ];
    let demo = demo::CLIENTS.map(|key| (format!("clients.{key}"), client(key, "\"demo-*\"", demo::LIMITS)));
    let flags = flags.into_iter().map(|(path, value)| (path.to_owned(), value)).chain(demo).collect();
    Ok(Source { file: None, env: Vec::new(), flags })
}

/// `wanted`, or the next port above that nobody listens on.
fn free_port(wanted: u16) -> io::Result<u16> {
    // Ports 8080 and 8081 lie side by side: each looks for its own parity, so that neither takes the other's.
    let free = (wanted..wanted + 200)
        .step_by(2)
        .find(|port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok());
    free.ok_or_else(|| io::Error::other(format!("no free port from {wanted} on")))
}

/// A mock cluster on a thread of its own (it may not move between threads), for as long as the process lives.
fn mock() -> io::Result<(String, Create)> {
    type Question = (TopicName, mpsc::Sender<Result<(), String>>);
    let (tell, told) = mpsc::channel::<Result<String, String>>();
    let (ask, asked) = mpsc::channel::<Question>();
    thread::Builder::new().name("mock-kafka".into()).spawn(move || {
        let cluster = match MockCluster::new(1) {
            Ok(cluster) => cluster,
            Err(error) => return drop(tell.send(Err(error.to_string()))),
        };
        // Nobody may be left to hear it; then there is nobody to ask either, and the loop ends.
        let _ = tell.send(Ok(cluster.bootstrap_servers()));
        for (topic, answer) in asked {
            let made = cluster.create_topic(topic.as_str(), PARTITIONS, 1).map_err(|error| error.to_string());
            let _ = answer.send(made);
        }
    })?;
    let bootstrap = told.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
    let ask = Mutex::new(ask);
    let create: Create = Arc::new(move |topic| {
        let (tell, told) = mpsc::channel();
        let question = (topic.clone(), tell);
        ask.lock().unwrap_or_else(PoisonError::into_inner).send(question).map_err(|error| error.to_string())?;
        told.recv().map_err(|error| error.to_string())?
    });
    Ok((bootstrap, create))
}

/// Makes topics in a real Kafka.
fn create_in(bootstrap: &str) -> io::Result<Create> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().map_err(io::Error::other)?;
    Ok(Arc::new(move |topic| {
        let topic = NewTopic::new(topic.as_str(), PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(5)));
        let made = tokio::runtime::Handle::current().block_on(admin.create_topics([&topic], &options));
        let results = made.map_err(|error| error.to_string())?;
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code.to_string()))
    }))
}

/// `create` for at most `most` topics.
fn at_most(most: usize, create: Create) -> Create {
    let made: Mutex<HashSet<TopicName>> = Mutex::default();
    Arc::new(move |topic| {
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= most && !made.contains(topic) {
            return Err(format!("klamm dev makes at most {most} topics"));
        }
        create(topic)?;
        made.insert(topic.clone());
        Ok(())
    })
}

fn welcome(running: &Running, bootstrap: Option<&str>) {
    let Running { ingest, admin, .. } = running;
    println!("klamm dev: events go to {}", bootstrap.unwrap_or("a Kafka in this process (nothing is kept)"));
    println!("  ingest   http://{ingest}/v1/topics/{{topic}}/events   key: {KEY}");
    println!("  page     http://{admin}/ui/");
    println!("  metrics  http://{admin}/metrics");
    println!("  clients  http://{admin}/admin/clients");
    println!("  health   http://{admin}/readyz?verbose\n");
    println!("Try it:\n");
    println!("  curl -i http://{ingest}/v1/topics/demo/events -H 'Authorization: Bearer {KEY}' \\");
    println!("    -H 'Content-Type: application/json' -d '{{\"hello\":\"world\"}}'\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_of_dev_is_valid() {
        let (live, warnings) = Live::open(source("127.0.0.1:9092").unwrap()).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(live.current().clients.len(), 4, "one to try, three of the demo");
    }

    #[test]
    fn topics_are_made_up_to_a_number() {
        let create = at_most(2, Arc::new(|_| Ok(())));
        for (topic, made) in [("a", true), ("b", true), ("a", true), ("c", false)] {
            assert_eq!(create(&topic.into()).is_ok(), made, "{topic}");
        }
    }

    #[test]
    fn a_taken_port_makes_way_for_the_next() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free_port(port).unwrap() > port);
    }
}
