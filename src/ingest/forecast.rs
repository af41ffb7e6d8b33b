//! Whether a request would wait in vain: asked before anything of it is enqueued.

use std::time::{Duration, Instant};

use super::Gateway;
use crate::event::TopicName;
use crate::reject::Reject;
use crate::stages::admission::Permit;
use crate::stages::produce::Lane;
use crate::stages::produce::backlog::Forecast;

impl Gateway {
    /// Whether events for `topic` that may take `patience` should be enqueued now. They should not while Kafka does not
    /// answer, or where the queue of every partition will not clear in time. Costs two loads while all is well.
    ///
    /// To ask is to act on `GoOn`: of a topic of which nothing is acknowledged, one request a second is let through.
    pub fn forecast(&self, topic: &TopicName, permit: &Permit, patience: Duration) -> Forecast {
        if let Some(age) = self.health.outage() {
            return Forecast::outage(age);
        }
        if !self.backlog.is_any() {
            return Forecast::GoOn;
        }
        self.backlog.forecast(lane_of(permit), topic, patience, Instant::now())
    }

    /// When a request to `topic` that failed should come back.
    pub(super) fn come_back(&self, topic: &TopicName) -> Duration {
        match self.health.outage() {
            Some(age) => Forecast::outage(age).come_back(),
            None => self.backlog.worst(topic).come_back(),
        }
    }

    /// The refusal for a forecast that says so, before anything was enqueued.
    ///
    /// # Errors
    /// 503 `kafka_unavailable`.
    pub fn refuse_if_in_vain(&self, forecast: Forecast) -> Result<(), Reject> {
        let Forecast::Refuse { come_back } = forecast else { return Ok(()) };
        let detail = if self.health.is_up() {
            "too much waits for Kafka to be acknowledged in time; nothing was written"
        } else {
            "Kafka does not answer; nothing was written"
        };
        Err(Reject::KafkaUnavailable { detail: detail.into(), failures: Vec::new(), retry_after: come_back })
    }
}

/// The lane of a request. Order across the change of lane: a heavy client stays one until nothing of it is under way.
pub(super) fn lane_of(permit: &Permit) -> Lane {
    if permit.is_heavy() { Lane::Bulk } else { Lane::Express }
}
