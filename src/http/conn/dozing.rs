//! A future beside others in one task, that costs nothing while the others are busy.
//!
//! It is polled once at first, and then only after it was woken itself: a connection's task is woken twice for every request,
//! what is beside its requests hardly ever. `FuturesUnordered` does the same for many futures, for five times the
//! memory that is touched.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// See the module.
pub(super) struct Dozing<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    /// The task that the bell wakes.
    task: Option<Waker>,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is woken, which then looks.
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Dozing<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&bell)), bell, task: None }
    }

    /// Goes on with another future, which is polled at the next turn.
    pub(super) fn set(&mut self, future: F) {
        self.future.set(future);
        self.bell.rung.store(true, Ordering::Relaxed);
    }

    /// Ready once; then [`set`](Self::set) what comes next.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if known && !self.bell.rung.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        // A ring takes the waker out.
        self.bell.task.register(cx.waker());
        if !known {
            self.task = Some(cx.waker().clone());
        }
        // Before the future is polled: what rings from then on is for the next turn.
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_at_first_and_then_only_when_it_was_woken() {
        let (news, polls) = (Notify::new(), Cell::new(0));
        let wait = || {
            let (mut notified, polls) = (Box::pin(news.notified()), &polls);
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                notified.as_mut().poll(cx)
            })
        };
        let mut dozing = Dozing::new(wait());
        for _ in 0..10 {
            assert!(poll_fn(|cx| Poll::Ready(dozing.poll(cx))).await.is_pending());
        }
        assert_eq!(polls.get(), 1);
        news.notify_one();
        assert!(poll_fn(|cx| Poll::Ready(dozing.poll(cx))).await.is_ready());
        dozing.set(wait());
        for _ in 0..10 {
            assert!(poll_fn(|cx| Poll::Ready(dozing.poll(cx))).await.is_pending());
        }
        assert_eq!(polls.get(), 3);
    }

    #[tokio::test]
    async fn a_task_that_waits_for_it_is_woken_also_where_it_is_another_one_than_before() {
        let news = Arc::new(Notify::new());
        let mut dozing = Dozing::new({
            let news = Arc::clone(&news);
            async move { news.notified().await }
        });
        assert!(poll_fn(|cx| Poll::Ready(dozing.poll(cx))).await.is_pending());
        let other = tokio::spawn(async move { poll_fn(|cx| dozing.poll(cx)).await });
        tokio::task::yield_now().await;
        news.notify_one();
        other.await.unwrap();
    }
}
