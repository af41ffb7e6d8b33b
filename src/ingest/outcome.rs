//! What became of a request, for the caller who still waits: fates and faults folded into runs.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::oneshot;

use super::Gateway;
use super::accept::{Indices, Sent, Way};
use super::replies::Word;
use super::spooling::book::{self, State};
use super::spooling::custody::Custody;
use crate::event::TopicName;
use crate::reject::{Code, Failure, Fault, Reject};
use crate::stages::produce::{Fate, Fates, Ticket};

/// A run of acknowledged events with consecutive offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Of the first event in the request.
    pub index: u32,
    /// How many events.
    pub count: u32,
    /// The partition.
    pub partition: i32,
    /// Of the first; `None` where the broker did not say.
    pub offset: Option<i64>,
}

/// What the caller is told of a request with at least one event that is acknowledged or spooled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The topic.
    pub topic: TopicName,
    /// How many events klamm answers for: acknowledged, or spooled.
    pub accepted: usize,
    /// Where those are that Kafka has acknowledged.
    pub receipts: Vec<Receipt>,
    /// Those that wait on disk, as runs: the first index, and how many.
    pub spooled: Vec<(u32, u32)>,
    /// The others.
    pub failures: Vec<Failure>,
    /// Whether the caller wants no receipts.
    pub minimal: bool,
    /// Whether the caller asked for an answer before Kafka's.
    pub asked: bool,
}

/// The kinds of answers to a request that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every event is in Kafka.
    Acked,
    /// Every event is on disk.
    Spooled,
    /// Each event's fate is in the body.
    Mixed,
}

impl Accepted {
    /// Which one it is.
    pub fn kind(&self) -> Kind {
        match (self.receipts.is_empty(), self.spooled.is_empty(), self.failures.is_empty()) {
            (_, true, true) => Kind::Acked,
            (true, false, true) => Kind::Spooled,
            _ => Kind::Mixed,
        }
    }
}

/// Waits for Kafka's word, or the disk's, for as long as the request may.
///
/// # Errors
/// 504, 503, 502 where not one event is acknowledged or spooled.
///
/// # Cancellation
/// The events' fate and their counting do not change; the receipts are lost.
pub async fn outcome(app: &Gateway, sent: Sent) -> Result<Accepted, Reject> {
    let Sent { topic, way, indices, faults, wait, minimal, asked, .. } = sent;
    let mut answer = Answer::new(indices.count() + faults.len());
    match way {
        Way::Kafka { mut reply, ticket, custody } => {
            let word = match tokio::time::timeout(wait, &mut reply).await {
                Ok(word) => word,
                Err(_) => at_last(app, ticket, custody.as_ref(), reply).await,
            };
            // The sink went away without a word. It does not; the honest answer would be that nothing is known.
            let Word { fates, spooled } = word.unwrap_or_default();
            answer.fates(&indices, &fates, spooled);
        }
        Way::Spool { kept, request, patient } => {
            let began = Instant::now();
            kept.await.unwrap_or(Err(Reject::SpoolFailed))?;
            let spooling = app.spooling.as_ref().filter(|_| patient);
            let settled = match spooling {
                Some(spooling) => {
                    let left = wait.saturating_sub(began.elapsed());
                    tokio::time::timeout(left, spooling.book.settled(request)).await.ok().and_then(Result::ok)
                }
                None => None,
            };
            let known = || spooling.and_then(|spooling| spooling.book.find(request)).map(|page| page.runs);
            match settled.or_else(known) {
                Some(runs) => runs.iter().for_each(|run| answer.run(run)),
                None => answer.spooled = indices.runs(0..indices.count()).collect(),
            }
        }
    }
    answer.close(&topic, faults, (minimal, asked), || app.come_back(&topic))
}

/// The wait is over: what is known, and what the spool can take.
async fn at_last(
    app: &Gateway,
    ticket: Ticket,
    custody: Option<&Arc<Custody>>,
    reply: oneshot::Receiver<Word>,
) -> Result<Word, oneshot::error::RecvError> {
    // None: settled just now.
    let Some(fates) = app.sink.so_far(ticket) else { return reply.await };
    match custody {
        None => Ok(Word { fates, spooled: false }),
        Some(custody) => match custody.insure(&fates).await {
            Some(spooled) => Ok(Word { fates, spooled }),
            None => reply.await,
        },
    }
}

/// An answer in the making; each index stands in exactly one run.
struct Answer {
    receipts: Vec<Receipt>,
    spooled: Vec<(u32, u32)>,
    failures: Vec<Failure>,
    of: usize,
}

impl Answer {
    /// Of a request with `of` events.
    fn new(of: usize) -> Self {
        Self { receipts: Vec::new(), spooled: Vec::new(), failures: Vec::new(), of }
    }

