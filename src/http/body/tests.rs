use std::convert::Infallible;
use std::io;

use futures_util::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use super::*;

const LIMITS: Limits = Limits { cap: 10, idle: Duration::from_millis(300), total: Duration::from_millis(900) };

/// A body of unknown length.
fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
    let frames: Vec<_> = pieces.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))).collect();
    StreamBody::new(stream::iter(frames))
}

fn free(_: u64) -> Result<(), Reject> {
    Ok(())
}

fn too_large() -> Result<Bytes, Error> {
    Err(Error::Refused(Reject::TooLarge { what: Extent::Wire, limit: 10 }))
}

#[tokio::test]
async fn a_declared_body_is_paid_for_at_once_and_pins_nothing_of_the_connection_s() {
    let body = Bytes::from_static(b"0123456789");
    let mut paid = Vec::new();
    let read = read_capped(Full::new(body.clone()), LIMITS, |n| {
        paid.push(n);
        Ok(())
    });
    let read = read.await.unwrap();
    assert_eq!(read, body);
    assert_ne!(read.as_ptr(), body.as_ptr(), "it is a copy");
    assert_eq!(paid, [10]);
}

#[tokio::test]
async fn an_undeclared_body_is_paid_for_piece_by_piece() {
    let mut paid = Vec::new();
    let read = read_capped(pieces(&["012", "", "34", "56789"]), LIMITS, |n| {
        paid.push(n);
        Ok(())
    });
    assert_eq!(read.await.unwrap(), "0123456789");
    assert_eq!(paid, [3, 2, 5]);
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_before_it_is_paid_for() {
    let never = |_| panic!("paid");
    assert_eq!(read_capped(Full::new(Bytes::from_static(&[0; 11])), LIMITS, never).await, too_large());
    assert_eq!(read_capped(pieces(&["0123456789", "0"]), LIMITS, free).await, too_large());
}

#[tokio::test]
async fn a_refusal_of_the_budget_ends_the_reading() {
    let full = |_| Err(Reject::Overloaded);
    assert_eq!(read_capped(pieces(&["0"]), LIMITS, full).await, Err(Error::Refused(Reject::Overloaded)));
    assert_eq!(read_capped(Full::new(Bytes::from_static(b"0")), LIMITS, full).await, Err(Reject::Overloaded.into()));
}

#[tokio::test]
async fn a_body_that_breaks_off_needs_no_answer() {
    let frames = [Ok(Frame::data(Bytes::from_static(b"0"))), Err(io::Error::other("gone"))];
    assert_eq!(read_capped(StreamBody::new(stream::iter(frames)), LIMITS, free).await, Err(Error::Aborted));
}

#[tokio::test]
async fn a_silent_body_and_a_slow_one_are_told_apart() {
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let refused = Reject::BodyTimeout { limit: LIMITS.idle, idle: true };
    assert_eq!(read_capped(silent, LIMITS, free).await, Err(refused.into()));
    let slow = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
    });
    let refused = Reject::BodyTimeout { limit: LIMITS.total, idle: false };
    let limits = Limits { cap: 1000, ..LIMITS };
    assert_eq!(read_capped(StreamBody::new(Box::pin(slow)), limits, free).await, Err(refused.into()));
}

#[test]
fn memory_runs_at_most_64_kib_ahead_of_an_undeclared_body() {
    let mut kept = Vec::new();
    for sent in 1..=2000 {
        keep(&mut kept, &[b'x'; 1000], None);
        assert_eq!(kept.len(), sent * 1000);
        assert!(kept.capacity() <= kept.len() + AHEAD, "{} for {}", kept.capacity(), kept.len());
    }
}

#[tokio::test]
async fn discarding_ends_with_the_body_the_cap_or_the_time() {
    let second = Duration::from_secs(1);
    assert!(discard(pieces(&["01", "2"]), 3, second).await);
    assert!(!discard(pieces(&["01", "2"]), 2, second).await);
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    assert!(!discard(silent, 9, second / 10).await);
}
