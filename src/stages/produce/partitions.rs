//! Which partition a record goes to: Java's murmur2 for keys, one at a time for records without.
//!
//! Records without a key stick to a partition for a while, since batches of one partition are cheap, and then go to the
//! next: even over time. Left at once are partitions that have no leader, that hold more than their cap, or that
//! have not answered for a second while something waited for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::event::TopicName;

/// A partition that something waits for and that has answered nothing for so long is left, until it answers.
const STALLED: Duration = Duration::from_secs(1);

/// Where the key `key` goes among `partitions` (at least one), as Java's producer does: the positive murmur2 of it.
pub fn of_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1)
}

/// Austin Appleby's MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// How long records without a key stay with a partition, and how much one may hold.
#[derive(Debug, Clone, Copy)]
pub struct Stick {
    /// For so long,
    pub time: Duration,
    /// or for so many bytes.
    pub bytes: u64,
    /// Bytes that may wait for one partition before others are taken.
    pub cap: u64,
}

/// The partitions of every topic that is written to.
#[derive(Default)]
pub struct Atlas {
    topics: RwLock<HashMap<TopicName, Arc<Partitions>>>,
}

impl Atlas {
    /// Those of `topic`.
    pub fn of(&self, topic: &TopicName) -> Arc<Partitions> {
        if let Some(found) = self.known(topic.as_str()) {
            return found;
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(topics.entry(topic.clone()).or_default())
    }

    /// Notes which partitions of `topic` have no leader by the latest metadata.
    pub fn leaderless(&self, topic: &str, partitions: &[i32]) {
        if let Some(known) = self.known(topic) {
            known.leaderless(partitions);
        }
    }

    fn known(&self, topic: &str) -> Option<Arc<Partitions>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }
}

/// The partitions of one topic.
#[derive(Default)]
pub struct Partitions(Mutex<State>);

#[derive(Default)]
struct State {
    each: Vec<Partition>,
    /// Taken now.
    at: usize,
    /// Until then, or until so many bytes more are given to it. None before the first.
    until: Option<Instant>,
    left: u64,
}

#[derive(Clone, Copy)]
struct Partition {
    leaderless: bool,
    /// Bytes that were sent there without a key and have no fate yet.
    waiting: u64,
    /// When it last settled something, or began to wait.
    since: Instant,
}

impl Partitions {
    /// The partition for `bytes` without a key, of `count`, at `now`. They wait there for as long as the hold lives.
    /// `late` knows those that keep others waiting.
    pub fn choose(
        self: &Arc<Self>,
        count: i32,
        bytes: u64,
        now: Instant,
        stick: &Stick,
        late: impl Fn(usize) -> bool,
    ) -> (i32, Hold) {
        let mut state = self.lock();
        let fresh = Partition { leaderless: false, waiting: 0, since: now };
        let count = usize::try_from(count).unwrap_or(0).max(1).max(state.each.len());
        state.each.resize(count, fresh);
        let at = state.choose(now, stick, late);
        state.left = state.left.saturating_sub(bytes);
        if let Some(partition) = state.each.get_mut(at) {
            if partition.waiting == 0 {
                partition.since = now;
            }
            partition.waiting += bytes;
        }
        drop(state);
        (at as i32, Hold { partitions: Arc::clone(self), at, bytes })
    }

