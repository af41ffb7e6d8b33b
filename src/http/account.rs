//! The account of one request: whose it is, what it was answered, one line in the log.
//!
//! Promises: every request to produce is counted once, also where the caller hangs up before the answer.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::answer::Answered;
use super::app::App;
use super::layers::ids::Ids;
use super::problem::{self, Problem};
use crate::event::ClientId;
use crate::ingest::Refused;
use crate::ingest::accept::Sent;
use crate::ingest::outcome::{Accepted, Kind, Receipt};
use crate::ingest::rules::Client;
use crate::reject::{Code, Reject};
use crate::telemetry::tap::{self, Seen};
use crate::telemetry::trail::Request;
use crate::telemetry::{Entry, Pair, RequestResult};

/// nginx's word for a caller who did not wait for the answer; it is only ever logged.
const CLIENT_CLOSED: u16 = 499;

/// See the module.
pub(super) struct Account<'a> {
    app: &'a App,
    ids: &'a Ids,
    topic: &'a str,
    headers: &'a HeaderMap,
    began: Instant,
    arrived: SystemTime,
    client: Option<Arc<Client>>,
    pair: Arc<Pair>,
    /// What was received, for the log alone.
    events: u64,
    bytes: u64,
    /// Its events are with the producer.
    sent: bool,
    /// The first bytes of the body, for the tap alone.
    payload: Option<Vec<u8>>,
    closed: bool,
}

impl<'a> Account<'a> {
    /// Opens it on nobody's name.
    pub(super) fn open(app: &'a App, ids: &'a Ids, topic: &'a str, headers: &'a HeaderMap) -> Self {
        app.enter();
        Self {
            app,
            ids,
            topic,
            headers,
            began: Instant::now(),
            arrived: SystemTime::now(),
            client: None,
            pair: app.gateway.metrics.anonymous(),
            events: 0,
            bytes: 0,
            sent: false,
            payload: None,
            closed: false,
        }
    }

    /// Puts it on a client's name.
    pub(super) fn identified(&mut self, client: &Arc<Client>, pair: &Arc<Pair>) {
        self.client = Some(Arc::clone(client));
        self.pair = Arc::clone(pair);
        self.pair.seen(self.millis() / 1000);
    }

    /// Takes over whose account a refusal at the gate is.
    pub(super) fn refused(&mut self, refused: Refused) -> Answered {
        match &refused.client {
            Some(client) => self.identified(client, &refused.pair),
            None => self.pair = refused.pair,
        }
        refused.reject.into()
    }

    /// Keeps the beginning of the body where somebody wants to see it.
    pub(super) fn body(&mut self, body: &[u8]) {
        if self.app.gateway.metrics.tap.wants_payload() {
            self.payload = Some(body.get(..tap::PAYLOAD).unwrap_or(body).to_vec());
        }
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
                self.note(status.as_u16(), None);
                if result == RequestResult::Partial || self.app.access.wants_successes() {
                    self.log(status.as_u16(), None, &accepted.receipts);
                }
            }
            Err(Answered::Refused(reject)) => self.count(reject),
            Err(Answered::Aborted) => self.aborted(),
        }
    }

    fn count(&mut self, reject: &Reject) {
        let code = reject.code();
        self.pair.refused(code);
        self.pair.request(RequestResult::of(code));
        let status = code.row().status.as_u16();
        if self.note(status, Some(code)) {
            let rules = self.app.gateway.rules.load();
            let body = problem::body(reject, Problem { request_id: self.ids.own, docs_url: &rules.config.docs_url });
            self.pair.trail().problem(code, self.millis(), &String::from_utf8_lossy(&body));
        }
        self.log(status, Some(code), &[]);
    }

    /// The caller is gone. Its events, if any were sent, are counted when they are settled.
    fn aborted(&mut self) {
        self.pair.request(if self.sent { RequestResult::Unknown } else { RequestResult::Refused });
        self.note(CLIENT_CLOSED, None);
        self.log(CLIENT_CLOSED, None, &[]);
    }

    /// When its head was read, in milliseconds since the epoch.
    fn millis(&self) -> u64 {
        self.arrived.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    /// Writes it down for the live page. Returns whether the body of a refusal is wanted too.
    fn note(&mut self, status: u16, code: Option<Code>) -> bool {
        // The pair of a topic without a row of its own has another name.
        let topic = Some(self.pair.topic()).filter(|topic| topic.as_str() == self.topic);
        let topic = topic.cloned().unwrap_or_else(|| cut(self.topic).into());
        let (events, bytes) = (self.events, self.bytes);
        let took = self.began.elapsed();
        let request = Request { at: self.millis(), id: self.ids.own, topic, status, code, events, bytes, took };
        let tap = &self.app.gateway.metrics.tap;
        if tap.is_watched() {
            let (client, payload) = (self.pair.client().clone(), self.payload.take());
            tap.offer(&client, &request, || seen(client.clone(), request.clone(), self.headers, payload));
        }
        self.pair.trail().request(request)
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
        self.app.access.log(&entry, SystemTime::now());
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.aborted();
        }
        self.app.leave();
    }
}

/// What the tap shows of a request: of its headers the names alone, but for two that say what the body is.
fn seen(client: ClientId, request: Request, headers: &HeaderMap, payload: Option<Vec<u8>>) -> Seen {
    let text =
        |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(|text| cut(text).to_owned());
    Seen {
        client,
        request,
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
        key: headers.get("kafka-key").map(|key| key.len()),
        headers: headers.keys().map(|name| cut(name.as_str()).to_owned()).collect(),
        payload,
    }
}

/// At most the 100 bytes from which what a client calls something is known.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(100)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
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
