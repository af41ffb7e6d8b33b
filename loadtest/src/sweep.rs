//! Which `linger`, `batch_bytes` and `compression` suit a broker and a payload: measured, setting by setting.
//!
//! Each setting gets a klamm of its own and a new topic. It is loaded twice: closed loop for the most it does, then at
//! one rate that is the same for all settings (half of what the default does) for latency and CPU: those two mean
//! nothing at different rates. The order is shuffled in each round, so that what drifts on the machine hits all alike.

pub mod pictures;
pub mod plan;
pub mod recommend;
pub mod setting;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub use recommend::{Advice, Summary};
pub use setting::{Compression, Setting};

use crate::capacity::{PATIENCE, complaint, errors, millis};
use crate::gateway::{Gateway, Setup};
use crate::load::{Loads, Options, Run, Stop};
use crate::report::answers;
use crate::topics::Cluster;

/// What is the same for all settings.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The klamm that is started.
    pub klamm: PathBuf,
    /// The Kafka it writes to.
    pub cluster: Cluster,
    /// Partitions of each topic.
    pub partitions: i32,
    /// Shape of the load; its rate, target and times are set for each run.
    pub shape: Options,
    /// How long the most is measured.
    pub closed: Duration,
    /// How long the common rate is measured.
    pub open: Duration,
}

/// One setting in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What was set.
    pub setting: Setting,
    /// The most it did: accepted events per second, closed loop.
    pub events_per_second: f64,
    /// CPU-microseconds of klamm per event while it did.
    pub cpu_at_most: Option<f64>,
    /// The tool was the limit: the most is "at least".
    pub at_least: bool,
    /// At the common rate; none while that is not known.
    pub fixed: Option<Fixed>,
}

/// At the common rate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fixed {
    /// Median latency in milliseconds.
    pub p50: f64,
    /// 99th percentile in milliseconds.
    pub p99: f64,
    /// CPU-microseconds of klamm per event.
    pub cpu_per_event: Option<f64>,
    /// Requests that were not accepted, in percent.
    pub errors: f64,
    /// Mean bytes of klamm's batches to Kafka, as sent.
    pub batch_bytes: Option<f64>,
    /// 99th percentile of the tool's own lateness, in milliseconds. It is part of the latencies.
    pub lateness: f64,
    /// Why the tool does not stand by the latencies.
    pub invalid: Vec<String>,
    /// Latency by percentile: share, milliseconds.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// A whole sweep, or what there is of it.
#[derive(Debug, Clone, Serialize)]
pub struct Sweep {
    /// Requests per second at which all were compared.
    pub rate: f64,
    /// Events of a request.
    pub events: usize,
    /// In the order they were measured.
    pub measured: Vec<Measured>,
    /// The settings that were asked for, each with the medians of its rounds; those not reached are left out.
    pub summaries: Vec<Summary>,
    /// What to set.
    pub advice: Option<Advice>,
    /// Ended by hand.
    pub stopped: bool,
    /// What ended it before its time.
    pub fault: Option<String>,
}

impl Bench {
    /// Measures every setting of `plan`, round by round. `tell` hears of each.
    ///
    /// # Errors
    /// Kafka or klamm cannot be reached or started; the default accepts nothing.
    pub fn sweep(
        &self,
        plan: &[Vec<Setting>],
        stop: &Stop,
        loads: &Loads<'_>,
        tell: impl Fn(&Measured),
    ) -> Result<Sweep> {
        let default = self.measure(Setting::DEFAULT, None, stop, loads)?;
        tell(&default);
        ensure!(default.events_per_second > 0.0 || stop.is_stopped(), "nothing was measured of the default");
        let events = self.shape.events;
        let rate = default.events_per_second / events as f64 / 2.0;
        let (mut measured, mut fault) = (Vec::new(), None);
        for setting in plan.iter().flatten() {
            if stop.is_stopped() {
                break;
            }
            let one = match self.measure(*setting, Some(rate), stop, loads) {
                Ok(one) => one,
                Err(error) if measured.is_empty() => return Err(error),
                // A quarter of an hour of figures is not thrown away.
                Err(error) => {
                    fault = Some(format!("{error:#}"));
                    break;
                }
            };
            // What was cut short is no figure.
            if !stop.is_stopped() {
                tell(&one);
                measured.push(one);
            }
        }
        let summaries = recommend::summaries(&measured);
        let advice = recommend::advise(&summaries);
        Ok(Sweep { rate, events, measured, summaries, advice, stopped: stop.is_stopped(), fault })
    }

    /// One setting: its klamm, its topic, both loads.
    fn measure(&self, setting: Setting, rate: Option<f64>, stop: &Stop, loads: &Loads<'_>) -> Result<Measured> {
        let topic = format!("klamm-load-{:08x}", fastrand::u32(..));
        self.cluster.create(&topic, self.partitions)?;
        let measured = self.measure_on(&topic, setting, rate, stop, loads);
        let deleted = self.cluster.delete(&topic);
        let measured = measured.with_context(|| format!("setting {setting}"))?;
        deleted?;
        Ok(measured)
    }

    fn measure_on(
        &self,
        topic: &str,
        setting: Setting,
        rate: Option<f64>,
        stop: &Stop,
        loads: &Loads<'_>,
    ) -> Result<Measured> {
        let setup = Setup {
            properties: self.cluster.properties(),
            linger: setting.linger(),
            batch_bytes: setting.batch_bytes,
            compression: setting.compression.name().to_owned(),
            ..Setup::new(&self.cluster.bootstrap, &[topic.to_owned()])
        };
        let gateway = Gateway::start(&self.klamm, &setup)?;
        let mut options = Options {
            url: gateway.url(),
            topics: vec![topic.to_owned()],
            pid: Some(gateway.pid()),
            metrics: Some(gateway.metrics()),
            rate: None,
            duration: self.closed,
            ..self.shape.clone()
        };
        options.headers.extend(gateway.header());
        let most = loads(&options, &setting.to_string())?;
        ensure!(most.served.requests > 0 || most.stopped, "klamm accepts nothing: {}", complaint(&most));
        let fixed = match rate {
            Some(_) if !stop.is_stopped() => {
                let run = loads(&Options { rate, duration: self.open, ..options }, &setting.to_string())?;
                Some(Fixed::of(&run))
            }
            _ => None,
        };
        gateway.stop()?;
        Ok(Measured {
            setting,
            events_per_second: most.events_per_second(),
            cpu_at_most: most.cpu_per_event(),
            at_least: most.generator.saturated,
            fixed,
        })
    }
}

impl Fixed {
    fn of(run: &Run) -> Self {
        Self {
            p50: answers::percentile(&run.accepted, 0.5),
            p99: answers::percentile(&run.accepted, 0.99),
            cpu_per_event: run.cpu_per_event(),
            errors: errors(run, PATIENCE),
            batch_bytes: run.batches.as_ref().map(|batches| batches.bytes),
            lateness: millis(run.schedule.lateness.at(0.99)),
            invalid: run.invalid.clone(),
            curve: answers::points(&run.accepted),
        }
    }
}
