//! The tap: requests as they are answered, for whoever watches.
//!
//! Costs one atomic load a request while nobody does. A watcher gets at most [`LINES`] a second of those that its filter
//! lets through; of the others, and of those that it is too slow to take, it learns the number. Shows the first
//! [`PAYLOAD`] bytes of a body only where that was switched on, and never the value of a header.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::trail::Request;
use crate::event::ClientId;

/// The most a watcher gets in a second.
pub const LINES: u32 = 20;
/// How much of a body is shown, in bytes.
pub const PAYLOAD: usize = 2048;
/// Lines that wait for a watcher.
const WAITING: usize = 64;

/// A request as the tap shows it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who sent it.
    pub client: ClientId,
    /// What became of it.
    pub request: Request,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// How long `Kafka-Key` is, in bytes.
    pub key: Option<usize>,
    /// The names of its header fields.
    pub headers: Vec<String>,
    /// The first bytes of the body as they came, where they may be shown.
    pub payload: Option<Vec<u8>>,
}

/// What a watcher wants to see; `None` is everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// This client's requests.
    pub client: Option<String>,
    /// Those to this topic.
    pub topic: Option<String>,
    /// Those with this code; `accepted` and `refused` are those without and with any.
    pub code: Option<String>,
}

impl Filter {
    fn passes(&self, client: &ClientId, request: &Request) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let code = request.code.map(|code| code.name());
        is(&self.client, client.as_str())
            && is(&self.topic, request.topic.as_str())
            && match self.code.as_deref() {
                None => true,
                Some("accepted") => code.is_none(),
                Some("refused") => code.is_some(),
                Some(wanted) => code == Some(wanted),
            }
    }
}

/// Where requests are offered.
#[derive(Debug, Default)]
pub struct Tap {
    watched: AtomicUsize,
    payload: AtomicBool,
    // std Mutex: taken by requests only while somebody watches, and held without an allocation.
    watchers: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    filter: Filter,
    sender: mpsc::Sender<Arc<Seen>>,
    left_out: Arc<AtomicU64>,
    second: u64,
    lines: u32,
}

impl Watcher {
    /// Whether there is a line left in the second of `at` (in milliseconds).
    fn has_turn(&mut self, at: u64) -> bool {
        if self.second != at / 1000 {
            (self.second, self.lines) = (at / 1000, 0);
        }
        self.lines += 1;
        self.lines <= LINES
    }
}

/// One who watches, until dropped.
#[derive(Debug)]
pub struct Watch {
    tap: Arc<Tap>,
    lines: mpsc::Receiver<Arc<Seen>>,
    left_out: Arc<AtomicU64>,
}

impl Tap {
    /// Whether anybody watches: where not, nothing needs to be gathered.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Relaxed) > 0
    }

    /// Whether bodies are wanted.
    pub fn wants_payload(&self) -> bool {
        self.is_watched() && self.shows_payload()
    }

    /// Whether bodies may be shown.
    pub fn shows_payload(&self) -> bool {
        self.payload.load(Relaxed)
    }

    /// From now on they may, or not.
    pub fn show_payload(&self, show: bool) {
        self.payload.store(show, Relaxed);
    }

    /// Watches what passes `filter`.
    pub fn watch(self: &Arc<Self>, filter: Filter) -> Watch {
        let (sender, lines) = mpsc::channel(WAITING);
        let left_out = Arc::<AtomicU64>::default();
        let watcher = Watcher { filter, sender, left_out: Arc::clone(&left_out), second: 0, lines: 0 };
        self.watchers().push(watcher);
        self.watched.fetch_add(1, Relaxed);
        Watch { tap: Arc::clone(self), lines, left_out }
    }

    /// Offers an answered request; `rest` adds what costs something, and is called once where somebody wants it.
    pub fn offer(&self, client: &ClientId, request: &Request, rest: impl FnOnce() -> Seen) {
        let mut rest = Some(rest);
        let mut seen: Option<Arc<Seen>> = None;
        for watcher in self.watchers().iter_mut().filter(|watcher| watcher.filter.passes(client, request)) {
            if watcher.has_turn(request.at) {
                if let Some(rest) = rest.take() {
                    seen = Some(Arc::new(rest()));
                }
                if seen.clone().is_some_and(|seen| watcher.sender.try_send(seen).is_ok()) {
                    continue;
                }
            }
            watcher.left_out.fetch_add(1, Relaxed);
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The next request. Cancellation: none is lost.
    pub async fn next(&mut self) -> Option<Arc<Seen>> {
        self.lines.recv().await
    }

    /// How many were left out since this was last asked.
    pub fn left_out(&self) -> u64 {
        self.left_out.swap(0, Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tap.watchers().retain(|watcher| !Arc::ptr_eq(&watcher.left_out, &self.left_out));
        self.tap.watched.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::RequestId;
    use crate::reject::Code;

    fn request(at: u64, topic: &str, code: Option<Code>) -> Request {
        let (topic, took) = (topic.into(), Duration::ZERO);
        Request { at, id: RequestId::new(), topic, status: 200, code, events: 1, bytes: 2, took }
    }

    fn offer(tap: &Tap, client: &str, request: &Request) -> bool {
        let client = ClientId::from(client);
        let mut asked = false;
        tap.offer(&client, request, || {
            asked = true;
            Seen {
                client: client.clone(),
                request: request.clone(),
                content_type: None,
                content_encoding: None,
                key: None,
                headers: Vec::new(),
                payload: None,
            }
        });
        asked
    }

    #[tokio::test]
    async fn a_watcher_sees_what_its_filter_lets_through_and_the_rest_is_not_gathered() {
        let tap = Arc::<Tap>::default();
        assert!(!tap.is_watched());
        let text = |text: &str| Some(text.to_owned());
        let mut refused = tap.watch(Filter { code: text("refused"), ..Filter::default() });
        let mut one = tap.watch(Filter { client: text("a"), topic: text("t"), code: text("accepted") });
        assert!(tap.is_watched());
        assert!(offer(&tap, "a", &request(1, "t", None)));
        assert!(!offer(&tap, "b", &request(2, "t", None)));
        assert!(offer(&tap, "b", &request(3, "t", Some(Code::NoEvents))));
        assert_eq!((one.next().await.unwrap().request.at, refused.next().await.unwrap().request.at), (1, 3));
        drop((one, refused));
        assert!(!tap.is_watched() && !offer(&tap, "a", &request(1, "t", None)));
    }

    #[tokio::test]
    async fn a_flood_gives_a_few_lines_a_second_and_the_number_of_the_others() {
        let tap = Arc::<Tap>::default();
        let mut watch = tap.watch(Filter::default());
        for n in 0..1000 {
            offer(&tap, "a", &request(n % 1000, "t", None));
        }
        for _ in 0..LINES {
            assert!(watch.next().await.is_some());
        }
        assert!(watch.lines.try_recv().is_err());
        assert_eq!((watch.left_out(), watch.left_out()), (1000 - u64::from(LINES), 0));
        assert!(offer(&tap, "a", &request(1000, "t", None)));
    }
}
