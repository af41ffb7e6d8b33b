//! From the spool to Kafka: waves of entries, stream by stream, several streams at once.
//!
//! Promises: within a stream nothing is sent before what came earlier is settled, the entries of one wave aside, which
//! are enqueued in their order; an event that Kafka refuses for good goes to the dead-letter topic, or is parked, and
//! stands in nobody's way. Bytes under way are bounded by a share of the budget that is the drain's own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::debug;

use super::book::{self, Run, State};
use super::letters::{self, Letter};
use super::{Spooling, acked};
use crate::event::{Batch, RequestId};
use crate::ingest::Gateway;
use crate::ingest::gate::destination;
use crate::stages::produce::catalog::Known;
use crate::stages::produce::context::reason;
use crate::stages::produce::options::EVENT_OVERHEAD;
use crate::stages::produce::{Completion, Destination, Fate, Fates, Lane};
use crate::stages::spool::{Key, Spool, Stored, Wave};
use crate::tasks::detach;
use crate::telemetry::{Outcome, Pair};

/// What the entries of one stream that are under way may have together, in bytes; one entry may have more.
const WAVE: usize = 2 << 20;
/// The unit in which the drain's bytes are counted.
const GRAIN: u64 = 1024;
/// What the header of its id may add to an event that was just small enough, in bytes.
const ID_ROOM: u64 = 128;
/// Between two looks at whether Kafka is back, or the drain is over.
const LOOK: Duration = Duration::from_millis(100);

/// Drains until [`Spooling::halt`], with at most `bytes` under way, and never returns. Runs as a task.
///
/// # Cancellation
/// Waves that are under way go on.
pub async fn run(app: Arc<Gateway>, spooling: Arc<Spooling>, bytes: u64) {
    let grains = grains(bytes).max(grains(WAVE as u64));
    let memory = Arc::new(Semaphore::new(grains as usize));
    let mut up = false;
    while !spooling.is_halted() {
        if !app.health.is_up() {
            up = false;
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if !std::mem::replace(&mut up, true) {
            spooling.store.retry();
        }
        let Ok(permit) = Arc::clone(&memory).acquire_many_owned(self::grains(WAVE as u64)).await else { break };
        // Looks up now and then: Kafka may have gone.
        let Ok(wave) = tokio::time::timeout(LOOK, spooling.store.next(WAVE)).await else { continue };
        let carry =
            Carry { app: Arc::clone(&app), spooling: Arc::clone(&spooling), memory: Arc::clone(&memory), grains };
        detach("spool-wave", carry.wave(wave, permit));
    }
    std::future::pending::<()>().await;
}

fn grains(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX)
}

/// Carries one wave.
pub(super) struct Carry {
    app: Arc<Gateway>,
    spooling: Arc<Spooling>,
    memory: Arc<Semaphore>,
    /// Of all memory there is.
    grains: u32,
}

/// One entry on its way.
struct Load {
    key: Key,
    request: RequestId,
    ids: uuid::Uuid,
    batch: Arc<Batch>,
    /// Places of events that this topic does not take, as it is now.
    misfits: Vec<(usize, RDKafkaErrorCode)>,
    /// What became of the events that were sent, and at which places they stand in `batch`.
    fates: Option<(oneshot::Receiver<Fates>, Vec<usize>)>,
}

impl Carry {
    async fn wave(self, wave: Wave, permit: OwnedSemaphorePermit) {
        let Wave { client, topic, mut entries, parked } = wave;
        let hand = Hand::of(Arc::clone(&self.spooling.store), &entries, parked);
        for entry in &mut entries {
            self.hear(entry).await;
            hand.left(entry.key, indexes(&entry.batch));
        }
        let known = match self.app.catalog.find(&topic).await {
            Ok(known) => known,
            Err(refusal) => {
                self.app.health.complain(&format!("spool: topic {topic}: {refusal:?}"));
                return;
            }
        };
        let _permit = self.fit(permit, &entries).await;
        let policy = self.app.rules.load().topics.find(topic.as_str());
        let to = destination(topic.clone(), known, policy.as_deref(), Duration::MAX);
        // All are enqueued before the first is waited for.
        let loads: Vec<Load> = entries.into_iter().map(|entry| self.send(&to, entry)).collect();
        let pair = self.app.metrics.pair(&client, &topic);
        for load in loads {
            let key = load.key;
            let (left, nowhere) = self.settle(&to, &pair, load).await;
            hand.resolve(key, left, nowhere);
        }
    }

