//! The book of requests whose events went to the spool: what became of each.
//!
//! Bounded: the last `PAGES` requests, `RUNS` runs of events in all, `AGE`. Kept in memory alone; after a restart
//! it begins with what waits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::event::{ClientId, RequestId, TopicName};

/// How many requests are known.
pub const PAGES: usize = 100_000;
/// How many runs of events all of them may have.
const RUNS: usize = 1_000_000;
/// How long a request is known.
pub const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On disk, on its way to Kafka.
    Spooled,
    /// In Kafka.
    Acked {
        /// Where.
        partition: i32,
        /// Where in the partition; `None` where the broker did not say.
        offset: Option<i64>,
    },
    /// Kafka refused it for good; it is in the dead-letter topic.
    DeadLettered,
    /// It may be in Kafka; the spool does not have it.
    Unknown,
}

impl State {
    /// The state of the event after one in this state, if both are one run.
    fn next(self) -> Self {
        match self {
            State::Acked { partition, offset } => State::Acked { partition, offset: offset.map(|offset| offset + 1) },
            State::Spooled | State::DeadLettered | State::Unknown => self,
        }
    }

    /// The state of the `n`th event of a run that begins in this state.
    pub fn nth(self, n: u32) -> Self {
        match self {
            State::Acked { partition, offset } => {
                State::Acked { partition, offset: offset.map(|offset| offset + i64::from(n)) }
            }
            State::Spooled | State::DeadLettered | State::Unknown => self,
        }
    }
}

/// Events beside each other in the same state; of acknowledged ones the offsets are consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Of the first event in the request.
    pub index: u32,
    /// How many.
    pub count: u32,
    /// Of the first event.
    pub state: State,
}

/// The runs of events in states, by ascending index.
pub fn runs(events: impl IntoIterator<Item = (u32, State)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut expected = None;
    for (index, state) in events {
        match runs.last_mut() {
            Some(run) if run.index + run.count == index && expected == Some(state) => run.count += 1,
            _ => runs.push(Run { index, count: 1, state }),
        }
        expected = Some(state.next());
    }
    runs
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Who sent it.
    pub client: ClientId,
    /// Where to.
    pub topic: TopicName,
    /// What became of its events.
    pub runs: Vec<Run>,
}

struct Kept {
    page: Page,
    /// Only the number of events is known, not which of the request they are.
    vague: bool,
    waiter: Option<oneshot::Sender<Vec<Run>>>,
}

/// The book.
#[derive(Default)]
pub struct Book {
    // std Mutex: held for a look-up and a short list, never across an await.
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    by_id: HashMap<RequestId, Kept>,
    order: VecDeque<(RequestId, Instant)>,
    runs: usize,
}

impl Book {
    /// Opens the page of a request, or writes over it.
    pub fn open(&self, request: RequestId, page: Page) {
        self.lock().open(request, page, false, Instant::now());
    }

    /// Opens the page of a request of an earlier life, of which `events` wait; nothing once the book is full.
    pub fn recover(&self, request: RequestId, client: &ClientId, topic: &TopicName, events: u32) {
        let mut pages = self.lock();
        if pages.by_id.len() < PAGES {
            let runs = vec![Run { index: 0, count: events, state: State::Spooled }];
            let page = Page { client: client.clone(), topic: topic.clone(), runs };
            pages.open(request, page, true, Instant::now());
        }
    }

    /// As if it had never been opened.
    pub fn forget(&self, request: RequestId) {
        self.lock().close(request);
    }

    /// What is known.
    pub fn find(&self, request: RequestId) -> Option<Page> {
        self.lock().by_id.get(&request).map(|kept| kept.page.clone())
    }

    /// Tells once no event of the request is spooled any more. Never, where the book does not know it (any more).
    pub fn settled(&self, request: RequestId) -> oneshot::Receiver<Vec<Run>> {
        let (tell, told) = oneshot::channel();
        if let Some(kept) = self.lock().by_id.get_mut(&request) {
            kept.waiter = Some(tell);
            kept.tell();
        }
        told
    }

