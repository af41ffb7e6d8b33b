//! How much waits for each partition and how fast Kafka takes it: whether what is sent now can be acknowledged in time.
//!
//! A [`Queue`] counts, for a producer and a partition, what was given to it and what was settled; twice a second it is
//! measured. A queue whose head has waited for less than `LATE` flows, however long it is: in particular, an empty one
//! does. Of one that is late the time in which it clears is what waits over what is acknowledged in a second. Where
//! nothing has been acknowledged for as long it is stuck: for all that is known, half of that time is over, and what waits
//! for less is refused, but for one request a second that goes to see.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::event::TopicName;

mod late;

pub use late::Backlog;

/// Between two measurements.
pub const TURN: Duration = Duration::from_millis(500);
/// A queue flows while its head has waited for less: well above what an acknowledgement takes, below a usual wait.
const LATE: Duration = Duration::from_secs(2);
/// How long the measured rate remembers.
const MEMORY: Duration = Duration::from_secs(2);
/// Between two requests that go to a stuck queue to measure it.
const PROBE: Duration = Duration::from_secs(1);
/// When to come back, at least and at most.
const COME_BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// When a queue will have settled what waits in it now; the better, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clears {
    /// Soon: nothing waits, or nothing for long.
    Flows,
    /// In about so long.
    In(Duration),
    /// Nobody knows: something has waited for so long, and nothing is acknowledged.
    Stuck(Duration),
}

/// Whether a request should be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// It should.
    GoOn,
    /// It would wait in vain.
    Refuse {
        /// When it should come back: an estimate, 1 to 60 s.
        come_back: Duration,
    },
}

impl Forecast {
    /// Refuses until an outage that has lasted for `age` may be over: for all that is known it is half over.
    pub fn outage(age: Duration) -> Self {
        Forecast::Refuse { come_back: bounded(age) }
    }

    /// When to come back; where it should go on, soon.
    pub fn come_back(self) -> Duration {
        match self {
            Forecast::GoOn => COME_BACK.0,
            Forecast::Refuse { come_back } => come_back,
        }
    }

    fn of(clears: Clears, wait: Duration) -> Self {
        match clears {
            Clears::Flows => Forecast::GoOn,
            Clears::In(time) if time <= wait => Forecast::GoOn,
            // What comes then finds a queue that clears within its wait.
            Clears::In(time) => Forecast::Refuse { come_back: bounded(time - wait) },
            Clears::Stuck(age) if age < wait / 2 => Forecast::GoOn,
            Clears::Stuck(age) => Forecast::outage(age),
        }
    }
}

fn bounded(time: Duration) -> Duration {
    time.clamp(COME_BACK.0, COME_BACK.1)
}

/// What waits for one partition in one producer.
#[derive(Default)]
pub struct Queue {
    given: AtomicU64,
    settled: AtomicU64,
    acked: AtomicU64,
    /// What the last measurement said, in milliseconds: how long the head has waited (0: not late), and in how long the
    /// queue clears (`u32::MAX`: stuck).
    late: AtomicU32,
    clears: AtomicU32,
    gauge: Mutex<Gauge>,
}

#[derive(Default)]
struct Gauge {
    /// When so much had been given; a mark goes when all that is settled. So the first says how long the head waits.
    marks: VecDeque<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    /// When something was acknowledged or nothing waited.
    moved: Option<Instant>,
    /// Acknowledged events a second, while something waits.
    rate: f64,
}

