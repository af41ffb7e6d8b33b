//! A broker with topics of its own for one measurement: a mock cluster in its own process, or a real Kafka.

use std::rc::Rc;

use anyhow::Result;

use crate::topics::Cluster;
use crate::yardstick::Server;
use crate::yardstick::kafka::Kafka;

/// What the rows run against.
#[derive(Clone)]
pub(crate) enum Tier {
    /// A mock cluster for each group.
    Mock,
    /// A real Kafka.
    Real {
        /// Its `bootstrap.servers`.
        bootstrap: String,
        /// Its process, if it is ours.
        own: Option<Rc<Kafka>>,
    },
}

impl Tier {
    /// From the flag: nothing, `1` for one of our own, or an address.
    pub(crate) fn from_flag(flag: Option<&str>) -> Result<Self> {
        Ok(match flag {
            None | Some("" | "0") => Self::Mock,
            Some("1") => {
                let kafka = Kafka::start()?;
                Self::Real { bootstrap: kafka.bootstrap().to_owned(), own: Some(Rc::new(kafka)) }
            }
            Some(bootstrap) => Self::Real { bootstrap: bootstrap.to_owned(), own: None },
        })
    }

    /// For the report.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Mock => "librdkafka's mock cluster, 1 broker, in its own process".to_owned(),
            Self::Real { own: Some(_), .. } => {
                "Apache Kafka, 1 broker on this machine, started for this run".to_owned()
            }
            Self::Real { bootstrap, own: None } => format!("Apache Kafka at {bootstrap}"),
        }
    }

    /// A broker with so many topics.
    pub(crate) fn stage(&self, topics: usize, partitions: i32) -> Result<Stage> {
        match self {
            Self::Mock => Stage::mock(topics, partitions, 0),
            Self::Real { bootstrap, .. } => {
                let cluster = Cluster { bootstrap: bootstrap.clone(), properties: Vec::new() };
                Stage::real(&cluster, topics, partitions)
            }
        }
    }
}

fn names(count: usize) -> impl Iterator<Item = String> {
    let run = fastrand::u32(..1 << 24);
    (0..count).map(move |number| format!("klamm-load-{run:06x}-{number}"))
}

enum Broker {
    /// Ends when dropped.
    Mock(#[allow(dead_code, reason = "kept alive")] Server),
    Real(Cluster),
}

/// A broker with topics for a measurement; they go with it.
pub(crate) struct Stage {
    pub(crate) bootstrap: String,
    pub(crate) topics: Vec<String>,
    broker: Broker,
}

impl Stage {
    /// A mock cluster whose every answer takes `delay` milliseconds.
    pub(crate) fn mock(topics: usize, partitions: i32, delay: u64) -> Result<Self> {
        let topics: Vec<String> = names(topics).collect();
        let (names, partitions, delay) = (topics.join(","), partitions.to_string(), delay.to_string());
        let arguments = ["broker", "--topics", &names, "--partitions", &partitions, "--delay", &delay];
        let server = Server::start(&arguments.map(str::to_owned))?;
        Ok(Self { bootstrap: server.address().to_owned(), topics, broker: Broker::Mock(server) })
    }

    /// A Kafka that there is.
    pub(crate) fn real(cluster: &Cluster, topics: usize, partitions: i32) -> Result<Self> {
        let (bootstrap, broker) = (cluster.bootstrap.clone(), Broker::Real(cluster.clone()));
        let mut stage = Self { bootstrap, topics: Vec::new(), broker };
        for name in names(topics) {
            cluster.create(&name, partitions)?;
            stage.topics.push(name);
        }
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Broker::Real(cluster) = &self.broker {
            for topic in &self.topics {
                if let Err(fault) = cluster.delete(topic) {
                    eprintln!("klamm-load: {fault:#}");
                }
            }
        }
    }
}