    /// Notes what became of events of an entry, which has the events `of`.
    pub fn note(&self, request: RequestId, of: impl Iterator<Item = u32>, news: &[Run]) {
        let mut pages = self.lock();
        let Some(kept) = pages.by_id.get_mut(&request) else { return };
        let before = kept.page.runs.len();
        if std::mem::take(&mut kept.vague) {
            kept.page.runs = runs(of.map(|index| (index, State::Spooled)));
        }
        kept.page.runs = over(&kept.page.runs, news);
        let after = kept.page.runs.len();
        kept.tell();
        pages.runs = pages.runs + after - before;
        pages.trim(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn tell(&mut self) {
        if self.page.runs.iter().all(|run| run.state != State::Spooled)
            && let Some(waiter) = self.waiter.take()
        {
            // Whoever waited may have gone.
            let _ = waiter.send(self.page.runs.clone());
        }
    }
}

impl Pages {
    fn open(&mut self, request: RequestId, page: Page, vague: bool, now: Instant) {
        self.close(request);
        self.runs += page.runs.len();
        self.by_id.insert(request, Kept { page, vague, waiter: None });
        self.order.push_back((request, now));
        self.trim(now);
    }

    fn close(&mut self, request: RequestId) {
        if let Some(kept) = self.by_id.remove(&request) {
            self.runs -= kept.page.runs.len();
        }
    }

    fn trim(&mut self, now: Instant) {
        while let Some((request, since)) = self.order.front().copied()
            && (self.order.len() > PAGES || self.runs > RUNS || now.duration_since(since) > AGE)
        {
            self.order.pop_front();
            self.close(request);
        }
    }
}

/// `old` with `new` over it.
fn over(old: &[Run], new: &[Run]) -> Vec<Run> {
    if let ([old], [new]) = (old, new)
        && (old.index, old.count) == (new.index, new.count)
    {
        return vec![*new];
    }
    let each = |run: &Run| {
        let run = *run;
        (0..run.count).map(move |n| (run.index + n, run.state.nth(n)))
    };
    let mut events: Vec<_> = old.iter().flat_map(each).chain(new.iter().flat_map(each)).collect();
    // Stable: of two words on an event the newer stands behind, and is kept.
    events.sort_by_key(|(index, _)| *index);
    events.reverse();
    events.dedup_by_key(|(index, _)| *index);
    events.reverse();
    runs(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(index: u32, count: u32, state: State) -> Run {
        Run { index, count, state }
    }

    fn acked(offset: i64) -> State {
        State::Acked { partition: 0, offset: Some(offset) }
    }

    fn page(events: u32) -> Page {
        Page { client: "c".into(), topic: "t".into(), runs: vec![run(0, events, State::Spooled)] }
    }

    #[test]
    fn what_becomes_of_events_is_folded_into_runs() {
        let book = Book::default();
        let request = RequestId::new();
        book.open(request, page(5));
        book.note(request, 0..5, &[run(1, 2, acked(7))]);
        book.note(request, 0..5, &[run(3, 1, State::DeadLettered), run(0, 1, acked(6))]);
        let found = book.find(request).unwrap();
        assert_eq!(found.runs, [run(0, 3, acked(6)), run(3, 1, State::DeadLettered), run(4, 1, State::Spooled)]);
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_last_event_is_settled() {
        let book = Book::default();
        let request = RequestId::new();
        book.open(request, page(2));
        let mut told = book.settled(request);
        book.note(request, 0..2, &[run(0, 1, acked(0))]);
        assert!(told.try_recv().is_err());
        book.note(request, 0..2, &[run(1, 1, acked(1))]);
        assert_eq!(told.await.unwrap(), [run(0, 2, acked(0))]);
        assert_eq!(book.settled(request).await.unwrap(), [run(0, 2, acked(0))]);
        book.forget(request);
        assert!(book.settled(request).await.is_err() && book.find(request).is_none());
    }

    #[test]
    fn a_page_of_an_earlier_life_learns_which_events_it_has() {
        let book = Book::default();
        let request = RequestId::new();
        book.recover(request, &"c".into(), &"t".into(), 2);
        assert_eq!(book.find(request).unwrap().runs, [run(0, 2, State::Spooled)]);
        book.note(request, [3, 9].into_iter(), &[run(9, 1, acked(0))]);
        assert_eq!(book.find(request).unwrap().runs, [run(3, 1, State::Spooled), run(9, 1, acked(0))]);
    }

    #[test]
    fn the_oldest_pages_go_first() {
        let book = Book::default();
        let ids: Vec<_> = (0..PAGES + 2).map(|_| RequestId::new()).collect();
        for id in &ids {
            book.open(*id, page(1));
        }
        assert!(book.find(ids[1]).is_none() && book.find(ids[2]).is_some());
        let pages = book.lock();
        assert_eq!((pages.by_id.len(), pages.runs), (PAGES, PAGES));
    }

    #[test]
    fn a_page_is_forgotten_after_a_day() {
        let mut pages = Pages::default();
        let (old, new) = (RequestId::new(), RequestId::new());
        let now = Instant::now();
        pages.open(old, page(1), false, now);
        pages.open(new, page(1), false, now + AGE + Duration::from_secs(1));
        assert!(!pages.by_id.contains_key(&old) && pages.by_id.contains_key(&new));
    }
}