    /// Takes what the producer says. `spooled`: the spool has what is neither acknowledged nor refused for good.
    fn fates(&mut self, indices: &Indices, fates: &Fates, spooled: bool) {
        let mut next = 0;
        self.receipts.reserve(fates.runs().len());
        for run in fates.runs() {
            self.open(indices, next..run.place, spooled);
            next = run.place + run.count;
            let mut before = 0;
            for (index, count) in indices.runs(run.place..next) {
                match run.fate {
                    Fate::Acked { partition, offset } => {
                        let offset = offset.map(|offset| offset + i64::from(before));
                        self.receipts.push(Receipt { index, count, partition, offset });
                    }
                    Fate::Refused(code) => self.fail(index, count, Code::KafkaRejected, text(code)),
                    Fate::Failed(_) | Fate::Unknown(_) if spooled => self.wait(index, count),
                    Fate::Failed(code) => self.fail(index, count, Code::KafkaUnavailable, text(code)),
                    Fate::Unknown(code) => self.fail(index, count, Code::OutcomeUnknown, text(code)),
                }
                before += count;
            }
        }
        self.open(indices, next..indices.count(), spooled);
    }

    /// Takes events without a fate.
    fn open(&mut self, indices: &Indices, places: Range<usize>, spooled: bool) {
        for (index, count) in indices.runs(places) {
            if spooled {
                self.wait(index, count);
            } else {
                self.fail(index, count, Code::OutcomeUnknown, "no answer from Kafka yet".into());
            }
        }
    }

    /// Takes what the book says.
    fn run(&mut self, run: &book::Run) {
        let book::Run { index, count, state } = *run;
        match state {
            State::Acked { partition, offset } => self.receipts.push(Receipt { index, count, partition, offset }),
            State::Spooled => self.wait(index, count),
            State::Unknown => self.fail(index, count, Code::OutcomeUnknown, "no answer from Kafka".into()),
            State::DeadLettered => {
                self.fail(index, count, Code::KafkaRejected, "refused for good; in the dead-letter topic".into());
            }
        }
    }

    fn wait(&mut self, index: u32, count: u32) {
        match self.spooled.last_mut() {
            Some((first, run)) if *first + *run == index => *run += count,
            _ => self.spooled.push((index, count)),
        }
    }

    fn fail(&mut self, index: u32, count: u32, code: Code, detail: Cow<'static, str>) {
        extend(&mut self.failures, index, count, code, detail);
    }

    /// The answer; `come_back` says when to try again where nothing was written.
    fn close(
        self,
        topic: &TopicName,
        faults: Vec<Fault>,
        (minimal, asked): (bool, bool),
        come_back: impl FnOnce() -> Duration,
    ) -> Result<Accepted, Reject> {
        let Self { receipts, spooled, mut failures, of } = self;
        failures.extend(faults.into_iter().map(skipped));
        failures.sort_by_key(|failure| failure.index);
        let counts = receipts.iter().map(|receipt| receipt.count).chain(spooled.iter().map(|(_, count)| *count));
        let accepted = counts.map(|count| count as usize).sum();
        if accepted > 0 {
            let topic = topic.clone();
            return Ok(Accepted { topic, accepted, receipts, spooled, failures, minimal, asked });
        }
        let any = |code| failures.iter().any(|failure| failure.code == code);
        Err(if any(Code::OutcomeUnknown) {
            Reject::OutcomeUnknown { failures, of }
        } else if any(Code::KafkaUnavailable) {
            let detail = "Kafka did not take the events; nothing was written".into();
            Reject::KafkaUnavailable { detail, failures, retry_after: come_back() }
        } else {
            Reject::KafkaRejected { failures, of }
        })
    }
}

fn extend(failures: &mut Vec<Failure>, index: u32, count: u32, code: Code, detail: Cow<'static, str>) {
    if let Some(run) = failures.last_mut()
        && run.code == code
        && run.index + run.count == index
        && run.detail == detail
    {
        run.count += count;
    } else {
        failures.push(Failure { index, count, code, detail, fault: None });
    }
}

fn skipped(fault: Fault) -> Failure {
    Failure {
        index: fault.index,
        count: 1,
        code: Code::InvalidEvents,
        detail: fault.detail.into(),
        fault: Some((fault.reason, fault.place)),
    }
}

