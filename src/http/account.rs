//! The account of one request: whose it is, what it was answered, one line in the log.
//!
//! Promises: every request to produce is counted once, also where the caller hangs up before the answer.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;

use super::answer::Answered;
use super::app::{App, Open};
use super::layers::ids::Ids;
use crate::ingest::Refused;
use crate::ingest::accept::Sent;
use crate::ingest::outcome::{Accepted, Kind, Receipt};
use crate::ingest::rules::Client;
use crate::reject::{Code, Reject};
use crate::telemetry::{AccessLog, Entry, Pair, RequestResult};

/// nginx's word for a caller who did not wait for the answer; it is only ever logged.
const CLIENT_CLOSED: u16 = 499;

/// See the module.
pub(super) struct Account<'a> {
    ids: &'a Ids,
    topic: &'a str,
    access: Arc<AccessLog>,
    began: Instant,
    client: Option<Arc<Client>>,
    pair: Arc<Pair>,
    /// What was received, for the log alone.
    events: u64,
    bytes: u64,
    /// Its events are with the producer.
    sent: bool,
    open: Open,
    closed: bool,
}

impl<'a> Account<'a> {
    /// Opens it on nobody's name.
    pub(super) fn open(app: &App, ids: &'a Ids, topic: &'a str) -> Self {
        let open = app.open();
        open.enter();
        Self {
            ids,
            topic,
            access: Arc::clone(&app.access),
            began: Instant::now(),
            client: None,
            pair: app.gateway.metrics.anonymous(),
            events: 0,
            bytes: 0,
            sent: false,
            open,
            closed: false,
        }
    }

    /// Puts it on a client's name.
    pub(super) fn identified(&mut self, client: &Arc<Client>, pair: &Arc<Pair>) {
        self.client = Some(Arc::clone(client));
        self.pair = Arc::clone(pair);
        self.pair.seen(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    }

    /// Takes over whose account a refusal at the gate is.
    pub(super) fn refused(&mut self, refused: Refused) -> Answered {
        match &refused.client {
            Some(client) => self.identified(client, &refused.pair),
            None => self.pair = refused.pair,
        }
        refused.reject.into()
    }

    /// Notes what was received.
    pub(super) fn sent(&mut self, sent: &Sent) {
        self.sent = true;
        self.events = (sent.indices.count() + sent.faults.len()) as u64;
        self.bytes = sent.bytes;
    }

    /// Whose request it is, once that is known.
    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// Counts and logs the answer.
    pub(super) fn close(&mut self, result: &Result<Accepted, Answered>) {
        self.closed = true;
        match result {
            Ok(accepted) => {
                let (result, status) = match accepted.kind() {
                    Kind::Acked => (RequestResult::Ok, StatusCode::OK),
                    Kind::Spooled => (RequestResult::Spooled, StatusCode::ACCEPTED),
                    Kind::Mixed => (RequestResult::Partial, StatusCode::MULTI_STATUS),
                };
                self.pair.request(result);
                if result == RequestResult::Partial || self.access.wants_successes() {
                    self.log(status.as_u16(), None, &accepted.receipts);
                }
            }
            Err(Answered::Refused(reject)) => self.count(reject),
            Err(Answered::Aborted) => self.aborted(),
        }
    }

    fn count(&self, reject: &Reject) {
        let code = reject.code();
        self.pair.refused(code);
        self.pair.request(RequestResult::of(code));
        self.log(code.row().status.as_u16(), Some(code), &[]);
    }

    /// The caller is gone. Its events, if any were sent, are counted when they are settled.
    fn aborted(&self) {
        self.pair.request(if self.sent { RequestResult::Unknown } else { RequestResult::Refused });
        self.log(CLIENT_CLOSED, None, &[]);
    }

    fn log(&self, status: u16, code: Option<Code>, receipts: &[Receipt]) {
        let entry = Entry {
            request_id: self.ids.own,
            client_request_id: self.ids.given(),
            client: self.pair.client().as_str(),
            topic: self.topic,
            partitions: &places(receipts),
            events: self.events,
            bytes: self.bytes,
            status,
            code,
            latency: self.began.elapsed(),
        };
        self.access.log(&entry, SystemTime::now());
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.aborted();
        }
        self.open.leave();
    }
}

/// Where the events are, in short: `2@17 x3` for three from offset 17 of partition 2.
fn places(receipts: &[Receipt]) -> String {
    /// So many runs are shown.
    const MOST: usize = 8;
    let mut text = String::new();
    for (place, receipt) in receipts.iter().take(MOST).enumerate() {
        let _ = write!(text, "{}{}", if place > 0 { " " } else { "" }, receipt.partition);
        if let Some(offset) = receipt.offset {
            let _ = write!(text, "@{offset}");
        }
        if receipt.count > 1 {
            let _ = write!(text, " x{}", receipt.count);
        }
    }
    if receipts.len() > MOST {
        let _ = write!(text, " +{}", receipts.len() - MOST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_many_runs_are_cut_short() {
        let run = |n: u32| Receipt { index: n, count: n + 1, partition: 2, offset: (n > 0).then_some(17) };
        assert_eq!(places(&[run(0), run(2)]), "2 2@17 x3");
        let many: Vec<Receipt> = (0..10).map(run).collect();
        assert!(places(&many).ends_with(" +2"));
    }
}
