//! What Kafka says about its topics, looked up before anything is enqueued: partitions, `max.message.bytes`, and what it
//! asks of each record.
//!
//! librdkafka would hold events of a missing topic for 30 s, so the gate asks here first. A topic is looked up on first
//! use (one look-up at a time for each, a bounded number in all), kept for `refresh`, and looked up again in the
//! background; that there is none is kept for 4 s (so that a topic is usable 5 s after its creation), for a bounded number of names.
//!
//! A look-up also counts the partitions with fewer in-sync replicas than the topic's `min.insync.replicas`: librdkafka
//! tries their records again until they time out, and does not say why. Topics that are late are looked up every 5 s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use super::backlog::Backlog;
use super::context;
use super::health::Health;
use super::options::Options;
use crate::event::TopicName;
use crate::librdkafka;

pub use self::known::{Demands, Known};

mod known;

/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_millis(900);
/// How long reading a topic's settings may take.
const CONFIG_PATIENCE: Duration = Duration::from_secs(2);
/// How long it is believed that a topic does not exist.
const MISSING_FOR: Duration = Duration::from_secs(4);
/// How many missing names are kept.
const MISSING_MOST: usize = 10_000;
/// Between two look-ups of topics that are late or lack replicas.
const ANXIOUS: Duration = Duration::from_secs(5);
/// Topics of which it is kept how many partitions lack replicas.
const THIN_MOST: usize = 1000;
/// Look-ups at the same time.
const LOOKUPS: usize = 16;

/// Why a topic cannot be written to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Kafka has no such topic.
    Missing,
    /// Kafka does not let klamm see it.
    Denied,
    /// Kafka did not answer.
    Away,
}

type Answer = Result<Known, Refusal>;

/// Makes missing topics, in `klamm dev` alone.
/// Blocks; runs on the runtime's threads for that.
pub type Create = Arc<dyn Fn(&TopicName) -> Result<(), String> + Send + Sync>;

/// Asks Kafka. Blocking questions run on the runtime's threads for them.
pub struct Scout {
    admin: Arc<AdminClient<ScoutContext>>,
    /// Asks for the brokers and knows no topic: librdkafka names those that a client knows in this question and, whatever
    /// `allow.auto.create.topics` says, may then let the broker create what is missing.
    caller: Arc<AdminClient<ScoutContext>>,
    /// Whether topic settings can be read; asked again with every refresh, and every look at what is late.
    reads_settings: AtomicBool,
    /// It was said that they cannot; once between two refreshes.
    said: AtomicBool,
    create: Option<Create>,
    /// Partitions with too few in-sync replicas, for each topic whose settings can be read.
    thin: Mutex<BTreeMap<TopicName, usize>>,
}

/// How many replicas a partition has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Replicas {
    all: usize,
    in_sync: usize,
}

/// What klamm reads of a topic's settings.
#[derive(Default)]
struct Settings {
    max_message_bytes: Option<u64>,
    demands: Option<Demands>,
    min_in_sync: Option<usize>,
}

/// Of the client that only asks.
pub struct ScoutContext {
    health: Arc<Health>,
}

impl ClientContext for ScoutContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        context::log(level, facility, text);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.health.complain(reason);
    }
}

impl Scout {
    /// A scout. Needs no broker.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties.
    pub fn new(options: &Options, health: Arc<Health>, create: Option<Create>) -> Result<Self, KafkaError> {
        let caller = options.scout().create_with_context(ScoutContext { health: Arc::clone(&health) })?;
        let admin = options.scout().create_with_context(ScoutContext { health })?;
        // The mock cluster of `klamm dev`, which alone makes topics unasked, knows no settings.
        let reads_settings = AtomicBool::new(create.is_none());
        let (admin, caller) = (Arc::new(admin), Arc::new(caller));
        Ok(Self { admin, caller, reads_settings, said: AtomicBool::default(), create, thin: Mutex::default() })
    }

    /// Whether Kafka answers; how many brokers it has.
    ///
    /// # Errors
    /// What librdkafka says where none answers within `patience`.
    pub async fn ask_brokers(&self, patience: Duration) -> Result<usize, RDKafkaErrorCode> {
        let caller = Arc::clone(&self.caller);
        tokio::task::spawn_blocking(move || librdkafka::ask_brokers(caller.inner(), patience))
            .await
            .unwrap_or(Err(RDKafkaErrorCode::Fail))
    }

