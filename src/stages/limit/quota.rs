//! The quotas of one client: requests, events and bytes, each of which may be off.

use std::time::Duration;

use http::HeaderValue;

use super::gcra::{Denied, Gcra};
use super::{Nanos, ratelimit};
use crate::config::Quotas;
use crate::reject::{Policy, Reject};
use crate::units::{Limit, Rate};

/// The limits of one client and their state. Shared by all its requests.
#[derive(Debug)]
pub struct Quota {
    config: Quotas,
    requests: Option<Gcra>,
    events: Option<Gcra>,
    bytes: Option<Gcra>,
    /// The value of `RateLimit-Policy`; `None` where every limit is off.
    pub(super) policy_field: Option<HeaderValue>,
}

/// Events and bytes that were taken. To be kept, or given to [`Quota::refund`].
#[must_use = "what is dropped stays charged"]
#[derive(Debug, PartialEq, Eq)]
pub struct Charge {
    events: u64,
    bytes: u64,
}

impl Charge {
    /// How many events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a part out of this charge, at most what it has, so that only that is given back.
    pub fn split(&mut self, events: u64, bytes: u64) -> Charge {
        let part = Charge { events: events.min(self.events), bytes: bytes.min(self.bytes) };
        self.events -= part.events;
        self.bytes -= part.bytes;
        part
    }
}

/// Where a client stands with one of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which limit.
    pub policy: Policy,
    /// How many units may come at once: the burst.
    pub quota: u64,
    /// Seconds in which an empty limit fills up, at least 1, rounded up.
    pub window: u64,
    /// How many units could be taken now.
    pub remaining: u64,
    /// Seconds until the limit is full again, rounded up.
    pub reset: u64,
}

impl Quota {
    /// Full limits.
    pub fn new(config: &Quotas) -> Self {
        let limit = |limit: Limit<Rate>| limit.get().map(|rate| Gcra::new(rate, config.burst.get()));
        let [requests, events, bytes] = [config.requests, config.events, config.bytes].map(limit);
        let mut quota = Self { config: *config, requests, events, bytes, policy_field: None };
        // Nothing of the policy depends on the time.
        quota.policy_field = ratelimit::policy(quota.standing(Nanos(0)));
        quota
    }

    /// Whether these are the limits of `config`, so that a reload can keep them with their state.
    pub fn same_as(&self, config: &Quotas) -> bool {
        self.config == *config
    }

    /// Charges one request, whatever becomes of it.
    ///
    /// # Errors
    /// [`Reject::RateLimited`].
    pub fn request(&self, now: Nanos) -> Result<(), Reject> {
        match take(self.requests.as_ref(), 1, now) {
            None => Ok(()),
            Some(denied) => Err(refusal(&[(Policy::Requests, 1, Some(denied))])),
        }
    }

    /// Charges `events` and `bytes` together, or neither.
    ///
    /// # Errors
    /// [`Reject::BatchOverBurst`] where waiting would never help; else [`Reject::RateLimited`] with every limit that is
    /// spent and the longest of the waits.
    pub fn batch(&self, events: u64, bytes: u64, now: Nanos) -> Result<Charge, Reject> {
        let no_events = take(self.events.as_ref(), events, now);
        let no_bytes = take(self.bytes.as_ref(), bytes, now);
        if no_events.is_none() && no_bytes.is_none() {
            return Ok(Charge { events, bytes });
        }
        // For these few nanoseconds another request of the same client may have been refused for what is now undone.
        // A lock over both would cost every request; this client is over a quota anyway.
        if let (None, Some(limit)) = (no_events, &self.events) {
            limit.undo(events);
        }
        if let (None, Some(limit)) = (no_bytes, &self.bytes) {
            limit.undo(bytes);
        }
        Err(refusal(&[(Policy::Events, events, no_events), (Policy::Bytes, bytes, no_bytes)]))
    }

    /// Gives back what was charged, where klamm or Kafka is the cause that it was not used.
    #[expect(clippy::needless_pass_by_value, reason = "taken, so that no charge is given back twice")]
    pub fn refund(&self, charge: Charge) {
        let Charge { events, bytes } = charge;
        if let Some(limit) = &self.events {
            limit.refund(events);
        }
        if let Some(limit) = &self.bytes {
            limit.refund(bytes);
        }
    }

    /// Where the client stands with each limit that is on.
    pub fn standing(&self, now: Nanos) -> impl Iterator<Item = Standing> + '_ {
        let limits = [(Policy::Requests, &self.requests), (Policy::Events, &self.events), (Policy::Bytes, &self.bytes)];
        limits.into_iter().filter_map(move |(policy, limit)| {
            let limit = limit.as_ref()?;
            Some(Standing {
                policy,
                quota: limit.burst(),
                window: seconds(limit.window()).max(1),
                remaining: limit.remaining(now),
                reset: seconds(limit.reset(now)),
            })
        })
    }
}

fn take(limit: Option<&Gcra>, n: u64, now: Nanos) -> Option<Denied> {
    limit?.try_take(n, now).err()
}

fn refusal(asked: &[(Policy, u64, Option<Denied>)]) -> Reject {
    let mut violated = Vec::new();
    let mut retry_after = Duration::ZERO;
    for &(policy, got, denied) in asked {
        match denied {
            None => {}
            Some(Denied::TooBig { limit }) => return Reject::BatchOverBurst { policy, limit, got },
            Some(Denied::Wait(wait)) => {
                violated.push(policy);
                retry_after = retry_after.max(wait);
            }
        }
    }
    Reject::RateLimited { violated, retry_after }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
