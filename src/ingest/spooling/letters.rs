//! Dead letters: spooled events that Kafka refuses for good, in a topic of their own.
//!
//! Key, value and headers stay as they were; headers say what happened. Where there is no such topic, the event can go
//! nowhere.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::warn;
use uuid::Uuid;

use super::Spooling;
use super::drain::Carry;
use crate::config::DeadLetter;
use crate::event::{Batch, TopicName};
use crate::ingest::Gateway;
use crate::ingest::gate::destination;
use crate::ingest::ids::{self, EVENT_ID};
use crate::stages::produce::catalog::Refusal;
use crate::stages::produce::context::reason;
use crate::stages::produce::{Destination, Fate};
use crate::telemetry::Pair;

/// Between two looks at whether the dead-letter topics are there.
const LOOK: Duration = Duration::from_secs(60);

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letter {
    /// It is in the dead-letter topic.
    Sent,
    /// It may be sent another time.
    Later,
    /// There is no topic for it, or that refuses it too.
    Nowhere,
}

/// Sends the events of `batch` at the given places to the dead-letter topic; what becomes of each, in their order.
pub(super) async fn send(
    carry: &Carry,
    from: &Destination,
    pair: &Pair,
    ids: Uuid,
    batch: &Batch,
    refused: &[(usize, RDKafkaErrorCode)],
) -> Vec<Letter> {
    if refused.is_empty() {
        return Vec::new();
    }
    let all = |letter| vec![letter; refused.len()];
    let app = carry.app();
    let Some(topic) = topic_of(app, &from.topic) else { return all(Letter::Nowhere) };
    let known = match app.catalog.find(&topic).await {
        Ok(known) => known,
        Err(Refusal::Away) => return all(Letter::Later),
        Err(Refusal::Missing | Refusal::Denied) => {
            carry.spooling().note_letters(&from.topic, false);
            return all(Letter::Nowhere);
        }
    };
    carry.spooling().note_letters(&from.topic, true);
    let places: Vec<usize> = refused.iter().map(|(place, _)| *place).collect();
    let letters = Arc::new(write(batch, &places, refused, ids, from, pair));
    let policy = app.rules.load().topics.find(topic.as_str());
    let to = destination(topic, known, policy.as_deref(), Duration::MAX);
    let fates = carry.deliver(&to, letters).await;
    let mut sent = all(Letter::Later);
    for run in fates.runs() {
        let letter = match run.fate {
            Fate::Acked { .. } => Letter::Sent,
            Fate::Refused(_) => Letter::Nowhere,
            Fate::Failed(_) | Fate::Unknown(_) => Letter::Later,
        };
        sent.iter_mut().skip(run.place).take(run.count).for_each(|to| *to = letter);
    }
    sent
}

/// The dead-letter topic of `topic`; one that has left the config has the usual.
fn topic_of(app: &Gateway, topic: &TopicName) -> Option<TopicName> {
    let policy = app.rules.load().topics.find(topic.as_str());
    let name = match policy {
        Some(policy) => policy.topic.dead_letter.of(topic.as_str()),
        None => DeadLetter::default().of(topic.as_str()),
    };
    name.map(|name| TopicName::from(name.as_str()))
}

fn write(
    batch: &Batch,
    places: &[usize],
    refused: &[(usize, RDKafkaErrorCode)],
    ids: Uuid,
    from: &Destination,
    pair: &Pair,
) -> Batch {
    let mut letters = batch.only(places);
    let has_id = |event| letters.headers(event).iter().any(|header| letters.bytes(header.name) == EVENT_ID.as_bytes());
    if !letters.events.iter().any(has_id) {
        ids::stamp(&mut letters, ids);
    }
    let mut codes = refused.iter().map(|(_, code)| reason(*code));
    letters.stamp("klamm-error", |_, to| to.extend_from_slice(codes.next().unwrap_or_default().as_bytes()));
    let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    for (name, value) in [
        ("klamm-topic", from.topic.as_str()),
        ("klamm-client", pair.client().as_str()),
        ("klamm-failed-at", at.as_str()),
    ] {
        letters.stamp(name, |_, to| to.extend_from_slice(value.as_bytes()));
    }
    for event in &mut letters.events {
        // It was of the other topic.
        event.partition = None;
    }
    letters
}

/// Looks at the start, and each minute, whether the topics whose events may be spooled have their dead-letter topics.
/// Runs as a task; may be cancelled at any time.
pub async fn watch(app: Arc<Gateway>, spooling: Arc<Spooling>) {
    let mut first = true;
    loop {
        let rules = app.rules.load_full();
        for (name, policy) in
            rules.topics.entries().filter(|(name, policy)| policy.topic.may_spool() && !name.ends_with('*'))
        {
            let topic = TopicName::from(name);
            let Some(letters) = policy.topic.dead_letter.of(name).map(|name| TopicName::from(name.as_str())) else {
                continue;
            };
            match app.catalog.find(&letters).await {
                Ok(_) => spooling.note_letters(&topic, true),
                Err(Refusal::Away) => {}
                Err(Refusal::Missing | Refusal::Denied) => {
                    if first {
                        warn!(%topic, dead_letter = %letters, "no such dead-letter topic: spooled events that Kafka refuses will be parked");
                    }
                    spooling.note_letters(&topic, false);
                }
            }
        }
        first = first && !app.health.is_up();
        tokio::time::sleep(if first { Duration::from_secs(1) } else { LOOK }).await;
    }
}