impl Queue {
    /// `events` more are given to the producer.
    pub fn give(&self, events: usize) {
        self.given.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// `events` of them have a fate, of which `acked` are acknowledged.
    pub fn settle(&self, events: usize, acked: usize) {
        self.settled.fetch_add(events as u64, Ordering::Relaxed);
        self.acked.fetch_add(acked as u64, Ordering::Relaxed);
    }

    /// How long its head has waited, if that is long.
    pub fn late(&self) -> Option<Duration> {
        let late = self.late.load(Ordering::Relaxed);
        (late > 0).then(|| Duration::from_millis(late.into()))
    }

    /// By the last measurement.
    pub fn clears(&self) -> Clears {
        let Some(late) = self.late() else { return Clears::Flows };
        match self.clears.load(Ordering::Relaxed) {
            u32::MAX => Clears::Stuck(late),
            millis => Clears::In(Duration::from_millis(millis.into())),
        }
    }

    /// Measures it at `now`, [`TURN`] after the last time.
    pub fn measure(&self, now: Instant) -> Clears {
        // Given last: what is settled meanwhile was given before.
        let (acked, settled) = (self.acked.load(Ordering::Relaxed), self.settled.load(Ordering::Relaxed));
        let given = self.given.load(Ordering::Relaxed);
        let mut gauge = self.lock();
        gauge.turn(now, acked, given > settled);
        let moved = gauge.moved.is_none_or(|moved| now.duration_since(moved) < LATE);
        while gauge.marks.front().is_some_and(|(_, mark)| *mark <= settled) {
            gauge.marks.pop_front();
        }
        if given > settled && gauge.marks.back().is_none_or(|(_, mark)| *mark < given) {
            gauge.marks.push_back((now, given));
        }
        let age = gauge.marks.front().map_or(Duration::ZERO, |(since, _)| now.duration_since(*since));
        let rate = gauge.rate;
        drop(gauge);
        let late = if age < LATE { 0 } else { millis(age) };
        self.late.store(late, Ordering::Relaxed);
        let clears = if moved { clears_in(given.saturating_sub(settled), rate) } else { u32::MAX };
        self.clears.store(clears, Ordering::Relaxed);
        self.clears()
    }

    fn lock(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gauge {
    /// Notes the rate of a turn in which something waited.
    fn turn(&mut self, now: Instant, acked: u64, waits: bool) {
        if !waits || self.last.is_none_or(|(_, before)| acked > before) {
            self.moved = Some(now);
        }
        if let Some((then, before)) = self.last
            && waits
        {
            let span = now.duration_since(then).as_secs_f64().max(0.001);
            let rate = acked.saturating_sub(before) as f64 / span;
            let weight = 1.0 - (-span / MEMORY.as_secs_f64()).exp();
            // Up at once and down slowly: when Kafka is back, nobody shall wait for the mean to notice.
            self.rate = rate.max(self.rate + (rate - self.rate) * weight);
        }
        self.last = Some((now, acked));
    }
}

/// In milliseconds, less than `u32::MAX`.
fn clears_in(waiting: u64, rate: f64) -> u32 {
    (waiting as f64 / rate * 1000.0).min(f64::from(u32::MAX - 1)) as u32
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// At most one a second.
#[derive(Default)]
pub struct Probe(Mutex<Option<Instant>>);

impl Probe {
    /// Whether it is this one's turn.
    pub fn take(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = last.is_none_or(|last| now.duration_since(last) >= PROBE);
        if free {
            *last = Some(now);
        }
        free
    }
}

/// The partitions of one topic in one producer, by number.
pub type Queues = Arc<[Arc<Queue>]>;

/// All queues of one producer, and of those that take its place.
#[derive(Default)]
pub struct Ledger(RwLock<HashMap<TopicName, Queues>>);

impl Ledger {
    /// The queues of `topic`, at least `partitions`. Those that there are keep their counts.
    pub fn open(&self, topic: &TopicName, partitions: i32) -> Queues {
        let count = usize::try_from(partitions).unwrap_or(0);
        let mut topics = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = topics.entry(topic.clone()).or_insert_with(|| Arc::new([]));
        if known.len() < count {
            let new = std::iter::repeat_with(Arc::default).take(count - known.len());
            *known = known.iter().cloned().chain(new).collect();
        }
        Arc::clone(known)
    }

    /// The queue of a partition that something was sent to.
    pub fn queue(&self, topic: &str, partition: i32) -> Option<Arc<Queue>> {
        let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic)?.get(usize::try_from(partition).ok()?).cloned()
    }

    /// Measures every queue; for each topic, the best of its partitions and the worst.
    pub fn measure(&self, now: Instant) -> Vec<(TopicName, Measured)> {
        let topics: Vec<_> = {
            let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
            topics.iter().map(|(topic, queues)| (topic.clone(), Arc::clone(queues))).collect()
        };
        let measured = topics.into_iter().map(|(topic, queues)| {
            let mut each: Vec<_> = queues.iter().map(|queue| queue.measure(now)).collect();
            each.sort_unstable();
            let end = |clears: Option<&Clears>| clears.copied().unwrap_or(Clears::Flows);
            let late = each.iter().filter(|clears| **clears != Clears::Flows).count();
            (topic, Measured { best: end(each.first()), worst: end(each.last()), late })
        });
        measured.collect()
    }
}

/// Counts reports, most of which are of the same partition as the one before, and tells the queues when it is dropped.
pub struct Tally<'a> {
    ledger: &'a Ledger,
    of: Option<(i32, Option<Arc<Queue>>)>,
    events: usize,
    acked: usize,
}

impl<'a> Tally<'a> {
    /// For reports of one topic.
    pub fn over(ledger: &'a Ledger) -> Self {
        Self { ledger, of: None, events: 0, acked: 0 }
    }

    /// Counts one report, of `topic`.
    pub fn count<'t>(&mut self, topic: impl FnOnce() -> &'t str, partition: i32, acked: bool) {
        if !matches!(&self.of, Some((of, _)) if *of == partition) {
            self.tell();
            self.of = Some((partition, self.ledger.queue(topic(), partition)));
        }
        self.events += 1;
        self.acked += usize::from(acked);
    }

    fn tell(&mut self) {
        let (events, acked) = (std::mem::take(&mut self.events), std::mem::take(&mut self.acked));
        if let Some((_, Some(queue))) = &self.of {
            queue.settle(events, acked);
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// How the queues of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// That of the partition that is off best.
    pub best: Clears,
    /// And worst.
    pub worst: Clears,
    /// How many do not flow.
    pub late: usize,
}

/// Whether a run of events for one partition is not even given to the producer: they would wait for longer than
/// `wait`, and it is not their turn to measure.
pub fn is_hopeless(queue: &Queue, probe: &Probe, wait: Duration) -> bool {
    let clears = queue.clears();
    match Forecast::of(clears, wait) {
        Forecast::GoOn => false,
        Forecast::Refuse { .. } => !(matches!(clears, Clears::Stuck(_)) && probe.take(Instant::now())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lane;
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// Gives and acknowledges so many events in each of `turns`; what the queue says at the end, and when that is.
    fn run(queue: &Queue, start: Instant, turns: u32, given: usize, acked: usize) -> (Clears, Instant) {
        let mut now = start;
        let mut clears = Clears::Flows;
        for _ in 0..turns {
            now += TURN;
            queue.give(given);
            queue.settle(acked, acked);
            clears = queue.measure(now);
        }
        (clears, now)
    }

    #[test]
    fn an_empty_queue_and_a_long_one_that_is_not_late_flow() {
        let (queue, now) = (Queue::default(), Instant::now());
        assert_eq!(run(&queue, now, 100, 50, 50).0, Clears::Flows);
        // Ten events a second until now; a burst says nothing about how fast it could go.
        queue.give(1_000_000);
        let (clears, now) = run(&queue, now + TURN * 100, 2, 0, 500_000);
        assert_eq!(clears, Clears::Flows);
        assert_eq!(run(&queue, now, 1, 0, 0).0, Clears::Flows);
    }

    #[test]
    fn a_late_queue_clears_in_what_waits_over_what_is_acknowledged_in_a_second() {
        let (queue, now) = (Queue::default(), Instant::now());
        // 2000/s come, 1000/s go: after 10 s 10,000 wait.
        let (clears, _) = run(&queue, now, 20, 1000, 500);
        let Clears::In(time) = clears else { panic!("{clears:?}") };
        assert!((9.0..11.0).contains(&time.as_secs_f64()), "{time:?}");
        assert_eq!(Forecast::of(clears, WAIT * 2), Forecast::GoOn);
        let Forecast::Refuse { come_back } = Forecast::of(clears, Duration::from_secs(4)) else { panic!() };
        assert!((5.0..7.0).contains(&come_back.as_secs_f64()), "{come_back:?}");
    }

    #[test]
    fn a_queue_of_which_nothing_is_acknowledged_gets_stuck_and_flows_again_within_two_turns() {
        let (queue, start) = (Queue::default(), Instant::now());
        let (clears, now) = run(&queue, start, 4, 10, 10);
        assert_eq!(clears, Clears::Flows);
        let (clears, now) = run(&queue, now, 30, 1, 0);
        let Clears::Stuck(age) = clears else { panic!("{clears:?}") };
        assert_eq!(age, TURN * 29);
        assert_eq!(Forecast::of(clears, WAIT), Forecast::Refuse { come_back: age });
        // What has waited is settled as failed: that is no progress, and nothing waits.
        queue.settle(30, 0);
        let (clears, now) = run(&queue, now, 1, 1, 0);
        assert_eq!(clears, Clears::Flows);
        let (_, now) = run(&queue, now, 30, 1, 0);
        let (clears, _) = run(&queue, now, 2, 0, 10);
        assert_eq!(Forecast::of(clears, WAIT), Forecast::GoOn, "{clears:?}");
    }

    #[test]
    fn a_topic_is_as_good_as_its_best_partition_and_a_stuck_one_is_tried_once_a_second() {
        let (ledger, backlog, topic) = (Ledger::default(), Backlog::default(), TopicName::from("t"));
        let now = Instant::now();
        let queues = ledger.open(&topic, 2);
        let turns = |from: u32, to: u32| {
            for turn in from..to {
                backlog.note(Lane::Express, ledger.measure(now + TURN * turn));
            }
            now + TURN * to
        };
        queues[1].give(1);
        let at = turns(0, 30);
        assert_eq!(backlog.forecast(Lane::Express, &topic, WAIT, at), Forecast::GoOn, "partition 0 is free");
        let probe = Probe::default();
        assert!(!is_hopeless(&queues[0], &probe, WAIT));
        assert!(!is_hopeless(&queues[1], &probe, WAIT) && is_hopeless(&queues[1], &probe, WAIT));

        queues[0].give(1);
        let at = turns(30, 60);
        let ask = |at| backlog.forecast(Lane::Express, &topic, WAIT, at);
        assert_eq!(ask(at), Forecast::GoOn);
        assert!(matches!(ask(at), Forecast::Refuse { .. }));
        assert!(matches!(ask(at + Duration::from_millis(900)), Forecast::Refuse { .. }));
        assert_eq!(ask(at + Duration::from_millis(1000)), Forecast::GoOn);
        assert_eq!(backlog.forecast(Lane::Bulk, &topic, WAIT, at), Forecast::GoOn, "another connection");
        queues[0].settle(1, 1);
        assert_eq!(ask(turns(60, 61)), Forecast::GoOn);
    }

    #[test]
    fn a_topic_that_grows_keeps_its_counts() {
        let (ledger, topic) = (Ledger::default(), TopicName::from("t"));
        ledger.open(&topic, 1)[0].give(1);
        let queues = ledger.open(&topic, 3);
        assert_eq!((queues.len(), queues[0].given.load(Ordering::Relaxed)), (3, 1));
        assert_eq!(ledger.open(&topic, 2).len(), 3);
        assert!(ledger.queue("t", 2).is_some() && ledger.queue("t", 3).is_none() && ledger.queue("u", 0).is_none());
    }
}