    fn is_up(&self) -> bool {
        self.admin.inner().context().health.is_up()
    }

    async fn look_up(&self, topic: &TopicName) -> Answer {
        let mut answer = self.partitions(topic).await;
        if let (Err(Refusal::Missing), Some(create)) = (&answer, self.create.clone()) {
            let name = topic.clone();
            let made = tokio::task::spawn_blocking(move || create(&name)).await;
            if let Err(error) = made.unwrap_or_else(|error| Err(error.to_string())) {
                warn!(%topic, error, "topic not created");
                return Err(Refusal::Missing);
            }
            answer = self.partitions(topic).await;
        }
        if answer == Err(Refusal::Missing) {
            self.lock().remove(topic);
        }
        let partitions = answer?;
        let settings = self.settings(topic).await;
        self.note_thin(topic, &partitions, settings.min_in_sync);
        let partitions = i32::try_from(partitions.len()).unwrap_or(0);
        Ok(Known { partitions, max_message_bytes: settings.max_message_bytes, demands: settings.demands })
    }

    fn note_thin(&self, topic: &TopicName, replicas: &[Replicas], least: Option<usize>) {
        let Some(least) = least else { return };
        // Kafka asks for no more than there are.
        let thin = replicas.iter().filter(|replicas| replicas.in_sync < least.min(replicas.all)).count();
        let mut known = self.lock();
        if known.len() < THIN_MOST || known.contains_key(topic) {
            known.insert(topic.clone(), thin);
        }
        drop(known);
        if thin > 0 {
            let health = &self.admin.inner().context().health;
            health.complain(&format!("topic {topic}: partitions with fewer in-sync replicas than min.insync.replicas"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicName, usize>> {
        self.thin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn partitions(&self, topic: &TopicName) -> Result<Vec<Replicas>, Refusal> {
        let admin = Arc::clone(&self.admin);
        let name = topic.clone();
        let asked =
            tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(Some(name.as_str()), PATIENCE)).await;
        let Ok(Ok(metadata)) = asked else { return Err(Refusal::Away) };
        let Some(found) = metadata.topics().first() else { return Err(Refusal::Away) };
        match found.error().map(RDKafkaErrorCode::from) {
            None if found.partitions().is_empty() => Err(Refusal::Missing),
            None => {
                let replicas = |of: &MetadataPartition| Replicas { all: of.replicas().len(), in_sync: of.isr().len() };
                Ok(found.partitions().iter().map(replicas).collect())
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Err(Refusal::Missing),
            Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                self.admin.inner().context().health.complain(&format!("topic {topic}: {code}"));
                Err(Refusal::Denied)
            }
            Some(RDKafkaErrorCode::InvalidTopic) => Err(Refusal::Missing),
            Some(_) => Err(Refusal::Away),
        }
    }

    async fn settings(&self, topic: &TopicName) -> Settings {
        if !self.reads_settings.load(Ordering::Relaxed) {
            return Settings::default();
        }
        let asked = [ResourceSpecifier::Topic(topic.as_str())];
        let options = AdminOptions::new().request_timeout(Some(CONFIG_PATIENCE));
        let problem = match self.admin.describe_configs(&asked, &options).await {
            Ok(answers) => match answers.into_iter().next() {
                Some(Ok(resource)) => {
                    let text = |name: &str| resource.get(name)?.value.as_deref();
                    return Settings {
                        max_message_bytes: text("max.message.bytes").and_then(|text| text.parse().ok()),
                        demands: Demands::read(text),
                        min_in_sync: text("min.insync.replicas").and_then(|text| text.parse().ok()),
                    };
                }
                Some(Err(code)) => code.to_string(),
                None => "an empty answer".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        self.reads_settings.store(false, Ordering::Relaxed);
        if !self.said.swap(true, Ordering::Relaxed) {
            warn!(%topic, problem, "topic settings cannot be read: going on with max_event of the config");
        }
        Settings::default()
    }
}

enum Entry {
    Known(Known),
    Missing { at: Instant },
}

/// The topics that klamm has met.
pub struct Catalog {
    scout: Arc<Scout>,
    refresh: Duration,
    // std Mutex: held for look-ups in maps only, never across an await.
    shelves: Mutex<Shelves>,
    lookups: Semaphore,
}

#[derive(Default)]
struct Shelves {
    entries: HashMap<TopicName, Entry>,
    missing: usize,
    /// Look-ups on their way; who comes second waits for the first one's answer.
    asked: HashMap<TopicName, watch::Receiver<Option<Answer>>>,
}

impl Catalog {
    /// An empty one, whose entries are looked up again every `refresh`.
    pub fn new(scout: Arc<Scout>, refresh: Duration) -> Arc<Self> {
        Arc::new(Self { scout, refresh, shelves: Mutex::default(), lookups: Semaphore::new(LOOKUPS) })
    }

    /// What is known of `topic`, from memory alone.
    pub fn peek(&self, topic: &TopicName) -> Option<Known> {
        match self.lock().entries.get(topic) {
            Some(Entry::Known(known)) => Some(*known),
            Some(Entry::Missing { .. }) | None => None,
        }
    }

    /// What is known of `topic`, from memory where possible. Answers within about a second (plus, on first use, what
    /// reading the topic's settings takes).
    ///
    /// # Errors
    /// See [`Refusal`]. Cancellation: the look-up goes on and serves the next caller.
    pub async fn find(self: &Arc<Self>, topic: &TopicName) -> Answer {
        let mut answer = {
            let mut shelves = self.lock();
            match shelves.entries.get(topic) {
                Some(Entry::Known(known)) => return Ok(*known),
                Some(Entry::Missing { at }) if at.elapsed() < MISSING_FOR => return Err(Refusal::Missing),
                _ => self.ask(&mut shelves, topic),
            }
        };
        let answer = answer.wait_for(Option::is_some).await;
        answer.ok().and_then(|answer| answer.clone()).unwrap_or(Err(Refusal::Away))
    }

    /// For each topic whose settings can be read, how many partitions have fewer in-sync replicas than it asks for; Kafka
    /// takes nothing for these. As of the last look-up.
    pub fn thin(&self) -> BTreeMap<TopicName, usize> {
        self.scout.lock().clone()
    }

    /// Looks up `topics` and then, every `refresh`, everything known; every 5 s what is late by `backlog`, lacks replicas,
    /// or refused what it was believed to take. Runs as a task; may be cancelled at any time.
    pub async fn keep_fresh(self: Arc<Self>, topics: Vec<TopicName>, backlog: Arc<Backlog>) {
        for topic in &topics {
            match self.find(topic).await {
                Ok(known) => info!(%topic, known.partitions, known.max_message_bytes, "topic found"),
                Err(refusal) => warn!(%topic, ?refusal, "topic not found"),
            }
        }
        let mut refreshed = Instant::now();
        loop {
            tokio::time::sleep(self.refresh.saturating_sub(refreshed.elapsed()).min(ANXIOUS)).await;
            let due = if refreshed.elapsed() < self.refresh {
                let thin = self.thin().into_iter().filter(|(_, thin)| *thin > 0).map(|(topic, _)| topic);
                let surprises = backlog.take_surprises().into_iter().map(|topic| topic.as_str().into());
                let doubtful = thin.chain(backlog.topics()).chain(surprises).filter(|_| self.scout.is_up());
                doubtful.collect::<BTreeSet<_>>()
            } else {
                refreshed = Instant::now();
                self.scout.said.store(false, Ordering::Relaxed);
                let mut shelves = self.lock();
                shelves.forget_missing();
                shelves.entries.keys().cloned().collect()
            };
            if !due.is_empty() {
                self.scout.reads_settings.store(self.scout.create.is_none(), Ordering::Relaxed);
            }
            for topic in due {
                let mut answer = self.ask(&mut self.lock(), &topic);
                // An error leaves what was known standing, but for a topic that is gone.
                let _ = answer.wait_for(Option::is_some).await;
            }
        }
    }

    /// Starts a look-up of `topic`, or joins the one on its way.
    fn ask(self: &Arc<Self>, shelves: &mut Shelves, topic: &TopicName) -> watch::Receiver<Option<Answer>> {
        if let Some(asked) = shelves.asked.get(topic) {
            return asked.clone();
        }
        let (tell, told) = watch::channel(None);
        shelves.asked.insert(topic.clone(), told.clone());
        let (catalog, topic) = (Arc::clone(self), topic.clone());
        // A task of its own, so that a caller who goes away does not take the answer from the others.
        crate::tasks::detach("topic-lookup", async move {
            let answer = match catalog.lookups.acquire().await {
                Ok(_turn) => catalog.scout.look_up(&topic).await,
                Err(_) => Err(Refusal::Away),
            };
            catalog.lock().shelve(&topic, &answer);
            // Nobody may be left to hear it.
            let _ = tell.send(Some(answer));
        });
        told
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn shelve(&mut self, topic: &TopicName, answer: &Answer) {
        self.asked.remove(topic);
        match answer {
            Ok(known) => {
                if let Some(Entry::Known(old)) = self.entries.get(topic) {
                    if old.partitions != known.partitions {
                        // Keys move to other partitions: order across the change is not kept.
                        warn!(%topic, from = old.partitions, to = known.partitions, "partition count changed");
                    }
                    // Where settings could not be read this time, what was read before still stands.
                    let max_message_bytes = known.max_message_bytes.or(old.max_message_bytes);
                    let known = Known { max_message_bytes, demands: known.demands.or(old.demands), ..*known };
                    self.entries.insert(topic.clone(), Entry::Known(known));
                    return;
                }
                self.put(topic, Entry::Known(*known));
            }
            Err(Refusal::Missing) => {
                if self.missing >= MISSING_MOST {
                    self.forget_missing();
                }
                if self.missing < MISSING_MOST {
                    self.put(topic, Entry::Missing { at: Instant::now() });
                } else {
                    self.take(topic);
                }
            }
            // Not known to be gone: a topic that was known stays so.
            Err(Refusal::Denied | Refusal::Away) => {}
        }
    }

    fn put(&mut self, topic: &TopicName, entry: Entry) {
        self.take(topic);
        self.missing += usize::from(matches!(entry, Entry::Missing { .. }));
        self.entries.insert(topic.clone(), entry);
    }

    fn take(&mut self, topic: &TopicName) {
        let old = self.entries.remove(topic);
        self.missing -= usize::from(matches!(old, Some(Entry::Missing { .. })));
    }

    fn forget_missing(&mut self) {
        self.entries.retain(|_, entry| match entry {
            Entry::Known(_) => true,
            Entry::Missing { at } => at.elapsed() < MISSING_FOR,
        });
        self.missing = self.entries.values().filter(|entry| matches!(entry, Entry::Missing { .. })).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_missing_are_kept_in_bounded_number() {
        let mut shelves = Shelves::default();
        for n in 0..MISSING_MOST + 10 {
            shelves.shelve(&format!("t{n}").as_str().into(), &Err(Refusal::Missing));
        }
        assert_eq!((shelves.entries.len(), shelves.missing), (MISSING_MOST, MISSING_MOST));
        let known = Known { partitions: 3, max_message_bytes: None, demands: None };
        shelves.shelve(&"t0".into(), &Ok(known));
        assert_eq!((shelves.entries.len(), shelves.missing), (MISSING_MOST, MISSING_MOST - 1));
    }

    #[test]
    fn a_topic_that_kafka_does_not_answer_for_stays_known_and_one_that_is_gone_does_not() {
        let mut shelves = Shelves::default();
        let topic = TopicName::from("t");
        shelves.shelve(&topic, &Ok(Known { partitions: 3, max_message_bytes: Some(9000), demands: None }));
        shelves.shelve(&topic, &Err(Refusal::Away));
        shelves.shelve(&topic, &Ok(Known { partitions: 6, max_message_bytes: None, demands: None }));
        let Some(Entry::Known(known)) = shelves.entries.get(&topic) else { panic!("not known") };
        assert_eq!(*known, Known { partitions: 6, max_message_bytes: Some(9000), demands: None });
        shelves.shelve(&topic, &Err(Refusal::Missing));
        assert!(matches!(shelves.entries.get(&topic), Some(Entry::Missing { .. })));
    }
}
