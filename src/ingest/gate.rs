//! Before the body: everything that can be known from the head of a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use time::OffsetDateTime;

use super::request::Wishes;
use super::rules::{Client, Route, Rules};
use super::spooling::Resort;
use super::{Gateway, Refused};
use crate::config::{Ack, Config, OnOutage, Topic};
use crate::event::TopicName;
use crate::reject::{Reject, Room};
use crate::shutdown::Phase;
use crate::stages::admission::Permit;
use crate::stages::auth::{Head, Peer};
use crate::stages::limit::Nanos;
use crate::stages::produce::Destination;
use crate::stages::produce::backlog::Forecast;
use crate::stages::produce::catalog::{Known, Refusal};
use crate::stages::route::policy::Policy;
use crate::telemetry::Pair;
use crate::units::Span;

/// What the head of a request says.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// From the path.
    pub topic: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
    /// As they came.
    pub headers: &'a HeaderMap,
    /// Who is at the other end.
    pub peer: Peer,
}

/// A request that may send its body.
pub struct Pass {
    /// The rules that hold for it to the end.
    pub config: Arc<Config>,
    /// Who.
    pub client: Arc<Client>,
    /// Where to.
    pub to: Destination,
    /// Under which policy.
    pub policy: Arc<Policy>,
    /// What it wishes.
    pub wishes: Wishes,
    /// Its bytes: taken before they are read.
    pub permit: Permit,
    /// Where it is counted.
    pub pair: Arc<Pair>,
    /// When its events go to the spool.
    pub resort: Resort,
    /// Kafka cannot take its events now: what is known of the topic may be a guess.
    pub kafka_away: bool,
}

impl Gateway {
    /// Who sends, by the head alone.
    ///
    /// # Errors
    /// 401, the same for every reason; 403 for web pages.
    pub fn identify(&self, rules: &Rules, head: &Head<'_>) -> Result<Arc<Client>, Refused> {
        let who = rules.auth.identify(head, OffsetDateTime::now_utc());
        let client = who.and_then(|who| rules.clients.get(&who.client).cloned().ok_or(Reject::Unauthenticated));
        client.map_err(|reject| Refused { reject, client: None, pair: self.metrics.anonymous() })
    }

    /// Now, on the quotas' clock.
    pub fn now(&self) -> Nanos {
        self.clock.at(Instant::now())
    }
}