    fn leaderless(&self, partitions: &[i32]) {
        for (number, partition) in (0..).zip(&mut self.lock().each) {
            partition.leaderless = partitions.contains(&number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn choose(&mut self, now: Instant, stick: &Stick, late: impl Fn(usize) -> bool) -> usize {
        let good = |state: &Self, at: usize| {
            state.each.get(at).is_some_and(|partition| partition.is_good(now, stick)) && !late(at)
        };
        if self.left > 0 && self.until.is_some_and(|until| now < until) && good(self, self.at) {
            return self.at;
        }
        let count = self.each.len();
        // Not every gateway begins at the same one.
        let first = if self.until.is_none() { random() as usize } else { self.at + 1 };
        let mut turns = (0..count).map(|turn| (first + turn) % count);
        let leads = |at: &usize| self.each.get(*at).is_some_and(|partition| !partition.leaderless);
        let next = turns.clone().find(|at| good(self, *at));
        let next = next.or_else(|| turns.clone().find(|at| leads(at) && !late(*at)));
        let next = next.or_else(|| turns.clone().find(leads));
        self.at = next.or_else(|| turns.next()).unwrap_or(0);
        self.until = Some(now + stick.time);
        self.left = stick.bytes;
        self.at
    }
}

impl Partition {
    fn is_good(&self, now: Instant, stick: &Stick) -> bool {
        let stalled = self.waiting > 0 && now.saturating_duration_since(self.since) > STALLED;
        !self.leaderless && self.waiting < stick.cap && !stalled
    }
}

fn random() -> u32 {
    // Without randomness the first partition is as good as another.
    getrandom::u32().unwrap_or(0)
}

/// Bytes that wait for a partition, until it is dropped.
pub struct Hold {
    partitions: Arc<Partitions>,
    at: usize,
    bytes: u64,
}

impl Hold {
    /// Which partition.
    pub fn partition(&self) -> i32 {
        self.at as i32
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(partition) = self.partitions.lock().each.get_mut(self.at) {
            partition.waiting = partition.waiting.saturating_sub(self.bytes);
            partition.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STICK: Stick = Stick { time: Duration::from_millis(10), bytes: 1000, cap: 500 };

    /// Chooses for `requests` of 100 bytes, each at its time and settled at once.
    fn choices(partitions: &Arc<Partitions>, at: impl Iterator<Item = Instant>) -> Vec<i32> {
        at.map(|now| partitions.choose(4, 100, now, &STICK, |_| false).0).collect()
    }

    #[test]
    fn keys_hash_as_in_java() {
        // From Kafka's own UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(of_key(b"21", 1), 0);
    }

    #[test]
    fn a_partition_is_kept_for_a_while_and_all_get_the_same_over_time() {
        let (partitions, start) = (Arc::<Partitions>::default(), Instant::now());
        let chosen = choices(&partitions, (0..4000).map(|n| start + Duration::from_millis(n)));
        let changes = chosen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((390..410).contains(&changes), "{changes}");
        for number in 0..4 {
            let share = chosen.iter().filter(|at| **at == number).count();
            assert!((990..1010).contains(&share), "{number}: {share}");
        }
    }

    #[test]
    fn a_partition_is_left_when_it_was_given_a_batch_s_worth() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        let chosen = choices(&partitions, (0..40).map(|_| now));
        assert_eq!(chosen.chunk_by(|a, b| a == b).map(<[i32]>::len).collect::<Vec<_>>(), [10; 4]);
    }

    #[test]
    fn a_partition_without_a_leader_is_left_at_once_and_taken_again_when_it_has_one() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        let (first, _hold) = partitions.choose(4, 100, now, &STICK, |_| false);
        partitions.leaderless(&[first]);
        let later = |n: u64| now + Duration::from_millis(n);
        assert!(!choices(&partitions, (0..100).map(later)).contains(&first));
        partitions.leaderless(&[]);
        assert!(choices(&partitions, (100..200).map(later)).contains(&first));
    }

    #[test]
    fn where_none_has_a_leader_one_is_taken_all_the_same() {
        let partitions = Arc::<Partitions>::default();
        let (_, _hold) = partitions.choose(2, 100, Instant::now(), &STICK, |_| false);
        partitions.leaderless(&[0, 1]);
        assert!((0..2).contains(&partitions.choose(2, 100, Instant::now(), &STICK, |_| false).0));
    }

    #[test]
    fn a_partition_over_its_cap_is_left_until_it_has_room() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        let (first, hold) = partitions.choose(4, 600, now, &STICK, |_| false);
        assert_ne!(partitions.choose(4, 100, now, &STICK, |_| false).0, first);
        drop(hold);
        let chosen = choices(&partitions, (0..40).map(|_| now));
        assert!(chosen.contains(&first));
    }

    #[test]
    fn a_partition_that_does_not_answer_is_left_after_a_second() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        let (first, hold) = partitions.choose(4, 100, now, &STICK, |_| false);
        let later = |n: u64| now + Duration::from_millis(1500 + n);
        assert!(!choices(&partitions, (0..100).map(later)).contains(&first));
        drop(hold);
        assert!(choices(&partitions, (100..200).map(later)).contains(&first));
    }

    #[test]
    fn a_partition_that_keeps_others_waiting_is_left_while_there_is_one_that_does_not() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        for n in 0..100 {
            let now = now + Duration::from_millis(n * 20);
            assert_eq!(partitions.choose(4, 100, now, &STICK, |at| at != 2).0, 2);
        }
        assert!((0..4).contains(&partitions.choose(4, 100, now, &STICK, |_| true).0));
    }

    #[test]
    fn where_every_partition_is_slow_they_take_turns() {
        let (partitions, now) = (Arc::<Partitions>::default(), Instant::now());
        let _holds: Vec<_> = (0..4).map(|_| partitions.choose(4, 1000, now, &STICK, |_| false)).collect();
        let chosen = choices(&partitions, (0..40).map(|n| now + Duration::from_secs(2 + n)));
        assert!((0..4).all(|number| chosen.contains(&number)), "{chosen:?}");
    }
}
