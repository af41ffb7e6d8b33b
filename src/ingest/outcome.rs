//! What became of a request, for the caller who still waits: fates and faults folded into runs.

use std::borrow::Cow;

use rdkafka::error::RDKafkaErrorCode;

use super::Gateway;
use super::accept::{Indices, Sent};
use crate::event::TopicName;
use crate::reject::{Code, Failure, Fault, Reject};
use crate::stages::produce::Fate;

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
        Ok(Ok(fates)) => fates.into_iter().map(Some).collect(),
        // The sink went away without a word. It does not; the honest answer would be that nothing is known.
        Ok(Err(_)) => vec![None; sent.indices.count()],
        Err(_) => match app.sink.so_far(sent.ticket) {
            Some(fates) => fates,
            // Settled just now.
            None => sent
                .reply
                .await
                .map_or_else(|_| vec![None; sent.indices.count()], |fates| fates.into_iter().map(Some).collect()),
        },
    };
    fold(sent.topic, &sent.indices, &fates, sent.faults, sent.minimal)
}

/// Folds fates and faults into runs; each index stands in exactly one.
fn fold(
    topic: TopicName,
    indices: &Indices,
    fates: &[Option<Fate>],
    faults: Vec<Fault>,
    minimal: bool,
) -> Result<Accepted, Reject> {
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    let mut accepted = 0;
    for (place, fate) in fates.iter().enumerate() {
        let index = indices.at(place);
        match *fate {
            Some(Fate::Acked { partition, offset }) => {
                accepted += 1;
                extend_receipts(&mut receipts, Receipt { index, count: 1, partition, offset });
            }
            Some(Fate::Refused(code)) => extend(&mut failures, index, Code::KafkaRejected, text(code)),
            Some(Fate::Failed(code)) => extend(&mut failures, index, Code::KafkaUnavailable, text(code)),
            Some(Fate::Unknown(code)) => extend(&mut failures, index, Code::OutcomeUnknown, text(code)),
            None => extend(&mut failures, index, Code::OutcomeUnknown, "no answer from Kafka yet".into()),
        }
    }
    let of = fates.len() + faults.len();
    failures.extend(faults.into_iter().map(skipped));
    failures.sort_by_key(|failure| failure.index);
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

fn extend_receipts(receipts: &mut Vec<Receipt>, next: Receipt) {
    if let Some(run) = receipts.last_mut()
        && run.partition == next.partition
        && run.index + run.count == next.index
        && run.offset.map(|offset| offset + i64::from(run.count)) == next.offset
    {
        run.count += 1;
    } else {
        receipts.push(next);
    }
}

fn extend(failures: &mut Vec<Failure>, index: u32, code: Code, detail: Cow<'static, str>) {
    if let Some(run) = failures.last_mut()
        && run.code == code
        && run.index + run.count == index
        && run.detail == detail
    {
        run.count += 1;
    } else {
        failures.push(Failure { index, count: 1, code, detail, fault: None });
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

    fn acked(partition: i32, offset: i64) -> Option<Fate> {
        Some(Fate::Acked { partition, offset: Some(offset) })
    }

    fn folded(fates: &[Option<Fate>]) -> Result<Accepted, Reject> {
        fold("t".into(), &Indices::All(fates.len()), fates, Vec::new(), false)
    }

    #[test]
    fn receipts_are_runs_of_consecutive_offsets_in_one_partition() {
        let fates =
            [acked(0, 7), acked(0, 8), acked(0, 10), acked(1, 11), Some(Fate::Acked { partition: 1, offset: None })];
        let answer = folded(&fates).unwrap();
        let run = |index, count, partition, offset| Receipt { index, count, partition, offset };
        assert_eq!(
            answer.receipts,
            [run(0, 2, 0, Some(7)), run(2, 1, 0, Some(10)), run(3, 1, 1, Some(11)), run(4, 1, 1, None)]
        );
        assert_eq!((answer.accepted, answer.failures.len()), (5, 0));
    }

    #[test]
    fn every_index_stands_in_exactly_one_run() {
        let failed = Some(Fate::Failed(RDKafkaErrorCode::MessageTimedOut));
        let fates = [acked(0, 0), failed, failed, None, acked(0, 1)];
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
        let refused = Some(Fate::Refused(RDKafkaErrorCode::TopicAuthorizationFailed));
        let failed = Some(Fate::Failed(RDKafkaErrorCode::MessageTimedOut));
        let unknown = Some(Fate::Unknown(RDKafkaErrorCode::MessageTimedOut));
        for (fates, status) in [
            (vec![refused, failed, unknown], 504),
            (vec![refused, failed, None], 504),
            (vec![refused, failed], 503),
            (vec![refused, refused], 502),
        ] {
            assert_eq!(folded(&fates).unwrap_err().code().row().status, status, "{fates:?}");
        }
        assert!(folded(&[refused, unknown, acked(0, 0)]).is_ok());
    }
}