/// Lets a request through to its body, or refuses it.
///
/// Awaits Kafka's word on a topic that klamm meets for the first time (about a second at most), nothing else.
///
/// # Errors
/// Everything of the table that does not need the body.
pub async fn gate(app: &Gateway, asked: Asked<'_>) -> Result<Pass, Refused> {
    let rules = app.rules.load_full();
    let client = app.identify(&rules, &Head { headers: asked.headers, peer: asked.peer })?;
    let route = client.route(asked.topic);
    let (topic, policy) = match &route {
        Some(route) => (route.topic.clone(), Ok(Arc::clone(&route.policy))),
        None => (TopicName::from(asked.topic), writable(&rules, &client, asked.topic)),
    };
    let known = app.catalog.peek(&topic);
    // There is no end of names with a prefix: one gets a row of its own when Kafka is known to have it.
    let named = policy.is_ok() && (known.is_some() || rules.topics.names(asked.topic));
    let pair = match &route {
        Some(route) => Arc::clone(&route.pair),
        None if named => app.metrics.pair(&client.id, &topic),
        None => app.metrics.unknown_topic(&client.id),
    };
    let refused = |reject| Refused { reject, client: Some(Arc::clone(&client)), pair: Arc::clone(&pair) };

    client.quota.request(app.now()).map_err(refused)?;
    let policy = policy.map_err(refused)?;
    if *app.phase.borrow() >= Phase::Draining {
        return Err(refused(Reject::Draining));
    }
    let wishes = Wishes::of(asked.headers, asked.query, &policy.topic.formats).map_err(refused)?;
    let limit = rules.config.ingest.wait.get();
    // Who does not wait at all has no time by which the events must be there.
    let patience = Some(wishes.wait(limit)).filter(|wait| !wait.is_zero()).unwrap_or(limit);
    let resort = resort(app, &policy.topic, &wishes);
    let known = match known {
        Some(known) => Ok(known),
        None if !app.health.is_up() => Err(Refusal::Away),
        None => app.catalog.find(&topic).await,
    };
    let known = match known {
        Ok(known) => known,
        // A name of the config is taken at its word; of the names with a prefix there is no end.
        Err(Refusal::Away) if resort != Resort::Never && rules.topics.names(asked.topic) => UNSEEN,
        Err(refusal) => {
            let missing = refusal == Refusal::Missing;
            return Err(Refused {
                reject: unwritable(app, &refusal, &topic),
                client: Some(Arc::clone(&client)),
                pair: if missing { app.metrics.unknown_topic(&client.id) } else { pair },
            });
        }
    };
    let pair = if named { pair } else { app.metrics.pair(&client.id, &topic) };
    // A pair that folds many topics is asked for each time, which is counted.
    if route.is_none() && *pair.topic() == topic {
        client.keep(Route { topic: topic.clone(), policy: Arc::clone(&policy), pair: Arc::clone(&pair) });
    }
    let permit = app.budget.open(&client.share, &topic);
    let forecast = match (resort, known) {
        (Resort::Always, _) | (_, UNSEEN) => Forecast::GoOn,
        (Resort::Never | Resort::Outage, _) => app.forecast(&topic, &permit, patience),
    };
    let refused = |reject| Refused { reject, client: Some(Arc::clone(&client)), pair: Arc::clone(&pair) };
    if resort == Resort::Never {
        app.refuse_if_in_vain(forecast).map_err(refused)?;
    }
    let kafka_away = known == UNSEEN || forecast != Forecast::GoOn;
    if let Some(spooling) = app.spooling.as_ref().filter(|_| kafka_away || !app.health.is_up())
        && !spooling.store.state().room
    {
        // Before the body is read in vain.
        return Err(refused(Reject::SpoolFull { what: Room::Total }));
    }
    let to = destination(topic, known, Some(&policy), patience);
    Ok(Pass { config: Arc::clone(&rules.config), client, to, policy, wishes, permit, pair, resort, kafka_away })
}

/// Where events for `topic` go, and by which producer its policy wants that.
pub(super) fn destination(topic: TopicName, known: Known, policy: Option<&Policy>, patience: Duration) -> Destination {
    let linger = policy.and_then(|policy| policy.topic.linger).map(Span::get);
    let client_id = policy.and_then(|policy| policy.client_id.clone());
    Destination { topic, known, linger, client_id, patience }
}

/// What is assumed of a topic that Kafka was never asked about: its drain looks again.
const UNSEEN: Known = Known { partitions: i32::MAX, max_message_bytes: None, demands: None };

fn resort(app: &Gateway, topic: &Topic, wishes: &Wishes) -> Resort {
    match app.spooling {
        Some(_) if wishes.prefer.respond_async || topic.ack == Ack::Spool => Resort::Always,
        Some(_) if topic.on_outage == OnOutage::Spool => Resort::Outage,
        _ => Resort::Never,
    }
}

/// The policy of a topic that `client` may write to. What is not its own looks the same whether it exists or not.
///
/// # Errors
/// 403, 404.
pub fn writable(rules: &Rules, client: &Client, topic: &str) -> Result<Arc<Policy>, Reject> {
    if !client.grants.allows(topic) {
        return Err(Reject::ForbiddenTopic { topic: topic.to_owned() });
    }
    rules.topics.find(topic).ok_or_else(|| Reject::UnknownTopic { topic: topic.to_owned() })
}

fn away(app: &Gateway, topic: &TopicName) -> Reject {
    Reject::KafkaUnavailable {
        detail: "Kafka does not answer; nothing was written".into(),
        failures: Vec::new(),
        retry_after: app.come_back(topic),
    }
}

/// Kafka's word on a topic as a refusal.
pub fn unwritable(app: &Gateway, refusal: &Refusal, topic: &TopicName) -> Reject {
    match refusal {
        Refusal::Missing => Reject::UnknownTopic { topic: topic.to_string() },
        Refusal::Denied => Reject::KafkaRejected { failures: Vec::new(), of: 0 },
        Refusal::Away => away(app, topic),
    }
}
