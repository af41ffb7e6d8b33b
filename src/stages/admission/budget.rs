//! The accounts: one pool for the whole budget and one for each topic that holds something.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::Permit;
use crate::config;
use crate::event::{ClientId, TopicName};
use crate::reject::Reject;
use crate::units::Percent;

/// Who asks, and its weight. Accounts go by the client's id: after a reload the new weight holds from its next bytes on.
#[derive(Debug, Clone)]
pub struct Share {
    client: ClientId,
    weight: NonZeroU32,
    /// What the last request that was not `SMALL` came to hold, in percent of its body.
    growth: Arc<AtomicU64>,
}

impl Share {
    /// The share of `client`.
    pub fn new(client: ClientId, weight: NonZeroU32) -> Self {
        Self { client, weight, growth: Arc::new(AtomicU64::new(100)) }
    }

    /// How much beside `body` its events will hold, if they are like the last ones.
    pub(super) fn foresee(&self, body: u64) -> u64 {
        if body < SMALL {
            return 0;
        }
        // Relaxed: a guess, which orders nothing.
        let beside = self.growth.load(Ordering::Relaxed).saturating_sub(100);
        body.saturating_mul(beside) / 100
    }

    /// A request with this body came to hold `held`.
    pub(super) fn learn(&self, body: u64, held: u64) {
        if body >= SMALL {
            self.growth.store(held.saturating_mul(100) / body, Ordering::Relaxed);
        }
    }
}

/// A smaller body is not guessed about: to decode it in vain costs next to nothing, and what holds of an event of ten
/// bytes does not hold of one of a million.
pub(super) const SMALL: u64 = 4096;
/// The part of the whole that one request may take ahead on a guess.
const AHEAD: u64 = 16;

/// The bytes in flight of the whole process.
#[derive(Debug)]
pub struct Budget {
    of_client: Percent,
    of_topic: u64,
    ahead: u64,
    // std Mutex: held for a few map look-ups, never across await. Atomics cannot take from a client, a topic and the
    // whole at once without showing others what is then put back.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    whole: Pool,
    /// Only those that hold something, so at most as many as there are permits.
    topics: HashMap<TopicName, Pool, RandomState>,
}

impl Budget {
    /// An empty budget.
    pub fn new(config: &config::Budget) -> Arc<Self> {
        let total = config.total.get();
        let state = State { whole: Pool::new(total, config.client), topics: HashMap::default() };
        Arc::new(Self {
            of_client: config.client,
            of_topic: config.topic.of(total),
            ahead: total / AHEAD,
            state: Mutex::new(state),
        })
    }

    /// A permit for a request of `share`'s client to `topic`. It holds nothing yet.
    pub fn open(self: &Arc<Self>, share: &Share, topic: &TopicName) -> Permit {
        Permit::new(Arc::clone(self), share.clone(), topic.clone())
    }