    /// Waits for the producer's word on an entry whose events are with it since before they were spooled.
    async fn hear(&self, entry: &mut Stored) {
        let Some(word) = self.spooling.insured(entry.request) else { return };
        let acked = word.await.unwrap_or_default();
        let of = indexes(&entry.batch);
        self.spooling.book.note(entry.request, of.into_iter(), &acked);
        let is_acked = |index: u32| acked.iter().any(|run| (run.index..run.index + run.count).contains(&index));
        entry.batch.events.retain(|event| !is_acked(event.index));
    }

    /// As much memory as the entries take.
    async fn fit(&self, mut permit: OwnedSemaphorePermit, entries: &[Stored]) -> Option<OwnedSemaphorePermit> {
        let cost = |entry: &Stored| entry.batch.held() + EVENT_OVERHEAD * entry.batch.events.len() as u64;
        let wanted = grains(entries.iter().map(cost).sum()).min(self.grains);
        let has = permit.num_permits() as u32;
        if wanted > has {
            // Not on top of what is held: two that each wait for the other's part would wait for ever.
            drop(permit);
            return Arc::clone(&self.memory).acquire_many_owned(wanted).await.ok();
        }
        drop(permit.split((has - wanted) as usize));
        Some(permit)
    }

    fn send(&self, to: &Destination, entry: Stored) -> Load {
        let Stored { key, request, ids, batch, .. } = entry;
        let misfits: Vec<_> =
            batch.events.iter().enumerate().filter_map(|(n, e)| Some((n, misfit(&batch, e, to.known)?))).collect();
        let batch = Arc::new(batch);
        let places: Vec<usize> = if misfits.is_empty() {
            (0..batch.events.len()).collect()
        } else {
            let bad: HashSet<usize> = misfits.iter().map(|(place, _)| *place).collect();
            (0..batch.events.len()).filter(|place| !bad.contains(place)).collect()
        };
        let fit = if misfits.is_empty() { Arc::clone(&batch) } else { Arc::new(batch.only(&places)) };
        let fates = (!places.is_empty()).then(|| (self.enqueue(to, fit), places));
        Load { key, request, ids, batch, misfits, fates }
    }

    fn enqueue(&self, to: &Destination, batch: Arc<Batch>) -> oneshot::Receiver<Fates> {
        let (tell, told) = oneshot::channel();
        // By the way of those whose events queue up: a backlog is no reason for others to wait.
        self.app.sink.send(to, Lane::Bulk, batch, Box::new(Told(tell)));
        told
    }

    /// Waits for what becomes of the events of an entry. Gives the indexes of those that are to be sent again, and of
    /// those that can go nowhere.
    async fn settle(&self, to: &Destination, pair: &Pair, load: Load) -> (Vec<u32>, Vec<u32>) {
        let Load { request, ids, batch, mut misfits, fates, .. } = load;
        let mut news = Vec::new();
        let mut left = Vec::new();
        let index = |place: usize| batch.events.get(place).map_or(0, |event| event.index);
        if let Some((fates, places)) = fates {
            // A sink that goes away settles what it has.
            let fates = fates.await.unwrap_or_default();
            let at = |place: usize| places.get(place).copied().unwrap_or_default();
            let done: Vec<_> = acked(&fates).map(|(place, state)| (index(at(place)), state)).collect();
            pair.drained(Outcome::Acked, done.len() as u64);
            news.extend(done);
            for run in fates.runs() {
                let run_places = (run.place..run.place + run.count).map(at);
                match run.fate {
                    Fate::Acked { .. } => {}
                    Fate::Refused(code) if is_contagious(code) => {
                        for place in run_places {
                            match self.alone(to, &batch, place).await {
                                Some(Fate::Acked { partition, offset }) => {
                                    pair.drained(Outcome::Acked, 1);
                                    news.push((index(place), State::Acked { partition, offset }));
                                }
                                Some(Fate::Refused(code)) => misfits.push((place, code)),
                                Some(Fate::Failed(_) | Fate::Unknown(_)) | None => left.push(index(place)),
                            }
                        }
                    }
                    Fate::Refused(code) => misfits.extend(run_places.map(|place| (place, code))),
                    Fate::Failed(_) | Fate::Unknown(_) => left.extend(run_places.map(index)),
                }
            }
        }
        let mut nowhere = Vec::new();
        for (fate, (place, code)) in
            letters::send(self, to, pair, ids, &batch, &misfits).await.into_iter().zip(&misfits)
        {
            match fate {
                Letter::Sent => {
                    let reason = reason(*code);
                    debug!(topic = %to.topic, client = %pair.client(), reason, "event dead-lettered");
                    pair.drained(Outcome::Rejected, 1);
                    self.spooling.count_letter(pair, &reason);
                    news.push((index(*place), State::DeadLettered));
                }
                Letter::Later => left.push(index(*place)),
                Letter::Nowhere => nowhere.push(index(*place)),
            }
        }
        if !news.is_empty() {
            news.sort_unstable_by_key(|(index, _)| *index);
            let news: Vec<Run> = book::runs(news);
            self.spooling.book.note(request, batch.events.iter().map(|event| event.index), &news);
        }
        (left, nowhere)
    }