/// Kafka's own words for its code.
fn text(code: RDKafkaErrorCode) -> Cow<'static, str> {
    code.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::{Place, Reason};

    const UNKNOWN: Fate = Fate::Unknown(RDKafkaErrorCode::MessageTimedOut);
    const FAILED: Fate = Fate::Failed(RDKafkaErrorCode::MessageTimedOut);
    const REFUSED: Fate = Fate::Refused(RDKafkaErrorCode::TopicAuthorizationFailed);

    fn acked(partition: i32, offset: i64) -> Fate {
        Fate::Acked { partition, offset: Some(offset) }
    }

    fn fold(indices: &Indices, fates: &Fates, faults: Vec<Fault>, spooled: bool) -> Result<Accepted, Reject> {
        let mut answer = Answer::new(indices.count() + faults.len());
        answer.fates(indices, fates, spooled);
        answer.close(&"t".into(), faults, (false, false), || Duration::ZERO)
    }

    fn folded(events: usize, fates: &[Fate]) -> Result<Accepted, Reject> {
        fold(&Indices::All(events), &fates.iter().copied().collect(), Vec::new(), false)
    }

    #[test]
    fn what_the_spool_has_is_neither_a_receipt_nor_a_failure() {
        let fates = [UNKNOWN, FAILED, acked(0, 7), REFUSED].into_iter().collect();
        let answer = fold(&Indices::All(6), &fates, Vec::new(), true).unwrap();
        assert_eq!((answer.accepted, answer.kind()), (5, Kind::Mixed));
        assert_eq!(answer.spooled, [(0, 2), (4, 2)]);
        assert_eq!(
            (answer.receipts[0].index, answer.failures[0].index, answer.failures[0].code),
            (2, 3, Code::KafkaRejected)
        );
        let answer = fold(&Indices::All(2), &Fates::default(), Vec::new(), true).unwrap();
        assert_eq!((answer.accepted, answer.kind()), (2, Kind::Spooled));
    }

    #[test]
    fn receipts_are_runs_of_consecutive_offsets_in_one_partition() {
        let none = Fate::Acked { partition: 1, offset: None };
        let answer = folded(5, &[acked(0, 7), acked(0, 8), acked(0, 10), acked(1, 11), none]).unwrap();
        let run = |index, count, partition, offset| Receipt { index, count, partition, offset };
        assert_eq!(
            answer.receipts,
            [run(0, 2, 0, Some(7)), run(2, 1, 0, Some(10)), run(3, 1, 1, Some(11)), run(4, 1, 1, None)]
        );
        assert_eq!((answer.accepted, answer.failures.len()), (5, 0));
    }

    #[test]
    fn a_run_over_a_skipped_event_is_two_receipts_with_their_own_offsets() {
        let fault = Fault { index: 1, place: Place::Offset(3), reason: Reason::Malformed, detail: "x".into() };
        let fates = [acked(0, 7), acked(0, 8), acked(0, 9)].into_iter().collect();
        let answer = fold(&Indices::Some(vec![0, 2, 3]), &fates, vec![fault], false).unwrap();
        let runs: Vec<_> = answer.receipts.iter().map(|r| (r.index, r.count, r.offset)).collect();
        assert_eq!(runs, [(0, 1, Some(7)), (2, 2, Some(8))]);
    }

    #[test]
    fn every_index_stands_in_exactly_one_run() {
        // The fourth has no fate yet.
        let mut fates = Fates::default();
        for (place, fate) in [(0, acked(0, 0)), (1, FAILED), (2, FAILED), (4, acked(0, 1))] {
            fates.add(crate::stages::produce::Run { place, count: 1, fate });
        }
        let fault = Fault { index: 2, place: Place::Offset(3), reason: Reason::Malformed, detail: "x".into() };
        let indices = Indices::Some(vec![0, 1, 3, 4, 5]);
        let answer = fold(&indices, &fates, vec![fault], false).unwrap();
        let mut seen: Vec<u32> = answer.receipts.iter().flat_map(|r| r.index..r.index + r.count).collect();
        seen.extend(answer.failures.iter().flat_map(|f| f.index..f.index + f.count));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        let codes: Vec<_> = answer.failures.iter().map(|f| (f.index, f.code.name())).collect();
        assert_eq!(
            codes,
            [(1, "kafka_unavailable"), (2, "invalid_events"), (3, "kafka_unavailable"), (4, "outcome_unknown")]
        );
    }

    #[test]
    fn without_an_acknowledged_event_the_least_certain_fate_decides() {
        for (events, fates, status) in [
            (3, vec![REFUSED, FAILED, UNKNOWN], 504),
            (3, vec![REFUSED, FAILED], 504),
            (2, vec![REFUSED, FAILED], 503),
            (2, vec![REFUSED, REFUSED], 502),
        ] {
            assert_eq!(folded(events, &fates).unwrap_err().code().row().status, status, "{fates:?}");
        }
        assert!(folded(3, &[REFUSED, UNKNOWN, acked(0, 0)]).is_ok());
    }
}