    /// What is held now.
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        let whole = &state.whole;
        let client = |(id, stake): (&ClientId, &Stake)| (id.clone(), stake.held, whole.fair(*stake, stake.weight));
        Usage {
            total: whole.size,
            used: whole.used,
            clients: whole.stakes.iter().map(client).collect(),
            topics: state.topics.iter().map(|(name, pool)| (name.clone(), pool.used)).collect(),
        }
    }

    /// Takes `bytes` for a permit that holds `held`, or nothing.
    pub(super) fn take(&self, share: &Share, topic: &TopicName, held: u64, bytes: u64) -> Result<(), Reject> {
        if bytes == 0 {
            return Ok(());
        }
        let mut state = self.lock();
        let shared = state.topics.get(topic).filter(|pool| pool.used > held);
        let in_topic = shared.map_or(Verdict::Fits, |pool| pool.verdict(share, bytes));
        match in_topic.max(state.whole.verdict(share, bytes)) {
            Verdict::Fits => {}
            Verdict::Full => return Err(Reject::Overloaded),
            Verdict::OverShare => return Err(Reject::ShareExhausted),
        }
        state.whole.take(share, bytes);
        let pool = || Pool::new(self.of_topic, self.of_client);
        state.topics.entry(topic.clone()).or_insert_with(pool).take(share, bytes);
        Ok(())
    }

    /// The most that one request may take ahead.
    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// See [`Permit::is_heavy`].
    pub(super) fn is_heavy(&self, share: &Share) -> bool {
        self.lock().whole.stakes.get(&share.client).is_some_and(|stake| stake.heavy)
    }

    /// Puts back `bytes` that a permit holds.
    pub(super) fn give(&self, share: &Share, topic: &TopicName, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.whole.give(share, bytes);
        if let Some(pool) = state.topics.get_mut(topic) {
            pool.give(share, bytes);
            if pool.used == 0 {
                state.topics.remove(topic);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A picture of the budget for metrics. Sizes in bytes; only what holds something is listed, in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The size of the budget.
    pub total: u64,
    /// How much of it is held.
    pub used: u64,
    /// Each client with what it holds and its fair share at this moment.
    pub clients: Vec<(ClientId, u64, u64)>,
    /// Each topic with what waits for it.
    pub topics: Vec<(TopicName, u64)>,
}

/// The stronger one decides where two pools are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Fits,
    Full,
    OverShare,
}

/// A client that holds more than this part of a pool is heavy.
const HEAVY: u64 = 64;

/// What one client holds of a pool.
#[derive(Debug, Clone, Copy, Default)]
struct Stake {
    held: u64,
    /// Held more than a 64th of the pool since it last held nothing.
    heavy: bool,
    /// As counted in the pool; 0 only for a client without a stake.
    weight: u64,
}

/// Bytes that clients compete for.
#[derive(Debug)]
struct Pool {
    size: u64,
    /// Beyond it only clients within their fair share are admitted, and no client alone gets beyond it.
    line: u64,
    /// The sum of `held` of all stakes.
    used: u64,
    /// The sum of `weight` of all stakes.
    weight: u64,
    /// Only those that hold something.
    stakes: HashMap<ClientId, Stake, RandomState>,
}

impl Pool {
    fn new(size: u64, of_client: Percent) -> Self {
        Self { size, line: of_client.of(size), used: 0, weight: 0, stakes: HashMap::default() }
    }

    /// The fair share of the owner of `stake`, if its weight is `weight`.
    fn fair(&self, stake: Stake, weight: u64) -> u64 {
        let all = self.weight - stake.weight + weight;
        let part = u128::from(self.size) * u128::from(weight) / u128::from(all.max(1));
        u64::try_from(part).unwrap_or(u64::MAX).min(self.line)
    }

    fn verdict(&self, share: &Share, bytes: u64) -> Verdict {
        let stake = self.stakes.get(&share.client).copied().unwrap_or_default();
        let held = stake.held.saturating_add(bytes);
        let used = self.used.saturating_add(bytes);
        let within = held <= self.fair(stake, share.weight.get().into());
        if !within && (held > self.line || used > self.line) {
            Verdict::OverShare
        } else if used > self.size {
            Verdict::Full
        } else {
            Verdict::Fits
        }
    }

    fn take(&mut self, share: &Share, bytes: u64) {
        let stake = self.stakes.entry(share.client.clone()).or_default();
        let weight = share.weight.get().into();
        self.weight = self.weight - stake.weight + weight;
        stake.weight = weight;
        stake.held += bytes;
        stake.heavy |= stake.held > self.size / HEAVY;
        self.used += bytes;
    }

    fn give(&mut self, share: &Share, bytes: u64) {
        let Some(stake) = self.stakes.get_mut(&share.client) else { return };
        debug_assert!(stake.held >= bytes, "a permit gives back what it holds and no more");
        stake.held = stake.held.saturating_sub(bytes);
        self.used = self.used.saturating_sub(bytes);
        if stake.held == 0 {
            self.weight -= stake.weight;
            self.stakes.remove(&share.client);
        }
    }
}