    /// Sends one event by itself: what was refused together with others, also of other entries, may be good.
    async fn alone(&self, to: &Destination, batch: &Batch, place: usize) -> Option<Fate> {
        let fates = self.deliver(to, Arc::new(batch.only(&[place]))).await;
        fates.runs().first().map(|run| run.fate)
    }

    /// Sends a batch and waits for its fates.
    pub(super) async fn deliver(&self, to: &Destination, batch: Arc<Batch>) -> Fates {
        self.enqueue(to, batch).await.unwrap_or_default()
    }

    pub(super) fn app(&self) -> &Arc<Gateway> {
        &self.app
    }

    pub(super) fn spooling(&self) -> &Spooling {
        &self.spooling
    }
}

fn indexes(batch: &Batch) -> Vec<u32> {
    batch.events.iter().map(|event| event.index).collect()
}

/// Why the topic does not take an event as it is now: it may have been spooled when Kafka could not be asked.
fn misfit(batch: &Batch, event: &crate::event::Event, known: Known) -> Option<RDKafkaErrorCode> {
    if event.partition.is_some_and(|partition| partition >= known.partitions) {
        return Some(RDKafkaErrorCode::UnknownPartition);
    }
    if known.needs_key() && event.key.is_none() {
        return Some(RDKafkaErrorCode::InvalidRecord);
    }
    if event.timestamp.is_some_and(|time| !known.times(SystemTime::now()).contains(&time)) {
        return Some(RDKafkaErrorCode::InvalidTimestamp);
    }
    let limit = known.max_event(u64::MAX).saturating_add(ID_ROOM);
    (batch.size_of(event) as u64 > limit).then_some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Whether a broker says so of a whole batch where one event is bad.
fn is_contagious(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
    )
}

/// Passes the fates on.
struct Told(oneshot::Sender<Fates>);

impl Completion for Told {
    fn settled(self: Box<Self>, fates: Fates) {
        // Whoever waited has gone: the entry was kept.
        let _ = self.0.send(fates);
    }
}

/// The entries of a wave that are not resolved yet. Dropped, it gives them back, so that no stream is stuck.
struct Hand {
    store: Arc<Spool>,
    // std Mutex: only ever used by one task; it makes the hand shareable across its awaits.
    open: std::sync::Mutex<Vec<(Key, Vec<u32>)>>,
    parked: bool,
}

impl Hand {
    fn of(store: Arc<Spool>, entries: &[Stored], parked: bool) -> Self {
        let open = entries.iter().map(|entry| (entry.key, indexes(&entry.batch))).collect();
        Self { store, open: std::sync::Mutex::new(open), parked }
    }

    /// Notes which events are still to do.
    fn left(&self, key: Key, left: Vec<u32>) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(entry) = open.iter_mut().find(|(open, _)| *open == key) {
            entry.1 = left;
        }
    }

    fn resolve(&self, key: Key, left: Vec<u32>, nowhere: Vec<u32>) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|(open, _)| *open != key);
        give(&self.store, self.parked, key, left, nowhere);
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (key, left) in open {
            give(&self.store, self.parked, key, left, Vec::new());
        }
    }
}

fn give(store: &Spool, parked: bool, key: Key, mut left: Vec<u32>, nowhere: Vec<u32>) {
    if left.is_empty() && nowhere.is_empty() {
        return store.done(key);
    }
    // What was parked once stands in nobody's way again.
    let park = parked || left.is_empty();
    left.extend(nowhere);
    left.sort_unstable();
    if park { store.park(key, &left) } else { store.keep(key, &left) }
}
