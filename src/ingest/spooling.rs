//! The spool in the path of an event: when it takes events, and what their callers are told.
//!
//! Promises: nobody is told 202 before the fdatasync that covers the events; events that the spool has taken are counted
//! as spooled until [`drain`] settles them. What becomes of events that are with the producer is [`custody`]'s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::book::{Book, Page, Run, State};
use crate::event::{Batch, ClientId, RequestId, TopicName};
use crate::ingest::Gateway;
use crate::reject::{Reject, Room};
use crate::stages::produce::{Fate, Fates};
use crate::stages::route::policy::Policy;
use crate::stages::spool::{Entry, Full, Receipt, Refusal, Spool};
use crate::telemetry::Pair;

pub mod book;
pub mod custody;
pub mod drain;
pub mod letters;

/// When the events of a request go to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resort {
    /// Only behind others that wait there.
    Never,
    /// When Kafka cannot take them.
    Outage,
    /// At once: the request, or its topic, asks for it.
    Always,
}

/// The spool, and what klamm knows of the requests whose events it took.
pub struct Spooling {
    /// The store.
    pub store: Arc<Spool>,
    /// What became of requests.
    pub book: Book,
    /// Entries whose events are still with the producer: what it says of them comes here, and only then may they be sent
    /// again.
    insured: Mutex<HashMap<RequestId, oneshot::Receiver<Vec<Run>>>>,
    /// By client, topic and reason.
    letters: Mutex<BTreeMap<(ClientId, TopicName, String), u64>>,
    /// Topics without a dead-letter topic.
    without_letters: Mutex<BTreeSet<TopicName>>,
    /// Set when nothing more is to be sent.
    halted: AtomicBool,
    /// Where waiting for the disk goes on when the caller does not: reports come from threads outside of it.
    runtime: Handle,
}

/// The events of one request, as they may go to the spool.
pub struct Parcel {
    /// Who sent them.
    pub client: ClientId,
    /// Where they go.
    pub topic: TopicName,
    /// The request that they came in.
    pub request: RequestId,
    /// What their ids are made from.
    pub ids: Uuid,
    /// When they were received.
    pub received: SystemTime,
    /// The events.
    pub batch: Arc<Batch>,
}

impl Spooling {
    /// Over `store`. Needs a runtime around it.
    pub fn new(store: Spool, book: Book) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(store),
            book,
            insured: Mutex::default(),
            letters: Mutex::default(),
            without_letters: Mutex::default(),
            halted: AtomicBool::new(false),
            runtime: Handle::current(),
        })
    }

    /// Whether events of this stream wait: then newer ones must not overtake them.
    pub fn holds(&self, client: &ClientId, topic: &TopicName) -> bool {
        self.store.holds(client, topic)
    }

    /// Ends the drain: what is under way is the last.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
    }

    fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Appends the events of `parcel` at `places` (`None`: all of them) and opens its page in the book, where the events
    /// that `fates` calls acknowledged are so.
    ///
    /// # Errors
    /// 503 `spool_full`, `spool_failed`. Nothing is kept then.
    pub fn append(&self, parcel: &Parcel, places: Option<&[u32]>, fates: &Fates) -> Result<Receipt, Reject> {
        let Parcel { client, topic, request, ids, received, batch } = parcel;
        let runs = match places {
            None => book::runs(batch.events.iter().map(|event| (event.index, State::Spooled))),
            Some(places) => {
                let of = |place: usize, state| batch.events.get(place).map(|event| (event.index, state));
                let spooled = places.iter().filter_map(|place| of(*place as usize, State::Spooled));
                let mut states: Vec<_> =
                    acked(fates).filter_map(|(place, state)| of(place, state)).chain(spooled).collect();
                states.sort_by_key(|(index, _)| *index);
                book::runs(states)
            }
        };
        // Before the entry can come out of the store.
        self.book.open(*request, Page { client: client.clone(), topic: topic.clone(), runs });
        let entry = Entry { client, topic, request: *request, ids: *ids, received: *received, batch, places };
        self.store.append(&entry).map_err(|refusal| {
            self.book.forget(*request);
            reject(refusal)
        })
    }

    /// Counts an event of `pair` that stands in the dead-letter topic.
    fn count_letter(&self, pair: &Pair, reason: &str) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        *letters.entry((pair.client().clone(), pair.topic().clone(), reason.to_owned())).or_default() += 1;
    }

    /// The events in dead-letter topics, by client, topic and reason.
    pub fn letters(&self) -> BTreeMap<(ClientId, TopicName, String), u64> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether Kafka has the dead-letter topic of `topic`.
    fn note_letters(&self, topic: &TopicName, there: bool) {
        let mut without = self.without_letters.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            without.remove(topic);
        } else {
            without.insert(topic.clone());
        }
    }

    /// The topics that have no dead-letter topic.
    pub fn without_letters(&self) -> Vec<TopicName> {
        self.without_letters.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes note that the events of `request` are still with the producer, whose word comes by the channel.
    fn insure(&self, request: RequestId, word: oneshot::Receiver<Vec<Run>>) {
        self.insured.lock().unwrap_or_else(PoisonError::into_inner).insert(request, word);
    }

    /// The producer's word on an entry whose events are still with it.
    fn insured(&self, request: RequestId) -> Option<oneshot::Receiver<Vec<Run>>> {
        self.insured.lock().unwrap_or_else(PoisonError::into_inner).remove(&request)
    }
}

impl Gateway {
    /// Whether Kafka is down and events of some topic go to the spool instead.
    pub fn is_spooling(&self) -> bool {
        let Some(spooling) = &self.spooling else { return false };
        let may = |(_, policy): (&str, &Arc<Policy>)| policy.topic.may_spool();
        !self.health.is_up() && spooling.store.state().room && self.rules.load().topics.entries().any(may)
    }
}

/// The acknowledged events of `fates`, by place.
fn acked(fates: &Fates) -> impl Iterator<Item = (usize, State)> {
    fates.runs().iter().flat_map(|run| {
        let state = match run.fate {
            Fate::Acked { partition, offset } => Some(State::Acked { partition, offset }),
            Fate::Refused(_) | Fate::Failed(_) | Fate::Unknown(_) => None,
        };
        let run = *run;
        state.into_iter().flat_map(move |state| (0..run.count).map(move |n| (run.place + n, state.nth(n as u32))))
    })
}

/// The store's refusal in the words of the contract.
pub fn reject(refusal: Refusal) -> Reject {
    let what = match refusal {
        Refusal::Broken => return Reject::SpoolFailed,
        Refusal::Full(Full::Total) => Room::Total,
        Refusal::Full(Full::Client) => Room::Client,
        Refusal::Full(Full::Topic) => Room::Topic,
        Refusal::Full(Full::Age) => Room::Age,
    };
    Reject::SpoolFull { what }
}
