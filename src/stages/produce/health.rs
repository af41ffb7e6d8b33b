//! Whether Kafka answers, and what it last complained of.
//!
//! One question to any broker every few seconds decides (more often while none answers), unless acknowledgements show
//! that Kafka is well. librdkafka's own states do not: it lets idle connections go and calls that down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::catalog::Scout;

/// Between two questions while Kafka answers.
const CALM: Duration = Duration::from_secs(5);
/// Between two questions while it does not.
const ANXIOUS: Duration = Duration::from_millis(300);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many questions in a row without an answer mean that Kafka is away. One may have gone to a broker that is.
const STRIKES: u32 = 2;
/// How long a complaint is shown and not logged again.
const COMPLAINT: Duration = Duration::from_secs(60);
/// How many different complaints are kept.
const COMPLAINTS: usize = 16;

/// Shared by the producers that see Kafka's answers and the parts that tell people.
#[derive(Default)]
pub struct Health {
    up: AtomicBool,
    /// Kafka has answered at least once.
    met: AtomicBool,
    /// An event was acknowledged since the last question.
    acked: AtomicBool,
    complaints: Mutex<Vec<(Instant, String)>>,
    /// Since when nobody answers.
    down: Mutex<Option<Instant>>,
    /// There is reason to ask now.
    doubt: Notify,
}

impl Health {
    /// Whether Kafka answered when it was last asked.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether Kafka has ever answered.
    pub fn has_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// How long Kafka has not answered, if it does not; also where it never has.
    pub fn outage(&self) -> Option<Duration> {
        let down = || *self.down.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.is_up()).then(|| down().map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// Notes that a producer has lost all its connections: to be asked about at once.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Notes that an event was acknowledged.
    pub fn note_ack(&self) {
        self.acked.store(true, Ordering::Relaxed);
    }

    /// Notes, and logs once a minute, what Kafka or librdkafka complains of. `text` holds no secret and no payload.
    pub fn complain(&self, text: &str) {
        // librdkafka counts and times its complaints at their end, which would make each of them a new one.
        let text = text.rsplit_once(" (after ").map_or(text, |(text, _)| text);
        let now = Instant::now();
        let mut complaints = self.lock();
        complaints.retain(|(at, _)| now.duration_since(*at) < COMPLAINT);
        if complaints.iter().any(|(_, known)| known == text) || complaints.len() == COMPLAINTS {
            return;
        }
        complaints.push((now, text.to_owned()));
        drop(complaints);
        warn!("kafka: {text}");
    }

    /// What was complained of within the last minute.
    pub fn complaints(&self) -> Vec<String> {
        let now = Instant::now();
        self.lock().iter().filter(|(at, _)| now.duration_since(*at) < COMPLAINT).map(|(_, text)| text.clone()).collect()
    }

    /// Asks for ever. Runs as a task; cancelling it leaves the last answer standing.
    pub async fn watch(self: Arc<Self>, scout: Arc<Scout>) {
        let mut strikes = 0;
        let mut silent = Instant::now();
        // A producer has lost every connection: then one question without an answer is enough.
        let mut doubted = false;
        self.note_down(Some(silent));
        loop {
            let asked = Instant::now();
            let answer = scout.ask_brokers(PATIENCE).await;
            let acked = self.acked.swap(false, Ordering::Relaxed);
            match answer {
                Ok(brokers) => {
                    strikes = 0;
                    self.note_down(None);
                    if !self.up.swap(true, Ordering::Relaxed) {
                        self.lock().clear();
                        info!(brokers, "kafka answers");
                    }
                    self.met.store(true, Ordering::Relaxed);
                }
                Err(_) if acked => strikes = 0,
                Err(error) => {
                    silent = if strikes == 0 { asked } else { silent };
                    strikes += if doubted { STRIKES } else { 1 };
                    if strikes >= STRIKES || !self.has_met() {
                        if self.is_up() {
                            self.note_down(Some(silent));
                        }
                        self.up.store(false, Ordering::Relaxed);
                        self.complain(&format!("no broker answers: {error}"));
                    }
                }
            }
            let pause = if self.is_up() && strikes == 0 { CALM } else { ANXIOUS };
            doubted = tokio::time::timeout(pause, self.doubt.notified()).await.is_ok() && self.is_up();
        }
    }

    fn note_down(&self, since: Option<Instant>) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_kept_once_and_bounded() {
        let health = Health::default();
        health.complain("a");
        health.complain("a (after 2ms in state CONNECT)");
        health.complain("a (after 0ms in state CONNECT, 30 identical error(s) suppressed)");
        for n in 0..100 {
            health.complain(&n.to_string());
        }
        let complaints = health.complaints();
        assert_eq!(complaints.len(), COMPLAINTS);
        assert_eq!(complaints.iter().filter(|text| *text == "a").count(), 1);
    }
}
