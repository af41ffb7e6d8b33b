//! What is sent, how fast, for how long: the flags of every command that sends.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize, Serializer};

/// What is sent. Also the flags of every command that sends.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct Options {
    /// Where to POST; `{topic}` is replaced by a topic's name
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/topics/{topic}/events")]
    pub url: String,
    /// The topics, taken in turn (repeat or separate by commas)
    #[arg(long, value_delimiter = ',', default_value = "load")]
    pub topics: Vec<String>,
    /// A header of every request, `Name: value` (repeat); takes the place of one the tool would send
    #[arg(long = "header")]
    #[serde(serialize_with = "without_secrets")]
    pub headers: Vec<String>,
    /// A file with one API key a line: each is one client, sent as `Authorization: Bearer`
    #[arg(long)]
    pub keys: Option<PathBuf>,
    /// The statuses that count as accepted
    #[arg(long, value_delimiter = ',', default_value = "200,202")]
    pub accept: Vec<u16>,
    /// HTTP/1.1 keep-alive, or HTTP/2 with prior knowledge
    #[arg(long, value_enum, default_value = "h1")]
    pub protocol: Protocol,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Requests per second on a schedule that waits for nobody; without it each connection sends once it was answered
    #[arg(long)]
    pub rate: Option<f64>,
    /// How the requests of a rate are spread over time
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Seconds at the start that are left out of every figure
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub warm_up: Duration,
    /// Seconds that are measured
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub duration: Duration,
    /// Seconds after the end that answers are waited for; what has none by then is an error
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub last_answers: Duration,
    /// Ends the load after this many requests, if that is before the end of its time
    #[arg(long)]
    pub requests: Option<u64>,
    /// Events in a request
    #[arg(long, default_value_t = 1)]
    pub events: usize,
    /// Bytes of a generated event (100 or more are met to the byte)
    #[arg(long, default_value_t = 160)]
    pub size: usize,
    /// How events stand in a body
    #[arg(long, value_enum, default_value = "ndjson")]
    pub form: Form,
    /// Gives each event the key of its user, one of 10,000, some often and some seldom (form `envelope`: the record's
    /// key; requests of one event: `Kafka-Key`)
    #[arg(long)]
    pub keyed: bool,
    /// Sends bodies with `Content-Encoding: gzip`
    #[arg(long)]
    pub gzip: bool,
    /// Takes the events from an NDJSON file or a folder of JSON files instead of generating them
    #[arg(long)]
    pub corpus: Option<PathBuf>,
    /// A file that is the body of every request, as it is (`{id}`, `{time}` vary); for gateways with forms of their own
    #[arg(long)]
    pub template: Option<PathBuf>,
    /// The process that is measured: CPU by thread group, memory, context switches
    #[arg(long)]
    pub pid: Option<u32>,
    /// Its Prometheus page, for the sizes of its batches
    #[arg(long)]
    pub metrics: Option<String>,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The protocol of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, keep-alive, no pipelining.
    H1,
    /// HTTP/2 over cleartext, prior knowledge (RFC 9113 3.3).
    H2c,
}

/// How the requests of a rate are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One every 1/rate seconds.
    Constant,
    /// Exponential gaps with the same mean, as independent senders make.
    Poisson,
}

/// How events stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One event, `application/json`.
    Single,
    /// `application/json`, an array.
    Array,
    /// `application/x-ndjson`.
    Ndjson,
    /// `application/vnd.klamm.v1+json`: an array of `{"key","value"}`.
    Envelope,
}

/// The defaults of the flags.
impl Default for Options {
    fn default() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            options: Options,
        }
        Defaults::parse_from(["klamm-load"]).options
    }
}

impl Options {
    /// Faults that no flag shows by itself.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.threads > 0, "--threads must be at least 1");
        ensure!(
            self.connections >= self.threads,
            "--connections {} is less than --threads {}: each thread needs one",
            self.connections,
            self.threads
        );
        ensure!(self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), "--rate must be above 0");
        ensure!(self.events > 0, "--events must be at least 1");
        ensure!(!self.topics.is_empty(), "--topics must name one at least");
        ensure!(!self.duration.is_zero(), "--duration must be above 0");
        ensure!(self.form != Form::Single || self.events == 1, "--form single holds one event; see ndjson or array");
        ensure!(self.corpus.is_none() || self.template.is_none(), "--corpus and --template exclude each other");
        ensure!(
            !self.keyed || self.events == 1 || self.form == Form::Envelope,
            "--keyed with more than one event a request needs --form envelope"
        );
        ensure!(
            !self.keyed || (self.corpus.is_none() && self.template.is_none()),
            "--keyed is for generated events: a corpus or template brings its own"
        );
        Ok(())
    }
}

/// A number of seconds, with or without its `s`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim_end_matches('s').parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// Reports are passed on: of headers that may carry a secret they hold the name alone.
fn without_secrets<S: Serializer>(headers: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    const SECRET: [&str; 5] = ["auth", "key", "token", "cookie", "secret"];
    serializer.collect_seq(headers.iter().map(|header| {
        let name = header.split(':').next().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        if SECRET.iter().any(|word| lower.contains(word)) { format!("{name}: (hidden)") } else { header.clone() }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let good = Options::default();
        assert!(good.check().is_ok());
        for bad in [
            Options { threads: 0, ..good.clone() },
            Options { threads: 65, ..good.clone() },
            Options { rate: Some(0.0), ..good.clone() },
            Options { rate: Some(f64::NAN), ..good.clone() },
            Options { form: Form::Single, events: 2, ..good.clone() },
            Options { keyed: true, events: 2, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_stay_out_of_reports() {
        let options = Options {
            headers: vec!["Authorization: Bearer s3cret".into(), "X-Api-Key:s3cret".into(), "Accept: */*".into()],
            ..Options::default()
        };
        let json = serde_json::to_string(&options).unwrap();
        assert!(!json.contains("s3cret"), "{json}");
        assert!(json.contains("Accept: */*"));
    }
}
