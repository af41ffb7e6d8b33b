//! What became of a request, for the caller who still waits: fates and faults folded into runs.

use std::borrow::Cow;
use std::ops::Range;

use rdkafka::error::RDKafkaErrorCode;

use super::Gateway;
use super::accept::{Indices, Sent};
use crate::event::TopicName;
use crate::reject::{Code, Failure, Fault, Reject};
use crate::stages::produce::{Fate, Fates};

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

/// What the caller is told of a request with at least one acknowledged event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The topic.
    pub topic: TopicName,
    /// How many events are acknowledged.
    pub accepted: usize,
    /// Where they are.
    pub receipts: Vec<Receipt>,
    /// The others; none makes it a 200, some a 207.
    pub failures: Vec<Failure>,
    /// Whether the caller wants no receipts.
    pub minimal: bool,
}

/// Waits for Kafka's word, for as long as the request may.
///
/// # Errors
/// 504, 503, 502 where not one event is acknowledged.
///
/// # Cancellation
/// The events' fate and their counting do not change; the receipts are lost.
pub async fn outcome(app: &Gateway, mut sent: Sent) -> Result<Accepted, Reject> {
    let fates = match tokio::time::timeout(sent.wait, &mut sent.reply).await {
        Ok(fates) => fates,
        Err(_) => match app.sink.so_far(sent.ticket) {
            Some(fates) => Ok(fates),
            // Settled just now.
            None => sent.reply.await,
        },
    };
    // The sink went away without a word. It does not; the honest answer would be that nothing is known.
    fold(sent.topic, &sent.indices, &fates.unwrap_or_default(), sent.faults, sent.minimal)
}

/// Folds fates and faults into runs; each index stands in exactly one.
fn fold(
    topic: TopicName,
    indices: &Indices,
    fates: &Fates,
    faults: Vec<Fault>,
    minimal: bool,
) -> Result<Accepted, Reject> {
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    let open = |failures: &mut _, places: Range<usize>| {
        for (index, count) in indices.runs(places) {
            extend(failures, index, count, Code::OutcomeUnknown, "no answer from Kafka yet".into());
        }
    };
    let mut next = 0;
    for run in fates.runs() {
        open(&mut failures, next..run.place);
        next = run.place + run.count;
        let mut before = 0;
        for (index, count) in indices.runs(run.place..next) {
            let mut fail = |code, detail| extend(&mut failures, index, count, code, detail);
            match run.fate {
                Fate::Acked { partition, offset } => {
                    let offset = offset.map(|offset| offset + i64::from(before));
                    receipts.push(Receipt { index, count, partition, offset });
                }
                Fate::Refused(code) => fail(Code::KafkaRejected, text(code)),
                Fate::Failed(code) => fail(Code::KafkaUnavailable, text(code)),
                Fate::Unknown(code) => fail(Code::OutcomeUnknown, text(code)),
            }
            before += count;
        }
    }
    open(&mut failures, next..indices.count());
    let of = indices.count() + faults.len();
    failures.extend(faults.into_iter().map(skipped));
    failures.sort_by_key(|failure| failure.index);
    let accepted = receipts.iter().map(|receipt| receipt.count as usize).sum();
    if accepted > 0 {
        return Ok(Accepted { topic, accepted, receipts, failures, minimal });
    }
    let any = |code| failures.iter().any(|failure| failure.code == code);
    Err(if any(Code::OutcomeUnknown) {
        Reject::OutcomeUnknown { failures, of }
    } else if any(Code::KafkaUnavailable) {
        Reject::KafkaUnavailable { detail: "Kafka did not take the events; nothing was written".into(), failures }
    } else {
        Reject::KafkaRejected { failures, of }
    })
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

    fn folded(events: usize, fates: &[Fate]) -> Result<Accepted, Reject> {
        let fates = fates.iter().copied().collect();
        fold("t".into(), &Indices::All(events), &fates, Vec::new(), false)
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
        let answer = fold("t".into(), &Indices::Some(vec![0, 2, 3]), &fates, vec![fault], false).unwrap();
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
        let answer = fold("t".into(), &indices, &fates, vec![fault], false).unwrap();
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
