//! What the handlers of the ingest listener share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ingest::Gateway;
use crate::telemetry::AccessLog;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The path of events.
    pub gateway: Arc<Gateway>,
    /// A line for each request.
    pub access: Arc<AccessLog>,
    open: Open,
}

impl App {
    /// For `gateway`, with nothing open.
    pub fn new(gateway: Arc<Gateway>, access: Arc<AccessLog>) -> Self {
        Self { gateway, access, open: Open::default() }
    }

    /// The requests to produce that are not answered yet.
    pub fn open(&self) -> Open {
        self.open.clone()
    }

    pub(super) fn enter(&self) {
        self.open.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the requests to produce that are not answered yet.
#[derive(Debug, Clone, Default)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
