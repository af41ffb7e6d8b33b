//! A bar with the live rate, while a load runs and standard error is a terminal.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{self, Observer, Options, Progress, Run, Stop};

const EVERY: Duration = Duration::from_millis(200);

/// The bar of one load; it goes when this is dropped.
pub(crate) struct Bar {
    counts: Arc<Progress>,
    done: Arc<AtomicBool>,
    painter: Option<JoinHandle<()>>,
}

impl Bar {
    /// A bar for `options`; silent where nobody looks. `label` says which load it is.
    pub(crate) fn new(options: &Options, label: &str) -> Self {
        let (counts, done) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
        let painter = stderr().is_terminal().then(|| {
            let (counts, done, label) = (counts.clone(), done.clone(), label.to_owned());
            let extent = match options.requests {
                Some(requests) => Extent::Requests(requests),
                None => Extent::Time(options.warm_up + options.duration),
            };
            thread::spawn(move || paint(&counts, &done, extent, label))
        });
        Self { counts, done, painter }
    }

    /// For [`crate::load::Observer`].
    pub(crate) fn counts(&self) -> &Progress {
        &self.counts
    }
}

/// Sends loads with a bar each.
pub(crate) fn shown(stop: &Stop) -> impl Fn(&Options, &str) -> Result<Run> {
    move |options, label| {
        let bar = Bar::new(options, label);
        load::run_with(options, stop, Observer { progress: Some(bar.counts()), ledger: None })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(painter) = self.painter.take() {
            let _ = painter.join();
        }
    }
}

/// When a load is over.
#[derive(Clone, Copy)]
enum Extent {
    Requests(u64),
    Time(Duration),
}

fn paint(counts: &Progress, done: &AtomicBool, extent: Extent, label: String) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(match extent {
        Extent::Requests(requests) => requests,
        Extent::Time(total) => millis(total),
    });
    let style =
        ProgressStyle::with_template("{prefix} {wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(label);
    let start = Instant::now();
    let (mut seen, mut seen_at) = (0, start);
    while !done.load(Ordering::Relaxed) {
        let now = Instant::now();
        let events = counts.events.load(Ordering::Relaxed);
        let rate = (events - seen) as f64 / (now - seen_at).as_secs_f64().max(1e-3);
        (seen, seen_at) = (events, now);
        let failed = counts.failed.load(Ordering::Relaxed);
        bar.set_message(format!("{rate:.0} events/s, {failed} not accepted"));
        bar.set_position(match extent {
            Extent::Requests(_) => failed + counts.accepted.load(Ordering::Relaxed),
            Extent::Time(_) => millis(start.elapsed()),
        });
        thread::sleep(EVERY);
    }
    bar.finish_and_clear();
}
